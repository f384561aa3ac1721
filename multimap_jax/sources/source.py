"""A source of images: what they are called, where each is read, and what changes where one is changed."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import itertools
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from multimap_jax.sources.names import SortedPaths
from multimap_jax.storage.paths import exists, is_remote, reaching

# From the middle of a file: at its beginning pictures of one camera are alike.
SAMPLE_BYTES = 512
MOST_FILES = 10**6
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclasses.dataclass(frozen=True)
class PackedImage:
    """An image within a larger file: `place` in `file` says where, `read` gives its bytes; or one that is not on this
    machine (`remote`), or within such a file. version: what its store said of it, None where a file is to be looked
    at."""

    file: str
    place: str
    read: Callable[[], bytes]
    version: str | None = None
    remote: bool = False


@dataclasses.dataclass(frozen=True)
class Source:
    """Named images.

    Attributes:
      place: what was given, for sentences.
      images: name -> the file, or the place in one; in the order in which they are best read.
      notes: what was passed over, in sentences.
      columns: what else is known of the images, each column in their order.
    """

    place: Path
    images: Mapping[str, Path | PackedImage]
    notes: tuple[str, ...] = ()
    columns: dict[str, list] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> Sequence[str]:
        return self.images.names if isinstance(self.images, SortedPaths) else list(self.images)

    def columns_of(self, names: Sequence[str]) -> dict[str, list]:
        """`columns` for some of the images."""
        if not self.columns:
            return {}
        place = {name: i for i, name in enumerate(self.images)}
        return {column: [own[place[name]] for name in names] for column, own in self.columns.items()}

    def versions(self, names: Iterable[str] | None = None) -> list[str]:
        """What changes where the file of an image is changed or replaced: its size, its time of change, and a sample of
        its bytes, for tools that keep both; and the place within a larger file. A link that leads nowhere has none."""
        found: dict[str, str] = {}
        versions = []
        for name in self.images if names is None else names:
            image = self.images[name]
            if isinstance(image, PackedImage) and image.version is not None:
                versions.append(f"{image.version}-{image.place}" if image.place else image.version)
                continue
            file = image.file if isinstance(image, PackedImage) else os.fspath(image)
            if file not in found or not isinstance(image, PackedImage):
                found[file] = version(file)
            packed = f"-{image.place}" if isinstance(image, PackedImage) and found[file] else ""
            versions.append(found[file] + packed)
        return versions

    def is_there(self) -> bool:
        """Whether what was given is still there. A store's own word on each of its images is enough."""
        return is_remote(self.place) or bool(files_of(self.place))


def version(file: str) -> str:
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return ""
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):  # a path with a null byte is a ValueError
        return ""
    try:
        found = os.fstat(descriptor)
        os.lseek(descriptor, found.st_size // 2, os.SEEK_SET)
        sample = os.read(descriptor, SAMPLE_BYTES)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return f"{found.st_size}-{found.st_mtime_ns}-{hashlib.blake2b(sample, digest_size=6).hexdigest()}"


def files_of(place: Path) -> list[Path]:
    """What a path names: itself, or all that a pattern matches ({00000..00031}, *, ?), sorted; [] for nothing. A path
    may be of a store.

    A name that is there as it is written comes first: a folder may be called "trip [2024]".

    Raises FileNotFoundError where some of the numbers of a pattern are missing, ValueError for too many of them.
    """
    if exists(place):
        return [place]
    named = [str(place)]
    while found := BRACES.search(named[0]):
        first, last, digits = int(found[1]), int(found[2]), len(found[1])
        if not 0 <= last - first < MOST_FILES // len(named):
            raise ValueError(f"{place} names {last - first + 1:,} files: expected 1 to {MOST_FILES:,}")
        named = [
            BRACES.sub(f"{number:0{digits}}", each, count=1) for each in named for number in range(first, last + 1)
        ]
    if len(named) > 1 or named[0] != str(place):
        found = [_like(place, each) for each in named]
        there = {each for folder in {each.parent for each in found} for each in _listed(folder)}
        matched = [[each] if str(each) in there else _globbed(each) for each in found]
        missing = [str(each) for each, files in zip(found, matched) if not files]
        if missing and len(missing) < len(named):
            raise FileNotFoundError(
                f"{len(missing):,} of the {len(named):,} files of {place} are not there, the first is {missing[0]}"
            )
        if not missing:
            return list(dict.fromkeys(file for files in matched for file in files))
    return _globbed(place)


def _globbed(place: Path) -> list[Path]:
    """What a path matches as a pattern of *, ? and [], sorted."""
    if not glob.has_magic(str(place)):
        return []
    if not is_remote(place):
        return sorted(_matches(Path(place.anchor), place.relative_to(place.anchor).parts), key=str)
    with reaching(place):
        found = place.fs.glob(_escaped(place)) or place.fs.glob(place.path)
        return [_like(place, f"{place.protocol}://{each}") for each in sorted(found)]


def _matches(folder: Path, parts: Sequence[str]) -> list[Path]:
    """What a pattern, part by part, matches below a folder. A name that is there as it is written, such as
    "trip [2024]", comes before those that it matches as a pattern."""
    if not parts:
        return [folder]
    part, *rest = parts
    found = _matches(folder / part, rest) if os.path.lexists(folder / part) else []
    if not found and glob.has_magic(part):
        found = [each for name in glob.glob(part, root_dir=folder) for each in _matches(folder / name, rest)]
    return found


def _escaped(place) -> str:
    """A path of a store as a pattern; its first folders are escaped where they are there as they are written."""
    known = [folder for folder in reversed(place.parents) if glob.has_magic(folder.name)]
    there = list(itertools.takewhile(exists, known))
    if not there:
        return place.path
    return glob.escape(there[-1].path) + place.path[len(there[-1].path) :]


def _like(place: Path, text: str) -> Path:
    """Another path of the kind of `place`, on this machine or in the same store."""
    return type(place)(text, **place.storage_options) if is_remote(place) else Path(text)


def _listed(folder: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), reaching(folder):
        return [str(each) for each in folder.iterdir()]
    return []
