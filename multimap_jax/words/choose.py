"""The images choose among candidate words: those that images pick stay, and words for the same images become one."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import entr, softmax

from multimap_jax.arrays.rows import ProjectedRows, StoredRows, take_rows, walk
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.features.span import word_shares
from multimap_jax.prompts.aspect import Aspect, word_embeddings

IMAGES = 5_000  # that are looked at
# Of the share that each of equally picked words would have, what a word needs to stay; of the probability that two
# words share, what makes them one: the most alike first.
LEAST, LEVELS = 0.1, (0.9, 0.8, 0.7, 0.6)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Words that stay, by their share of the images (mean zero-shot probabilities p_w, float64 [words], sum 1).

    merged: word taken into another -> (that one, its own share until then). candidates: how many there were.
    """

    words: tuple[str, ...]
    shares: np.ndarray
    merged: dict[str, tuple[str, float]]
    candidates: int


def choose_words(clip: Clip, embeddings: np.ndarray | StoredRows, aspect: Aspect, names=None, seed: int = 0) -> Choice:
    """Of the aspect's words those that images, unit rows [images, embed], pick. Two stay at least.

      1. Words go whose share is below a tenth of that of equally many words of equal share (the exponential of the
         shares' entropy says how many those are); again, until none goes.
      2. Of two words that are probable for the same images (Σ p_w p_v over the root of Σ p_w² Σ p_v² is .6 or more) the
         one with the smaller share is taken into the other, the most alike first; again, until there are no such two.

    5,000 images are looked at at most: of `names` (None: of their numbers) those with the lowest hashes. Nothing of
    [images, words] is held whole.

    Raises ValueError for fewer than two words.
    """
    if len(aspect.words) < 2:
        raise ValueError(f"aspect {aspect.name!r} has {len(aspect.words)} words: expected two or more to choose from")
    rows = take_rows(sample_rows(embeddings, names, seed, IMAGES)[0], None)
    texts, scale = word_embeddings(clip, aspect).astype(np.float64), clip.temperature_scale
    left, shares, merged = np.arange(len(texts)), word_shares(texts, rows, scale), {}
    while True:
        least = LEAST / np.exp(entr(shares).sum())
        stay = (shares >= least) | np.isin(np.arange(len(left)), np.argsort(-shares, kind="stable")[:2])
        if stay.all():
            break
        left = left[stay]
        shares = word_shares(texts[left], rows, scale)
    levels = list(LEVELS)
    while levels and len(left) > 2:
        into = takers(shared(texts[left], rows, scale), shares, levels[0])
        if (into == np.arange(len(left))).all():
            levels.pop(0)
            continue
        for i in np.flatnonzero(into != np.arange(len(left))):
            merged[aspect.words[left[i]]] = (aspect.words[left[into[i]]], round(float(shares[i]), 4))
        left = left[np.unique(into)]
        shares = word_shares(texts[left], rows, scale)
    order = np.argsort(-shares, kind="stable")
    return Choice(tuple(aspect.words[i] for i in left[order]), shares[order], merged, len(texts))


def takers(overlap: np.ndarray, shares: np.ndarray, same: float) -> np.ndarray:
    """Which word takes each one in, int [words]; itself where none does. Words come in the order of their shares; one
    goes into the word before it that it shares most with, if that is `same` or more and that stays itself. Two stay."""
    into, stay = np.arange(len(shares)), []
    for word in np.argsort(-shares, kind="stable"):
        near = max(stay, key=lambda other: overlap[word, other], default=word)
        if near != word and overlap[word, near] >= same:
            into[word] = near
        else:
            stay.append(word)
    if len(stay) == 1:  # the second stays, for one word tells nothing apart
        second = np.argsort(-shares, kind="stable")[1]
        into[second] = second
    return into


def shared(texts: np.ndarray, images: np.ndarray, scale: float) -> np.ndarray:
    """How much of their probability every two words [words, embed] share over the images, [words, words], 0 … 1; 0 for
    a word with itself."""
    totals = np.zeros((len(texts), len(texts)))
    for _, part in walk(ProjectedRows(images, scale * texts.T)):
        probable = softmax(part, axis=1)
        totals += probable.T @ probable
    roots = np.sqrt(np.diag(totals))
    totals /= np.maximum(np.outer(roots, roots), 1e-300)
    np.fill_diagonal(totals, 0)
    return totals
