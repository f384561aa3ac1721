"""What the terminal says of an aspect."""

import dataclasses

import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.clustering.result import Assignment
from multimap_jax.clustering.selection import Candidate
from multimap_jax.prompts.separability import Separability
from multimap_jax.runs import messages
from multimap_jax.runs.candidate_words import choice_text


@pytest.fixture
def result():
    from multimap_jax.clustering.result import AspectResult

    fields = {field.name: None for field in dataclasses.fields(AspectResult)}
    empty = np.zeros(4)
    fields |= {
        "aspect": mm.Aspect("color", "car", ("red", "green", "blue")), "words_from": {"source": "given"},
        "cluster_names": ["red", "green, dark", "silver"], "stability": np.array([0.9, 0.9, 0.9]), "merge_order": [],
        "assignment": Assignment(np.array([0, 1, 2, 2]), empty, empty, empty > 0, empty > 0),
    }  # fmt: skip
    return AspectResult(**fields)


def test_words_without_a_group_are_said(result):
    assert messages.unused_text(result) == "No group fits the word: blue."
    assert "No group fits the word: blue." in messages.result_warnings(result)
    of = dataclasses.replace
    assert messages.unused_text(of(result, cluster_names=["blue 2", "green, dark", "red"])) == ""
    assert messages.unused_text(of(result, cluster_names=["red", "green"])) == ""  # fewer groups were asked for
    assert messages.unused_text(of(result, words_from={"source": "vocabulary"})) == ""


def test_a_verdict_is_not_said_beside_groups_that_say_otherwise(result):
    well = Separability("color", "small", 0.99, 1.0, 0.5, ("red", 0.5))
    result = dataclasses.replace(result, separability=well)
    assert messages.verdict_text(result) == str(well)
    for names in (["no stable split"], ["unnamed 1", "unnamed 2"]):
        assert messages.verdict_text(dataclasses.replace(result, cluster_names=names)) == ""


def test_where_the_encoder_cannot_tell_another_way_is_named(result):
    hardly = Separability("color", "small", 0.5, 0.0, 0.0, ("red", 0.5))
    (warning, *_) = messages.result_warnings(dataclasses.replace(result, separability=hardly))
    assert warning.startswith(str(hardly)) and "--look" in warning


def test_why_a_number_with_a_lower_stability_won_is_said(result):
    candidates = [Candidate(4, 0.81, 0.1, 0.2, 0.8), Candidate(3, 0.88, 0.1, 0.3, 0.7)]
    text = messages.selection_text(dataclasses.replace(result, candidates=candidates))
    assert text.startswith("Chose 4 groups (stability 0.81). Next best: 3 (0.88);") and "not by stability alone" in text
    assert "ranked" not in messages.selection_text(dataclasses.replace(result, candidates=candidates[::-1]))


@pytest.mark.parametrize(
    "source, advice", [("given", "Try other words (--words)"), ("vocabulary", "Give words (--words=color=")]
)
def test_one_group_says_what_to_do_about_words(result, source, advice):
    one = dataclasses.replace(result, candidates=[Candidate(1, 1.0, 1.0, 1.0, 1.0)], words_from={"source": source})
    assert advice in messages.selection_text(one)


def test_words_that_are_not_told_apart_are_counted_and_one_is_named():
    found = {"words": ("red", "pink"), "shares": [0.6, 0.4], "candidates": 4, "source": "vocabulary"}
    said = "color: 2 of 4 words from vocabulary are closest to the images: red 60%, pink 40%"
    assert choice_text("color", found | {"merged": {}}) == said
    one = choice_text("color", found | {"merged": {"rose": ("pink", 0.1)}})
    why = "not counted, because the encoder hardly tells"
    assert one == f"{said}. 1 more word is {why} it from these here: rose from pink"
    two = choice_text("color", found | {"merged": {"rose": ("pink", 0.1), "crimson": ("red", 0.1)}})
    assert two == f"{said}. 2 more words are {why} them from these here: rose from pink, …"
