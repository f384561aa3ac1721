"""Many small files in one: the bytes of one item after the other in an npz file, which is mapped into memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multimap_jax.storage.reading import is_transient, mapped_member, read_arrays


def as_packed(items: Sequence[bytes]) -> dict[str, np.ndarray]:
    """The arrays of a file with these items: their bytes, and where each ends."""
    ends = np.cumsum([len(item) for item in items], dtype=np.int64)
    return {"content": np.frombuffer(b"".join(items), np.uint8), "ends": ends}


@dataclasses.dataclass(frozen=True)
class PackedItems:
    """An item of each image, in files that may be missing or damaged.

    Attributes:
      files: each with the arrays of `as_packed`. ends: int [files], the number of items up to the end of each file.
      where: int [images], which item is an image's.
    """

    files: Sequence[Path]
    ends: np.ndarray
    where: np.ndarray

    def take(self, indices: np.ndarray) -> PackedItems:
        """Those of the images at `indices`, without reading them."""
        return dataclasses.replace(self, where=self.where[indices])

    def read(self, indices: Sequence[int] | np.ndarray, limit: int) -> list[bytes]:
        """The items of the images at `indices`; b"" for those of over `limit` bytes, and for those of a file that is
        missing or damaged."""
        rows = self.where[np.asarray(indices, np.int64)]
        found, numbers = [b""] * len(rows), np.searchsorted(self.ends, rows, side="right")
        for number in np.unique(numbers).tolist():
            begin, targets = int(self.ends[number - 1]) if number else 0, np.flatnonzero(numbers == number)
            try:
                items = _read_some(self.files[number], int(self.ends[number]) - begin, rows[targets] - begin, limit)
            except Exception as error:  # a damaged file raises any kind of error
                if is_transient(error) and not isinstance(error, FileNotFoundError):
                    raise
                continue
            for target, item in zip(targets.tolist(), items):
                found[target] = item
        return found


def _read_some(file: Path, count: int, rows: np.ndarray, limit: int) -> list[bytes]:
    """Some of the `count` items of a file. Any error if the file is damaged."""
    ends, content = read_arrays(file, ("ends",))["ends"], mapped_member(file, "content")
    if ends.shape != (count,) or ends.dtype != np.int64 or content.ndim != 1 or content.dtype != np.uint8:
        raise ValueError(f"{file} does not hold {count:,} items")
    begins = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    if (begins > ends).any() or ends[-1] != len(content):
        raise ValueError(f"{file} is damaged")
    spans = zip(begins[rows].tolist(), ends[rows].tolist())
    return [content[begin:end].tobytes() if end - begin <= limit else b"" for begin, end in spans]
