"""Images in tar files, as WebDataset and img2dataset write them: listed once, read where they lie, never unpacked."""

from __future__ import annotations

import collections
import functools
import os
import tarfile
from pathlib import Path, PurePosixPath

from multimap_jax.inputs import kinds
from multimap_jax.inputs.files import passing
from multimap_jax.inputs.names import name_of_path
from multimap_jax.inputs.places import BoundedFile, opened, plain, remote_version
from multimap_jax.inputs.remote import fetch
from multimap_jax.inputs.source import Packed, Source

MEMBER_BYTES = 200 * 2**20
TEXT_BYTES = 2**20
LISTED = 5


def read_tars(place: Path, files: list[Path], addresses: bool = True) -> Source:
    """The images in tar files. Columns `caption` and `json` hold what lies beside them in .txt and .json files.

    Links, names that point outside, members over 200 MB and files that are no images are passed over, and counted in
    notes; of a tar that is cut short what could be read is used. ValueError where there is no image in any.
    """
    images: dict[str, Packed] = {}
    texts: dict[str, dict[str, str]] = {"txt": {}, "json": {}}
    passed, notes = collections.defaultdict(list), []
    for file in files:
        beside: dict[str, dict[str, str]] = {"txt": {}, "json": {}}
        names: dict[str, str] = {}
        mark = remote_version(file)
        with opened(file) as content:
            problem = ""
            try:
                with tarfile.open(fileobj=content, mode="r:", errorlevel=2) as tar:
                    last = -1
                    for row, member in enumerate(tar):
                        tar.members = []  # else every header stays in memory
                        if member.size < 0 or member.offset <= last:  # some Pythons would begin anew without end
                            raise tarfile.ReadError("a member of no size")
                        last = member.offset
                        reason = refused(member)
                        stem, _, ending = member.name.rpartition(".")
                        ending = ending.lower()
                        if reason:
                            passed[reason].append(f"{file.name}: {member.name}")
                        elif member.isfile() and ending in beside:
                            if member.size <= TEXT_BYTES:
                                found = tar.extractfile(member).read().decode("utf-8", "replace")
                                beside[ending][stem] = found.strip()
                        elif member.isfile() and f".{ending}" in kinds.suffixes():
                            name = name_of_path(member.name)
                            if name in images:
                                name = f"{name_of_path(file.name)}#{row}"
                            images[name] = packed(file, member.offset_data, member.size, mark)
                            names[name] = stem
                        elif member.isfile():
                            passed["no image by its ending"].append(f"{file.name}: {member.name}")
            except Exception as error:  # tarfile has no common base class for what a damaged file raises
                if passing(error):
                    raise
                problem = plain(error)
        if problem and not names:
            notes.append(f"{name_of_path(file.name)} is no tar file, or an empty one ({problem})")
        elif problem:
            said = f"{len(names):,} images in it were read ({problem})"
            notes.append(f"{name_of_path(file.name)} is cut short: {said}")
        for kind, own in texts.items():
            own |= {name: beside[kind][stem] for name, stem in names.items() if stem in beside[kind]}
    for reason, members in passed.items():
        first = ", ".join(map(name_of_path, members[:LISTED]))
        notes.append(f"{len(members):,} members of tar files were passed over, {reason}: {first}")
    if not images:
        raise ValueError(f"there is no image in {place}" + "".join(f"; {note}" for note in notes))
    columns = {"caption": texts["txt"], "json": texts["json"]}
    columns = {column: [own.get(name, "") for name in images] for column, own in columns.items() if own}
    return Source(place, images, tuple(notes), columns)


def refused(member: tarfile.TarInfo) -> str:
    """Why a member is not looked at, "" where nothing is against it."""
    path = PurePosixPath(member.name)
    if member.islnk() or member.issym():
        return "links"
    if path.is_absolute() or ".." in path.parts:
        return "with names that point outside"
    if not member.isfile() and not member.isdir():
        return "no files"
    if member.isfile() and member.size > MEMBER_BYTES:
        return f"over {MEMBER_BYTES // 2**20} MB"
    return ""


def packed(file: Path, offset: int, size: int, mark: str | None) -> Packed:
    """One image in a tar. mark: the version of a tar of a store, None on this machine."""
    if mark is None:
        return Packed(os.fspath(file), f"{offset}-{size}", functools.partial(read_bytes, os.fspath(file), offset, size))
    read = functools.partial(fetch, file, size, offset, offset + size)
    return Packed(f"{file}", f"{offset}-{size}", read, mark, remote=True)


def read_bytes(file: str, offset: int, size: int) -> bytes:
    with BoundedFile(file) as content:
        content.seek(offset)
        found = content.read(size)
    if len(found) < size:
        raise ValueError("the tar ends within it")
    return found
