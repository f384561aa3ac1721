"""Metrics on cases worked out by hand, and whatever the groups are called."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import multimap_jax as mm


def test_a_case_worked_out_by_hand():
    # Contingency table [[2, 1], [0, 1]]. Pairs: 6; together in both: 1; apart in both: 2, so RI = 3 / 6.
    true, found = [0, 0, 0, 1], [0, 0, 1, 1]
    scores = mm.evaluate(true, found)
    assert scores["ri"] == pytest.approx(0.5)
    # ARI: index 1, expected 3 * 2 / 6 = 1, so 0.
    assert scores["ari"] == pytest.approx(0.0)
    assert scores["accuracy"] == pytest.approx(0.75)
    entropy = lambda *p: -sum(q * np.log(q) for q in p)  # noqa: E731
    mutual = entropy(0.75, 0.25) + entropy(0.5, 0.5) - entropy(0.5, 0.25, 0.25)
    # The arithmetic mean of both entropies; the geometric mean or the maximum would give other numbers.
    assert scores["nmi"] == pytest.approx(mutual / ((entropy(0.75, 0.25) + entropy(0.5, 0.5)) / 2))


def test_perfect_and_worthless_groupings():
    perfect = mm.evaluate(["a", "a", "b", "b"], [1, 1, 0, 0])
    assert all(value == pytest.approx(1) for value in perfect.values())
    worthless = mm.evaluate([0, 0, 1, 1], [0, 1, 0, 1])
    assert worthless["nmi"] == pytest.approx(0) and worthless["accuracy"] == 0.5
    assert worthless["ri"] == pytest.approx(1 / 3) and worthless["ari"] == pytest.approx(-0.5)


def test_accuracy_matches_one_to_one():
    # Both groups are mostly "a", but only one of them may be matched to it.
    assert mm.evaluate(["a", "a", "a", "a", "b"], [0, 0, 1, 1, 1])["accuracy"] == pytest.approx(3 / 5)


@pytest.mark.slow
@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30), st.permutations(range(4)))
def test_names_of_groups_do_not_matter(pairs, names):
    true, found = zip(*pairs)
    renamed = [names[label] for label in found]
    first, second = mm.evaluate(true, found), mm.evaluate(true, renamed)
    assert first == pytest.approx(second, abs=1e-9)


@pytest.mark.parametrize("true, found", [([0, 1], [0]), ([], [])])
def test_bad_lengths(true, found):
    with pytest.raises(ValueError, match="one label for each true label"):
        mm.evaluate(true, found)


def test_labels_that_cannot_be_compared():
    with pytest.raises(mm.InputError, match=r"found NoneType and str: .*\(see labels=\)"):
        mm.evaluate([0, 1, 0], ["a", None, "b"])
    with pytest.raises(mm.InputError, match=r"found int and str: .*\(see true_labels=\)"):
        mm.evaluate(["1", 1], [0, 0])
    with pytest.raises(mm.InputError, match=r"found list: .*\(see true_labels=\)"):
        mm.evaluate([[0], [1, 2]], [0, 1])
