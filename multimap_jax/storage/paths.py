"""Paths on this machine or in a store, and short forms of the methods that `LocalStorage` documents."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from multimap_jax.storage.local import Content, LocalStorage
from multimap_jax.storage.objects import ObjectStorage, parse_address

FILE_SCHEMES = ("file", "local")  # schemes of addresses on this machine
_FILES, _OBJECTS = LocalStorage(), ObjectStorage()


def storage_of(path: object) -> LocalStorage | ObjectStorage:
    """The storage of a path. Only this function asks for the kind of a path; all but addresses are local."""
    return _OBJECTS if hasattr(path, "fs") and not isinstance(path, Path) else _FILES


def parse_path(text: str) -> Path:
    """Parses a path on this machine, where ~ is the user's home, or in a store: a text with "://" in it.

    file:// and local:// mean paths on this machine. Their escapes such as %20 are decoded if the path does not exist as
    written. Errors as in `parse_address`.
    """
    scheme, sign, rest = text.partition("://")
    if not sign:
        with contextlib.suppress(RuntimeError):  # ~name, without a user of that name
            return Path(text).expanduser()
        return Path(text)
    if scheme.lower() not in FILE_SCHEMES:
        return parse_address(text)
    found = Path(rest.removeprefix("localhost") or "/")
    decoded = Path(unquote(str(found), errors="surrogateescape"))  # browsers escape spaces and other characters
    return found if os.path.exists(found) or not os.path.exists(decoded) else decoded


def as_path(given: Any) -> Path | None:
    """The path, if `given` is a text or a path; None for anything else."""
    if storage_of(given) is _OBJECTS:
        return given
    return parse_path(os.fspath(given)) if isinstance(given, str | os.PathLike) else None


def reaching(path: Path) -> contextlib.AbstractContextManager[None]:
    return storage_of(path).reaching(path)


def exists(path: Path) -> bool:
    return storage_of(path).exists(path)


def open_file(path: Path, limit: int | None = None) -> BinaryIO:
    return storage_of(path).open(path, limit)


def size_of(file: BinaryIO) -> int:
    """The bytes of an open file; keeps its position."""
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(position)
    return size


def remote_version(path: Path) -> str | None:
    return storage_of(path).version(path)


def is_same_file(path: Path, other: object) -> bool:
    return storage_of(path).is_same(path, other)


def local_copy(path: Path) -> Path:
    return storage_of(path).local_copy(path)


def local_folder_copy(path: Path, files: Iterable) -> Path:
    return storage_of(path).local_folder_copy(path, files)


def write_file(path: Path, content: Content, new: bool = False) -> None:
    storage_of(path).write(path, content, new)
