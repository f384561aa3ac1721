"""k-means, nearest centroids and confidence, unassigned images, merge order."""

import numpy as np
import pytest

from multimap_jax.arrays import rows as rows_module
from multimap_jax.arrays.rows import ProjectedRows, take_rows
from multimap_jax.arrays.sampling import sample_indices
from multimap_jax.clustering.kmeans import (
    cluster,
    cluster_means,
    is_leftover,
    leftover_threshold,
    merge_order,
    nearest,
    nearest_by_product,
)


def blobs(sizes, seed=0):
    random = np.random.default_rng(seed)
    centroids = 10 * np.eye(len(sizes), 5)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return centroids[labels] + 0.1 * random.normal(size=(len(labels), 5)), labels


def test_blobs_are_found_largest_first():
    features, labels = blobs([5, 20, 10])
    groups = cluster(features, 3)
    assert np.bincount(groups.labels).tolist() == [20, 10, 5]
    assert (groups.labels == np.array([2, 0, 1])[labels]).all()
    assert np.abs(groups.centroids - [features[groups.labels == k].mean(0) for k in range(3)]).max() < 1e-9


def test_the_seed_decides():
    features = np.random.default_rng(0).normal(size=(60, 4))
    assert (cluster(features, 6, 3).labels == cluster(features, 6, 3).labels).all()
    assert (cluster(features, 6, 3).centroids != cluster(features, 6, 4).centroids).any()


def test_of_many_images_a_sample_finds_the_groups_and_all_are_in_one():
    features, labels = blobs([50, 200, 100])
    whole, sampled = cluster(features, 3), cluster(features, 3, drawn=sample_indices(range(350), 0, 40))
    assert (sampled.labels == whole.labels).all() and (sampled.centroids != whole.centroids).any()


def test_the_sample_is_drawn_by_hash_of_seed_and_name():
    names = [f"{i}.png" for i in range(350)]
    drawn = sample_indices(names, 1, 40)
    assert len(set(drawn)) == 40 and (np.diff(drawn) > 0).all() and (sample_indices(names, 1, 40) == drawn).all()
    assert (sample_indices(names, 2, 40) != drawn).any() and sample_indices(names, 1, 350) is None
    # Whatever comes with them: of other names in between, those that were drawn stay but for the edge.
    more = sorted([*names, *(f"x{i}.png" for i in range(35))])
    again = {more[i] for i in sample_indices(more, 1, 40)} & set(names)
    assert again <= {names[i] for i in drawn} and len(again) >= 30


def test_labels_are_the_nearest_centres_whatever_comes_with_them():
    features, _ = blobs([6, 6])
    groups = cluster(features, 2)
    for i, row in enumerate(features):
        assert nearest(row[None], groups.centroids)[0][0] == groups.labels[i]


@pytest.mark.parametrize("k", [0, 4])
def test_impossible_numbers_of_groups(k):
    with pytest.raises(ValueError, match=f"{k} groups requested for 3 images"):
        cluster(np.eye(3), k)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_images_that_are_too_alike_leave_groups_empty():
    with pytest.warns(UserWarning, match="only 2 of 3 groups have images"):
        groups = cluster(np.repeat(np.eye(2), 4, axis=0), 3)
    assert np.bincount(groups.labels, minlength=3).tolist() == [4, 4, 0]


def test_confidence_by_hand():
    # Squared distances .25 and 2.25: the log of the odds is (2.25 - .25) / 2 over the spread.
    centroids = np.array([[0.0], [2.0]])
    assert nearest(np.array([[0.5]]), centroids, 1.0)[2][0] == pytest.approx(1 / (1 + np.exp(-1)))
    assert nearest(np.array([[0.5]]), centroids, 4.0)[2][0] == pytest.approx(1 / (1 + np.exp(-0.25)))
    assert nearest(np.array([[1.0]]), centroids, 1.0)[2][0] == pytest.approx(0.5)
    assert nearest(np.array([[0.5]]), centroids, 0.0)[2][0] == 1 and nearest(np.ones((1, 1)), centroids[:1])[2][0] == 1


def test_inertia_and_spread_are_of_the_rows_that_were_looked_at():
    groups = cluster(np.array([[0.0, 0], [0, 2], [9, 0], [9, 2]]), 2)
    assert groups.inertia == pytest.approx(4) and groups.spread == pytest.approx(4 / 4 / 2**0.25)


def test_the_least_confident_are_unassigned_and_of_those_the_farthest():
    sure, far = np.array([0.9, 0.5, 0.9, 0.7, 0.9]), np.array([1.0, 1, 3, 1, 2])
    for share, left in ((0.0, []), (0.19, []), (0.2, [1]), (0.4, [1, 3]), (0.6, [1, 2, 3]), (0.9, [1, 2, 3, 4])):
        assert np.flatnonzero(is_leftover(sure, far, leftover_threshold(sure, far, share))).tolist() == left


