"""Images of a folder: which files there are, and what they are called."""

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

LOOKED_AT = 1_000  # files without the ending of an image whose content is looked at


def read_folder(path: str | Path, files: Sequence[Path] = (), addresses: bool = True) -> Source:
    """Image files below `path`, by their endings, sorted by name. Hidden files and folders are skipped, and so are
    folders that multimap wrote, unless only these hold images.

    Linked folders are followed once. Notes say what was skipped: links to what is read anyway or to a folder above,
    folders that cannot be read, folders that multimap wrote, and what looks like photographs and is not read.

    files: the folders that `path` names as a pattern.

    Raises InputError for several folders and for one without images, MissingError or NotFolderError for a bad folder.
    """
    if len(files) > 1:
        raise InputError(f"{path} names {len(files):,} folders: give the folder that they are in")
    folder = files[0] if files else Path(path) if isinstance(path, str) else path
    notes: list[str] = []
    objects = storage_of(folder).objects_below(folder)  # at once; None on this machine, where folders are walked
    if objects == {}:
        raise MissingError(f"there is nothing below {folder}")
    found = image_files(folder, list(objects or files_below(folder, notes)), notes)
    images = {name_of_path(name): image_at(folder / name, objects and objects[name]) for name in found}
    return Source(folder, images, tuple(notes))


def files_below(path: Path, notes: list[str]) -> list[str]:
    """All files below a folder, by their paths from there, except those in hidden folders. notes: gets sentences on
    folders that are skipped. Raises MissingError or NotFolderError for a bad folder."""
    if not path.exists():
        raise MissingError(f"there is no folder {path}")
    if not path.is_dir():
        raise NotFolderError(f"{path} is a file, expected a folder of images")

    def note_unreadable(error: OSError) -> None:
        name = name_of_path(Path(error.filename).relative_to(path).as_posix())
        notes.append(f"the folder {name} was passed over: it cannot be read ({error.strerror})")

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
        # Folders that are there by themselves come before links to them.
        for link in links:
            target, name = os.path.realpath(link), name_of_path(link.relative_to(path).as_posix())
            if os.path.join(os.path.realpath(link.parent), "").startswith(os.path.join(target, "")):
                notes.append(f"the linked folder {name} was passed over: it leads back to a folder that it stands in")
            elif target in seen:
                notes.append(f"the linked folder {name} was passed over: what it leads to is read already")
            else:
                seen.add(target)
                waiting.append(link)
    return found


def image_files(path: Path, names: Sequence[str], notes: list[str]) -> list[str]:
    """The images among the files of a folder, sorted. notes: gets sentences on other files. InputError where there are
    none."""
    suffixes = formats.suffixes()
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
        found = given
    other_files = [name for name in names if ending(name) not in suffixes]
    photographs = [name for name in other_files if ending(name) in formats.PHOTOGRAPHS]
    if photographs:
        counts = collections.Counter(map(ending, photographs))
        kinds = ", ".join(f"{number:,} {ending}" for ending, number in sorted(counts.items()))
        first = name_of_path(photographs[0])
        notes.append(f"files of kinds that are not read were passed over: {kinds} (the first: {first})")
    if storage_of(path).local:
        note_unnamed_images(path, [name for name in other_files if ending(name) not in formats.PHOTOGRAPHS], notes)
    if not found:
        reasons = "".join(f"; {note}" for note in notes[-2:])
        raise InputError(
            f"no image files (.jpg, .png, .heic, …) in {path}; files of other kinds there: {len(other_files)}{reasons}"
        )
    return found


def note_unnamed_images(path: Path, names: Sequence[str], notes: list[str]) -> None:
    """Says which files begin as images do and have no ending of one. LOOKED_AT are looked at, those without any ending
    first."""
    looked_at = sorted(names, key=lambda name: bool(ending(name)))[:LOOKED_AT]
    found = sorted(name for name in looked_at if formats.begins_as_image(beginning(path / name)))
    if found:
        least = "at least " if len(names) > LOOKED_AT else ""
        notes.append(
            f"images whose names do not end as those of images were passed over: {least}{len(found):,} (the first: "
            f"{name_of_path(found[0])}): add an ending such as .jpg"
        )


def ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def beginning(file: Path) -> bytes:
    """The first bytes of a file, b"" where it cannot be read."""
    with contextlib.suppress(OSError, ValueError), open_file(file) as content:
        return content.read(formats.BEGINNING)
    return b""
