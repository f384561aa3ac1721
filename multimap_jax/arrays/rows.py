"""Rows that are walked batch by batch, so that ten million of them never stand in memory at once."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

# Rows taken at once, in no table. A result's bits depend on it where there are more rows, by rounding alone.
BATCH_ROWS = 4096
# Bytes of computed rows that stay in memory; more of them go to a file that is gone with the process.
SCRATCH_BYTES = 2**28


class Rows(Protocol):
    """Rows [n, d] that give an array [batch, d] for a slice or for indices: an array, `StoredRows` on the disk, or
    `ComputedRows`, which compute what is asked for and keep nothing."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray: ...


def walk(rows: Rows) -> Iterator[tuple[slice, np.ndarray]]:
    """(slice, its rows [batch, d]) of all rows, BATCH_ROWS at a time."""
    for begin in range(0, len(rows), BATCH_ROWS):
        batch = slice(begin, begin + BATCH_ROWS)
        yield batch, rows[batch]


def take_rows(rows: Rows, indices: np.ndarray | None) -> np.ndarray:
    """Rows at `indices`, or all of them, float64 [n, d]."""
    batches = (batch for _, batch in walk(rows)) if indices is None else (rows[chosen] for _, chosen in walk(indices))
    return np.concatenate([np.asarray(batch, np.float64) for batch in batches])


class StoredRows:
    """Unit rows [n, d], float32, of several arrays on the disk, read when they are asked for.

    Args:
      arrays: each [rows, d], numbers with a fraction, such as `storage.reading.mapped_array` gives.
      where: int [n], which row of all arrays one after the other each row is; None for all of them, as they stand.
      lengths: float32 [n], what each row is divided by; None where they are as they should be.
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
        """The rows at `indices`, int [m], none of them read yet."""
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


@dataclasses.dataclass(frozen=True)
class ComputedRows:
    """What is computed of rows [n, …] when it is asked for."""

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
    """Rows [n, d] as unit rows with others [n, e] appended to them."""

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
    """An array to be filled; a large one lies in a file without a name."""
    if int(np.prod(shape)) * np.dtype(dtype).itemsize <= SCRATCH_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:  # the map holds it
        return np.memmap(file, dtype, "w+", shape=shape)
