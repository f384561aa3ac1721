"""Names clusters by the words that match their images, and chooses exemplars that show a cluster best."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from multimap_jax.arrays.rows import Rows, mean_row, take_rows, walk
from multimap_jax.choices import UNNAMED
from multimap_jax.clustering.kmeans import cluster_means, members
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.prompts.aspect import Aspect, word_embeddings
from multimap_jax.prompts.normalize import normal_form, unique_words
from multimap_jax.prompts.unrelated import UnrelatedWords
from multimap_jax.words.find import usable_words
from multimap_jax.words.vocabulary import Vocabulary, aspects_for, vocabulary_words

FIT = 0.5  # smallest probability of a cluster's matched word, relative to that of its best word
TELL = 0.1  # smallest margin of a second word: its probability in its cluster minus that in clusters of the same name
# General aspects that second words come from, besides the cluster's own aspect and the subject's.
GENERAL = ("color", "shape", "material", "texture", "pattern", "size")
EXEMPLARS = 8  # most exemplars of a cluster
CANDIDATES = 64  # most images, the nearest ones, that exemplars are chosen from


def word_scores(clip: Clip, embeddings: Rows, texts: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Mean zero-shot probability of every word, unit rows [words, embed], over the images of each of k clusters,
    float64 [k, words]."""
    totals = np.zeros((k, len(texts)))
    if not len(texts):
        return totals
    for whole, images in walk(embeddings):
        totals += np.eye(k)[labels[whole]].T @ clip.probabilities(images, texts)
    return totals / np.maximum(np.bincount(labels, minlength=k), 1)[:, None]


def name_groups(
    clip: Clip, embeddings: Rows, aspect: Aspect, labels: np.ndarray, k: int, vocabulary: Vocabulary
) -> tuple[list[str], np.ndarray]:
    """A unique name for every cluster of images, unit rows [images, embed], and its confidence, float [k] in 0…1.

      1. Match the aspect's words one-to-one with clusters by `word_scores`. A word fits a cluster if it is at least
         half as likely as the cluster's best word, and if no unrelated word fits the images better (see
         `prompts.unrelated`).
      2. Match clusters without a word with the vocabulary's words for this aspect in the same way ("yellow", if only
         red and green were given).
      3. Clusters still without a word get their best word, if it fits, and a second word that distinguishes them from
         the clusters with the same best word ("red, round"). It comes from the aspect, or from the vocabulary's aspects
         of the subject or of anything. If no word distinguishes them, they get a number.
      4. Clusters that no word fits are called "unnamed 1"; without any words, the aspect's name and a number.

    The confidence is the mean probability of the (first) word among the aspect's words and the vocabulary's words for
    it; 0 for clusters without a word.
    """
    added = unique_words(vocabulary_words(vocabulary, aspect.name, aspect.subject), without=aspect.words)
    known = usable_words(clip, dataclasses.replace(aspect, words=tuple(added))).words
    extended = dataclasses.replace(aspect, words=(*aspect.words, *known))
    texts = word_embeddings(clip, extended)
    scores = word_scores(clip, embeddings, texts[: len(aspect.words)], labels, k)
    extended_scores = word_scores(clip, embeddings, texts, labels, k)
    fitting = words_that_fit(clip, embeddings, extended, texts, labels, k)
    given, more = range(len(aspect.words)), range(len(aspect.words), len(extended.words))
    matched = _matched(scores, fitting, range(k), given)
    matched |= _matched(extended_scores, fitting, [group for group in range(k) if group not in matched], more)
    best = {group: int(scores[group].argmax()) for group in range(k) if given and group not in matched}
    chosen = matched | {group: word for group, word in best.items() if fitting[group, word]}
    names, firsts = ([extended.words[at[i]] if i in at else "" for i in range(k)] for at in (matched, chosen))
    confidences = np.array([extended_scores[i, chosen[i]] if i in chosen else 0.0 for i in range(k)])
    if all(names):
        return names, confidences
    scores_of = {extended: extended_scores} | {
        other: word_scores(clip, embeddings, word_embeddings(clip, other), labels, k)
        for other in _describing(clip, aspect, vocabulary)
    }
    return _with_seconds(names, firsts, scores_of, UNNAMED if extended.words else aspect.name), confidences


