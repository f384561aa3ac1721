"""Holds the names of ten million images in little memory, and collects notes about skipped files."""

from __future__ import annotations

import bisect
import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from multimap_jax.errors import InputError
from multimap_jax.storage.filenames import name_of_path

PATH_CHARACTERS = 4096  # maximum length of a name or a path: PATH_MAX of Linux
BATCH_TEXTS = 2**16  # texts that are Python objects at the same time
ROUNDS = 20  # attempts to make names unique: a new name may itself be taken
# Text that `name_of_path` does not change, as Arrow can match it: printable ASCII without the backslash.
UNCHANGED = r"^[\x20-\x5b\x5d-\x7e]*$"
EXAMPLES = 5  # examples in a note


class Texts(Sequence):
    """Texts in an Arrow array, which adds a few bytes to each; a Python string adds about a hundred."""

    def __init__(self, texts: Iterable[str]):
        import pyarrow as pa

        self.arrow = texts if isinstance(texts, pa.LargeStringArray) else pa.array(texts, pa.large_string())

    @classmethod
    def concatenated(cls, arrays: Sequence[Texts]) -> Texts:
        import pyarrow as pa

        return cls(pa.concat_arrays([texts.arrow for texts in arrays]))

    def __len__(self) -> int:
        return len(self.arrow)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Texts: ...

    def __getitem__(self, index: int | slice) -> str | Texts:
        found = self.arrow[index]
        return Texts(found) if isinstance(index, slice) else found.as_py()

    def __iter__(self) -> Iterator[str]:
        for begin in range(0, len(self), BATCH_TEXTS):
            yield from self.arrow.slice(begin, BATCH_TEXTS).to_pylist()

    def take(self, indices: np.ndarray) -> Texts:
        return Texts(self.arrow.take(indices))

    def equal(self, other: Any) -> np.ndarray:
        """Whether each text equals `other`, a text or an Arrow array of them: bool [texts]."""
        import pyarrow.compute as pc

        return pc.equal(self.arrow, other).to_numpy(zero_copy_only=False)

    def replace(self, indices: np.ndarray, texts: Sequence[str]) -> Texts:
        """A copy with other texts at `indices`, int [n], ascending."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not len(indices):
            return self
        mask = np.zeros(len(self), bool)
        mask[indices] = True
        return Texts(pc.replace_with_mask(self.arrow, pa.array(mask), pa.array(texts, pa.large_string())))


def names_of_paths(paths: Texts) -> Texts:
    """`name_of_path` of each path."""
    import pyarrow.compute as pc

    unchanged = pc.match_substring_regex(paths.arrow, UNCHANGED).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(~unchanged)
    return paths.replace(rows, [name_of_path(paths[int(row)]) for row in rows])


def sorted_unique(names: Texts) -> tuple[np.ndarray, Texts]:
    """(order int [names], the names in that order, made unique): "#" and the row number are added to repeated names.

    Raises InputError if the names cannot be made unique.
    """
    import pyarrow.compute as pc

    for _ in range(ROUNDS):
        order = pc.sort_indices(names.arrow).to_numpy(zero_copy_only=False)
        in_order = names.take(order)
        same = in_order[1:].equal(in_order.arrow[:-1])
        if not same.any():
            return order, in_order
        rows = np.sort(order[1:][same])
        names = names.replace(rows, [f"{names[int(row)]}#{row}" for row in rows])
    raise InputError("several images have the same name and cannot be told apart: give each image a unique name")


class SortedPaths(Mapping):
    """A mapping name -> path over sorted names that needs no Python object per image. path_of: turns a stored text into
    a path."""

    def __init__(self, names: Texts, paths: Texts, path_of: Callable[[str], str] = str):
        self.names, self.paths, self.path_of = names, paths, path_of

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> Path:
        row = bisect.bisect_left(self.names, name.encode(), key=str.encode)
        if row == len(self) or self.names[row] != name:
            raise KeyError(name)
        return Path(self.path_of(self.paths[row]))


class Notes:
    """Collects notes on what was skipped or chosen; each sentence appears once, with examples."""

    def __init__(self) -> None:
        self.counts: collections.Counter = collections.Counter()
        self.examples: dict[tuple, list[str]] = collections.defaultdict(list)

    def add(self, before: str, example: str, after: str = "", counted: bool = False) -> None:
        """Adds an example to the sentence "`before` example `after`". counted: begin the sentence with the count."""
        key = (before, after, counted)
        self.counts[key] += 1
        if len(self.examples[key]) < EXAMPLES:
            self.examples[key].append(name_of_path(example))

    def sentences(self) -> list[str]:
        found = []
        for (before, after, counted), count in self.counts.items():
            examples = ", ".join(self.examples[before, after, counted])
            more = f" and {count - EXAMPLES:,} more" if count > EXAMPLES and not counted else ""
            number = f"{count:,} " if counted else ""
            found.append(f"{number}{name_of_path(before)}{examples}{more}{name_of_path(after)}")
        return found
