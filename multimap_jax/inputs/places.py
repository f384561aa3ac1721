"""Where files are: on this machine, or in a store that fsspec knows (gs://, s3://, hf://, …), as universal_pathlib has
its paths. Both are looked at with the same methods.

What is read as a whole is fetched, what is mapped into memory is fetched once into a folder that goes with this
process, and an object is written in one piece, for none can be renamed.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import hashlib
import io
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

# Objects of at most so many bytes are fetched whole, others in blocks.
WHOLE_BYTES, BLOCK_BYTES = 2**26, 2**23
# What stores call the mark that changes with an object.
MARKS = ("ETag", "etag", "generation", "blob_id", "content_md5", "md5Hash", "mtime", "LastModified", "created")


class Unreachable(OSError):
    """A store that does not answer, or not to this user: it may do so another time."""

    def __init__(self, said: str):
        super().__init__(errno.EIO, said)

    def __str__(self):
        return self.strerror


class BoundedFile(io.BufferedReader):
    """A file that is never asked for more than it holds: readers ask for whatever a header says."""

    def __init__(self, path: str | os.PathLike):
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def check_regular(path: Path, most: int | None = None) -> None:
    """ValueError where `path` is not a regular file (a pipe would be waited for without end) or over `most` bytes."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is not a regular file")
    if most is not None and found.st_size > most:
        raise ValueError(f"{path} has {found.st_size:,} bytes, expected {most:,} at most")


def plain(error: BaseException) -> str:
    """An error in one line, not without end, with its kind where it says nothing else."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def place(text: str) -> Path:
    """A path on this machine, or one of a store: a text with "://" in it.

    Raises ValueError where no package for such a store is installed, with the command that installs it.
    """
    if "://" not in text:
        return Path(text)
    from fsspec.registry import known_implementations
    from upath import UPath

    protocol = text.partition("://")[0].rpartition("::")[2]
    try:
        found = UPath(text, use_listings_cache=False)
        _ = found.fs
        return found
    except ImportError:
        package = known_implementations.get(protocol, {}).get("class", protocol).partition(".")[0]
        raise ValueError(f"{text} needs a package that is not installed: pip install {package}") from None
    except ValueError as error:
        raise ValueError(f"{text} cannot be read: {plain(error)}") from None


def is_remote(path) -> bool:
    return hasattr(path, "fs") and not isinstance(path, Path)


@contextlib.contextmanager
def reaching(path) -> Iterator[None]:
    """Within this context whatever a store's package raises becomes an Unreachable that names the place."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, NotADirectoryError, NotImplementedError, ValueError):
        raise
    except Exception as error:  # packages raise whatever they like where a store does not answer
        if not is_remote(path):
            raise
        raise Unreachable(
            f"{path} cannot be reached ({plain(error)}): look at its name, the network and your credentials"
        ) from None


def size_of(file: BinaryIO) -> int:
    """Bytes of an opened file; it stands where it stood."""
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    return size


def opened(path, most: int | None = None) -> BinaryIO:
    """A file to be read, never more of it than it holds. ValueError where it is no regular file or has over `most`
    bytes, FileNotFoundError where there is none, Unreachable where a store does not answer."""
    if not is_remote(path):
        check_regular(path, most)
        return BoundedFile(path)
    with reaching(path):
        size = path.fs.info(path.path)["size"]
        if most is not None and (size or 0) > most:
            raise ValueError(f"{path} has {size:,} bytes, expected {most:,} at most")
        if size is not None and size > WHOLE_BYTES:
            return path.fs.open(path.path, "rb", block_size=BLOCK_BYTES)
        return io.BytesIO(path.fs.cat_file(path.path))


def local(path) -> Path:
    """The file on this machine: itself, or what was fetched of it, once while it stays the same."""
    if not is_remote(path):
        return path
    with reaching(path):
        known = hashlib.sha256(f"{path} {version_of(path.fs.info(path.path))}".encode()).hexdigest()
        found = fetched() / known[:32] / path.name
        if not found.exists():
            found.parent.mkdir(exist_ok=True)
            aside = found.with_name(f".{found.name}")
            path.fs.get_file(path.path, str(aside))
            os.replace(aside, found)
        return found


def local_folder(path, files: Iterable) -> Path:
    """A folder of this machine that holds these files: `path`, or what was fetched of it."""
    if not is_remote(path):
        return path
    folder = fetched() / hashlib.sha256(str(path).encode()).hexdigest()[:32]
    folder.mkdir(exist_ok=True)
    for file in files:
        with reaching(file):
            file.fs.get_file(file.path, str(folder / file.name))
    return folder


@functools.cache
def fetched() -> Path:
    """The folder of what was fetched."""
    folder = tempfile.mkdtemp(prefix="multimap_jax_")
    atexit.register(forget_fetched)
    return Path(folder)


def forget_fetched() -> None:
    """Takes away what was fetched: at the end of this process, or before it ends without one."""
    if fetched.cache_info().currsize:
        shutil.rmtree(fetched(), ignore_errors=True)


def version_of(info: dict) -> str:
    """What changes where an object is changed: its size, and the mark that its store gives it."""
    mark = next((str(info[name]) for name in MARKS if info.get(name)), "")
    return f"{info.get('size')}-{mark}"


def remote_version(path) -> str | None:
    """What changes where an object is changed; None for a file of this machine."""
    if not is_remote(path):
        return None
    with reaching(path):
        return version_of(path.fs.info(path.path))


def put(source: Path, path) -> None:
    """Writes a file of this machine as one object."""
    with reaching(path):
        path.fs.put_file(str(source), path.path)


def put_whole(path, write: Callable[[BinaryIO], None] | str) -> None:
    """Writes a file aside, brings it to the disk and puts it in place; in a store, one object. It is there as a
    whole, or as it was; where an OSError is raised nothing is left of it."""
    if is_remote(path):
        with tempfile.NamedTemporaryFile() as file:
            fill(file, write)
            return put(Path(file.name), path)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            fill(file, write)
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def fill(file: BinaryIO, write: Callable[[BinaryIO], None] | str) -> None:
    if isinstance(write, str):
        file.write(write.encode())
    else:
        write(file)
    file.flush()


def write_object(text: str, path) -> None:
    """Writes a text as one object."""
    with reaching(path):
        path.fs.pipe_file(path.path, text.encode())


def put_new(content: bytes, path) -> None:
    """Writes an object where there is none; FileExistsError where there is one."""
    with reaching(path):
        if path.fs.exists(path.path):
            raise FileExistsError(f"{path} is there")
        try:
            path.fs.pipe_file(path.path, content, mode="create")
        except (NotImplementedError, TypeError):  # a store that cannot tell: of two at the same moment one is lost
            path.fs.pipe_file(path.path, content)


def remove(path) -> None:
    """Takes away a file, or a folder with all that is in it, whether it is there or not."""
    if is_remote(path):
        with contextlib.suppress(FileNotFoundError), reaching(path):
            path.fs.rm(path.path, recursive=True)
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def same(one, other) -> bool:
    """Whether two paths are of one file."""
    if is_remote(one) or is_remote(other):
        return str(one) == str(other)
    return one.exists() and other.exists() and one.samefile(other)
