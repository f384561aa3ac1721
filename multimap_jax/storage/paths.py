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
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from multimap_jax.storage.filenames import without_secrets

# Objects of at most so many bytes are fetched whole, others in blocks.
WHOLE_BYTES, BLOCK_BYTES = 2**26, 2**23
# Bytes of an object that is read as a whole, whatever its store says of its length.
OBJECT_BYTES = 2**30
# Bytes a second that a web server must send after so many seconds.
SLOWEST, PATIENCE_SECONDS = 1000, 30
# Ways to write a path of this machine, and addresses that lead wherever something else says.
LOCAL = ("file", "local")
LED = ("reference", "generic", "dir", "git", "asynclocal", "async_wrapper", "cached", "zip", "tar", "libarchive")
# What stores call the mark that changes with an object.
MARKS = ("ETag", "etag", "generation", "blob_id", "content_md5", "md5Hash", "mtime", "LastModified", "created")


class Unreachable(OSError):
    """A store that does not answer, or not to this user: it may do so another time."""

    def __init__(self, said: str):
        super().__init__(errno.EIO, said)

    def __str__(self):
        return self.strerror


class BoundedFile(io.BufferedReader):
    """A regular file that is never asked for more than it holds: readers ask for whatever a header says.

    ValueError for anything else: a pipe would be waited for without end, a device has no end.
    """

    def __init__(self, path: str | os.PathLike):
        check_regular(path)
        empty = not os.stat(path).st_size  # so the system's own files say, which may give without an end
        super().__init__(io.FileIO(os.devnull if empty else path, opener=_without_waiting))
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


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))


def check_regular(path, named=None, most: int | None = None) -> None:
    """ValueError where `path`, or what a descriptor is of, is not a regular file or over `most` bytes. named: what
    it is called in the sentence."""
    found, named = os.stat(path), path if named is None else named
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{named} is not a regular file")
    if most is not None and found.st_size > most:
        raise ValueError(f"{named} has {found.st_size:,} bytes, expected {most:,} at most")


def error_text(error: BaseException, path=None) -> str:
    """An error in one line, not without end and without secrets, with its kind where it says nothing else.

    path: what it is of. A server may say its address again, in pieces.
    """
    text = str(error)[:2000]
    for secret in () if path is None or not is_remote(path) else path.secrets():
        text = text.replace(secret, "…")
    return without_secrets(" ".join(text.split()) or type(error).__name__)[:200]


def parse_path(text: str) -> Path:
    """A path on this machine, where ~ is the user's home, or one of a store: a text with "://" in it.

    file:// and local:// are paths of this machine as any other; signs that are written as %20 are read where the path
    is not there as it stands. Raises ValueError for an address that is not read, or
    where no package for such a store is installed, with the command that installs it.
    """
    if "://" not in text:
        with contextlib.suppress(RuntimeError):  # ~somebody, of whom there is none
            return Path(text).expanduser()
        return Path(text)
    scheme, _, rest = text.partition("://")
    if scheme.lower() in LOCAL:
        found = Path(rest.removeprefix("localhost") or "/")
        decoded = Path(unquote(str(found), errors="surrogateescape"))  # browsers write blanks and other signs so
        return found if os.path.exists(found) or not os.path.exists(decoded) else decoded
    if scheme.lower() in LED or "::" in re.sub(r"\[[0-9a-fA-F:.]*\]", "", text):  # but for hosts by number
        raise ValueError(
            f"{without_secrets(text)} leads from one address to another, which is not followed: give a path of this "
            "machine, or the address itself, such as s3://bucket/folder"
        )
    return _remote(text, scheme.lower())


def _remote(text: str, scheme: str):
    from fsspec.implementations.local import LocalFileSystem

    from multimap_jax.storage.address import Address

    shown = without_secrets(text)
    try:
        found = Address(text, use_listings_cache=False)
        if isinstance(found.fs, LocalFileSystem):
            raise ValueError("it leads to this machine: give the path")
        return found
    except ImportError as error:
        raise ValueError(
            f"{shown} needs a package that is not installed: pip install {missing_package(error, scheme)}"
        ) from None
    except (OSError, TimeoutError) as error:
        raise Unreachable(
            f"{shown} cannot be reached ({error_text(error)}): look at its name and the network"
        ) from None
    except Exception as error:  # packages raise whatever they like for an address that they do not understand
        raise ValueError(f"{shown} cannot be read: {error_text(error)}") from None


def missing_package(error: ImportError, scheme: str) -> str:
    """What to install for a store: the package of its own, else those that fsspec's driver names."""
    from fsspec.registry import known_implementations

    own = known_implementations.get(scheme, {}).get("class", scheme).partition(".")[0]
    if own != "fsspec":
        return own
    named = re.findall('"([\\w-]+)"', str(error))
    cause = getattr(error.__cause__, "name", None)
    return " ".join(named) or cause or f"'fsspec[{scheme}]'"


