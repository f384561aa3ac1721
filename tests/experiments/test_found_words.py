"""What `unasked` measures: average precision, one aspect and one order of suggestions, and the table of both."""

import numpy as np
import pytest

import multimap_jax as mm
from experiments import write_results as results
from experiments.calibration import found_words as unasked
from experiments.evaluation import datasets


def test_average_precision_of_an_order():
    order = ["color", "shape", "size", "weather"]
    assert unasked.average_precision(order, ["shape", "color"]) == 1
    assert unasked.average_precision(order, ["color", "weather"]) == pytest.approx((1 + 2 / 4) / 2)
    assert unasked.average_precision(order, ["size"]) == pytest.approx(1 / 3)
    assert unasked.average_precision(order, ["color", "missing"]) == 0.5
    # Of one wanted among four: the mean of 1, 1/2, 1/3 and 1/4.
    assert unasked.random_precision(order, ["size"]) == pytest.approx(25 / 48, abs=0.04)


@pytest.mark.slow
def test_an_aspect_with_words_one_without_and_the_order_of_a_drawn_set():
    drawn, clip = datasets.twin("aloi", 30, 1007), mm.load_clip("embedded")
    embeddings = clip.embed_images(drawn.images)
    row = unasked.rate_aspect(clip, embeddings, "object", "color", drawn.labels["color"])
    assert row["clusters"] == 2 and row["true"] > 0.9 and row["found"] > 0.9 and row["candidates"] > 2
    assert {"red", "green"} <= set(row["words"]) and row["true_verdict"] == row["found_verdict"] == "well"
    row = unasked.rate_aspect(clip, embeddings, "object", "identity", drawn.labels["color"])
    assert row["found"] is None and "no words for 'identity'" in row["why"]
    found = unasked.rate_suggestions(clip, embeddings, "object", {"colour": True, "shape": False, "identity": True})
    assert found["all"]["aspects"] == ["color", "shape"] and found["seen"]["aspects"] == ["color"]
    assert set(found["order"][:2]) == {"color", "shape"}  # both are seen in these pictures, about equally well
    assert found["all"]["precision"] == 1 and found["seen"]["precision"] > found["seen"]["random"]


def test_the_table_has_losses_of_what_is_seen_and_of_all():
    place = {"set": "fruit twin", "encoder": "embedded", "drawn": True, "clusters": 3, "true_verdict": "well"}
    has = {"words": ["red", "green"], "candidates": 13, "found_verdict": "hardly", "found_own_number": 0.5}
    rows = [
        place | has | {"aspect": "color", "seen": True, "true": 0.9, "found": 0.8},
        place | has | {"aspect": "shape", "seen": False, "true": 0.4, "found": 0.1},
        place | {"aspect": "identity", "seen": True, "true": 0.7, "found": None},
    ]
    order = {"order": ["color", "size"], "seconds": 1.25, "all": {"precision": 0.75, "random": 0.5}}
    found = {"command": "python", "date": "today", "machine": "one", "rows": rows, "suggested": [place | order]}
    lines = results.unasked_table(found).splitlines()
    assert "| twins | 0.100 (1) | 0.200 (2) | 0.750 | 0.500 | – | – | 1.2 |" in lines
    assert not any(line.startswith("| photographs") for line in lines)
    first = "| fruit twin | color | yes | 3 | 0.900 | 0.800 | 2 of 13 | 0.500 | well | hardly | red, green |"
    assert first in lines and "| fruit twin | identity | yes | 3 | 0.700 | no words | | | well | | |" in lines
    assert "| fruit twin | embedded | 0.750 | 0.500 | – | – | 1.2 | 2: color, size … |" in lines


def test_rounded_keeps_what_is_no_number():
    assert unasked.rounded({"a": np.float64(0.123456), "b": "x", "c": None}) == {"a": 0.1235, "b": "x", "c": None}
