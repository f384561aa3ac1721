"""Files of this machine: read within bounds, written whole.

`LocalStorage` says what every kind of storage offers; `objects.ObjectStorage` has the same methods for a store, and
`paths.storage_of` tells which one a path belongs to. A path is a `pathlib.Path` or an `Address`, which has the same
methods; only what these do too carelessly, or differently, is here.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import io
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

Content = str | bytes | Callable[[BinaryIO], None]  # a text, bytes, or what writes them into a file
Version = tuple[int, str]  # bytes, and their SHA-256


class BoundedFile(io.BufferedReader):
    """A regular file that is never asked for more than it holds: readers ask for whatever a header says.

    ValueError for anything else: a pipe would be waited for without end, a device has no end.
    """

    def __init__(self, path: str | os.PathLike, limit: int | None = None):
        check_regular(path, limit=limit)
        empty = not os.stat(path).st_size  # the system's own files say so too, and may give bytes without end
        super().__init__(io.FileIO(os.devnull if empty else path, opener=_open_without_waiting))
        try:
            if not empty:
                check_regular(self.fileno(), path)  # another one may have come in its place
        except ValueError:
            self.close()
            raise

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))


def check_regular(path: str | os.PathLike | int, name: object = None, limit: int | None = None) -> None:
    """ValueError where `path`, or what a descriptor is of, is not a regular file or is over `limit` bytes. name: what
    the sentence calls it."""
    found, name = os.stat(path), path if name is None else name
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{name} is not a regular file")
    check_size(name, found.st_size, limit)


def check_size(path: object, size: int | None, limit: int | None) -> None:
    """ValueError where a file of `size` bytes, None where nobody knows them, is over `limit` bytes."""
    if limit is not None and (size or 0) > limit:
        raise ValueError(f"{path} has {size:,} bytes, expected {limit:,} at most")


def write_content(file: BinaryIO, content: Content, sync: bool = False) -> None:
    """Writes a text, bytes, or whatever a function writes. sync: to the disk."""
    if callable(content):
        content(file)
    else:
        file.write(content.encode() if isinstance(content, str) else content)
    file.flush()
    if sync:
        os.fsync(file.fileno())


def rename_new(aside: Path, target: Path) -> None:
    """Gives a file a name that nothing else has; FileExistsError where it is taken. `aside` may stay, as another name
    of the same file: a hard link says that a name is taken, where renaming would overwrite."""
    try:
        os.link(aside, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the name is reserved, then given
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.replace(aside, target)


def file_version(path: Path) -> Version:
    """Size and SHA-256 of a regular file."""
    with BoundedFile(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest


class LocalStorage:
    """Files of this machine."""

    local = True  # so that files can be opened where they lie, linked, and unmounted

    def reaching(self, path: Path) -> contextlib.AbstractContextManager[None]:
        """Within this context whatever a store's package raises becomes an Unreachable that names the path."""
        return contextlib.nullcontext()

    def exists(self, path: Path) -> bool:
        """Whether something is there, once links are followed."""
        return path.exists()

    def open(self, path: Path, limit: int | None = None) -> BinaryIO:
        """A file to be read, never more of it than it holds. ValueError where it is no regular file or has over `limit`
        bytes, FileNotFoundError where there is none."""
        return BoundedFile(path, limit)

    def version(self, path: Path) -> str | None:
        """What changes where an object is changed; None for a file of this machine, which is looked at when needed."""
        return None

    def has_version(self, path: Path, versions: Iterable[Version]) -> bool:
        """Whether a file is one of these, byte by byte; of an object the size is compared."""
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size not in [size for size, _ in versions]:
            return False
        with contextlib.suppress(ValueError):  # no regular file any more
            return file_version(path) in versions
        return False

    def is_same(self, path: Path, other: object) -> bool:
        """Whether two paths are of one file."""
        return isinstance(other, Path) and path.exists() and other.exists() and path.samefile(other)

    def local_copy(self, path: Path) -> Path:
        """The file on this machine: itself, or what was fetched of it, once while it stays the same."""
        return path

    def local_folder_copy(self, path: Path, files: Iterable) -> Path:
        """A folder of this machine that holds these files of `path`."""
        return path

    def like(self, path: Path, text: str) -> Path:
        """Another path of the same kind, in the same store."""
        return Path(text)

    def glob(self, path: Path) -> list[Path]:
        """What a path matches as a pattern of *, ? and [], sorted. A name that is there as it is written, such as
        "trip [2024]", comes before those that it matches as a pattern."""
        if not glob.has_magic(str(path)):
            return []
        return sorted(_matches(Path(path.anchor), path.relative_to(path.anchor).parts), key=str)

    def objects_below(self, path: Path) -> dict[str, dict] | None:
        """What a store says of all objects below a path, by their paths from there; None for folders to be walked."""
        return None

    def is_folder(self, path: Path) -> bool | None:
        """Whether this is a folder; None in a store, which is not asked for each of many."""
        return path.is_dir()

    def has_name(self, path: Path) -> bool | None:
        """Whether a name is taken, by a link that leads nowhere too; None in a store, which is not asked."""
        return os.path.lexists(path)

    def write(self, path: Path, content: Content, new: bool = False) -> None:
        """Writes a file aside, brings it to the disk and puts it in place; in a store, one object. It is there as a
        whole, or as it was; where an OSError is raised nothing is left of it.

        new: FileExistsError where something is there, also if it came meanwhile.
        """
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                write_content(file, content, sync=True)
            (rename_new if new else os.replace)(aside, path)
        finally:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)

    def put(self, file: Path, path: Path) -> None:
        """Puts a finished file of this machine in place, whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, path)

    def check_writable(self, folder: Path) -> None:
        """Creates the folder and tries it; OSError where nothing can be written into it."""
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # has no name: several processes may try, and one of them sweep

    @contextlib.contextmanager
    def working_folder(self, folder: Path) -> Iterator[Path]:
        """Where files for `folder` are made: itself, created, or a folder of this machine that goes at the end."""
        folder.mkdir(parents=True, exist_ok=True)
        yield folder

    def remove(self, path: Path) -> None:
        """Removes a file; of a link not what it leads to. The caller sees to it that it is multimap's."""
        path.unlink()

    def remove_empty(self, folder: Path) -> bool:
        """Removes a folder with nothing in it, and returns whether it is gone. Stores have no folders."""
        with contextlib.suppress(OSError):
            folder.rmdir()
        return not folder.exists()


def _matches(folder: Path, names: Sequence[str]) -> list[Path]:
    """What a pattern, given name by name, matches below a folder."""
    if not names:
        return [folder]
    name, *deeper = names
    found = _matches(folder / name, deeper) if os.path.lexists(folder / name) else []
    if not found and glob.has_magic(name):
        found = [path for match in glob.glob(name, root_dir=folder) for path in _matches(folder / match, deeper)]
    return found