def is_remote(path) -> bool:
    return hasattr(path, "fs") and not isinstance(path, Path)


@contextlib.contextmanager
def reaching(path) -> Iterator[None]:
    """Within this context whatever a store's package raises becomes an Unreachable that names the place."""
    try:
        yield
    except FileNotFoundError:
        if not is_remote(path):
            raise
        raise FileNotFoundError(f"there is nothing at {path}") from None  # packages name the whole address
    except (FileExistsError, NotADirectoryError, NotImplementedError, ValueError):
        raise
    except Exception as error:  # packages raise whatever they like where a store does not answer
        if not is_remote(path):
            raise
        raise Unreachable(
            f"{path} cannot be reached ({error_text(error, path)}): look at its name, the network and your credentials"
        ) from None


def size_of(file: BinaryIO) -> int:
    """Bytes of an opened file; it stands where it stood."""
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(here)
    return size


def open_file(path, most: int | None = None) -> BinaryIO:
    """A file to be read, never more of it than it holds. ValueError where it is no regular file or has over `most`
    bytes, FileNotFoundError where there is none, Unreachable where a store does not answer."""
    if not is_remote(path):
        check_regular(path, most=most)
        return BoundedFile(path)
    with reaching(path):
        size = path.fs.info(path.path, **path.only_there())["size"]
        if most is not None and (size or 0) > most:
            raise ValueError(f"{path} has {size:,} bytes, expected {most:,} at most")
        if size is not None and size > WHOLE_BYTES:
            return open_in_ranges(path, size)
        return io.BytesIO(read_object(path, OBJECT_BYTES if most is None else most, size))


class RangedObject(io.RawIOBase):
    """An object of a known size, fetched in parts of which each has a bound."""

    def __init__(self, path, size: int):
        self.path, self.size, self.place = path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        return self.place

    def readinto(self, buffer) -> int:
        wanted = max(0, min(len(buffer), self.size - self.place))
        content = read_object(self.path, wanted, begin=self.place, end=self.place + wanted) if wanted else b""
        if len(content) < wanted:
            raise OSError(errno.ESTALE, f"{self.path} ends before its length")
        buffer[:wanted] = content
        self.place += wanted
        return wanted


def open_in_ranges(path, size: int) -> BinaryIO:
    if is_web(path):
        return io.BufferedReader(RangedObject(path, size), BLOCK_BYTES)
    return path.fs.open(path.path, "rb", block_size=BLOCK_BYTES)


def read_object(path, most: int, size: int | None = None, begin: int | None = None, end: int | None = None) -> bytes:
    """An object, or its bytes from `begin` to `end`. ValueError where it is over `most` bytes, whatever was said of it:
    of web servers no more is taken than that, since they may say nothing, or something else than they send.

    size: what its store says of it.
    """
    if end is not None and end - begin > most or size is not None and size > most:
        raise ValueError(f"an object of {size or end - begin:,} bytes, expected {most:,} at most")
    if not is_web(path) and (size is not None or end is not None):
        return path.fs.cat_file(path.path, start=begin, end=end)
    whole = {"headers": {"Range": f"bytes={begin}-{end - 1}"}} if end is not None else {}
    whole |= {"size": 1} if is_web(path) else {}  # so that it is not asked for, and answers as it comes
    wanted, parts, started = most if end is None else end - begin, [], time.monotonic()
    with path.fs.open(path.path, "rb", block_size=0, **whole, **path.only_there()) as file:
        if getattr(getattr(file, "r", None), "status", 200) in range(300, 400):
            raise ValueError("its server sends on to another address, which gets no password: give that one")
        if end is not None and getattr(getattr(file, "r", None), "status", 206) != 206:
            raise ValueError("its server does not send parts of a file: fetch it first")
        left = wanted + 1
        while left > 0 and (part := file.read(min(left, BLOCK_BYTES))):
            parts.append(part)
            left -= len(part)
            seconds = time.monotonic() - started
            if seconds > PATIENCE_SECONDS and wanted + 1 - left < SLOWEST * seconds:
                raise TimeoutError(f"it came at less than {SLOWEST} bytes a second")
    if left <= 0:
        raise ValueError(f"an object of more than {wanted:,} bytes, which are expected at most")
    return b"".join(parts)


def is_web(path) -> bool:
    """Whether an object is on a web server: anybody's, who may send whatever he likes."""
    return path.protocol in ("http", "https")


