"""Finds the image files of a folder and their names."""

from __future__ import annotations

import collections
import contextlib
import functools
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from multimap_jax.errors import InputError, MissingError, NotFolderError
from multimap_jax.sources import formats
from multimap_jax.sources.remote import image_at
from multimap_jax.sources.source import Source
from multimap_jax.storage.filenames import name_of_path
from multimap_jax.storage.markers import MARK, written_folder
from multimap_jax.storage.paths import open_file, storage_of

LOOKED_AT = 1_000  # files without an image extension whose content is inspected


def read_folder(path: str | Path, files: Sequence[Path] = (), addresses: bool = True) -> Source:
    """Finds the image files below `path` by their extensions, sorted by name.

    Skips hidden files and folders. Also skips folders that multimap wrote, unless only these hold images. Follows
    linked folders once. Notes list what was skipped: links to a folder that is read anyway or to one above, folders
    that cannot be read, folders that multimap wrote, and files that look like photographs in unsupported formats.

    Args:
      files: the folders that match `path` as a pattern.

    Raises:
      InputError: several folders, or a folder without images.
      MissingError, NotFolderError: `path` does not exist or is not a folder.
    """
    if len(files) > 1:
        raise InputError(f"{path} matches {len(files):,} folders: give the folder that contains them")
    folder = files[0] if files else Path(path) if isinstance(path, str) else path
    notes: list[str] = []
    objects = storage_of(folder).objects_below(folder)  # in one request; None on this machine, where folders are walked
    if objects == {}:
        raise MissingError(f"there are no files in {folder}")
    found = image_files(folder, list(objects or files_below(folder, notes)), notes)
    images = {name_of_path(name): image_at(folder / name, objects and objects[name]) for name in found}
    return Source(folder, images, tuple(notes))


def files_below(path: Path, notes: list[str]) -> list[str]:
    """All files below a folder as relative paths, except those in hidden folders. notes: receives a note for each
    skipped folder. Raises MissingError or NotFolderError if `path` does not exist or is not a folder."""
    if not path.exists():
        raise MissingError(f"there is no folder {path}")
    if not path.is_dir():
        raise NotFolderError(f"{path} is a file, expected a folder of images")

    def note_unreadable(error: OSError) -> None:
        name = name_of_path(Path(error.filename).relative_to(path).as_posix())
        notes.append(f"skipped the folder {name}: it cannot be read ({error.strerror})")

    found: list[str] = []
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        links = []
        for root, folders, names in os.walk(waiting.pop(0), onerror=note_unreadable):
            seen.add(os.path.realpath(root))
            visible = sorted(name for name in folders if not name.startswith("."))
            links += [Path(root, name) for name in visible if os.path.islink(os.path.join(root, name))]
            folders[:] = [name for name in visible if os.path.realpath(os.path.join(root, name)) not in seen]
            folder = Path(root).relative_to(path)
            found += [(folder / name).as_posix() for name in names]
        # Read real folders before links to them.
        for link in links:
            target, name = os.path.realpath(link), name_of_path(link.relative_to(path).as_posix())
            if os.path.join(os.path.realpath(link.parent), "").startswith(os.path.join(target, "")):
                notes.append(f"skipped the linked folder {name}: it leads back to a folder that contains it")
            elif target in seen:
                notes.append(f"skipped the linked folder {name}: the folder that it leads to is read already")
            else:
                seen.add(target)
                waiting.append(link)
    return found


def image_files(path: Path, names: Sequence[str], notes: list[str]) -> list[str]:
    """The image files of a folder, sorted. notes: receives notes about other files. InputError if there are no
    images."""
    suffixes = formats.suffixes()
    marked = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] == MARK} - {""}
    written = functools.cache(lambda folder: written_folder(folder, marked))
    names = sorted(name for name in names if "/." not in f"/{name}")
    found = [name for name in names if ending(name) in suffixes]
    given = [name for name in found if not written(name.rpartition("/")[0])]
    if given and len(given) < len(found):
        names = [name for name in names if not written(name.rpartition("/")[0])]
        folders = sorted({written(name.rpartition("/")[0]) for name in found} - {""})
        notes.append(f"skipped folders that multimap wrote: {len(folders):,} ({first_names(folders)})")
        found = given
    other_files = [name for name in names if ending(name) not in suffixes]
    photographs = [name for name in other_files if ending(name) in formats.PHOTOGRAPHS]
    if photographs:
        counts = collections.Counter(map(ending, photographs))
        kinds = ", ".join(f"{number:,} {ending}" for ending, number in sorted(counts.items()))
        notes.append(f"skipped files in unsupported formats: {kinds} ({first_names(photographs)})")
    if storage_of(path).local:
        note_unnamed_images(path, [name for name in other_files if ending(name) not in formats.PHOTOGRAPHS], notes)
    if not found:
        reasons = "".join(f"; {note}" for note in notes[-2:])
        raise InputError(
            f"no image files (.jpg, .png, .heic, …) in {path}; number of other files: {len(other_files):,}{reasons}"
        )
    return found


def note_unnamed_images(path: Path, names: Sequence[str], notes: list[str]) -> None:
    """Notes the files whose content is an image but whose extension is not. Inspects up to LOOKED_AT files, those
    without any extension first."""
    looked_at = sorted(names, key=lambda name: bool(ending(name)))[:LOOKED_AT]
    found = sorted(name for name in looked_at if formats.begins_as_image(beginning(path / name)))
    if found:
        least = "at least " if len(names) > LOOKED_AT else ""
        notes.append(
            f"skipped images without an image file extension: {least}{len(found):,} ({first_names(found)}); add one, "
            "such as .jpg"
        )


def first_names(paths: Sequence[str]) -> str:
    """The first three of several files or folders, for a note."""
    return f"first: {', '.join(map(name_of_path, paths[:3]))}"


def ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def beginning(file: Path) -> bytes:
    """The first bytes of a file, b"" if it cannot be read."""
    with contextlib.suppress(OSError, ValueError), open_file(file) as content:
        return content.read(formats.BEGINNING)
    return b""
