"""The program that measures the thresholds of `separability` again: rule, controls, counts and table."""

import numpy as np
import pytest

import multimap_jax as mm
from experiments import write_results as results
from experiments.calibration import separability as separability
from experiments.evaluation import datasets
from multimap_jax.prompts.separability import random_words


def row(ami, information, structure, clear=True):
    return {"ami": ami, "information": information, "structure": structure, "clear": clear}


def test_a_threshold_is_what_19_of_20_seen_aspects_reach():
    seen = [row(0.5 + i / 100, i / 20, 2 - i / 20) for i in range(21)]
    unseen = [row(0.4999, -9.0, -9.0), row(0.1, -9.0, -9.0)]
    assert separability.thresholds(unseen + seen) == {"information": 0.05, "structure": 1.05}
    with pytest.raises(ValueError, match="none of 2 aspects"):
        separability.thresholds(unseen)


def test_aspects_are_counted_by_what_zero_shot_gives():
    rows = [row(0.5, 1, 1), row(0.9, 0, 0, False), row(0.25, 1, 1), row(0.2499, 1, 1), row(0.0, 0, 0, False)]
    found = separability.counts(rows)
    assert (found["seen"], found["between"], found["unseen"]) == (2, 1, 2)
    assert (found["seen_clear"], found["between_clear"], found["unseen_clear"]) == (1, 1, 1)
    assert separability.counts([])["seen_clear"] == 0


def test_verdicts_are_right_where_they_agree_with_the_truth():
    truth = ((True, True), (True, False), (False, False), (False, True))
    found = separability.judgement([{"clear": clear, "seen": seen} for clear, seen in truth])
    assert (found["right"], found["unseen"], found["unseen_clear"]) == (0.5, 2, 1)


def test_words_of_the_controls_are_new():
    words = ("up", "pu", "dark red", "aa", "left", "felt")
    made = separability.shuffled(words, np.random.default_rng(0))
    assert len({*made, *words}) == 12
    assert all(set(one) <= {*old, "x"} - {" "} for one, old in zip(made, words))
    assert len(set(random_words(40, np.random.default_rng(0)))) == 40


def test_colors_of_easy_drawings_are_clear_and_those_of_noise_are_not():
    clip, twins = mm.load_clip("embedded"), {("fruit", 0): datasets.twin("fruit", 45, 17)}
    rows, controls = separability.calibrate(clip, twins, seed=17)
    assert [each["aspect"] for each in rows] == ["color", "species"] and rows[0]["clear"] and rows[0]["ami"] > 0.9
    found = {each["control"]: each for each in separability.summary(controls)}
    assert [each["cases"] for each in found.values()] == [2] * 4 and found["pictures of noise"]["clear"] == 0
    assert "minutes" in separability.trained(clip)


def test_the_table_has_thresholds_counts_controls_and_photographs():
    counted = separability.counts([row(0.9, 1, 1), row(0.1, 0, 0, False)])
    pose = {"set": "cmuface", "aspect": "pose", "encoder": "embedded"}
    found = {
        "command": "python -m experiments.calibration.separability",
        "date": "2026-01-01",
        "machine": "a machine",
        "images": 20,
        "difficulties": [0, 2],
        "code": {"information": 0.42, "structure": 0.27},
        "found": {"information": 0.4214, "structure": 0.281},
        "calibration": counted,
        "encoders": [{"encoder": "stopped after 2 minutes", "trained": "2.0 minutes (137 steps)"} | counted],
        "controls": [{"control": "letters shuffled", "cases": 2, "clear": 1, "which": [pose]}],
    }
    text = results.sight_table(found)
    for line in (
        "| information | 0.420 | 0.421 |",
        "| stopped after 2 minutes | 2.0 minutes (137 steps) | 1 of 1 | 0 of 0 | 0 of 1 |",
        "| letters shuffled | 1 of 2 | cmuface pose, embedded |",
    ):
        assert line in text
    assert "100% of those" in text and "Photographs" not in text
    cars = {"set": "cars", "aspect": "type", "encoder": "small", "seen": False} | row(0.01, 0.1, 0.05, False)
    text = results.sight_table(found | {"photographs": separability.judgement([cars])})
    assert "1 of 1 verdicts are right (100%)" in text
    assert "| cars | type | small | 0.10 | 0.05 | 0.01 | not seen | cannot |" in text
