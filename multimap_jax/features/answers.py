"""Answers of a model that looked at images, as features: the text embedding of what it said of the aspect.

An answer that names one of the aspect's words is that word. Other answers are compared without regard to case,
punctuation, articles and plural. Different answers are different rows, and the same answers are one row with a count.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from multimap_jax.arrays.rows import StoredRows
from multimap_jax.choices import UNNAMED
from multimap_jax.clustering.kmeans import Clustering, cluster, nearest
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.prompts.answers import (
    SHORT,
    Answers,
    common_answers,
    is_refusal,
    key_of,
    tokens_of,
    words_in,
)
from multimap_jax.prompts.aspect import Aspect, has_room_for, word_embeddings
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.prompts.unrelated import UnrelatedWords


@dataclasses.dataclass(frozen=True)
class MatchedAnswers:
    """Answers as rows.

    Attributes:
      texts: the different answers, the aspect's words first. table: their unit embeddings, float32 [texts, embed].
      index: int [images], the answer of each image, -1 for an image that is left out.
      reasons: index of an image that is left out -> why.
    """

    texts: Sequence[str]
    table: np.ndarray
    index: np.ndarray
    reasons: Mapping[int, str]

    @property
    def counts(self) -> np.ndarray:
        """The number of images with each answer, int [texts]."""
        return np.bincount(self.index[self.index >= 0], minlength=len(self.texts))

    @property
    def answered(self) -> np.ndarray:
        """The images with an answer, int [n]."""
        return np.flatnonzero(self.index >= 0)

    def rows(self) -> StoredRows:
        """A row for each image, [images, embed]; the mean answer for images that are left out."""
        counts = self.counts
        mean = (counts / max(counts.sum(), 1)) @ self.table
        table = np.concatenate([self.table, mean[None]]).astype(np.float32)
        return StoredRows([table], np.where(self.index < 0, len(self.texts), self.index))

    def cluster(self, k: int, seed: int) -> Clustering:
        """k clusters of the answers, each weighted by its images. Label -1, distance and confidence 0 for images that
        are left out. With no more different answers than clusters, each is a cluster."""
        counts = self.counts
        order = np.argsort(-counts, kind="stable")
        used = order[counts[order] > 0]
        if len(used) > k:
            found = cluster(self.table[used], k, seed, weights=counts[used])
        else:
            rows = [*order, *[order[-1]] * k][:k]  # the last ones have no images
            none = np.zeros(0)
            found = Clustering(none, self.table[rows].astype(np.float64), none, none, 0.0, 0.0)
        labels, distances, confidences = self.nearest(found.centroids, found.spread)
        return dataclasses.replace(found, labels=labels, distances=distances, confidences=confidences)

    def nearest(self, centroids: np.ndarray, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `clustering.kmeans.nearest`, for each image; -1, 0 and 0 for images that are left out."""
        found = nearest(self.table, centroids, spread)
        return tuple(np.append(values, [none])[self.index] for values, none in zip(found, (-1, 0.0, 0.0)))  # type: ignore[return-value]

    def names(self, labels: np.ndarray, centroids: np.ndarray) -> tuple[list[str], np.ndarray]:
        """The commonest answer of each cluster, and the share of its images that give it, float [k]. A cluster without
        images is called by its own answer if it has one."""
        k = len(centroids)
        table = np.zeros((k, len(self.texts)))
        np.add.at(table, (labels[self.answered], self.index[self.answered]), 1)
        best, sizes = table.argmax(1), table.sum(1)
        free = np.flatnonzero(self.counts == 0)
        for i in np.flatnonzero(sizes == 0):
            same = [row for row in free if np.array_equal(self.table[row].astype(np.float64), centroids[i])]
            best[i], free = (same[0], free[free != same[0]]) if same else (-1, free)
        names: list[str] = []
        for i in best.tolist():
            wanted, others = self.texts[i] if i >= 0 else "", set(map(normal_form, ["", *names]))
            numbered = (f"{wanted or UNNAMED} {number}" for number in itertools.count(2 if wanted else 1))
            names.append(
                next(name for name in (wanted, *itertools.islice(numbered, k)) if normal_form(name) not in others)
            )
        return names, table.max(1) / np.maximum(sizes, 1)


