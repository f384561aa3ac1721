"""Rows that are walked in parts, so that ten million of them never stand in memory at once.

Rows are anything with a length that gives an array [part, d] for a slice or for indices: an array, `StoredRows`
on the disk, or one of the classes here that compute what is asked for and keep nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

# Rows taken at once, in no table. A result's bits depend on it where there are more rows, by rounding alone.
BATCH_ROWS = 4096
# Bytes of computed rows that stay in memory; more of them go to a file that is gone with the process.
SCRATCH_BYTES = 2**28


def walk(rows) -> Iterator[tuple[slice, np.ndarray]]:
    """(which, those rows) of PART rows after PART rows."""
    for begin in range(0, len(rows), BATCH_ROWS):
        part = slice(begin, begin + BATCH_ROWS)
        yield part, rows[part]


def take_rows(rows, indices: np.ndarray | None) -> np.ndarray:
    """Rows at `indices`, or all of them, float64 [n, d]."""
    picked = walk(rows) if indices is None else ((None, rows[some]) for _, some in walk(indices))
    return np.concatenate([np.asarray(part, np.float64) for _, part in picked])


class StoredRows:
    """Unit rows [n, d], float32, of several arrays on the disk, read when they are asked for.

    Args:
      arrays: each [rows, d], numbers with a fraction, such as `storage.reading.mapped_array` gives.
      where: int [n], which row of all arrays one after the other each row is; None for all of them, as they stand.
      lengths: float32 [n], what each row is divided by; None where they are as they should be.
    """

    def __init__(self, arrays: Sequence[np.ndarray], where: np.ndarray | None = None, lengths=None):
        self.arrays, self.where, self.lengths = list(arrays), where, lengths
        self.ends = np.cumsum([len(array) for array in self.arrays], dtype=np.int64)
        self.shape = (int(self.ends[-1]) if where is None else len(where), *self.arrays[0].shape[1:])

    dtype = np.dtype(np.float32)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index)
        places = index if self.where is None else self.where[index]
        rows = np.empty((len(index), *self.shape[1:]), np.float32)
        pieces = np.searchsorted(self.ends, places, side="right")
        for piece in np.unique(pieces):
            here = np.flatnonzero(pieces == piece)
            own = places[here] - (self.ends[piece] - len(self.arrays[piece]))
            straight = own[-1] - own[0] == len(own) - 1 and (np.diff(own) == 1).all()
            found = self.arrays[piece][own[0] : own[-1] + 1] if straight else self.arrays[piece][own]
            rows[slice(here[0], here[-1] + 1) if len(here) == len(index) else here] = found
        return rows if self.lengths is None else rows / self.lengths[index, None]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype)


@dataclasses.dataclass(frozen=True)
class ProjectedRows:
    """Rows [n, e] times a matrix [e, d], float64."""

    rows: np.ndarray | StoredRows | ProjectedRows
    matrix: np.ndarray

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index) -> np.ndarray:
        return np.asarray(self.rows[index], np.float64) @ self.matrix


@dataclasses.dataclass(frozen=True)
class ConcatenatedRows:
    """Rows [n, d] as unit rows with others [n, e] beside them."""

    rows: np.ndarray | StoredRows
    others: np.ndarray | StoredRows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index) -> np.ndarray:
        return np.concatenate([unit_rows(self.rows[index]), self.others[index]], axis=1)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def mean_row(rows) -> np.ndarray:
    """The mean of rows [n, d], float64 [d]."""
    totals = (part.sum(0, dtype=np.float64) for _, part in walk(rows))
    return functools.reduce(np.add, totals) / len(rows)


def allocate(shape: tuple[int, ...], dtype=np.float32) -> np.ndarray:
    """An array to be filled; a large one lies in a file without a name."""
    if int(np.prod(shape)) * np.dtype(dtype).itemsize <= SCRATCH_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:  # the map holds it
        return np.memmap(file, dtype, "w+", shape=shape)
