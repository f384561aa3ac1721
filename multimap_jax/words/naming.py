"""What groups are called, from the words that the encoder finds in their images, and which images show them best."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from multimap_jax.arrays.rows import take_rows, walk
from multimap_jax.clustering.kmeans import members
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.prompts.aspect import Aspect, word_embeddings
from multimap_jax.prompts.normalize import normal_form, unique_words
from multimap_jax.words.find import usable_words
from multimap_jax.words.vocabulary import Vocabulary, aspects_for, vocabulary_words

# Of a group's best word's probability, what the word that is left for it needs to fit. By how much likelier a second
# word must be in a group than in those of the same name.
FIT, TELL = 0.5, 0.1
# What describes anything: aspects that second words come from, besides the group's own aspect and the subject's.
DESCRIBING = ("color", "shape", "material", "texture", "pattern", "size")
EXEMPLARS, NEAREST = 8, 64


def word_scores(clip: Clip, embeddings: np.ndarray, aspect: Aspect, labels: np.ndarray, k: int) -> np.ndarray:
    """Mean zero-shot probability of every word over the images of each of k groups, float64 [k, words]."""
    if not aspect.words:
        return np.zeros((k, 0))
    texts, totals = word_embeddings(clip, aspect), np.zeros((k, len(aspect.words)))
    for whole, images in walk(embeddings):
        totals += np.eye(k)[labels[whole]].T @ softmax(clip.temperature_scale * (images @ texts.T), axis=1)
    return totals / np.maximum(np.bincount(labels, minlength=k), 1)[:, None]


def name_groups(
    clip: Clip, embeddings: np.ndarray, aspect: Aspect, labels: np.ndarray, k: int, vocabulary: Vocabulary
) -> tuple[list[str], np.ndarray]:
    """A unique name for every group of images, unit rows [images, embed], and how sure it is, float [k] in 0…1.

      1. The aspect's words go to groups by the best one-to-one matching of `word_scores`; one that is less than half as
         likely as the group's best word does not fit.
      2. For groups without a word, those of the vocabulary for this aspect, in the same way ("yellow", where only red
         and green were given).
      3. Groups that are still without one take their best word, and behind it one that tells them from the groups with
         the same: of the aspect, or of what the vocabulary has for the subject and for anything ("red, round").
      4. Where no word does, a number; without words, behind the name of the aspect.

    The confidence is the mean probability of the (first) word among the aspect's; without words it is 0.
    """
    scores, names = word_scores(clip, embeddings, aspect, labels, k), [""] * k
    sure = scores.max(1, initial=0)
    for group, word in _matched(scores, range(k), range(len(aspect.words))).items():
        names[group], sure[group] = aspect.words[word], scores[group, word]
    if all(names):
        return names, sure
    more = unique_words(vocabulary_words(vocabulary, aspect.name, aspect.subject), without=aspect.words)
    more = usable_words(clip, dataclasses.replace(aspect, words=tuple(more))).words
    wide = dataclasses.replace(aspect, words=aspect.words + more)
    wider = word_scores(clip, embeddings, wide, labels, k)
    unnamed = [group for group in range(k) if not names[group]]
    for group, word in _matched(wider, unnamed, range(len(aspect.words), len(wide.words))).items():
        names[group], sure[group] = wide.words[word], wider[group, word]
    if all(names):
        return names, sure
    told = {wide: wider} | {
        other: word_scores(clip, embeddings, other, labels, k) for other in _describing(clip, aspect, vocabulary)
    }
    firsts = [
        name or (aspect.words[scores[group].argmax()] if aspect.words else "") for group, name in enumerate(names)
    ]
    return _with_seconds(names, firsts, told, aspect.name), sure


def _with_seconds(names: list[str], firsts: list[str], told: dict[Aspect, np.ndarray], aspect: str) -> list[str]:
    """The names, and for groups that have none ("") their first words with one behind it that tells them apart, or a
    number. told: see `_telling`."""
    names, unnamed = list(names), [group for group, name in enumerate(names) if not name]
    forms = [normal_form(first) for first in firsts]
    for group in unnamed:
        alike = [other for other, form in enumerate(forms) if other != group and form == forms[group]]
        seconds = unique_words(_telling(told, group, alike), without=firsts[group : group + 1])
        choices = (f"{firsts[group]}, {word}" if firsts[group] else word for word in seconds)
        names[group] = next(iter(unique_words(choices, without=names)), "")
    for group in (group for group in unnamed if not names[group]):
        names[group] = _numbered(firsts[group] or aspect, names, 2 if firsts[group] else 1)
    return names


def _matched(scores: np.ndarray, groups: Sequence[int], words: Sequence[int]) -> dict[int, int]:
    """group -> word of the best one-to-one matching, where the word fits."""
    from scipy.optimize import linear_sum_assignment

    groups, words = np.array(groups, int), np.array(words, int)
    if not len(groups) or not len(words):
        return {}
    rows, columns = linear_sum_assignment(scores[np.ix_(groups, words)], maximize=True)
    pairs = zip(groups[rows].tolist(), words[columns].tolist())
    return {group: word for group, word in pairs if scores[group, word] >= FIT * scores[group].max()}


def _describing(clip: Clip, aspect: Aspect, vocabulary: Vocabulary) -> list[Aspect]:
    """Aspects that second words may come from, with the words that the checkpoint knows."""
    general = aspects_for(vocabulary, "")
    found = {name: words for name, words in aspects_for(vocabulary, aspect.subject).items() if name not in general}
    found |= {name: general[name] for name in DESCRIBING if name in general}
    own = vocabulary_words(vocabulary, aspect.name, aspect.subject)
    others = [
        usable_words(clip, dataclasses.replace(aspect, name=name, words=words))
        for name, words in found.items()
        if words != own
    ]
    return [other for other in others if len(other.words) > 1]


def _telling(told: dict[Aspect, np.ndarray], group: int, others: Sequence[int]) -> list[str]:
    """Words that are likelier in a group than in each of the others by TELL or more, the clearest first. Without
    others none is.

    told: aspect -> its `word_scores`.
    """
    found: dict[str, float] = {}  # of words in their normal form
    spelling: dict[str, str] = {}
    for aspect, scores in told.items() if others else ():
        beyond = scores[group] - scores[list(others)].max(0, initial=0)
        for word, by in zip(aspect.words, beyond):
            form = normal_form(word)
            spelling.setdefault(form, word)
            found[form] = max(found.get(form, 0.0), by)
    return [spelling[form] for form in sorted(found, key=lambda form: -found[form]) if found[form] >= TELL]


def _numbered(name: str, taken: Sequence[str], number: int) -> str:
    while not unique_words([f"{name} {number}"], without=taken):
        number += 1
    return f"{name} {number}"


def exemplars(embeddings, labels: np.ndarray, distances: np.ndarray, k: int) -> list[np.ndarray]:
    """Up to eight images of each of k groups that show it: near to the centre and unlike each other. The nearest comes
    first, then always the one that is least like those before it, of the nearest third of the group (64 at most).

    embeddings: unit rows [images, embed]. labels, distances: [images].
    """
    found = []
    for own in members(labels, distances, k):
        near = own[: min(NEAREST, max(EXEMPLARS, len(own) // 3))]
        found.append(near[_unlike(take_rows(embeddings, near), EXEMPLARS)] if len(near) else near)
    return found


def _unlike(rows: np.ndarray, most: int) -> list[int]:
    """The first of unit rows and others, each the least like those before it."""
    chosen, alike = [0], rows @ rows[0]
    while len(chosen) < min(most, len(rows)):
        alike[chosen] = np.inf
        chosen.append(int(alike.argmin()))
        alike = np.maximum(alike, rows @ rows[chosen[-1]])
    return chosen
