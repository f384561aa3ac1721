"""Chooses candidate words by the images: removes unused words, and merges words for the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.special import entr

from multimap_jax.arrays.rows import Rows, take_rows, walk
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.encoder import Encoder
from multimap_jax.errors import InputError
from multimap_jax.features.span import word_shares
from multimap_jax.prompts.aspect import Aspect, word_embeddings

WORD_IMAGES = 5_000  # most images that the choice uses
MIN_SHARE = 0.1  # smallest share of a word, relative to that of each of as many equally frequent words
# Overlaps at which two words are merged, applied in this order, so that the most similar words are merged first.
LEVELS = (0.9, 0.8, 0.7, 0.6)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The chosen words by their share of the images (mean zero-shot probabilities p_w, float64 [words], sum 1).

    merged: word -> (the chosen word that it was merged into, its share before). candidates: the number of words before.
    """

    words: tuple[str, ...]
    shares: np.ndarray
    merged: dict[str, tuple[str, float]]
    candidates: int


def choose_words(clip: Clip, embeddings: Rows, aspect: Aspect, names: Sequence | None = None, seed: int = 0) -> Choice:
    """The aspect's words that match images, unit rows [images, embed]; at least two.

      1. Remove words with a share below a tenth of the mean share of the effective number of words, which is the
         exponential of the shares' entropy. Repeat until no word is removed.
      2. If two words are probable for the same images (Σ p_w p_v over the root of Σ p_w² Σ p_v² is .6 or more), merge
         the one with the smaller share into the other, the most similar pair first. Repeat until no pair is left.

    Uses at most 5,000 images: those whose `names` (None: whose indices) have the lowest hashes. No array
    [images, words] is held in memory.

    Raises InputError for fewer than two words.
    """
    if len(aspect.words) < 2:
        raise InputError(
            f"expected two or more words for {aspect.name!r}, found {len(aspect.words)}: add words", "words"
        )
    rows = take_rows(sample_rows(embeddings, names, seed, WORD_IMAGES)[0], None)
    texts = word_embeddings(clip, aspect).astype(np.float64)
    words, shares, merged = np.arange(len(texts)), word_shares(texts, rows, clip), {}
    while True:
        least = MIN_SHARE / np.exp(entr(shares).sum())
        kept = (shares >= least) | np.isin(np.arange(len(words)), np.argsort(-shares, kind="stable")[:2])
        if kept.all():
            break
        words = words[kept]
        shares = word_shares(texts[words], rows, clip)
    levels = list(LEVELS)
    while levels and len(words) > 2:
        into = merge_targets(overlaps(texts[words], rows, clip), shares, levels[0])
        changed = np.flatnonzero(into != np.arange(len(words)))
        if not len(changed):
            levels.pop(0)
            continue
        for i in changed:
            merged[aspect.words[words[i]]] = (aspect.words[words[into[i]]], round(float(shares[i]), 4))
        words = words[np.unique(into)]
        shares = word_shares(texts[words], rows, clip)
    for word, (target, share) in merged.items():
        while target in merged:
            target = merged[target][0]
        merged[word] = target, share
    order = np.argsort(-shares, kind="stable")
    return Choice(tuple(aspect.words[i] for i in words[order]), shares[order], merged, len(texts))


def merge_targets(overlap: np.ndarray, shares: np.ndarray, level: float) -> np.ndarray:
    """The word that each word is merged into, int [words]; the word itself if it is kept. In order of falling shares, a
    word is merged into the kept word with the largest overlap, if that is at least `level`. At least two are kept."""
    into = np.arange(len(shares))
    kept: list[int] = []
    for word in np.argsort(-shares, kind="stable"):
        closest = max(kept, key=lambda other: overlap[word, other], default=word)
        if closest != word and overlap[word, closest] >= level:
            into[word] = closest
        else:
            kept.append(word)
    if len(kept) == 1:  # one word separates nothing
        second = np.argsort(-shares, kind="stable")[1]
        into[second] = second
    return into


def overlaps(texts: np.ndarray, images: Rows, encoder: Encoder) -> np.ndarray:
    """Cosine of the probabilities of every pair of words [words, embed] over the images, [words, words], 0 … 1; 0 for a
    word with itself."""
    totals = np.zeros((len(texts), len(texts)))
    for _, rows in walk(images):
        probable = encoder.probabilities(rows, texts)
        totals += probable.T @ probable
    roots = np.sqrt(np.diag(totals))
    totals /= np.maximum(np.outer(roots, roots), 1e-300)
    np.fill_diagonal(totals, 0)
    return totals