def match_answers(
    clip: Clip, aspect: Aspect, answers: Answers, unfit: bool = False, known: Sequence[str] = ()
) -> MatchedAnswers:
    """The answers as rows of the encoder's text embeddings.

      1. An answer that holds exactly one of the aspect's words is that word ("The person looks sad."). Without words,
         an answer of more than three words that holds exactly one of the short answers of other images is that one.
      2. A refusal ("I cannot tell") is left out, and so is a text that the encoder cannot take.
      3. With words, any other answer is the word whose prompt is nearest to its own, unless an unrelated word is nearer
         (see `prompts.unrelated`). Then it is left out, or kept as an answer of its own if `unfit` is true, for more
         clusters than words.
      4. Without words, other answers are compared by `key_of`.

    known: texts of answers that were matched before, for new images of an aspect without words.
    """
    counts, words = collections.Counter(answers.texts), aspect.words
    vocabulary = words or common_answers(known or answers.texts)
    own: dict[tuple[str, ...], str] = {}
    for word in vocabulary:
        key = key_of(word)
        own[(normal_form(word),) if key in own else key] = word
    meanings: dict[str, tuple[tuple[str, ...], str]] = {}  # text -> (key, spelling), or ((), reason)
    spellings: dict[tuple[str, ...], collections.Counter] = collections.defaultdict(collections.Counter)
    for text, count in counts.items():
        key = key_of(text)
        if key in own:
            found = key, own[key]
        elif is_refusal(text):
            found = (), f"the model refused: {text}"
        elif (held := words_in(key, own)) and len(held) == 1 and (words or len(key) > SHORT):
            found = held[0], own[held[0]]
        else:
            spelling = fitting(clip, aspect, " ".join(tokens_of(text)) or normal_form(text))
            found = (key, spelling) if spelling else ((), f"the encoder cannot take the answer {text}")
        if text:
            meanings[text] = found
            spellings[found[0]][found[1]] += count
    spellings.pop((), None)
    texts = {key: own.get(key, said.most_common(1)[0][0]) for key, said in spellings.items()}
    texts = {key: own[key] for key in own if words or key in texts} | texts
    others = [key for key in texts if key not in own]
    table = clip.embed_texts([aspect.fill(text) for text in texts.values()])
    places = {key: place for place, key in enumerate(texts)}
    reasons_of: dict[tuple[str, ...], str] = {}
    if words and others:
        near = nearest_words(clip, aspect, table[len(own) :])
        for key, place in zip(others, near):
            if place >= 0:
                places[key] = int(place)
            elif not unfit:
                reasons_of[key] = f"none of the words is near the answer {texts[key]}"
    index, reasons = np.full(len(answers), -1), dict(answers.reasons)
    for i, text in enumerate(answers.texts):
        if text:
            key, said = meanings[text]
            reason = reasons_of.get(key, "") if key else said
            index[i] = -1 if reason else places[key]
            if reason:
                reasons[i] = reason
    kept, index = np.unique(np.append(index, [-1, *range(len(words))]), return_inverse=True)
    kept, index = kept[1:], index[: len(answers)] - 1  # without -1, and without answers that became another
    spelled = list(texts.values())
    return MatchedAnswers([spelled[i] for i in kept], table[kept], index, reasons)


def nearest_words(clip: Clip, aspect: Aspect, rows: np.ndarray) -> np.ndarray:
    """The aspect's word nearest to each prompt, unit rows [n, embed]; -1 where an unrelated word is nearer."""
    similarities, unrelated = rows @ word_embeddings(clip, aspect).T, UnrelatedWords.of(clip, aspect).texts
    far = (rows @ unrelated.T).max(1, initial=-1) > similarities.max(1)
    return np.where(far, -1, similarities.argmax(1))


def fitting(clip: Clip, aspect: Aspect, text: str) -> str:
    """As much of the beginning of a text as the aspect's prompt has room for; "" for nothing."""
    words = text.split()
    while words and not has_room_for(aspect, " ".join(words), clip.tokenizer):
        words.pop()
    return " ".join(words)
