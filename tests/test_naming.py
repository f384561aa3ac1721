"""Names of groups from the words that the encoder finds in them."""

import numpy as np
import pytest
from scipy.special import softmax

import multimap_jax as mm
from multimap_jax import clustering
from multimap_jax.naming import name_groups, word_scores
from tests.tiny import unit_rows


def test_names_are_matched_one_to_one():
    # Both groups look most like "red", but the second is the surer one.
    names, sure = name_groups(np.array([[0.6, 0.4], [0.9, 0.1]]), ("red", "blue"), "color")
    assert names == ["blue", "red"] and sure.tolist() == pytest.approx([0.4, 0.9])


def test_more_groups_than_words_get_numbers():
    names, _ = name_groups(np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]), ("red", "red 2"), "color")
    assert names == ["red", "red 3", "red 2"]


def test_without_words_groups_are_numbered():
    names, sure = name_groups(np.zeros((2, 0)), (), "color")
    assert names == ["color 1", "color 2"] and not sure.any()


def test_scores_are_means_of_zero_shot_probabilities(clip, monkeypatch):
    aspect, rows = mm.Aspect("color", "fruit", ("red", "green", "yellow")), unit_rows(11)
    labels = np.array([0, 1] * 5 + [3])
    texts = clip.embed_texts([aspect.fill(word) for word in aspect.words])
    probabilities = softmax(clip.temperature_scale * rows @ texts.T, axis=1)
    expected = [probabilities[labels == group].mean(0) for group in (0, 1, 3)]
    for part in (4096, 4):
        monkeypatch.setattr(clustering, "PART", part)
        scores = word_scores(clip, rows, aspect, labels, 4)
        assert np.allclose(scores[[0, 1, 3]], expected, atol=1e-6) and not scores[2].any()
    assert word_scores(clip, rows, mm.Aspect("color"), labels, 4).shape == (4, 0)
