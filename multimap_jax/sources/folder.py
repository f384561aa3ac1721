"""Images of a folder: which files there are, and what they are called."""

from __future__ import annotations

import collections
import contextlib
import functools
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from multimap_jax.sources import formats as kinds
from multimap_jax.sources.remote import objects_below, remote_image
from multimap_jax.sources.source import Source
from multimap_jax.storage.filenames import name_of_path
from multimap_jax.storage.markers import MARK, written_folder
from multimap_jax.storage.paths import is_remote, open_file

LOOKED_AT = 1_000  # files without the ending of an image whose content is looked at


def read_folder(path: str | Path) -> Source:
    """Image files below `path`, by their endings, sorted by name; hidden files and folders are passed over, and so are
    folders that multimap wrote, unless images are in these alone.

    Notes say which those are, what else looks like photographs and is not read, and which folders cannot be.

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
    notes: list[str] = []
    names = files_below(path, notes)
    found, others = sort_out(path, names, notes)
    notes += unnamed_images(path, others)
    check_any_image(path, len(found), len(others), notes)
    return Source(path, {name_of_path(name): path / name for name in found}, tuple(notes))


def read_remote_folder(path) -> Source:
    """As `read_folder`, below a path of a store, which lists it at once."""
    objects, notes = objects_below(path), []
    if not objects:
        raise FileNotFoundError(f"there is nothing below {path}")
    found, others = sort_out(path, objects, notes)
    check_any_image(path, len(found), len(others), notes)
    images = {name_of_path(name): remote_image(path / name, objects[name]) for name in found}
    return Source(path, images, tuple(notes))


def files_below(path: Path, notes: list[str]) -> list[str]:
    """All files below a folder, by their paths from there, but for those in hidden folders. notes: gets what is to be
    said of folders."""

    def closed(error: OSError) -> None:
        name = relative_name(Path(error.filename), path)
        notes.append(f"the folder {name} was passed over: it cannot be read ({error.strerror})")

    found: list[str] = []
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        links = []
        for root, folders, names in os.walk(waiting.pop(0), onerror=closed):
            seen.add(os.path.realpath(root))
            visible = sorted(name for name in folders if not name.startswith("."))
            links += [Path(root, name) for name in visible if os.path.islink(os.path.join(root, name))]
            folders[:] = [name for name in visible if os.path.realpath(os.path.join(root, name)) not in seen]
            folder = Path(root).relative_to(path)
            found += [(folder / name).as_posix() for name in names]
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
    return found


def sort_out(path, names: Sequence[str], notes: list[str]) -> tuple[list[str], list[str]]:
    """Images and other files among files of a folder, each sorted. notes: gets what is to be said of others."""
    suffixes = kinds.suffixes()
    marked = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == MARK} - {""}
    written = functools.cache(lambda folder: written_folder(folder, marked))
    names = sorted(name for name in names if "/." not in f"/{name}")
    found = [name for name in names if ending(name) in suffixes]
    given = [name for name in found if not written(name.rpartition("/")[0])]
    if given and len(given) < len(found):
        names = [name for name in names if not written(name.rpartition("/")[0])]
        folders = sorted({written(name.rpartition("/")[0]) for name in found} - {""})
        first = name_of_path(folders[0])
        notes.append(f"folders that multimap wrote were passed over: {len(folders):,} (the first: {first})")
    notes += passed_over([name for name in names if ending(name) in kinds.PHOTOGRAPHS])
    return given or found, [name for name in names if ending(name) not in suffixes]


def ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def passed_over(names: Sequence[str]) -> list[str]:
    """What is to be said of files that look like photographs and are not read."""
    if not names:
        return []
    counts = collections.Counter(map(ending, names))
    found = ", ".join(f"{number:,} {ending}" for ending, number in sorted(counts.items()))
    first = name_of_path(min(names))
    return [f"files of kinds that are not read were passed over: {found} (the first: {first})"]


def unnamed_images(path: Path, names: Sequence[str]) -> list[str]:
    """What is to be said of files that begin as images do and have no ending of one. LOOKED_AT are looked at, those
    without any ending first."""
    asked = sorted(
        (name for name in names if ending(name) not in kinds.PHOTOGRAPHS), key=lambda name: bool(ending(name))
    )
    found = sorted(name for name in asked[:LOOKED_AT] if kinds.begins_as_image(beginning(path / name)))
    if not found:
        return []
    least = "at least " if len(asked) > LOOKED_AT else ""
    return [
        f"images whose names do not end as those of images were passed over: {least}{len(found):,} (the first: "
        f"{name_of_path(found[0])}): add an ending such as .jpg"
    ]


def beginning(file: Path) -> bytes:
    """The first bytes of a file, b"" where it cannot be read."""
    with contextlib.suppress(OSError, ValueError), open_file(file) as content:
        return content.read(kinds.BEGINNING)
    return b""


def check_any_image(path: Path, found: int, others: int, notes: Sequence[str]) -> None:
    """ValueError where no image file was found."""
    if not found:
        more = "".join(f"; {note}" for note in notes[-2:])
        raise ValueError(f"no image files (.jpg, .png, .heic, …) in {path}; files of other kinds there: {others}{more}")


def relative_name(file: Path, folder: Path) -> str:
    """What an image is called: its path below the folder, with "/", as `name_of_path` writes it."""
    return name_of_path(file.relative_to(folder).as_posix())
