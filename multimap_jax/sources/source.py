"""A source of images: their names, where each is read from, and a version that changes when the image does."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from multimap_jax.errors import InputError, MissingError
from multimap_jax.storage.paths import reaching, storage_of

SAMPLE_BYTES = 512  # bytes hashed for a file's version, from its middle: files of one camera have similar beginnings
PATTERN_FILES = 10**6  # maximum number of files that the braces of one pattern may name
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclasses.dataclass(frozen=True)
class PackedImage:
    """An image that is not a file of its own on this machine: it is part of a larger file, in a store, or both.

    Attributes:
      file: the file or object, as text.
      position: where the image is in that file, such as "row 3"; "" if it is the whole object.
      read: returns the bytes of the image.
      version: the store's version of the object; None for a local file, whose version is computed when needed.
      remote: whether reading uses the network.
    """

    file: str
    position: str
    read: Callable[[], bytes]
    version: str | None = None
    remote: bool = False


@dataclasses.dataclass(frozen=True)
class Source:
    """Named images.

    Attributes:
      path: the folder, file or pattern that was given.
      images: name -> where to read the image, in the order in which reading is fastest.
      notes: sentences about what was skipped or chosen.
      columns: other columns about the images, in the order of `images`.
    """

    path: Path
    images: Mapping[str, Path | PackedImage]
    notes: tuple[str, ...] = ()
    columns: dict[str, list] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> Sequence[str]:
        return getattr(self.images, "names", None) or list(self.images)

    def columns_of(self, names: Sequence[str]) -> dict[str, list]:
        """The values of `columns` for the images with these names."""
        if not self.columns:
            return {}
        rows = {name: row for row, name in enumerate(self.images)}
        return {column: [values[rows[name]] for name in names] for column, values in self.columns.items()}

    def versions(self, names: Iterable[str] | None = None) -> list[str]:
        """For each image, a text that changes when the image does: the version of its file and its position there. A
        broken link has the version ""."""
        shared_version = functools.cache(file_version)

        def version(image: Path | PackedImage) -> str:
            if not isinstance(image, PackedImage):
                return file_version(os.fspath(image))
            found = shared_version(image.file) if image.version is None else image.version
            return f"{found}-{image.position}" if found and image.position else found

        return [version(self.images[name]) for name in (self.images if names is None else names)]

    def is_there(self) -> bool:
        """Whether the source still exists. Always true for a store, which reports each missing image itself."""
        return not storage_of(self.path).local or bool(files_of(self.path))


def file_version(file: str) -> str:
    """The size of a file, its modification time, and a hash of a sample of it, since some tools change a file but keep
    both; "" if the file cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return ""
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            found = os.fstat(descriptor)
            os.lseek(descriptor, found.st_size // 2, os.SEEK_SET)
            sample = os.read(descriptor, SAMPLE_BYTES)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):  # a path with a null byte is a ValueError
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}-{hashlib.blake2b(sample, digest_size=6).hexdigest()}"


def files_of(path: Path) -> list[Path]:
    """The files that a path names: itself, or all that match it as a pattern ({00000..00031}, *, ?), sorted.

    A literal match wins over a pattern: a folder may be called "trip [2024]".

    Raises MissingError if some numbers of a pattern are missing, InputError if a pattern has too many.
    """
    storage = storage_of(path)
    if storage.exists(path):
        return [path]
    texts = [str(path)]
    while found := BRACES.search(texts[0]):
        first, last, digits = int(found[1]), int(found[2]), len(found[1])
        if not 0 <= last - first < PATTERN_FILES // len(texts):
            raise InputError(f"{path} names {last - first + 1:,} files, expected 1 to {PATTERN_FILES:,}")
        numbers = [f"{number:0{digits}}" for number in range(first, last + 1)]
        texts = [BRACES.sub(number, text, count=1) for text in texts for number in numbers]
    if texts != [str(path)]:
        patterns = [storage.like(path, text) for text in texts]
        known: set[str] = set()
        for folder in {pattern.parent for pattern in patterns}:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), reaching(folder):
                known |= {str(path) for path in folder.iterdir()}
        matches = [[pattern] if str(pattern) in known else storage.glob(pattern) for pattern in patterns]
        missing = [str(pattern) for pattern, files in zip(patterns, matches) if not files]
        if not missing:
            return list(dict.fromkeys(file for files in matches for file in files))
        if len(missing) < len(patterns):
            examples = ", ".join(missing[:3])
            raise MissingError(
                f"{len(missing):,} of the {len(patterns):,} files of {path} are missing (first: {examples})"
            )
    return storage.glob(path)
