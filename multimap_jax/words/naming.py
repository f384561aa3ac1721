"""Names of clusters, from the words that the encoder finds in their images, and images that show them best."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from multimap_jax.arrays.rows import take_rows, walk
from multimap_jax.clustering.kmeans import members
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.prompts.aspect import Aspect, word_embeddings
from multimap_jax.prompts.normalize import normal_form, unique_words
from multimap_jax.words.find import usable_words
from multimap_jax.words.vocabulary import Vocabulary, aspects_for, vocabulary_words

FIT = 0.5  # of the probability of a cluster's best word, that its matched word needs
TELL = 0.1  # by which a second word must be likelier in its cluster than in the clusters of the same name
# Aspects of anything that second words come from, besides the cluster's own aspect and the subject's.
GENERAL = ("color", "shape", "material", "texture", "pattern", "size")
EXEMPLARS = 8  # images that show a cluster
CANDIDATES = 64  # nearest images that exemplars are chosen from, at most


def word_scores(clip: Clip, embeddings: np.ndarray, aspect: Aspect, labels: np.ndarray, k: int) -> np.ndarray:
    """Mean zero-shot probability of every word over the images of each of k clusters, float64 [k, words]."""
    if not aspect.words:
        return np.zeros((k, 0))
    texts, totals = word_embeddings(clip, aspect), np.zeros((k, len(aspect.words)))
    for whole, images in walk(embeddings):
        totals += np.eye(k)[labels[whole]].T @ clip.probabilities(images, texts)
    return totals / np.maximum(np.bincount(labels, minlength=k), 1)[:, None]


def name_groups(
    clip: Clip, embeddings: np.ndarray, aspect: Aspect, labels: np.ndarray, k: int, vocabulary: Vocabulary
) -> tuple[list[str], np.ndarray]:
    """A unique name for every cluster of images, unit rows [images, embed], and its confidence, float [k] in 0…1.

      1. The aspect's words go to clusters by the best one-to-one matching of `word_scores`. A word that is less than
         half as likely as the cluster's best word does not fit.
      2. Clusters without a word are matched with the vocabulary's words for this aspect in the same way ("yellow",
         where only red and green were given).
      3. Clusters still without one get their best word, and behind it a word that tells them from the clusters with the
         same best word: of the aspect, or of the vocabulary's for the subject and for anything ("red, round").
      4. Where no word does, a number; without words, behind the name of the aspect.

    The confidence is the mean probability of the (first) word among the aspect's; without words it is 0.
    """
    scores, names = word_scores(clip, embeddings, aspect, labels, k), [""] * k
    confidences = scores.max(1, initial=0)
    for group, word in _matched(scores, range(k), range(len(aspect.words))).items():
        names[group], confidences[group] = aspect.words[word], scores[group, word]
    if all(names):
        return names, confidences
    added = unique_words(vocabulary_words(vocabulary, aspect.name, aspect.subject), without=aspect.words)
    added = usable_words(clip, dataclasses.replace(aspect, words=tuple(added))).words
    extended = dataclasses.replace(aspect, words=aspect.words + added)
    extended_scores = word_scores(clip, embeddings, extended, labels, k)
    unnamed = [group for group in range(k) if not names[group]]
    for group, word in _matched(extended_scores, unnamed, range(len(aspect.words), len(extended.words))).items():
        names[group], confidences[group] = extended.words[word], extended_scores[group, word]
    if all(names):
        return names, confidences
    firsts = [
        name or (aspect.words[scores[group].argmax()] if aspect.words else "") for group, name in enumerate(names)
    ]
    scores_of = {extended: extended_scores} | {
        other: word_scores(clip, embeddings, other, labels, k) for other in _describing(clip, aspect, vocabulary)
    }
    return _with_seconds(names, firsts, scores_of, aspect.name), confidences


def _with_seconds(names: list[str], firsts: list[str], scores_of: dict[Aspect, np.ndarray], aspect: str) -> list[str]:
    """The names; clusters without one ("") get their first word with a distinguishing one behind it, or a number."""
    names, unnamed = list(names), [group for group, name in enumerate(names) if not name]
    forms = [normal_form(first) for first in firsts]
    for group in unnamed:
        alike = [other for other, form in enumerate(forms) if other != group and form == forms[group]]
        seconds = unique_words(_distinguishing(scores_of, group, alike), without=firsts[group : group + 1])
        choices = (f"{firsts[group]}, {word}" if firsts[group] else word for word in seconds)
        names[group] = next(iter(unique_words(choices, without=names)), "")
    for group in (group for group in unnamed if not names[group]):
        numbered = (f"{firsts[group] or aspect} {number}" for number in itertools.count(2 if firsts[group] else 1))
        names[group] = next(name for name in numbered if unique_words([name], without=names))
    return names


def _matched(scores: np.ndarray, groups: Sequence[int], words: Sequence[int]) -> dict[int, int]:
    """cluster -> word of the best one-to-one matching, where the word fits."""
    from scipy.optimize import linear_sum_assignment

    groups, words = np.array(groups, int), np.array(words, int)
    rows, columns = linear_sum_assignment(scores[np.ix_(groups, words)], maximize=True)
    pairs = zip(groups[rows].tolist(), words[columns].tolist())
    return {group: word for group, word in pairs if scores[group, word] >= FIT * scores[group].max()}


def _describing(clip: Clip, aspect: Aspect, vocabulary: Vocabulary) -> list[Aspect]:
    """Aspects that second words come from, with the words that the checkpoint knows."""
    general = aspects_for(vocabulary, "")
    found = {name: words for name, words in aspects_for(vocabulary, aspect.subject).items() if name not in general}
    found |= {name: general[name] for name in GENERAL if name in general}
    same = vocabulary_words(vocabulary, aspect.name, aspect.subject)
    aspects = [
        usable_words(clip, dataclasses.replace(aspect, name=name, words=words))
        for name, words in found.items()
        if words != same
    ]
    return [other for other in aspects if len(other.words) > 1]


def _distinguishing(scores_of: dict[Aspect, np.ndarray], group: int, others: Sequence[int]) -> list[str]:
    """Words that are likelier in a cluster than in each of the others by TELL or more, the clearest first; none without
    others. scores_of: aspect -> its `word_scores`."""
    found: dict[str, tuple[str, float]] = {}  # by normal form, the first spelling and the largest margin
    for aspect, scores in scores_of.items() if others else ():
        for word, margin in zip(aspect.words, scores[group] - scores[list(others)].max(0, initial=0)):
            form = normal_form(word)
            first, largest = found.get(form, (word, 0.0))
            found[form] = first, max(largest, margin)
    return [word for word, margin in sorted(found.values(), key=lambda each: -each[1]) if margin >= TELL]


def exemplars(embeddings, labels: np.ndarray, distances: np.ndarray, k: int) -> list[np.ndarray]:
    """Up to eight images that show each of k clusters: near the centroid and unlike each other. The nearest comes
    first, then always the least similar to those before it, of the nearest third of the cluster (64 at most).

    embeddings: unit rows [images, embed]. labels, distances: [images].
    """
    found = []
    for images in members(labels, distances, k):
        candidates = images[: min(CANDIDATES, max(EXEMPLARS, len(images) // 3))]
        found.append(candidates[_unlike(take_rows(embeddings, candidates))] if len(candidates) else candidates)
    return found


def _unlike(rows: np.ndarray) -> list[int]:
    """Indices of the first unit row and further EXEMPLARS - 1, each the least similar to those before it."""
    chosen, similarity = [0], rows @ rows[0]
    while len(chosen) < min(EXEMPLARS, len(rows)):
        similarity[chosen] = np.inf
        chosen.append(int(similarity.argmin()))
        similarity = np.maximum(similarity, rows @ rows[chosen[-1]])
    return chosen
