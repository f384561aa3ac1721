"""Many texts in little memory: the names of ten million images."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from multimap_jax.storage.filenames import name_of_path

PART = 2**16
TURNS = 20  # in which names are made unique: those that were made may be there already
# What `name_of_path` leaves as it is and can be seen at once: printable ASCII without the backslash.
PLAIN = r"^[\x20-\x5b\x5d-\x7e]*$"


class Texts(Sequence):
    """Texts, held as Arrow holds them: some bytes each beside their characters, where Python's own take a hundred."""

    def __init__(self, texts: Iterable[str]):
        import pyarrow as pa

        self.arrow = texts if isinstance(texts, pa.LargeStringArray) else pa.array(texts, pa.large_string())

    def __len__(self):
        return len(self.arrow)

    def __getitem__(self, index: int | slice):
        if isinstance(index, slice):
            return Texts(self.arrow[index])
        return self.arrow[index].as_py()

    def __iter__(self) -> Iterator[str]:
        for begin in range(0, len(self), PART):
            yield from self.arrow.slice(begin, PART).to_pylist()

    def take(self, indices: np.ndarray) -> Texts:
        return Texts(self.arrow.take(indices))


def concatenated(parts: Sequence[Texts]) -> Texts:
    import pyarrow as pa

    return Texts(pa.concat_arrays([part.arrow for part in parts]))


def names_of(texts: Texts) -> Texts:
    """`name_of_path` of each."""
    import pyarrow.compute as pc

    plain = pc.match_substring_regex(texts.arrow, PLAIN).to_numpy(zero_copy_only=False)
    others = np.flatnonzero(~plain)
    return replaced(texts, others, [name_of_path(texts[int(i)]) for i in others]) if len(others) else texts


def replaced(texts: Texts, places: np.ndarray, others: Sequence[str]) -> Texts:
    """Texts with others at some places."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = np.zeros(len(texts), bool)
    mask[places] = True
    return Texts(pc.replace_with_mask(texts.arrow, pa.array(mask), pa.array(others, pa.large_string())))


def ordered(names: Texts) -> tuple[np.ndarray, Texts]:
    """(the order of names, in it the names as unique ones): a name that is there already gets "#" and its place."""
    import pyarrow.compute as pc

    for _ in range(TURNS):
        order = pc.sort_indices(names.arrow).to_numpy(zero_copy_only=False)
        known = names.take(order)
        same = pc.equal(known.arrow[1:], known.arrow[:-1]).to_numpy(zero_copy_only=False)
        if not same.any():
            return order, known
        places = np.sort(order[1:][same])
        names = replaced(names, places, [f"{names[int(i)]}#{i}" for i in places])
    raise ValueError("names of images repeat in every form that tells them apart: give each image a name of its own")


class SortedPaths(Mapping):
    """name -> path, of names in their order, without an object for each. path_of: what makes a path of what is held."""

    def __init__(self, names: Texts, paths: Texts, path_of: Callable[[str], str] = str):
        self.names, self.paths, self.path_of = names, paths, path_of

    def __len__(self):
        return len(self.names)

    def __iter__(self):
        return iter(self.names)

    def __getitem__(self, name: str) -> Path:
        place = bisect.bisect_left(self.names, name.encode(), key=str.encode)
        if place == len(self) or self.names[place] != name:
            raise KeyError(name)
        return Path(self.path_of(self.paths[place]))