def local_copy(path) -> Path:
    """The file on this machine: itself, or what was fetched of it, once while it stays the same."""
    if not is_remote(path):
        return path
    with reaching(path):
        known = hashlib.sha256(f"{str(path)} {object_version(path.fs.info(path.path))}".encode()).hexdigest()
        found = fetched_folder() / known[:32] / path.name
        if not found.exists():
            found.parent.mkdir(exist_ok=True)
            aside = found.with_name(f".{found.name}")
            fetch_file(path, aside)
            os.replace(aside, found)
        return found


def local_folder_copy(path, files: Iterable) -> Path:
    """A folder of this machine that holds these files: `path`, or what was fetched of it."""
    if not is_remote(path):
        return path
    folder = fetched_folder() / hashlib.sha256(str(path).encode()).hexdigest()[:32]
    folder.mkdir(exist_ok=True)
    for file in files:
        with reaching(file):
            fetch_file(file, folder / file.name)
    return folder


def fetch_file(path, target: Path) -> None:
    """Brings an object to this machine. ValueError where it is longer than its store says, or that is not known."""
    left = size = path.fs.info(path.path, **path.only_there()).get("size")
    if size is None:
        raise ValueError(f"{path} has no length that its store tells: fetch it first")
    with open_in_ranges(path, size) as file, target.open("wb") as written:
        while part := file.read(BLOCK_BYTES):
            left -= len(part)
            if left < 0:
                raise ValueError(f"{path} is longer than the {size:,} bytes that its store tells: fetch it first")
            written.write(part)


@functools.cache
def fetched_folder() -> Path:
    """The folder of what was fetched."""
    folder = tempfile.mkdtemp(prefix="multimap_jax_")
    atexit.register(remove_fetched)
    return Path(folder)


def remove_fetched() -> None:
    """Takes away what was fetched: at the end of this process, or before it ends without one."""
    if fetched_folder.cache_info().currsize:
        shutil.rmtree(fetched_folder(), ignore_errors=True)


def object_version(info: dict) -> str:
    """What changes where an object is changed: its size, and the mark that its store gives it."""
    mark = next((str(info[name]) for name in MARKS if info.get(name)), "")
    return f"{info.get('size')}-{mark}"


def remote_version(path) -> str | None:
    """What changes where an object is changed; None for a file of this machine."""
    if not is_remote(path):
        return None
    with reaching(path):
        return object_version(path.fs.info(path.path))


def upload(source: Path, path) -> None:
    """Writes a file of this machine as one object."""
    with reaching(path):
        path.fs.put_file(str(source), path.path)


def write_file(path, write: Callable[[BinaryIO], None] | str, new: bool = False) -> None:
    """Writes a file aside, brings it to the disk and puts it in place; in a store, one object. It is there as a
    whole, or as it was; where an OSError is raised nothing is left of it.

    new: FileExistsError where something came in its place meanwhile.
    """
    if is_remote(path):
        with tempfile.NamedTemporaryFile() as file:
            write_content(file, write)
            return upload(Path(file.name), path)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            write_content(file, write)
            os.fsync(file.fileno())
        if new:
            rename_new(aside, path)
        else:
            os.replace(aside, path)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def rename_new(aside: Path, target: Path) -> None:
    """Gives a file its name, which nothing else has: a second name tells, a new name for the first would overwrite.
    FileExistsError where it is taken."""
    try:
        os.link(aside, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without second names
        if os.path.lexists(target):
            raise FileExistsError(f"{target} is there") from None
        os.rename(aside, target)


def write_content(file: BinaryIO, content: Callable[[BinaryIO], None] | str | bytes) -> None:
    """Writes a text, bytes, or whatever a function writes."""
    if callable(content):
        content(file)
    else:
        file.write(content.encode() if isinstance(content, str) else content)
    file.flush()


def write_object(text: str, path) -> None:
    """Writes a text as one object."""
    with reaching(path):
        path.fs.pipe_file(path.path, text.encode())


def create_object(content: bytes, path) -> None:
    """Writes an object where there is none; FileExistsError where there is one."""
    with reaching(path):
        if path.fs.exists(path.path):
            raise FileExistsError(f"{path} is there")
        try:
            path.fs.pipe_file(path.path, content, mode="create")
        except (NotImplementedError, TypeError):  # a store that cannot tell: of two at the same moment one is lost
            path.fs.pipe_file(path.path, content)


def is_same_file(one, other) -> bool:
    """Whether two paths are of one file."""
    if is_remote(one) or is_remote(other):
        return str(one) == str(other)
    return one.exists() and other.exists() and one.samefile(other)


def exists(path: Path) -> bool:
    """Whether something is there; Unreachable where a store does not say."""
    if not is_remote(path):
        return path.exists()
    try:
        with reaching(path):
            path.fs.info(path.path)
    except FileNotFoundError:
        return False
    return True
