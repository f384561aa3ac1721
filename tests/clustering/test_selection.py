"""The number of groups: planted ones are found, and words decide between numbers that are as good."""

import numpy as np
import pytest

from multimap_jax.clustering import selection as number
from multimap_jax.clustering.selection import select_n_clusters, stability


@pytest.fixture(autouse=True)
def fewer_halvings(monkeypatch):
    monkeypatch.setattr(number, "HALVINGS", 4)


def planted(k, images=240, axes=6, apart=9.0, seed=0):
    random = np.random.default_rng(seed)
    centroids = apart * np.linalg.qr(random.normal(size=(max(k, axes), max(k, axes))))[0][:k]
    labels = np.arange(images) % k
    return centroids[labels] + random.normal(size=(images, centroids.shape[1])), labels


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 5, 8, 12])
def test_planted_groups_are_found_without_words(k):
    best, *others = select_n_clusters(planted(k)[0])
    assert best.groups == k and best.strength > 0.8 and all(other.score <= best.score for other in others)
    assert best.smallest == pytest.approx(1 / k, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("k", "words"), [(1, 1.5), (2, 3.0), (5, 4.0), (8, 6.0), (12, 13.0)])
def test_words_that_are_a_little_too_many_or_few_change_nothing(k, words):
    assert select_n_clusters(planted(k)[0], words)[0].groups == k


@pytest.mark.slow
def test_between_numbers_that_are_as_good_the_words_decide(monkeypatch):
    monkeypatch.setattr(number, "HALVINGS", 2)
    # Three groups of four each.
    rows, labels = planted(12)
    rows = np.concatenate([rows, 60 * np.eye(3)[labels % 3]], axis=1)
    found = select_n_clusters(rows)
    strengths = {each.groups: each.strength for each in found}
    assert strengths[3] > 0.95 and strengths[12] > 0.8
    assert found[0].groups == 12  # stable ones are never too few because fewer are stable as well
    assert select_n_clusters(rows, 3.0)[0].groups == 3 and select_n_clusters(rows, 12.0)[0].groups == 12


def test_strength_by_hand():
    own, given = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1])
    assert number._strength(own, given, 2) == pytest.approx(1 / 3)  # of three pairs one stays
    assert number._strength(own, own, 2) == 1
    assert number._strength(np.array([0, 0, 1]), np.array([0, 0, 1]), 2) == 0  # a group of one image has no pairs


def test_candidates_say_what_they_cost():
    table = sorted(select_n_clusters(planted(3)[0], 3.0), key=lambda each: each.groups)
    assert [each.groups for each in table] == list(range(1, 13))
    assert table[0].inertia == 1 and all(a.inertia > b.inertia for a, b in zip(table, table[1:6]))
    assert table[2].score == pytest.approx(table[2].strength) and table[0].score == pytest.approx(1 - 0.3 * np.log(3))


def test_few_images_and_images_that_are_all_the_same():
    assert [each.groups for each in select_n_clusters(np.eye(4))] == [1]
    assert (
        select_n_clusters(np.zeros((40, 3)))[0].groups == 1 and select_n_clusters(np.zeros((40, 3)), 2.0)[0].groups == 1
    )


def test_a_sample_is_looked_at_by_name(monkeypatch):
    monkeypatch.setattr(number, "SELECTION_IMAGES", 60)
    rows, labels = planted(4)
    names = [f"{i}.png" for i in range(len(rows))]
    found = select_n_clusters(rows, names=names)
    order = np.random.default_rng(0).permutation(len(rows))
    again = select_n_clusters(rows[order], names=[names[i] for i in order])
    assert found[0].groups == again[0].groups == 4
    assert stability(rows, labels, 4, names).min() == 1


def test_stability_tells_groups_from_a_cloud_that_is_cut():
    rows, labels = planted(3)
    assert stability(rows, labels, 3).min() > 0.95
    cloud = np.random.default_rng(0).normal(size=(240, 6))
    cut = number._fit(cloud, 6)[0]
    assert stability(cloud, cut, 6).max() < 0.8
    # One of three groups is halved: the halves are not stable, the others are.
    halved = np.where((labels == 2) & (np.arange(len(rows)) % 2 == 0), 3, labels)
    assert stability(rows, halved, 4)[2:].max() < 0.75
