"""Features of the default recipe: the words' span, round groups, words learnt for groups that have none."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import multimap_jax as mm
from experiments.evaluation import datasets
from multimap_jax.arrays.rows import BATCH_ROWS, ProjectedRows
from multimap_jax.clustering.kmeans import cluster
from multimap_jax.features.span import cluster_targets, fit_span, whitening, word_axes, word_clusters, word_shares
from tests.tiny import unit_rows
from tests.zero_shot import AtScale


def test_axes_leave_out_what_words_share():
    texts = np.array([[1.0, 1, 0, 0], [1, -1, 0, 0], [1, 0, 1, 0]]) / np.sqrt(2)
    axes = word_axes(texts)
    assert axes.shape == (4, 2) and np.allclose(axes.T @ axes, np.eye(2))
    assert np.abs(axes[[0, 3]]).max() < 1e-12
    images = np.array([[1.0, 1, 0, 0], [1, -1, 0, 0]] * 5) / np.sqrt(2)
    assert word_shares(texts, images, AtScale(50)).round(3).tolist() == [0.5, 0.5, 0.0]


def test_words_that_are_one_to_the_encoder_are_refused():
    with pytest.raises(ValueError, match="all the words the same embedding"):
        word_axes(np.ones((2, 4)) / 2)


def test_groups_of_words_are_zero_shot_where_it_is_sure():
    texts = np.eye(4)[:3]
    images = texts[np.arange(30) % 3] + 0.01 * unit_rows(30, seed=1)[:, :4]
    labels = word_clusters(texts, images, 3, AtScale(50.0), 0)
    assert adjusted_rand_score(np.arange(30) % 3, labels) == 1


def test_rounding_finds_long_groups_that_plain_k_means_cuts():
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], 100)
    features = np.stack([random.normal(size=200) * 4, 6.0 * truth + random.normal(size=200)], axis=1)
    features[:, 0] += truth * 2
    rough = np.where(random.random(200) < 0.2, 1 - truth, truth)
    matrix = whitening(features, rough, 2)
    plain, found = cluster(features, 2).labels, cluster(features @ matrix, 2, begin=rough).labels
    assert adjusted_rand_score(truth, found) > 0.9 > 0.7 > adjusted_rand_score(truth, plain)


@pytest.mark.parametrize("rows", [30, 400, BATCH_ROWS + 100])
def test_rounding_makes_the_shrunk_covariance_a_sphere(rows):
    random = np.random.default_rng(rows)
    features, labels = random.normal(size=(rows, 6)) * [5, 1, 1, 1, 0.2, 0.1], random.integers(0, 3, rows)
    means = np.stack([features[labels == label].mean(0) for label in range(3)])
    shrunk, _ = ledoit_wolf(features - means[labels], assume_centered=True)
    for given in (features, ProjectedRows(features, np.eye(6))):
        matrix = whitening(given, labels, 3)
        assert np.allclose(matrix.T @ shrunk @ matrix, np.eye(6), atol=1e-8)


def test_rounding_stands_groups_without_scatter():
    labels = np.repeat(np.arange(3), 4)
    assert np.array_equal(whitening(np.repeat(np.eye(3), 4, axis=0), labels, 3), np.eye(3))
    assert np.isfinite(whitening(np.eye(3), np.zeros(3, int), 2)).all()
    assert np.isfinite(whitening(np.ones((5, 3)), np.zeros(5, int), 1)).all()


def test_targets_of_groups_lie_where_the_words_are():
    texts, images = unit_rows(4, seed=0).astype(float), unit_rows(30, seed=1).astype(float)
    targets = cluster_targets(texts, images, np.arange(30) % 3, AtScale(50))
    assert targets.shape == (3, 32) and np.allclose(np.linalg.norm(targets, axis=1), 1, atol=1e-6)
    # An image far along what two groups differ in is nearer to its own group's target.
    labels = (images[:, 0] > 0).astype(int)
    targets = cluster_targets(texts, images, labels, AtScale(50))
    assert ((images @ targets.T)[:, 1] - (images @ targets.T)[:, 0])[labels == 1].mean() > 0
    assert cluster_targets(texts, np.repeat(images[:1], 4, axis=0), np.zeros(4, int), AtScale(50)).shape == (1, 32)


@pytest.mark.slow
def test_projection_of_few_words_and_many(clip):
    rows = unit_rows(40, seed=2)
    aspect = mm.Aspect("color", words=("red", "green", "yellow"))
    assert fit_span(clip, rows, aspect, 3).projection.shape == (32, 2)
    found = fit_span(clip, rows, aspect, 5)
    assert found.projection.shape == (32, 3 + 5 - 1) and set(found.labels.tolist()) <= set(range(5))


@pytest.fixture(scope="module")
def drawn():
    clip, twin = mm.load_clip("embedded"), datasets.twin("flowers", 120, 950)
    return clip, clip.embed_images(twin.images), twin.labels


@pytest.mark.slow
def test_missing_words_are_made_up_for(drawn):
    clip, embeddings, labels = drawn
    aspect = mm.Aspect("species", "flower", ("daisy", "lily", "rose"))
    model = mm.MultiMaP(aspect, clip, n_clusters=4).fit(embeddings)
    zero_shot = (embeddings @ clip.embed_texts([aspect.fill(word) for word in aspect.words]).T).argmax(1)
    ours, baseline = (normalized_mutual_info_score(labels["species"], found) for found in (model.labels_, zero_shot))
    assert ours > 0.95 and ours > baseline + 0.05


@pytest.mark.slow
def test_labels_hold_for_block_shapes_and_seeds(drawn):
    clip, embeddings, labels = drawn
    for words in (("red", "white", "yellow"), ("crimson", "pink", "purple", "red", "white", "yellow", "golden")):
        aspect = mm.Aspect("color", "flower", words)
        first, block, seed = (
            mm.MultiMaP(aspect, clip, 4, config=mm.ProxyConfig(block_size=size), random_state=number)
            .fit(embeddings[:60])
            .labels_
            for size, number in ((16, 0), (7, 0), (16, 1))
        )
        assert adjusted_rand_score(first, block) >= 0.99
        assert adjusted_rand_score(first, seed) >= 0.95
