"""Processes rows in batches, so that ten million of them are never in memory at once."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

# Rows per batch; no measurement chose it. With more rows than this, results depend on it by rounding only.
BATCH_ROWS = 4096
# Maximum bytes of computed rows in memory; larger arrays go into a temporary file of this process.
SCRATCH_BYTES = 2**28


class Rows(Protocol):
    """Rows [n, d] that return an array [batch, d] for a slice or for indices: an array, `StoredRows` on disk, or
    `ComputedRows`, which are computed at each access."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray: ...


def walk(rows: Rows) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields (slice, its rows [batch, d]) over all rows, BATCH_ROWS at a time."""
    for begin in range(0, len(rows), BATCH_ROWS):
        batch = slice(begin, begin + BATCH_ROWS)
        yield batch, rows[batch]


def take_rows(rows: Rows, indices: np.ndarray | None) -> np.ndarray:
    """The rows at `indices` (None: all rows), float64 [n, d]."""
    batches = (batch for _, batch in walk(rows)) if indices is None else (rows[chosen] for _, chosen in walk(indices))
    return np.concatenate([np.asarray(batch, np.float64) for batch in batches])


class StoredRows:
    """Unit rows [n, d], float32, of several arrays on disk, read at each access.

    Args:
      arrays: each [rows, d], floating-point, for example from `storage.reading.mapped_array`.
      where: int [n], the index of each row in the concatenated arrays; None for all rows in order.
      lengths: float32 [n], the divisor of each row; None if the rows have norm 1 already.
    """

    def __init__(
        self, arrays: Sequence[np.ndarray], where: np.ndarray | None = None, lengths: np.ndarray | None = None
    ):
        self.arrays, self.where, self.lengths = list(arrays), where, lengths
        self.ends = np.cumsum([len(array) for array in self.arrays], dtype=np.int64)
        self.shape: tuple[int, ...] = (int(self.ends[-1]) if where is None else len(where), *self.arrays[0].shape[1:])

    dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def indices(self) -> np.ndarray:
        """`where`, int [n]."""
        return np.arange(len(self)) if self.where is None else self.where

    def take(self, indices: np.ndarray) -> StoredRows:
        """The rows at `indices`, int [m], without reading them."""
        lengths = None if self.lengths is None else self.lengths[indices]
        return StoredRows(self.arrays, self.indices()[indices], lengths)

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index)
        stored = index if self.where is None else self.where[index]
        rows = np.empty((len(index), *self.shape[1:]), np.float32)
        numbers = np.searchsorted(self.ends, stored, side="right")  # of the array that holds each row
        for number in np.unique(numbers):
            array, targets = self.arrays[number], np.flatnonzero(numbers == number)
            sources = stored[targets] - (self.ends[number] - len(array))
            consecutive = sources[-1] - sources[0] == len(sources) - 1 and (np.diff(sources) == 1).all()
            found = array[sources[0] : sources[-1] + 1] if consecutive else array[sources]
            rows[slice(targets[0], targets[-1] + 1) if len(targets) == len(index) else targets] = found
        return rows if self.lengths is None else rows / self.lengths[index, None]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


# Unit rows [images, embed] in memory or on disk.
Embeddings = np.ndarray | StoredRows


@dataclasses.dataclass(frozen=True)
class ComputedRows:
    """Rows that are computed from other rows [n, …] at each access."""

    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)


@dataclasses.dataclass(frozen=True)
class ProjectedRows(ComputedRows):
    """Rows [n, e] times a matrix [e, d], float64."""

    matrix: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), self.matrix.shape[1]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        return np.asarray(self.rows[index], np.float64) @ self.matrix


@dataclasses.dataclass(frozen=True)
class ConcatenatedRows(ComputedRows):
    """Rows [n, d], scaled to norm 1, with other rows [n, e] appended."""

    appended: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), self.rows.shape[1] + self.appended.shape[1]

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        return np.concatenate([unit_rows(self.rows[index]), self.appended[index]], axis=1)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def mean_row(rows: Rows) -> np.ndarray:
    """The mean of rows [n, d], float64 [d]."""
    totals = (batch.sum(0, dtype=np.float64) for _, batch in walk(rows))
    return functools.reduce(np.add, totals) / len(rows)


def allocate(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> np.ndarray:
    """An array to be filled; a large one is mapped to an unnamed temporary file."""
    if int(np.prod(shape)) * np.dtype(dtype).itemsize <= SCRATCH_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:  # the memory map keeps it open
        return np.memmap(file, dtype, "w+", shape=shape)
