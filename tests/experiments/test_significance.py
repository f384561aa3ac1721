"""Comparisons: NMI of weighted images, paired differences, Holm's correction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import normalized_mutual_info_score

from experiments.evaluation import significance as compare


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=12))
def test_weighted_nmi_is_that_of_images_repeated_as_often(rows):
    truth, labels, weights = map(np.array, zip(*rows))
    if not weights.sum():
        return
    found = compare.resampled_nmi(truth, labels, weights[None])
    repeated = normalized_mutual_info_score(np.repeat(truth, weights), np.repeat(labels, weights))
    assert found == pytest.approx([repeated], abs=1e-9)


def test_resamples_are_the_same_for_every_method():
    truth, random = np.arange(90) % 3, np.random.default_rng(0)
    labels = np.where(random.random(90) < 0.3, (truth + 1) % 3, truth)
    first, again, other = (compare.resample(truth, [labels], seed) for seed in (0, 0, 1))
    assert first == again != other and len(first) == compare.RESAMPLES
    assert compare.resample(truth, [labels, truth], 0) == pytest.approx((np.array(first) + 1) / 2, abs=1e-4)


def test_an_interval_is_around_what_was_found():
    random = np.random.default_rng(0)
    truth, labels = random.integers(0, 13, (2, 260))  # NMI of many groups and few images is higher in all resamples
    found = normalized_mutual_info_score(truth, labels)
    resampled = np.array(compare.resample(truth, [labels], 0))
    low, high = compare.interval(found, resampled)
    assert low < found < high and np.quantile(resampled, 0.025) > found
    assert high - low == pytest.approx(np.diff(np.quantile(resampled, (0.025, 0.975)))[0])


def test_a_difference_is_held_against_its_spread():
    spread = np.random.default_rng(0).normal(0.02, 0.01, 100_000)
    assert compare.p_value(0.02, spread) == pytest.approx(2 * norm.sf(2), rel=0.05)
    assert compare.p_value(-0.02, -spread) == pytest.approx(2 * norm.sf(2), rel=0.05)
    assert compare.p_value(0.0, np.zeros(9)) == 1 and compare.p_value(0.1, np.full(9, 0.1)) == 0


def test_holm_holds_the_smallest_against_the_number_of_all():
    assert compare.holm([0.04]) == [True] and compare.holm([0.06]) == [False]
    assert compare.holm([0.04, 0.5]) == [False, False]
    assert compare.holm([0.04, 0.001]) == [True, True]  # the second of two is held against 5% again
    assert compare.holm([0.03, 0.04, 1e-9]) == [False, False, True]
    assert compare.holm([]) == []
