"""The subject of prompts: what was given where it serves, else the vocabulary's nearest."""

import json

import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.cli import main as cli
from multimap_jax.scenes import write_scenes
from multimap_jax.words.subject import choose_subject, nearest_subject
from multimap_jax.words.vocabulary import read_vocabulary, subjects_of

VOCABULARY = read_vocabulary(None)


@pytest.fixture(scope="module")
def clip():
    return mm.load_clip("embedded")


@pytest.fixture(scope="module")
def drawn(clip):
    """name of a scene -> unit rows of 40 of its pictures."""
    names = ("fruit", "flowers", "cars")
    return {name: clip.embed_images([mm.render_scene(name, seed=4, index=i)[0] for i in range(40)]) for name in names}


def test_subjects_of_an_aspect():
    vocabulary = {"color": ("red",), "type of product": ("shirt", "shoe"), "type of clothing": ("shirt", "shoe")}
    vocabulary |= {"species of dog": ("pug",)}
    assert list(subjects_of(vocabulary, "types")) == ["product", "clothing"]
    assert list(subjects_of(vocabulary)) == ["product", "clothing", "dog"] and subjects_of(vocabulary, "color") == {}


def test_the_nearest_subject_is_what_is_in_the_images(clip, drawn):
    species = subjects_of(VOCABULARY, "species")
    assert nearest_subject(clip, drawn["fruit"], "item", species) == "fruit"
    assert nearest_subject(clip, drawn["flowers"], "item", species) == "flower"
    assert nearest_subject(clip, drawn["flowers"], "item", {}) == "item"
    # One line of the vocabulary is one subject, whatever it is called there.
    cars = {"automobile": VOCABULARY["type of car"], "car": VOCABULARY["type of car"]}
    assert nearest_subject(clip, drawn["cars"], "automobile", cars) == "automobile"


def test_images_of_mixed_content_have_no_nearest_subject(clip, drawn):
    subjects, mixed = (
        subjects_of(VOCABULARY, "species"),
        np.concatenate([drawn["fruit"], drawn["flowers"], drawn["cars"]]),
    )
    assert nearest_subject(clip, mixed, "item", subjects) in ("fruit", "flower")
    assert nearest_subject(clip, mixed, "item", subjects, share=0.7) == "item"
    assert nearest_subject(clip, drawn["fruit"], "item", subjects, share=0.7) == "fruit"


def test_words_of_the_nearest_subject_are_found(clip, drawn):
    asked = mm.Aspect("kind", "thing")  # the vocabulary has kinds of fruit, of dogs, … and none of things
    found = choose_subject(clip, drawn["fruit"], asked, VOCABULARY, find=True)
    assert {"apple", "banana", "grape"} <= set(found.aspect.words) and found.choice.candidates == 12
    assert found.aspect.subject in ("thing", "fruit") and found.separability.verdict == "well"


def test_a_subject_that_serves_stays(clip, drawn):
    asked = mm.Aspect("color", "fruit", ("red", "green", "yellow"))
    found = choose_subject(clip, drawn["fruit"], asked, VOCABULARY, find=False)
    assert found.aspect == asked and found.choice is None


def test_of_two_subjects_the_better_one_is_taken(clip, drawn, monkeypatch):
    from multimap_jax.prompts.separability import Separability
    from multimap_jax.words import subject as module

    rates = {"thing": 0.7, "fruit": 0.65}

    def diagnosed(clip, rows, aspect, *, names, seed):
        return Separability(aspect.name, "mine", rates[aspect.subject], 0.5, 0.5, ("red", 0.4))

    monkeypatch.setattr(module, "diagnose", diagnosed)
    asked = mm.Aspect("color", "thing", ("red", "green"))
    assert choose_subject(clip, drawn["fruit"], asked, VOCABULARY, False).aspect.subject == "thing"
    rates["thing"] = 0.6
    assert choose_subject(clip, drawn["fruit"], asked, VOCABULARY, False).aspect.subject == "fruit"


def test_a_nearest_subject_without_room_in_the_prompt_is_passed_over(clip, drawn, monkeypatch):
    from multimap_jax.words import subject as module

    monkeypatch.setattr(module, "nearest_subject", lambda *given: "fruit " * 80)
    asked = mm.Aspect("weather", "item", ("sunny", "rainy"))  # not in these images, so that another subject is tried
    found = choose_subject(clip, drawn["fruit"], asked, VOCABULARY, find=False)
    assert found.aspect == asked and found.separability.verdict != "well"


@pytest.mark.slow
def test_the_command_says_which_subject_it_uses(tmp_path, capsys):
    write_scenes(tmp_path / "fruit", "fruit", seed=4, count=40)
    flags = ["multimap", f"--images={tmp_path / 'fruit'}", "--aspect=kind", f"--out={tmp_path / 'out'}"]
    assert cli.main([*flags, "--subject=zzgl"]) == 0
    said, run = capsys.readouterr().out, json.loads((tmp_path / "out" / "run.json").read_text())
    (aspect,) = run["aspects"]
    assert sorted(group["name"] for group in aspect["groups"]) == ["apple", "banana", "grape"]
    if aspect["subject"] != "zzgl":
        assert "--subject=exactly:zzgl keeps yours" in said and aspect["words_from"]["subject"] == "zzgl"
    # Taken as it is typed, it has no words here.
    assert cli.main([*flags, "--subject=exactly:zzgl", "--clusters=kind=2", "--steps=1"]) == 0
    (aspect,) = json.loads((tmp_path / "out" / "run.json").read_text())["aspects"]
    assert aspect["subject"] == "zzgl" and aspect["words"] == [] and "keeps yours" not in capsys.readouterr().out


@pytest.mark.slow
def test_words_that_are_all_picked_evenly_give_the_number(clip):
    scenes = [mm.render_scene("card", seed=2, index=i) for i in range(80)]
    rows = clip.embed_images([image for image, _ in scenes])
    model = mm.MultiMaP(mm.Aspect("suits", "card", ("clubs", "diamonds", "hearts", "spades")), clip, "auto").fit(rows)
    assert model.n_clusters_ == 4 and model.n_clusters_table_[0].groups == 4
    assert len(np.unique(model.labels_)) == 4
