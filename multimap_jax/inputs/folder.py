"""Images of a folder: which files there are, and what they are called."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import os
from pathlib import Path

from multimap_jax.inputs import kinds
from multimap_jax.inputs.names import name_of_path

# From the middle of a file: at its beginning pictures of one camera are alike.
SAMPLE_BYTES = 512


@dataclasses.dataclass(frozen=True)
class Folder:
    """`files`: the image files below `path`, sorted by name. `notes`: what was passed over, in sentences."""

    path: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def names(self) -> list[str]:
        """What the images are called."""
        return [relative_name(file, self.path) for file in self.files]

    @functools.cached_property
    def paths(self) -> dict[str, Path]:
        """The file of each name."""
        return dict(zip(self.names, self.files))

    def versions(self) -> list[str]:
        """What changes where the file of an image is changed or replaced: its size, its time of change, and a sample of
        its bytes, for tools that keep both. A link that leads nowhere has the version ""."""
        return [version(os.fspath(file)) for file in self.files]


def version(file: str) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
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


def read_folder(path: str | Path) -> Folder:
    """Image files below `path`, by their endings, sorted by name; hidden files and folders are passed over.

    Notes say what else looks like photographs and is of a kind that is not read, and which folders cannot be.

    Linked folders are followed once: where a link leads to a place that is read anyway, or back to a folder that it
    stands in, a note says that it was passed over.

    Raises FileNotFoundError or NotADirectoryError for a bad folder, ValueError where it holds no image file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no folder {path}")
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is a file, expected a folder of images")
    suffixes, found, others, notes, unread = kinds.suffixes(), [], 0, [], []

    def closed(error: OSError) -> None:
        name = relative_name(Path(error.filename), path)
        notes.append(f"the folder {name} was passed over: it cannot be read ({error.strerror})")

    seen: set[str] = set()
    waiting = [path]
    while waiting:
        links = []
        for root, folders, names in os.walk(waiting.pop(0), onerror=closed):
            seen.add(os.path.realpath(root))
            visible = sorted(name for name in folders if not name.startswith("."))
            links += [Path(root, name) for name in visible if os.path.islink(os.path.join(root, name))]
            folders[:] = [name for name in visible if os.path.realpath(os.path.join(root, name)) not in seen]
            for name in names:
                if not name.startswith("."):
                    ending = Path(name).suffix.lower()
                    others += ending not in suffixes
                    found += [Path(root, name)] if ending in suffixes else []
                    unread += [Path(root, name)] if ending in kinds.PHOTOGRAPHS else []
        # Folders that are there by themselves come before links to them.
        for link in links:
            target, name = os.path.realpath(link), relative_name(link, path)
            if os.path.join(os.path.realpath(link.parent), "").startswith(os.path.join(target, "")):
                notes.append(f"the linked folder {name} was passed over: it leads back to a folder that it stands in")
            elif target in seen:
                notes.append(f"the linked folder {name} was passed over: what it leads to is read already")
            else:
                seen.add(target)
                waiting.append(link)
    if unread:
        counts = collections.Counter(file.suffix.lower() for file in unread)
        kinds_found = ", ".join(f"{number:,} {ending}" for ending, number in sorted(counts.items()))
        first = relative_name(min(unread), path)
        notes.append(f"files of kinds that are not read were passed over: {kinds_found} (the first: {first})")
    if not found:
        more = f"; {notes[-1]}" if notes else ""
        raise ValueError(f"no image files (.jpg, .png, .heic, …) in {path}; files of other kinds there: {others}{more}")
    found.sort(key=lambda file: file.relative_to(path).as_posix())
    return Folder(path, tuple(found), tuple(notes))


def relative_name(file: Path, folder: Path) -> str:
    """What an image is called: its path below the folder, with "/", as `name_of_path` writes it."""
    return name_of_path(file.relative_to(folder).as_posix())
