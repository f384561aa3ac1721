"""Images of a folder: which files there are, and what they are called."""

from __future__ import annotations

import collections
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from multimap_jax.inputs import kinds
from multimap_jax.inputs.names import name_of_path
from multimap_jax.inputs.places import is_remote
from multimap_jax.inputs.remote import objects_below, remote_image
from multimap_jax.inputs.source import Source


def read_folder(path: str | Path) -> Source:
    """Image files below `path`, by their endings, sorted by name; hidden files and folders are passed over.

    Notes say what else looks like photographs and is of a kind that is not read, and which folders cannot be.

    Linked folders are followed once: where a link leads to a place that is read anyway, or back to a folder that it
    stands in, a note says that it was passed over.

    Raises FileNotFoundError or NotADirectoryError for a bad folder, ValueError where it holds no image file.
    """
    if is_remote(path):
        return read_remote_folder(path)
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
    notes += passed_over([file.relative_to(path).as_posix() for file in unread])
    check_some(path, len(found), others, notes)
    found.sort(key=lambda file: file.relative_to(path).as_posix())
    return Source(path, {relative_name(file, path): file for file in found}, tuple(notes))


def read_remote_folder(path) -> Source:
    """As `read_folder`, below a path of a store, which lists it at once."""
    suffixes, objects = kinds.suffixes(), objects_below(path)
    if not objects:
        raise FileNotFoundError(f"there is nothing below {path}")
    seen = sorted(name for name in objects if not any(part.startswith(".") for part in name.split("/")))
    found = [name for name in seen if PurePosixPath(name).suffix.lower() in suffixes]
    notes = passed_over([name for name in seen if PurePosixPath(name).suffix.lower() in kinds.PHOTOGRAPHS])
    check_some(path, len(found), len(seen) - len(found), notes)
    images = {name_of_path(name): remote_image(path / name, objects[name]) for name in found}
    return Source(path, images, tuple(notes))


def passed_over(names: Sequence[str]) -> list[str]:
    """What is to be said of files that look like photographs and are not read."""
    if not names:
        return []
    counts = collections.Counter(PurePosixPath(name).suffix.lower() for name in names)
    found = ", ".join(f"{number:,} {ending}" for ending, number in sorted(counts.items()))
    first = name_of_path(min(names))
    return [f"files of kinds that are not read were passed over: {found} (the first: {first})"]


def check_some(path: Path, found: int, others: int, notes: Sequence[str]) -> None:
    """ValueError where no image file was found."""
    if not found:
        more = f"; {notes[-1]}" if notes else ""
        raise ValueError(f"no image files (.jpg, .png, .heic, …) in {path}; files of other kinds there: {others}{more}")


def relative_name(file: Path, folder: Path) -> str:
    """What an image is called: its path below the folder, with "/", as `name_of_path` writes it."""
    return name_of_path(file.relative_to(folder).as_posix())
