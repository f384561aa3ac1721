"""Samples images: those whose names have the lowest hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import overload

import numpy as np

from multimap_jax.arrays.rows import BATCH_ROWS, Embeddings, Rows
from multimap_jax.errors import InputError

# Maximum number of rows that k-means is fitted on; all others are only assigned to the nearest centroid.
# experiments/results/scaling_cpu compares a tenth of the rows with all of them.
SAMPLE_ROWS = 100_000


def sample_indices(names: Sequence, seed: int, sample: int = SAMPLE_ROWS) -> np.ndarray | None:
    """Indices of the `sample` images with the lowest hashes of (seed, name), in order; None if there are no more images
    than that.

    So whether an image is drawn hardly depends on the other images.
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
def sample_rows(rows: Embeddings, names: Sequence | None, seed: int, sample: int) -> tuple[Embeddings, Sequence]: ...


@overload
def sample_rows(rows: Rows, names: Sequence | None, seed: int, sample: int) -> tuple[Rows, Sequence]: ...


def sample_rows(rows: Rows, names: Sequence | None, seed: int, sample: int) -> tuple[Rows, Sequence]:
    """(rows [n, d], their names) of the images that `sample_indices` draws, or of all. names: None for row numbers.

    Sampling is nested: a smaller sample of a sample equals the smaller sample of all images.
    """
    names = range(len(rows)) if names is None else names
    if len(names) != len(rows):
        raise InputError(f"expected a name for each of {len(rows):,} images, found {len(names):,}", "names")
    drawn = sample_indices(names, seed, sample)
    return (rows, names) if drawn is None else (rows[drawn], [names[i] for i in drawn.tolist()])
