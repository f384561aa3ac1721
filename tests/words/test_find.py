"""Words that nobody gave: how images choose, what the encoder sees, which aspects it proposes; and the command."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.cli import main as cli
from multimap_jax.prompts.aspect import word_embeddings
from multimap_jax.prompts.separability import (
    ABSTRACT_WORDS,
    PARTLY,
    SAMPLE_IMAGES,
    THINGS,
    Separability,
    compared,
    structure,
    win_rate,
)
from multimap_jax.runs.suggest import table
from multimap_jax.scenes import SCENES, write_scenes
from multimap_jax.words import choose
from multimap_jax.words.choose import choose_words, merge_targets, overlaps
from multimap_jax.words.vocabulary import read_vocabulary
from tests.pages import content
from tests.zero_shot import AtScale

COLORS = ("red", "green", "yellow")


@pytest.fixture(scope="module")
def clip():
    return mm.load_clip("embedded")


@pytest.fixture(scope="module")
def drawn(clip):
    """{scene: (unit rows [images, embed], {aspect: labels [images]})}"""
    found = {}
    for name in ("fruit", "card"):
        images, labels = zip(*(mm.render_scene(name, seed=11, index=i) for i in range(90)))
        found[name] = clip.embed_images(list(images)), {a: np.array([one[a] for one in labels]) for a in labels[0]}
    return found


def test_images_choose_their_words_among_many(clip, drawn):
    candidates = ("blue", "green", "black", "red", "purple", "yellow", "white")
    found = choose_words(clip, drawn["fruit"][0], mm.Aspect("color", "fruit", candidates))
    assert set(found.words) == set(COLORS) and found.candidates == 7 and not found.merged
    assert found.shares.sum() == pytest.approx(1) and (np.diff(found.shares) <= 0).all()


def test_words_for_the_same_images_become_one(clip, drawn, monkeypatch):
    texts = word_embeddings(clip, mm.Aspect("color", "fruit", COLORS))

    def embeddings(_, aspect):  # "crimson" is the encoder's word for nearly what "red" is
        near = texts[0] + 0.005 * texts[1]
        rows = dict(zip(COLORS, texts)) | {"crimson": near / np.linalg.norm(near)}
        return np.stack([rows[word] for word in aspect.words])

    monkeypatch.setattr(choose, "word_embeddings", embeddings)
    found = choose_words(clip, drawn["fruit"][0], mm.Aspect("color", "fruit", ("crimson", *COLORS)))
    ((word, (into, share)),) = found.merged.items()
    assert len(found.words) == 3 and {word, into} == {"crimson", "red"} and 0.1 < share < 0.2


def test_merged_words_lead_to_a_chosen_word(clip, drawn, monkeypatch):
    targets = iter([[0, 1, 2, 2], [0, 1, 1]])  # the fourth into the third, then the third into the second
    monkeypatch.setattr(choose, "merge_targets", lambda overlap, *_: np.array(next(targets, range(len(overlap)))))
    found = choose_words(clip, drawn["fruit"][0], mm.Aspect("color", "fruit", ("red", "green", "yellow", "crimson")))
    assert set(found.words) == {"red", "green"} and {into for into, _ in found.merged.values()} == {"green"}


def test_what_words_share_is_none_of_themselves_and_all_of_their_doubles():
    random = np.random.default_rng(0)
    images = random.normal(size=(50, 4))
    texts = np.concatenate([np.eye(4)[:2], np.eye(4)[:1]])
    overlap = overlaps(texts, images, AtScale(20.0))
    assert overlap[0, 2] == pytest.approx(1) and overlap[0, 1] < 0.2 and not np.diag(overlap).any()


def test_the_larger_word_takes_the_smaller_and_two_stay():
    overlap = np.array([[0, 0.9, 0.1, 0.7], [0.9, 0, 0.1, 0.2], [0.1, 0.1, 0, 0.3], [0.7, 0.2, 0.3, 0]])
    shares = np.array([0.2, 0.4, 0.3, 0.1])
    assert merge_targets(overlap, shares, 0.6).tolist() == [1, 1, 2, 3]  # 3 is like 0 alone, which stays no more
    assert merge_targets(np.ones((3, 3)), shares[:3], 0.6).tolist() == [1, 1, 2]


@pytest.mark.slow
def test_thousands_of_words_are_chosen_from(clip, drawn):
    words = tuple(f"{one} {other}" for one in COLORS for other in map(str, range(700)))
    found = choose_words(clip, drawn["fruit"][0][:40], mm.Aspect("color", "fruit", words))
    assert 2 <= len(found.words) < 50 and found.candidates == 2100


def test_two_words_stay_though_all_images_pick_one(clip, drawn):
    rows, labels = drawn["fruit"]
    found = choose_words(clip, rows[labels["color"] == "red"], mm.Aspect("color", "fruit", ("blue", *COLORS)))
    assert len(found.words) == 2 and found.words[0] == "red"


def test_many_words_of_many_images_are_held_in_parts(clip, drawn, monkeypatch):
    sizes = []
    rows = np.repeat(drawn["fruit"][0], 150, axis=0)
    monkeypatch.setattr(choose, "word_shares", lambda texts, images, _: sizes.append(len(images)) or np.full(2, 0.5))
    choose_words(clip, rows, mm.Aspect("color", "fruit", COLORS[:2]))
    assert sizes == [choose.WORD_IMAGES] and len(rows) > choose.WORD_IMAGES


@pytest.mark.parametrize("scene", ["fruit", "card"])
def test_drawn_aspects_are_separated_well(clip, drawn, scene):
    rows, labels = drawn[scene]
    for aspect, values in labels.items():
        separability = mm.diagnose(clip, rows, mm.Aspect(aspect, SCENES[scene].subject, tuple(sorted(set(values)))))
        assert separability.verdict == "well" and separability.score >= 1 and 0.8 < separability.win_rate <= 1
        assert str(separability) == f"This encoder (embedded) separates the {aspect} words well on these images."


@pytest.mark.slow
def test_hard_drawings_are_separated_partly(clip):
    images, labels = zip(*(mm.render_scene("card", seed=11, index=i, difficulty=2) for i in range(90)))
    ranks = tuple(sorted({one["order"] for one in labels}))
    separability = mm.diagnose(clip, clip.embed_images(list(images)), mm.Aspect("order", "card", ranks))
    assert separability.verdict == "partly" and PARTLY <= separability.score < 1
    said = "This encoder (embedded) partly separates the order words on these images: check the groups, some images "
    assert str(separability) == said + "will be misplaced."


def test_what_words_share_lowers_a_verdict_by_one_level_at_most():
    seen = Separability("color", "embedded", 1.0, 2.0, 1.0, ("red", 0.4))
    others = {"share": "partly", "structure": "hardly", "win_rate": "hardly"}
    assert seen.verdict == "well"
    assert {name: dataclasses.replace(seen, **{name: 0.0}).verdict for name in others} == others


def test_own_words_are_compared_with_others():
    abstract, things = compared(mm.Aspect("kind", "fruit", (*THINGS[:-1], "Idea")))
    assert things.words == (THINGS[-1],) and list(abstract.words) == ABSTRACT_WORDS[1:]
    every = mm.Aspect("kind", "fruit", (*THINGS, *ABSTRACT_WORDS))  # as of WordNet
    assert [list(other.words) for other in compared(every)] == [ABSTRACT_WORDS, THINGS]


# Words of things that are not in the pictures, and of subjects that the encoder was trained on.
WRONG = (
    "species of animal",
    "weather",
    "suits of card",
    "body type of car",
    "species of flower",
    "emotion",
    "furniture",
)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_words_are_never_separated_well(clip, drawn, name):
    words, rows = read_vocabulary(None)[name], drawn["fruit"][0]
    given = mm.diagnose(clip, rows, mm.Aspect("species", "fruit", words[:6]))
    chosen = choose_words(clip, rows, mm.Aspect("species", "fruit", words)).words
    found = mm.diagnose(clip, rows, mm.Aspect("species", "fruit", chosen))
    assert "well" not in (given.verdict, found.verdict)


def noise():
    return list(np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8))


CONTROLS = {
    "noise": lambda clip, rows, labels: (clip.embed_images(noise()), COLORS),
    "nonsense": lambda clip, rows, labels: (rows, ("bado", "kivu", "zemi", "tolu")),
    "all alike": lambda clip, rows, labels: (rows[labels["color"] == "red"], COLORS),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_are_hardly_separated(clip, drawn, control):
    rows, words = CONTROLS[control](clip, *drawn["fruit"])
    separability = mm.diagnose(clip, rows, mm.Aspect("color", "fruit", words))
    assert separability.verdict == "hardly"
    assert str(separability).startswith("This encoder (embedded) hardly separates the color words")
    assert str(separability).endswith(": the groups may be mostly noise.")
    assert ("nearly all of them match 'red'" in str(separability)) == (control == "all alike")


def test_letters_in_disorder_are_never_separated_well(clip, drawn):
    words = ("der", "negre", "olleyw")
    assert mm.diagnose(clip, drawn["fruit"][0], mm.Aspect("color", "fruit", words)).verdict != "well"


def test_structure_is_of_groups_not_of_spread():
    random = np.random.default_rng(1)
    cloud = random.normal(size=(400, 3)) @ np.diag([6.0, 4.0, 2.0])
    centroids = np.array([[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]])
    groups = centroids[random.integers(3, size=400)] + 0.3 * random.normal(size=(400, 3))
    assert abs(structure(cloud)) < 0.15 < 1 < structure(groups)
    assert structure(np.ones((40, 3))) == 0 and structure(cloud[:3]) == 0


def test_words_win_against_words_that_vary_less():
    random = np.random.default_rng(2)
    strong, weak = 3 * random.normal(size=(2000, 4)), random.normal(size=(2000, 30))
    assert win_rate(strong, weak) > 0.8 and abs(win_rate(weak[:, :4], weak[:, 4:]) - 0.5) < 0.03
    assert win_rate(strong + 9, weak) == win_rate(strong, weak)  # of the mean image all words fit alike
    assert win_rate(np.ones((20, 2)), np.ones((20, 30))) == 0


def test_a_verdict_is_of_a_sample_that_names_decide(clip, drawn):
    rows = np.repeat(drawn["fruit"][0], 30, axis=0)
    names = [f"{i}.png" for i in range(len(rows))]
    aspect = mm.Aspect("color", "fruit", COLORS)
    turned = mm.diagnose(clip, rows[::-1], aspect, names=names[::-1])
    assert len(rows) > SAMPLE_IMAGES and turned.win_rate == pytest.approx(
        mm.diagnose(clip, rows, aspect, names=names).win_rate
    )


def test_a_sample_of_a_sample_is_that_of_all(clip, drawn):
    rows, aspect = np.repeat(drawn["fruit"][0], 80, axis=0), mm.Aspect("color", "fruit", COLORS)
    some, names = sample_rows(rows, None, 0, choose.WORD_IMAGES)
    assert SAMPLE_IMAGES < choose.WORD_IMAGES == len(some) < len(rows)
    assert mm.diagnose(clip, some, aspect, names=names) == mm.diagnose(clip, rows, aspect)
    assert mm.find_words(clip, rows, "color", "fruit").separability == mm.diagnose(
        clip, rows, mm.find_words(clip, rows, "color", "fruit").aspect
    )


def test_one_word_is_no_aspect_to_look_for(clip, drawn):
    for function in (mm.diagnose, choose_words):
        with pytest.raises(ValueError, match="two or more"):
            function(clip, drawn["fruit"][0], mm.Aspect("color", "fruit", ("red",)))


def test_words_are_found_through_python(clip, drawn):
    found = mm.find_words(clip, drawn["fruit"][0], "color", "fruit")
    assert set(found.aspect.words) == set(COLORS) and found.source == "vocabulary"
    assert found.separability.verdict == "well" and found.choice.candidates >= 10
    given = mm.find_words(clip, drawn["fruit"][0], "color", "fruit", source=("red", "blue", "green", "yellow"))
    assert set(given.aspect.words) == set(COLORS) and given.source == "given"
    with pytest.raises(ValueError, match="no words for 'vibe'"):
        mm.find_words(clip, drawn["fruit"][0], "vibe", "fruit")


@pytest.mark.parametrize("scene", ["fruit", "card"])
def test_true_aspects_are_suggested_first(clip, drawn, scene):
    found = mm.suggest_aspects(clip, drawn[scene][0], SCENES[scene].subject)
    assert {each.aspect.name for each in found[:2]} == set(drawn[scene][1])
    scores = [each.separability.score for each in found]
    assert scores == sorted(scores, reverse=True) and len(found) > 5
    assert {each.source for each in found} == {"vocabulary"}


def test_a_vocabulary_of_ones_own_is_suggested_from(clip, drawn, tmp_path):
    (tmp_path / "own.txt").write_text("hue: red, green, yellow\nhand: left, right\n")
    found = mm.suggest_aspects(clip, drawn["fruit"][0], "fruit", vocabulary=read_vocabulary(tmp_path / "own.txt"))
    assert [each.aspect.name for each in found] == ["hue", "hand"]


# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "fruit"
    write_scenes(folder, "fruit", seed=11, count=60)
    return folder


@pytest.mark.slow
def test_the_command_finds_words_and_says_so(fruit, tmp_path, capsys):
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", "--aspect=species"]
    flags += ["--words=color=red,green,yellow", f"--labels={fruit / 'labels.csv'}", f"--out={tmp_path}"]
    assert cli.main(["multimap", *flags]) == 0
    said = capsys.readouterr().out
    assert "species: 3 of 12 words from vocabulary are closest to the images: " in said and "color: 3 of" not in said
    assert json.loads((tmp_path / "metrics.json").read_text())["species"]["nmi"] == pytest.approx(1)
    color, species = json.loads((tmp_path / "run.json").read_text())["aspects"]
    assert color["words_from"] == {"source": "given"} and color["separability"]["verdict"] == "well"
    assert species["words_from"]["source"] == "vocabulary" and len(species["words_from"]["shares"]) == 3
    assert sorted(species["words"]) == ["apple", "banana", "grape"] == sorted(g["name"] for g in species["groups"])
    # Again, with a number of groups: the words are the same, the groups fewer.
    assert cli.main(["multimap", *flags, "--clusters=species=2"]) == 0
    assert len(json.loads((tmp_path / "run.json").read_text())["aspects"][1]["groups"]) == 2


def test_what_the_encoder_cannot_see_is_a_warning_everywhere(fruit, tmp_path, capsys):
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=vibe", "--words=vibe=merry,gloomy", f"--out={tmp_path}"]
    assert cli.main(["multimap", *flags]) == 0
    assert "Warning: This encoder (embedded) hardly separates the vibe words" in capsys.readouterr().out
    told = content((tmp_path / "report.html").read_text())
    assert told["aspects"][0]["warnings"][0].startswith("This encoder (embedded) hardly separates the vibe words")
    assert not any("vibe" in note for note in told["notes"])
    assert json.loads((tmp_path / "run.json").read_text())["aspects"][0]["separability"]["verdict"] == "hardly"


@pytest.mark.slow
def test_words_of_nothing_are_asked_for_by_none(fruit, tmp_path):
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", "--words=color=none", "--clusters=color=3"]
    assert cli.main(["multimap", *flags, "--steps=2", f"--out={tmp_path}"]) == 0
    aspect = json.loads((tmp_path / "run.json").read_text())["aspects"][0]
    assert aspect["words"] == [] and aspect["features"] == "proxy" and aspect["separability"] is None


@pytest.mark.slow
def test_suggest_prints_aspects_and_the_next_command(fruit, tmp_path, capsys):
    assert cli.main(["multimap", "suggest", f"--images={fruit}", "--subject=fruit", f"--out={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert said.index("  color ") < said.index("  emotion ")
    command = said[said.index("next: multimap ") :].split()
    assert {f"--images={fruit}", "--aspect=color", "--aspect=species", f"--out={tmp_path}"} <= set(command)
    assert (
        cli.main(["multimap", "suggest", f"--embeddings={tmp_path}", "--subject=fruit", f"--out={tmp_path / 'b'}"]) == 0
    )
    assert "  color " in capsys.readouterr().out


def test_a_score_is_rounded_down_so_that_it_agrees_with_the_verdict():
    separability = SimpleNamespace(score=0.9999, verdict="partly")
    found = SimpleNamespace(aspect=mm.Aspect("sport", words=("ski", "golf")), separability=separability)
    assert table([found], "mine", 2)[1] == "  sport   0.99  partly  ski, golf"


@pytest.mark.slow
def test_suggest_lists_the_images_that_it_cannot_read(fruit, tmp_path, capsys):
    images = shutil.copytree(fruit, tmp_path / "images")
    (images / "broken.png").write_bytes(b"no image")
    command = ["multimap", "suggest", f"--images={images}", "--subject=fruit", f"--out={tmp_path / 'out'}"]
    for _ in range(2):  # the second time from the cache
        assert cli.main(command) == 0
        said = capsys.readouterr().out
        assert "\n1 image could not be read:\n  broken.png: " in said
        assert said.index("broken.png") < said.index("next: multimap ")


SUGGEST_BAD = {
    "no images": (["--subject=fruit"], "give the images"),
    "both": (["--images={fruit}", "--embeddings={fruit}"], "not both"),
    "no folder": (["--images={fruit}/nothing"], "there is no folder"),
    "vocabulary": (["--images={fruit}", "--vocabulary={fruit}/labels.csv"], "labels.csv"),
    "flag": (["--images={fruit}", "--aspect=color"], "aspect"),
}


@pytest.mark.parametrize("name", SUGGEST_BAD)
def test_bad_suggestions_are_a_sentence(name, fruit, tmp_path, capsys):
    flags, expected = SUGGEST_BAD[name]
    flags = [flag.format(fruit=fruit) for flag in flags]
    assert cli.main(["multimap", "suggest", *flags, f"--out={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("multimap: ") and said.count("\n") == 1 and expected in said


def test_aspects_stay_what_they_are(clip):
    """Words that the checkpoint has not seen go, the rest of the aspect stays."""
    from multimap_jax.words.find import seen_words

    aspect = mm.Aspect("color", "fruit", ("red", "mauve", "green"), template="{word} {subject}")
    assert seen_words(clip, aspect) == dataclasses.replace(aspect, words=("red", "green"))


def test_prompts_of_other_words_are_looked_at_before_anything_is_computed(fruit, tmp_path, capsys, monkeypatch):
    """Of the words that they are compared with some are longer than the words that were given."""
    monkeypatch.setattr(mm.Clip, "embed_readable", lambda *_, **__: pytest.fail("embedded"))
    flags = ["--aspect=color", "--words=color=a,b", f"--template={'a ' * 74}{{word}}", f"--out={tmp_path / 'out'}"]
    assert cli.main(["multimap", f"--images={fruit}", *flags]) == 2
    assert "the context holds 77" in capsys.readouterr().err


def test_suggest_says_before_embedding_that_there_is_no_aspect(fruit, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mm.Clip, "embed_readable", lambda *_, **__: pytest.fail("embedded"))
    (tmp_path / "own").write_text("mood: unseeable, invisible\n")
    flags = [f"--vocabulary={tmp_path / 'own'}", f"--out={tmp_path / 'out'}"]
    assert cli.main(["multimap", "suggest", f"--images={fruit}", *flags]) == 2
    assert "knows fewer than two words of every aspect" in capsys.readouterr().err


def test_the_vocabulary_is_read_once(fruit, tmp_path):
    """What is changed while the images are embedded ends no run."""
    from multimap_jax.runs.job import check_job

    (tmp_path / "own").write_text("color: Red, green\n")
    plan = check_job(plain_job(fruit, tmp_path / "out", tmp_path / "own"))
    assert plan.vocabulary == {"color": ("Red", "green")}


def plain_job(images, out, vocabulary):
    from multimap_jax.runs.job import Job
    from multimap_jax.words.word_sources import WordSources

    aspects, none = (mm.Aspect("color", "fruit"),), {"color": ()}
    sources = WordSources((vocabulary,))
    return Job(
        images, aspects, {"color": 2}, none, mm.ProxyConfig(), "embedded", None, out, sources=sources
    )  # fmt: skip


@pytest.mark.parametrize(
    "text, source",
    [
        ("vocabulary", "vocabulary"),
        ("Vocabulary", "vocabulary"),
        ("WordNet:Bird", "wordnet:Bird"),
        ("LLM", "llm"),
        ("llm:red", None),
        ("None", None),
        ("red,wordnet", None),
    ],
)
def test_sources_of_words_have_names_in_any_capitals(text, source):
    from multimap_jax.words.word_sources import source_of

    assert source_of(text) == source


@pytest.mark.parametrize(
    "name, said",
    [("colr", r"\(did you mean color\?\)"), ("blorb", r"\(it has words for species, color, .* and .* more\)")],
)
def test_an_unknown_aspect_is_told_the_known_ones(name, said):
    from multimap_jax.words.word_sources import candidates

    with pytest.raises(mm.InputError, match=f"no words for '{name}' of 'fruit' {said}: give words"):
        candidates(name, "fruit", "vocabulary")
