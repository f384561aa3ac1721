"""Names of groups, from the words that the encoder finds in their images."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from multimap_jax.clip.model import Clip
from multimap_jax.prompts import Aspect, word_embeddings
from multimap_jax.rows import walk


def word_scores(clip: Clip, embeddings: np.ndarray, aspect: Aspect, labels: np.ndarray, k: int) -> np.ndarray:
    """Mean zero-shot probability of every word over the images of each of k groups, float64 [k, words]."""
    if not aspect.words:
        return np.zeros((k, 0))
    texts, totals = word_embeddings(clip, aspect), np.zeros((k, len(aspect.words)))
    for whole, images in walk(embeddings):
        totals += np.eye(k)[labels[whole]].T @ softmax(clip.temperature_scale * (images @ texts.T), axis=1)
    return totals / np.maximum(np.bincount(labels, minlength=k), 1)[:, None]


def name_groups(scores: np.ndarray, words: tuple[str, ...], aspect: str) -> tuple[list[str], np.ndarray]:
    """A unique name for every group, and how sure it is, float [k] in 0…1.

    scores [k, words]: as `word_scores` gives them. Words go to groups by the best one-to-one matching, and the score is
    the confidence. Groups that no word is left for take their best word with a number behind it; without words they are
    called by the aspect, with confidence 0.
    """
    from scipy.optimize import linear_sum_assignment

    k = len(scores)
    if not words:
        return [f"{aspect} {i + 1}" for i in range(k)], np.zeros(k)
    best = scores.argmax(1)
    groups, chosen = linear_sum_assignment(scores, maximize=True)
    best[groups] = chosen
    names = [words[word] for word in best]
    for group in sorted(set(range(k)) - set(groups.tolist())):
        names[group] = _numbered(names[group], names)
    return names, scores[np.arange(k), best]


def _numbered(name: str, taken: list[str]) -> str:
    number = 2
    while f"{name} {number}" in taken:
        number += 1
    return f"{name} {number}"
