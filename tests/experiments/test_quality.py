"""The comparison with every baseline: word lists, weighted NMI, verdicts."""

import csv
import json

import numpy as np
import pytest
from absl import flags

import multimap_jax as mm
from experiments.evaluation import case as case_module
from experiments.evaluation import datasets, quality
from experiments.evaluation import score_cache as kept
from experiments.evaluation import word_lists as protocols
from experiments.training.captions import known_words
from multimap_jax.scenes import SCENES


def test_word_lists_of_one_aspect():
    names = ["red", "green", "yellow"]
    assert protocols.word_list("exact", "fruit", "color", names) == ("green", "red", "yellow")
    longer = protocols.word_list("superset", "fruit", "color", names)
    assert set(names) < set(longer) and {"crimson", "blue"} < set(longer) and 6 <= len(longer) <= 12
    assert protocols.word_list("subset", "fruit", "color", names, 0) == ("red", "yellow")
    assert protocols.word_list("subset", "fruit", "color", names, 1) == ("green", "yellow")
    assert protocols.word_list("subset", "object", "shape", ["ball", "cylinder"]) is None
    products = protocols.word_list("superset", "product", "color", ["red", "green", "black"])
    assert "navy blue" in products and "crimson" not in products
    assert protocols.word_list("superset", "product", "gender", ["men", "women"]) is None
    with pytest.raises(ValueError, match="known: exact, superset, subset"):
        protocols.word_list("some", "fruit", "color", names)


DRAWN = [
    pytest.param(scene.subject, aspect, names, id=f"{scene.name} {aspect}")
    for scene in SCENES.values()
    for aspect, names in scene.aspects.items()
    if aspect != "identity"
]


@pytest.mark.parametrize("subject, aspect, names", DRAWN)
def test_long_lists_are_two_to_four_times_as_long_and_short_ones_miss_a_third(subject, aspect, names):
    longer = protocols.word_list("superset", subject, aspect, names)
    assert 2 * len(names) <= len(longer) <= 4 * len(names)
    assert set(" ".join(longer).split()) <= set(known_words())
    if len(names) > 2:
        for turn in range(5):
            shorter = protocols.word_list("subset", subject, aspect, names, turn)
            assert len(names) - len(shorter) == max(1, round(len(names) / 3))


def cell(method, values, aspect="color", protocol="exact"):
    values = np.asarray(values, float)
    return quality.Cell("fruit", aspect, protocol, method, values.mean(), 0.5, 0.5, values)


def test_verdicts_compare_means_and_paired_resamples():
    base = np.random.default_rng(0).normal(0.5, 0.05, 200)
    first = [cell("CRL", base), cell("CLIP_GPT", base - 0.2), cell("image in span", base + 0.01)]
    second = [cell("CRL", base, "species"), cell("CLIP_GPT", base, "species"), cell("image in span", base, "species")]
    ours = [cell("default", base + 0.05), cell("default", base - 0.03, "species")]
    (found,) = quality.verdicts_of([*first, *second, *ours])
    assert found.protocol == "exact" and found.cells == 2 and found.best_published == "CRL"
    assert (found.over_published, found.over_span, found.over_zero_shot) == pytest.approx((0.01, 0.005, 0.11))
    assert len(found.better) == 1 and found.better[0].startswith("fruit color (image in span, ")
    assert len(found.worse) == 1 and found.worse[0].startswith("fruit species (")
    assert (found.means["default"].better, found.means["default"].worse) == (1, 1)
    assert (found.means["CLIP_GPT"].better, found.means["CLIP_GPT"].worse) == (1, 1)
    low, mean, high = (getattr(found.means["CRL"], name) for name in ("low", "nmi", "high"))
    assert low < mean < high and found.visible == pytest.approx(0, abs=1e-9)


def test_aspects_that_no_method_finds_stand_apart():
    cells = [cell("CRL", [0.1, 0.12]), cell("default", [0.14, 0.14]), cell("default", [0.9, 0.9], "species")]
    assert quality.unseen(cells) == {("fruit", "color")}
    assert quality.unseen([*cells, cell("CRL", [0.2, 0.2], protocol="subset")]) == set()


@pytest.fixture
def quality_flags(tmp_path):
    before = set(flags.FLAGS)
    quality.define_flags()
    flags.FLAGS(["quality", "--quick", "--datasets=fruit", f"--out={tmp_path / 'out'}"])
    yield tmp_path / "out"
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


@pytest.mark.slow
def test_kept_cells_are_of_one_number_of_steps_and_one_code(quality_flags, monkeypatch):
    monkeypatch.setattr(quality, "METHODS", {"CLIP_GPT": "CLIP_GPT"})
    runs = kept.Runs(quality_flags / "runs.jsonl")

    def cells():
        quality.run_set(datasets.find("fruit"), mm.load_clip("embedded"), runs)
        return len(runs.scores)

    first = cells()
    assert first == cells() == 6
    monkeypatch.setattr(quality, "paper_steps", lambda: 101)
    assert cells() == 12
    monkeypatch.setattr(kept, "library_code", lambda: "another library")
    kept.code_digest.cache_clear()
    assert cells() == 18
    kept.code_digest.cache_clear()


@pytest.mark.slow
def test_the_program_writes_its_three_files_and_computes_nothing_twice(quality_flags, monkeypatch):
    few = {"CLIP_GPT": "CLIP_GPT", "image in span": "image in span", "Multi-MaP default": "default"}
    monkeypatch.setattr(quality, "METHODS", few)
    monkeypatch.setattr(case_module, "SEEDS", 2)
    quality.main(None)
    with (quality_flags / "quality.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == quality.COLUMNS and len(rows) == 2 * 3 * 3
    assert {row["method"] for row in rows} == set(few.values())
    assert all(float(row["nmi_low"]) <= float(row["nmi_high"]) for row in rows)
    content = json.loads((quality_flags / "quality.json").read_text())
    assert [each["protocol"] for each in content["verdicts"]] == list(protocols.PROTOCOLS)
    monkeypatch.setattr(kept.Runs, "add", lambda *_: pytest.fail("a finished cell was computed again"))
    quality.main(None)
    text = (quality_flags / "quality.md").read_text()
    assert "| Fruit color, subset |" in text and "Images: Fruit 60." in text and "difficulty 2" in text
    assert "would have been seen in four cases of five" in text
