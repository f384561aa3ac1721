"""What `experiments.calibration.model_selection` measures by, on cases worked out by hand, and its page."""

import numpy as np
import pytest

from experiments.calibration import model_selection as number
from experiments.calibration import model_selection_page as number_page
from tests.tiny import unit_rows


def test_matching_is_one_to_one():
    truth, labels = np.array(list("aaabbc")), np.array([0, 0, 1, 1, 1, 1])
    assert number.matched(truth, labels).tolist() == [True, True, False, True, True, False]
    assert number.matched(np.array(list("ab")), np.array([0, 0])).sum() == 1  # a group has one label


def test_strangers_that_are_far_are_found_and_their_own_kind_is_not():
    random = np.random.default_rng(0)
    rows = random.normal(size=(200, 20))
    assert number.stranger_row(rows, rows[:50] + 20) == {
        "found": 1.0,
        "flagged": 1.0,
        "falsely": pytest.approx(0, abs=0.02),
    }
    assert number.stranger_row(rows, random.normal(size=(50, 20)))["found"] < 0.4


@pytest.mark.slow
def test_rows_and_page(clip):
    rows, truth = unit_rows(60), np.array(list("abc") * 20)
    run = number.run_row(clip, rows, "fruit", "color", truth)
    assert run["true"] == 3 and 1 <= run["found"] <= 24 and 2 <= run["silhouette"] <= 24 and 0 <= run["nmi"] <= 1
    assert -1 <= run["again"] <= 1 and len(run["names"]) == run["found"]
    subsets = list(number.subset_rows(clip, rows, "fruit", "color", truth))
    assert [row["true"] for row in subsets] == [1, 2]
    sure = number.confidence_row(clip, rows, "fruit", "color", truth)
    assert len(sure["bins"]) == 5 and 0 <= sure["accuracy"] <= 1
    of = {"set": "a twin", "difficulty": 0}
    strange = number.stranger_row(rows, rows[:5] + 3)
    found = {
        "twins": {
            "runs": [of | run],
            "subsets": [of | row for row in subsets],
            "confidences": [of | sure],
            "outliers": [of | {"strangers": "b", "difficulty": level} | strange for level in (0, 2)],
        },
        "photographs": {
            "runs": [{"set": "photos", "seen": True} | run],
            "counts": [{"set": "photos"} | subsets[0]],
            "confidences": [],
            "outliers": [{"set": "photos", "strangers": "b"} | strange],
            "seconds": [number.seconds_row(np.tile(rows, (40, 1)), 3)],
        },
        "command": "python -m experiments.calibration.model_selection",
        "date": "2026-11-25",
        "machine": "a machine",
    }
    page = number_page.number_table(found)
    exact = int(run["found"] == 3)
    assert f"| twins, easy | 1 | {exact}, " in page and "a machine" in page and "| a twin, easy | color |" in page
    assert number_page.exact([{"true": 3, "found": 3}, {"true": 5, "found": 4}], number_page.WAYS["found"]) == "1, 2"