def test_groups_become_one_as_ward_says():
    from scipy.cluster.hierarchy import linkage

    centroids = np.random.default_rng(0).normal(size=(9, 3))
    found = merge_order(centroids, np.ones(9))
    expected = linkage(centroids, "ward")[:, 2] ** 2 / 2 / np.square(centroids - centroids.mean(0)).sum()
    assert [cost for *_, cost in found] == pytest.approx(expected.tolist())
    assert sorted(found[-1][0] + found[-1][1]) == list(range(9)) and merge_order(centroids[:1], np.ones(1)) == []
    # The two on the right are nearer to each other, but the one on the left is small.
    first = merge_order(np.array([[0.0], [3], [5.5], [8]]), np.array([1, 9, 50, 50]))[0]
    assert first[:2] == ((0,), (1,)) and 0 < first[2] < 0.05


def test_near_is_nearest():
    random = np.random.default_rng(1)
    rows, centroids = random.normal(size=(50, 4)), random.normal(size=(6, 4))
    assert (nearest_by_product(rows, centroids) == nearest(rows, centroids)[0]).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 1, 3), (40, 7, 2), (33, 3, 130), (9, 100, 17)])
def test_nearest_in_parts_has_the_bits_of_one_row_after_the_other(shape, monkeypatch):
    images, k, d = shape
    random = np.random.default_rng(0)
    rows, centroids = random.normal(size=(images, d)).astype(np.float32), random.normal(size=(k, d))
    monkeypatch.setattr(rows_module, "BATCH_ROWS", 8)
    labels, distances, _ = nearest(rows, centroids)
    one_by_one = np.stack([np.linalg.norm(centroids - row, axis=1) for row in rows])
    assert (labels == one_by_one.argmin(1)).all() and (distances == one_by_one.min(1)).all()


def test_nearest_walks_no_rows_in_python(monkeypatch):
    calls, norm = [], np.linalg.norm
    monkeypatch.setattr(np.linalg, "norm", lambda *a, **k: calls.append(1) or norm(*a, **k))
    nearest(np.zeros((4096, 8)), np.ones((5, 8)))
    assert len(calls) == 1


def test_a_product_is_walked_and_never_held(monkeypatch):
    random = np.random.default_rng(0)
    rows, first, second = random.normal(size=(50, 6)), random.normal(size=(6, 4)), random.normal(size=(4, 3))
    product, whole = ProjectedRows(ProjectedRows(rows, first), second), rows @ first @ second
    monkeypatch.setattr(rows_module, "BATCH_ROWS", 16)
    assert len(product) == 50 and np.allclose(product[3:9], whole[3:9]) and np.allclose(product[[4, 1]], whole[[4, 1]])
    assert np.allclose(take_rows(product, None), whole) and np.allclose(
        take_rows(product, np.array([7, 3])), whole[[7, 3]]
    )
    assert (cluster(product, 3).labels == cluster(whole, 3).labels).all()


def test_means_of_groups_by_hand():
    rows = np.array([[1.0, 0], [3, 0], [0, 8]], np.float32)
    assert cluster_means(rows, np.array([0, 0, 2]), 3).tolist() == [[2, 0], [0, 0], [0, 8]]


def test_equal_images_are_left_over_together_or_not_at_all():
    confidences, distances = np.array([0.2, 0.5, 0.5, 0.5, 0.9, 1.0]), np.array([1.0, 2.0, 2.0, 3.0, 1.0, 1.0])
    for share, left in (
        (0.0, []),
        (0.2, [0]),
        (0.4, [0, 3]),
        (0.5, [0, 3]),
        (0.7, [0, 1, 2, 3]),
        (0.99, [0, 1, 2, 3, 4]),
    ):
        threshold = leftover_threshold(confidences, distances, share)
        assert np.flatnonzero(is_leftover(confidences, distances, threshold)).tolist() == left
    assert leftover_threshold(np.ones(9), np.zeros(9), 0.5) == (-1.0, 0.0)


def test_weights_count_as_repeated_rows():
    rows, weights = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]]), np.array([5, 1, 2, 2])
    weighted, repeated = cluster(rows, 2, weights=weights), cluster(np.repeat(rows, weights, axis=0), 2)
    assert weighted.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(weighted.centroids, repeated.centroids, atol=1e-12)
    assert np.isclose(weighted.spread, repeated.spread) and np.isclose(weighted.inertia, repeated.inertia)
