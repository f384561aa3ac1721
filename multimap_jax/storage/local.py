"""Files on this machine: reads are bounded, writes are atomic.

`LocalStorage` documents the methods that every kind of storage has; `objects.ObjectStorage` implements them for a
store, and `paths.storage_of` returns the one for a path. A path is a `pathlib.Path` or an `Address`, which has the same
methods. Only operations that need more care than theirs, or that differ in a store, are here.
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

Content = str | bytes | Callable[[BinaryIO], None]  # a text, bytes, or a function that writes into a file
Version = tuple[int, str]  # size in bytes, and SHA-256


class BoundedFile(io.BufferedReader):
    """A regular file that limits each read to its size, because readers request whatever a header says.

    ValueError for anything else: reading a pipe could wait forever, and a device has no end.
    """

    def __init__(self, path: str | os.PathLike, limit: int | None = None):
        check_regular(path, limit=limit)
        empty = not os.stat(path).st_size  # files such as those in /proc claim to be empty and may never end
        super().__init__(io.FileIO(os.devnull if empty else path, opener=_open_without_waiting))
        try:
            if not empty:
                check_regular(self.fileno(), path)  # it may have been replaced since
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
    """ValueError if `path`, or the file of a descriptor, is not a regular file or is over `limit` bytes. name: the name
    to use in the message."""
    found, name = os.stat(path), path if name is None else name
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{name} is not a regular file")
    check_size(name, found.st_size, limit)


def check_size(path: object, size: int | None, limit: int | None) -> None:
    """ValueError if a file of `size` bytes (None: unknown) is over `limit` bytes."""
    if limit is not None and (size or 0) > limit:
        raise ValueError(f"{path} has {size:,} bytes, expected at most {limit:,}")


def write_content(file: BinaryIO, content: Content, sync: bool = False) -> None:
    """Writes a text, bytes, or the output of a function. sync: flush it to the disk."""
    if callable(content):
        content(file)
    else:
        file.write(content.encode() if isinstance(content, str) else content)
    file.flush()
    if sync:
        os.fsync(file.fileno())


def rename_new(aside: Path, target: Path) -> None:
    """Renames a file without overwriting; FileExistsError if the name is taken. `aside` may stay as a second name of
    the same file: creating a hard link fails if a name is taken, while renaming would overwrite."""
    try:
        os.link(aside, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: reserve the name first
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        os.replace(aside, target)


def file_version(path: Path) -> Version:
    """Size and SHA-256 of a regular file."""
    with BoundedFile(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a small file with few calls of the system, for folders of many."""
    with open(path, "wb", buffering=0) as file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class LocalStorage:
    """Files on this machine."""

    local = True  # files can be opened in place and linked, and their disk can be unmounted

    def reaching(self, path: Path) -> contextlib.AbstractContextManager[None]:
        """A context that turns any error of a store's package into an Unreachable that names the path."""
        return contextlib.nullcontext()

    def exists(self, path: Path) -> bool:
        """Whether the path exists; follows links."""
        return path.exists()

    def open(self, path: Path, limit: int | None = None) -> BinaryIO:
        """Opens a file for reading, with each read limited to its size. ValueError if it is not a regular file or has
        over `limit` bytes, FileNotFoundError if it does not exist."""
        return BoundedFile(path, limit)

    def version(self, path: Path) -> str | None:
        """A text that changes when an object does; None for a local file, whose version is computed when needed."""
        return None

    def has_version(self, path: Path, versions: Iterable[Version]) -> bool:
        """Whether a file has one of these versions, by size and SHA-256; for an object, by size alone."""
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size not in [size for size, _ in versions]:
            return False
        with contextlib.suppress(ValueError):  # no longer a regular file
            return file_version(path) in versions
        return False

    def is_same(self, path: Path, other: object) -> bool:
        """Whether two paths name the same file."""
        return isinstance(other, Path) and path.exists() and other.exists() and path.samefile(other)

    def local_copy(self, path: Path) -> Path:
        """A local file with this content: the file itself, or a copy that is fetched once per version."""
        return path

    def local_folder_copy(self, path: Path, files: Iterable) -> Path:
        """A local folder that holds these files of `path`."""
        return path

    def like(self, path: Path, text: str) -> Path:
        """Another path of the same kind, in the same store."""
        return Path(text)

    def glob(self, path: Path) -> list[Path]:
        """The files that match a path as a pattern with *, ? and [], sorted. A literal match, such as "trip [2024]",
        wins over the pattern."""
        if not glob.has_magic(str(path)):
            return []
        return sorted(_matches(Path(path.anchor), path.relative_to(path.anchor).parts), key=str)

    def objects_below(self, path: Path) -> dict[str, dict] | None:
        """A store's metadata of all objects below a path, by relative path; None for a local folder, to be walked."""
        return None

    def is_folder(self, path: Path) -> bool | None:
        """Whether this is a folder; None in a store, where asking for each of many objects would be slow."""
        return path.is_dir()

    def has_name(self, path: Path) -> bool | None:
        """Whether a name is taken, also by a broken link; None in a store, which is not asked."""
        return os.path.lexists(path)

    def write(self, path: Path, content: Content, new: bool = False) -> None:
        """Writes a file atomically: to a temporary name, flushed to the disk, then renamed. In a store, writes one
        object. If an OSError is raised, the old file stays and nothing of the new one is left.

        new: raise FileExistsError if the path exists, even if it was created just now.
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
        """Moves a finished local file into place atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, path)

    def put_folder(self, folder: Path, path: Path) -> None:
        """Moves a finished local folder of files into place, here in one step. OSError if there is such a folder."""
        os.replace(folder, path)

    def sizes(self, folder: Path) -> dict[str, int]:
        """The bytes of each regular file in a folder, by name; {} if there is no such folder."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
            files = {entry.name: entry.stat(follow_symlinks=False) for entry in found}
            return {name: status.st_size for name, status in files.items() if stat.S_ISREG(status.st_mode)}
        return {}

    def check_writable(self, folder: Path) -> None:
        """Creates the folder and tests that it is writable; OSError if it is not."""
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # it has no name, so that no other process deletes it

    @contextlib.contextmanager
    def working_folder(self, folder: Path) -> Iterator[Path]:
        """The local folder in which to create files for `folder`: itself, or a temporary one for a store."""
        folder.mkdir(parents=True, exist_ok=True)
        yield folder

    def remove(self, path: Path) -> None:
        """Removes a file, or a link but not its target. The caller must check that it is multimap's."""
        path.unlink()

    def remove_empty(self, folder: Path) -> bool:
        """Removes a folder if it is empty, and returns whether it is gone. Stores have no folders."""
        with contextlib.suppress(OSError):
            folder.rmdir()
        return not folder.exists()


def _matches(folder: Path, names: Sequence[str]) -> list[Path]:
    """The paths below a folder that match a pattern, given as a list of names."""
    if not names:
        return [folder]
    name, *deeper = names
    found = _matches(folder / name, deeper) if os.path.lexists(folder / name) else []
    if not found and glob.has_magic(name):
        found = [path for match in glob.glob(name, root_dir=folder) for path in _matches(folder / match, deeper)]
    return found
