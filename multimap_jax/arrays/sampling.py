"""Which of many images are looked at: those whose names have the lowest hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import overload

import numpy as np

from multimap_jax.arrays.rows import BATCH_ROWS, Rows

# Rows that k-means looks at; the rest only go to the nearest centre. experiments/results/scaling_cpu compares a tenth
# of the rows with all of them.
SAMPLE_ROWS = 100_000


def sample_indices(names: Sequence, seed: int, sample: int = SAMPLE_ROWS) -> np.ndarray | None:
    """Indices of the `sample` images whose (seed, name) have the lowest hashes, in order; None where there are no more.

    So an image is drawn or not whatever comes with it, but for those at the edge.
    """
    if len(names) <= sample:
        return None
    hashes = np.empty(len(names), ">u8")
    for begin in range(0, len(names), BATCH_ROWS):
        texts = (f"{seed} {name}".encode("utf-8", "replace") for name in names[begin : begin + BATCH_ROWS])
        digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
        hashes[begin : begin + BATCH_ROWS] = np.frombuffer(digests, ">u8")
    return np.sort(np.argsort(hashes, kind="stable")[:sample])


@overload
def sample_rows(rows: np.ndarray, names: Sequence | None, seed: int, sample: int) -> tuple[np.ndarray, Sequence]: ...


@overload
def sample_rows(rows: Rows, names: Sequence | None, seed: int, sample: int) -> tuple[Rows, Sequence]: ...


def sample_rows(rows: Rows, names: Sequence | None, seed: int, sample: int) -> tuple[Rows, Sequence]:
    """(rows [n, d], their names) of the images that `sample_indices` draws, or of all. names None: their numbers.

    Of what was drawn the same are drawn again: a smaller sample of a sample is that of all.
    """
    names = range(len(rows)) if names is None else names
    drawn = sample_indices(names, seed, sample)
    return (rows, names) if drawn is None else (rows[drawn], [names[i] for i in drawn.tolist()])