def words_that_fit(
    clip: Clip, embeddings: Rows, aspect: Aspect, texts: np.ndarray, labels: np.ndarray, k: int
) -> np.ndarray:
    """Which of the aspect's words, embedded as `texts`, fit each of k clusters of images better than every unrelated
    word, bool [k, words]."""
    means, middle = cluster_means(embeddings, labels, k), mean_row(embeddings)
    scores, unrelated = UnrelatedWords.of(clip, aspect).scores(means, middle, texts)
    return scores >= unrelated[:, None]


def _with_seconds(names: list[str], firsts: list[str], scores_of: dict[Aspect, np.ndarray], other: str) -> list[str]:
    """The names; clusters without one ("") get their first word followed by a distinguishing word or a number.

    other: the name, with a number, of clusters without a first word. For an aspect without words they are named by a
    distinguishing word only, if there is one.
    """
    names, unnamed = list(names), [group for group, name in enumerate(names) if not name]
    forms = [normal_form(first) for first in firsts]
    for group in unnamed:
        if not firsts[group] and other == UNNAMED:
            continue
        alike = [i for i, form in enumerate(forms) if i != group and form == forms[group]]
        seconds = unique_words(_distinguishing(scores_of, group, alike), without=firsts[group : group + 1])
        choices = (f"{firsts[group]}, {word}" if firsts[group] else word for word in seconds)
        names[group] = next(iter(unique_words(choices, without=names)), "")
    for group in (group for group in unnamed if not names[group]):
        numbered = (f"{firsts[group] or other} {number}" for number in itertools.count(2 if firsts[group] else 1))
        names[group] = next(name for name in numbered if unique_words([name], without=names))
    return names


def _matched(scores: np.ndarray, fitting: np.ndarray, groups: Sequence[int], words: Sequence[int]) -> dict[int, int]:
    """cluster -> word of the best one-to-one matching, for words that fit."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(scores[np.ix_(np.array(groups, int), np.array(words, int))], maximize=True)
    pairs = [(groups[row], words[column]) for row, column in zip(rows, columns)]
    likely = scores >= FIT * scores.max(1, keepdims=True, initial=0)
    return {group: word for group, word in pairs if likely[group, word] and fitting[group, word]}


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
    """Words that are likelier in a cluster than in each of the others by TELL or more, the largest margin first; none
    if there are no others. scores_of: aspect -> its `word_scores`."""
    found: dict[str, tuple[str, float]] = {}  # by normal form, the first spelling and the largest margin
    for aspect, scores in scores_of.items() if others else ():
        for word, margin in zip(aspect.words, scores[group] - scores[list(others)].max(0, initial=0)):
            form = normal_form(word)
            first, largest = found.get(form, (word, 0.0))
            found[form] = first, max(largest, margin)
    return [word for word, margin in sorted(found.values(), key=lambda each: -each[1]) if margin >= TELL]


def exemplars(embeddings: Rows, labels: np.ndarray, distances: np.ndarray, k: int) -> list[np.ndarray]:
    """Up to eight exemplars of each of k clusters: images near the centroid and unlike each other. The nearest image is
    first. Each next one is the least similar to those before it, out of the nearest third of the cluster (at most 64).

    embeddings: unit rows [images, embed]. labels, distances: [images].
    """
    found = []
    for images in members(labels, distances, k):
        candidates = images[: min(CANDIDATES, max(EXEMPLARS, len(images) // 3))]
        found.append(candidates[_unlike(take_rows(embeddings, candidates))] if len(candidates) else candidates)
    return found


def typical_distances(embeddings: Rows, labels: np.ndarray, k: int) -> np.ndarray:
    """The distance of every image, unit rows [images, embed], from the mean image of its cluster, [images]; 0 for label
    -1."""
    means = cluster_means(embeddings, labels, k)
    found = np.zeros(len(labels))
    for whole, rows in walk(embeddings):
        found[whole] = np.linalg.norm(rows - means[labels[whole]], axis=1)
    return np.where(labels < 0, 0.0, found)


def _unlike(rows: np.ndarray) -> list[int]:
    """Indices of the first unit row and further EXEMPLARS - 1, each the least similar to those before it."""
    chosen, similarity = [0], rows @ rows[0]
    while len(chosen) < min(EXEMPLARS, len(rows)):
        similarity[chosen] = np.inf
        chosen.append(int(similarity.argmin()))
        similarity = np.maximum(similarity, rows @ rows[chosen[-1]])
    return chosen
