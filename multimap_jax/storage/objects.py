"""Objects of a store that fsspec knows (gs://, s3://, hf://, https://, …).

What is read as a whole is fetched, what is mapped into memory is fetched once into a folder that goes with this
process, and an object is written in one piece, for none can be renamed.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import glob
import hashlib
import io
import itertools
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from multimap_jax.storage.filenames import error_text, without_secrets
from multimap_jax.storage.local import Content, Version, check_size, write_content
from multimap_jax.storage.transfer import BLOCK_BYTES, is_web, read_object

WHOLE_BYTES = 2**26  # of an object that is fetched whole; a larger one is fetched in blocks
OBJECT_BYTES = 2**30  # of an object that is read as a whole, whatever its store says of its length
# Addresses that lead wherever something else says.
INDIRECT = ("reference", "generic", "dir", "git", "asynclocal", "async_wrapper", "cached", "zip", "tar", "libarchive")
# What stores call the mark that changes with an object.
MARKS = ("ETag", "etag", "generation", "blob_id", "content_md5", "md5Hash", "mtime", "LastModified", "created")


class Unreachable(OSError):
    """A store that does not answer, or not to this user: it may do so another time."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EIO, message)

    def __str__(self) -> str:
        return str(self.strerror)


def parse_address(text: str) -> Any:
    """The `Address` that a text with "://" in it is. ValueError where it is not read, or where no package for such a
    store is installed, with the command that installs it; Unreachable where the store does not answer."""
    from fsspec.implementations.local import LocalFileSystem

    from multimap_jax.storage.address import Address

    scheme, shown = text.partition("://")[0].lower(), without_secrets(text)
    if scheme in INDIRECT or "::" in re.sub(r"\[[0-9a-fA-F:.]*\]", "", text):  # but for hosts by number
        raise ValueError(
            f"{shown} leads from one address to another, which is not followed: give a path of this machine, or the "
            "address itself, such as s3://bucket/folder"
        )
    try:
        found = Address(text, use_listings_cache=False)
        if isinstance(found.fs, LocalFileSystem):
            raise ValueError("it leads to this machine: give the path")
        return found
    except ImportError as error:
        raise ValueError(
            f"{shown} needs a package that is not installed: pip install {missing_package(error, scheme)}"
        ) from None
    except OSError as error:
        raise Unreachable(
            f"{shown} cannot be reached ({error_text(error)}): look at its name and the network"
        ) from None
    except Exception as error:  # packages raise whatever they like for an address that they do not understand
        raise ValueError(f"{shown} cannot be read: {error_text(error)}") from None


def missing_package(error: ImportError, scheme: str) -> str:
    """What to install for a store: its package, else those that fsspec's driver names."""
    from fsspec.registry import known_implementations

    package = known_implementations.get(scheme, {}).get("class", scheme).partition(".")[0]
    if package != "fsspec":
        return package
    named = " ".join(re.findall('"([\\w-]+)"', str(error)))
    return named or getattr(error.__cause__, "name", None) or f"'fsspec[{scheme}]'"


