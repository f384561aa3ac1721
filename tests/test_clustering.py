"""k-means, features, outliers and names of groups."""

import numpy as np
import pytest

from multimap_jax.clustering import build_features, check_features, cluster, draw_rows, name_groups, nearest, outliers


def blobs(sizes, seed=0):
    random = np.random.default_rng(seed)
    centres = 10 * np.eye(len(sizes), 5)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return centres[labels] + 0.1 * random.normal(size=(len(labels), 5)), labels


def test_blobs_are_found_largest_first():
    features, labels = blobs([5, 20, 10])
    groups = cluster(features, 3)
    assert groups.sizes.tolist() == [20, 10, 5]
    assert (groups.labels == np.array([2, 0, 1])[labels]).all()
    assert np.abs(groups.centres - [features[groups.labels == k].mean(0) for k in range(3)]).max() < 1e-9


def test_the_seed_decides():
    features = np.random.default_rng(0).normal(size=(60, 4))
    assert (cluster(features, 6, 3).labels == cluster(features, 6, 3).labels).all()
    assert (cluster(features, 6, 3).centres != cluster(features, 6, 4).centres).any()


def test_of_many_images_a_sample_finds_the_groups_and_all_are_in_one():
    features, labels = blobs([50, 200, 100])
    whole, sampled = cluster(features, 3), cluster(features, 3, sample=40)
    assert (sampled.labels == whole.labels).all() and (sampled.centres != whole.centres).any()
    drawn = draw_rows(features, 40, 1)
    assert len({tuple(row) for row in drawn} & {tuple(row) for row in features}) == 40
    assert (draw_rows(features, 40, 1) == drawn).all() and (draw_rows(features, 40, 2) != drawn).any()
    assert draw_rows(features, 350, 1) is features


def test_labels_are_the_nearest_centres_whatever_comes_with_them():
    features, _ = blobs([6, 6])
    groups = cluster(features, 2)
    for i, row in enumerate(features):
        assert nearest(row[None], groups.centres)[0][0] == groups.labels[i]


@pytest.mark.parametrize("k", [0, 4])
def test_impossible_numbers_of_groups(k):
    with pytest.raises(ValueError, match=f"{k} groups asked for among 3 images"):
        cluster(np.eye(3), k)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_images_that_are_too_alike_leave_groups_empty():
    with pytest.warns(UserWarning, match="only 2 of 3 groups hold images"):
        groups = cluster(np.repeat(np.eye(2), 4, axis=0), 3)
    assert groups.sizes.tolist() == [4, 4, 0]


def test_a_planted_outlier_is_found_and_equal_points_are_none():
    distances = np.array([1.0, 1.1, 0.9, 1.2, 9.0, 5.0, 5.1, 5.2])
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    assert outliers(distances, labels).tolist() == [False] * 4 + [True] + [False] * 3
    assert not outliers(np.zeros(5), np.zeros(5, int)).any()


def test_features():
    proxies, prompts, words = np.array([[3.0, 4.0]]), np.ones((1, 2)), 2 * np.ones((1, 2))
    images = np.array([[0.0, 1.0]])
    build = lambda kind: build_features(kind, proxies, prompts, words, images)  # noqa: E731
    assert build("proxy") is proxies and build("prompt") is prompts and build("word") is words
    assert build("image") is images
    assert np.allclose(build_features("span", None, None, None, images, 3 * np.eye(2)), [[0.0, 3.0]])
    assert np.allclose(build("proxy+image"), [[0.6, 0.8, 0.0, 1.0]])
    with pytest.raises(ValueError, match="known: span, proxy, prompt, word, image, proxy\\+image"):
        check_features("magic")


def test_names_are_matched_one_to_one():
    # Both groups look most like "red", but the second is the surer one.
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1]])
    names, sure = name_groups(np.array([0, 0, 1]), 2, probabilities, ("red", "blue"), "color")
    assert names == ["blue", "red"] and sure.tolist() == pytest.approx([0.4, 0.9])


def test_more_groups_than_words_get_numbers():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    names, _ = name_groups(np.array([0, 1, 2]), 3, probabilities, ("red", "red 2"), "color")
    assert names == ["red", "red 3", "red 2"]


def test_without_words_groups_are_numbered():
    names, sure = name_groups(np.array([0, 1]), 2, np.zeros((2, 0)), (), "color")
    assert names == ["color 1", "color 2"] and not sure.any()
