"""The program that measures the thresholds of `separability` again: cases, rule, counts and table."""

import numpy as np
import pytest

import multimap_jax as mm
from experiments import write_results as results
from experiments.calibration import separability, verdict_cases
from multimap_jax.prompts.separability import CRITERIA
from multimap_jax.words.vocabulary import read_vocabulary

LIMITS = {"win_rate": 0.8, "structure": 0.3, "share": 0.15, "partly": 0.25}


def row(win_rate, structure, share, nmi=None, **more):
    found = {"set": "fruit 0", "kind": "true", "win_rate": win_rate, "structure": structure, "share": share}
    return found | ({} if nmi is None else {"nmi": nmi}) | more


def test_thresholds_are_quantiles_of_cases_with_good_groups():
    good = [row(0.7 + i / 100, 0.3 + i / 20, 0.1 + i / 50, 0.5 + i / 100) for i in range(21)]
    bad = [row(0.0, -9.0, 0.0, 0.4999), row(0.0, -9.0, 0.0)]
    found = separability.thresholds(bad + good)
    assert (found["win_rate"], found["structure"], found["share"]) == (0.74, 0.5, 0.12)
    assert found["partly"] == pytest.approx(0.64)  # .4 of the way from .3 / .5 to .35 / .5
    with pytest.raises(ValueError, match="none of 2 cases"):
        separability.thresholds(bad)


def test_a_level_is_that_of_the_package():
    from multimap_jax.prompts import separability as package

    limits = {name: getattr(package, name.upper()) for name in (*CRITERIA, "partly")}
    for values in np.random.default_rng(0).uniform((0.4, -0.1, 0.0), (1.0, 0.6, 0.4), (200, 3)):
        verdict = package.Separability("color", "embedded", *values, ("red", 0.5)).verdict
        assert separability.level(row(*values), limits) == verdict
    assert separability.CRITERIA == CRITERIA


def test_cases_are_counted_by_words_nmi_and_verdict():
    rows = [row(0.9, 0.9, 0.9, 0.5), row(0.9, 0.9, 0.0, 0.6), row(0.5, 0.0, 0.9, 0.1, kind="found")]
    rows += [row(0.9, 0.9, 0.9, kind="wrong")]
    found = separability.counts(rows, lambda each: separability.level(each, LIMITS))
    assert found["given"] == {"0.5": {"well": 1, "partly": 1, "hardly": 0}}
    assert found["found"] == {"0.0": {"well": 0, "partly": 0, "hardly": 1}}
    assert found["wrong"] == {"": {"well": 1, "partly": 0, "hardly": 0}}


def test_a_set_is_judged_by_what_other_sets_give():
    strict = [row(0.99, 2.0, 0.9, 0.9) for _ in range(3)]
    lax = [row(0.6, 0.1, 0.1, 0.9, set="card 2") for _ in range(3)]
    separability.judge(strict + lax)
    assert {each["verdict"] for each in strict} == {"well"} and {each["verdict"] for each in lax} == {"hardly"}


@pytest.mark.slow
def test_cases_of_a_drawn_set_have_lists_of_words_criteria_and_groups():
    clip = verdict_cases.with_memory(mm.load_clip("embedded"))
    images = next(verdict_cases.drawn_sets("fruit", {"embedded": clip}, 60, 17))
    images.labels.pop("species")
    rows = list(verdict_cases.rate(clip, images, read_vocabulary(None)))
    kinds = ["true", "one value", "too many", "found", "found, true number", *("wrong", "wrong, found") * 2]
    assert sorted(each["kind"] for each in rows) == sorted(kinds)
    true = next(each for each in rows if each["kind"] == "true")
    assert true["nmi"] > 0.9 and true["win_rate"] > 0.8
    assert all(("nmi" in each) == (each["kind"] in kinds[:1] + kinds[2:5]) for each in rows)


def test_noise_is_as_wide_as_asked_for_and_rows_stay_unit():
    random = np.random.default_rng(0)
    rows = random.normal(size=(50, 32)) / 10 + np.eye(32)[0]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    images = verdict_cases.ImageSet("a", True, "embedded", "fruit", rows, {"color": np.array(["red"] * 50)})
    noisy = images.noisy(1.0, 0)
    assert np.linalg.norm(noisy.embeddings, axis=1) == pytest.approx(1, abs=1e-5) and noisy.noise == 1
    spread, moved = (np.square(each - each.mean(0)).sum() for each in (rows, noisy.embeddings))
    assert 1.6 < moved / spread < 2.6
    assert len(images.some(20, 0).embeddings) == len(images.some(20, 0).labels["color"]) == 20


def test_a_text_is_embedded_once():
    clip = verdict_cases.with_memory(mm.load_clip("embedded"))
    texts = ["a red fruit", "a green fruit", "a red fruit"]
    rows = clip.embed_texts(texts)
    assert (rows[0] == rows[2]).all() and rows == pytest.approx(mm.load_clip("embedded").embed_texts(texts), abs=1e-6)


def test_the_table_has_thresholds_counts_photographs_and_mistakes():
    cell = {"well": 3, "partly": 1, "hardly": 0}
    cars = {"encoder": "small", "noise": 0.0, "subject": "car", "aspect": "type", "words": 3}
    cars = row(0.56, 0.05, 0.12, 0.01, set="cars", verdict="hardly") | cars
    counted = {"given": {"0.5": cell, "0.0": cell}, "wrong": {"": cell}}
    found = {name: counted for name in ("left_out", "in_code")}
    found |= {"code": LIMITS, "found": LIMITS | {"win_rate": 0.8123}, "photographs": [cars], "mistakes": []}
    text = results.sight_table(found | {"command": "python", "date": "today", "machine": "one"})
    for line in (
        "| win rate | 0.80 | 0.81 |",
        "| given | .5 or more | 4 | 3 (75%) | 1 (25%) | 0 (0%) |",
        "| wrong | not grouped | 4 | 3 (75%) | 1 (25%) | 0 (0%) |",
        "| cars | small | 0 | car | type | true | 3 | 0.01 | 0.56 | 0.05 | 0.12 | hardly |",
    ):
        assert line in text
    assert "should not be called" not in text.splitlines()[-3]