class ObjectStorage:
    """Objects of a store, with the methods of `LocalStorage`; all raise Unreachable where it does not answer."""

    local = False

    @contextlib.contextmanager
    def reaching(self, path: Any) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(f"there is nothing at {path}") from None  # packages name the whole address
        except (FileExistsError, NotADirectoryError, NotImplementedError, ValueError, Unreachable):
            raise
        except Exception as error:  # packages raise whatever they like where a store does not answer
            reason = error_text(error, path.secrets())
            raise Unreachable(
                f"{path} cannot be reached ({reason}): look at its name, the network and your credentials"
            ) from None

    def exists(self, path: Any) -> bool:
        with contextlib.suppress(FileNotFoundError), self.reaching(path):
            path.fs.info(path.path)
            return True
        return False

    def open(self, path: Any, limit: int | None = None) -> BinaryIO:
        with self.reaching(path):
            size = path.fs.info(path.path, **path.request_options())["size"]
            check_size(path, size, limit)
            if size is not None and size > WHOLE_BYTES:
                return open_in_ranges(path, size)
            return io.BytesIO(read_object(path, OBJECT_BYTES if limit is None else limit, size))

    def version(self, path: Any) -> str:
        with self.reaching(path):
            return object_version(path.fs.info(path.path))

    def has_version(self, path: Any, versions: Iterable[Version]) -> bool:
        with self.reaching(path):
            return path.fs.info(path.path)["size"] in [size for size, _ in versions]

    def is_same(self, path: Any, other: object) -> bool:
        return str(path) == str(other)

    def local_copy(self, path: Any) -> Path:
        with self.reaching(path):
            target = fetched_folder() / text_digest(f"{str(path)} {self.version(path)}") / path.name
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                aside = target.with_name(f".{target.name}")
                fetch_file(path, aside)
                os.replace(aside, target)
            return target

    def local_folder_copy(self, path: Any, files: Iterable) -> Path:
        folder = fetched_folder() / text_digest(str(path))
        folder.mkdir(exist_ok=True)
        for file in files:
            with self.reaching(file):
                fetch_file(file, folder / file.name)
        return folder

    def like(self, path: Any, text: str) -> Any:
        return type(path)(text, **path.storage_options)

    def glob(self, path: Any) -> list:
        if not glob.has_magic(str(path)):
            return []
        with self.reaching(path):
            found = path.fs.glob(self._pattern(path)) or path.fs.glob(path.path)
            return [self.like(path, f"{path.protocol}://{name}") for name in sorted(found)]

    def _pattern(self, path: Any) -> str:
        """A path as a pattern; its first folders are escaped where they are there as they are written."""
        folders = [folder for folder in reversed(path.parents) if glob.has_magic(folder.name)]
        existing = list(itertools.takewhile(self.exists, folders))
        if not existing:
            return path.path
        return glob.escape(existing[-1].path) + path.path[len(existing[-1].path) :]

    def objects_below(self, path: Any) -> dict[str, dict]:
        with self.reaching(path):
            found = path.fs.find(path.path, detail=True)
        folder = path.path.rstrip("/") + "/"
        return {name.removeprefix(folder): info for name, info in found.items() if name.startswith(folder)}

    def is_folder(self, path: Any) -> None:
        return None

    has_name = is_folder

    def write(self, path: Any, content: Content, new: bool = False) -> None:
        if new and self.exists(path):
            raise FileExistsError(f"{path} is there")
        if callable(content):
            with tempfile.NamedTemporaryFile() as file:
                write_content(file, content)  # type: ignore[arg-type]  # it writes bytes as a BinaryIO does
                return self.put(Path(file.name), path)
        data = content.encode() if isinstance(content, str) else content
        with self.reaching(path):
            if new:
                with contextlib.suppress(NotImplementedError, TypeError):  # a store that cannot tell: of two at the
                    return path.fs.pipe_file(path.path, data, mode="create")  # same moment one is lost
            path.fs.pipe_file(path.path, data)

    def put(self, file: Path, path: Any) -> None:
        with self.reaching(path):
            path.fs.put_file(str(file), path.path)

    def check_writable(self, folder: Any) -> None:
        trial = folder / f"temporary/{secrets.token_hex(8)}"
        self.write(trial, "")
        self.remove(trial)

    @contextlib.contextmanager
    def working_folder(self, folder: Any) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="multimap_") as made:
            yield Path(made)

    def remove(self, path: Any) -> None:
        with self.reaching(path), contextlib.suppress(FileNotFoundError):
            path.fs.rm_file(path.path)

    def remove_empty(self, folder: Any) -> bool:
        return True


def open_in_ranges(path: Any, size: int) -> BinaryIO:
    from multimap_jax.storage.address import RangedObject

    if is_web(path):
        return RangedObject(path, size, BLOCK_BYTES)
    return path.fs.open(path.path, "rb", block_size=BLOCK_BYTES)


def listing(folder: Any) -> dict[str, dict]:
    """What a store says of the objects of a folder, by their paths; {} where it says nothing."""
    if is_web(folder):  # a listing says nothing there, and a password for a file is not one for its folder
        return {}
    try:
        return {info["name"]: info for info in folder.fs.ls(folder.path, detail=True)}
    except Exception:  # a folder that cannot be listed may hold objects that can be read
        return {}


def object_version(info: dict) -> str:
    """What changes where an object is changed: its size, and the mark that its store gives it."""
    mark = next((str(info[name]) for name in MARKS if info.get(name)), "")
    return f"{info.get('size')}-{mark}"


def fetch_file(path: Any, target: Path) -> None:
    """Brings an object to this machine. ValueError where it is longer than its store says, or that is not known."""
    remaining = size = path.fs.info(path.path, **path.request_options()).get("size")
    if size is None:
        raise ValueError(f"{path} has no length that its store tells: fetch it first")
    with open_in_ranges(path, size) as file, target.open("wb") as written:
        while block := file.read(BLOCK_BYTES):
            remaining -= len(block)
            if remaining < 0:
                raise ValueError(f"{path} is longer than the {size:,} bytes that its store tells: fetch it first")
            written.write(block)


def text_digest(text: str) -> str:
    """A name for what was fetched, which tells no secret of its address."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.cache
def fetched_folder() -> Path:
    """The folder of what was fetched; it goes with this process."""
    folder = tempfile.mkdtemp(prefix="multimap_jax_")
    atexit.register(remove_fetched)
    return Path(folder)


def remove_fetched() -> None:
    """Removes what was fetched: at the end of this process, or before it ends without one."""
    if fetched_folder.cache_info().currsize:
        shutil.rmtree(fetched_folder(), ignore_errors=True)
