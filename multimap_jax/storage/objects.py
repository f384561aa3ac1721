"""Objects in a store that fsspec knows (gs://, s3://, hf://, https://, …).

Files to be read whole are fetched. Files to be mapped into memory are fetched once, into a temporary folder of this
process. Objects are written in one piece, because they cannot be renamed.
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

WHOLE_BYTES = 2**26  # maximum bytes of an object fetched at once; a larger one is fetched in blocks
OBJECT_BYTES = 2**30  # maximum bytes of an object that is read as a whole, whatever length its store states
# Schemes whose addresses refer to another address.
INDIRECT = ("reference", "generic", "dir", "git", "asynclocal", "async_wrapper", "cached", "zip", "tar", "libarchive")
# Names of the metadata field that changes with an object.
MARKS = ("ETag", "etag", "generation", "blob_id", "content_md5", "md5Hash", "mtime", "LastModified", "created")


class Unreachable(OSError):
    """A store does not answer, or refuses this user; a later attempt may succeed."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EIO, message)

    def __str__(self) -> str:
        return str(self.strerror)


def parse_address(text: str) -> Any:
    """The `Address` of a text with "://" in it. ValueError if it is not supported, or if the package for the store is
    not installed (with the command that installs it); Unreachable if the store does not answer."""
    from fsspec.implementations.local import LocalFileSystem

    from multimap_jax.storage.address import Address

    scheme, shown = text.partition("://")[0].lower(), without_secrets(text)
    if scheme in INDIRECT or "::" in re.sub(r"\[[0-9a-fA-F:.]*\]", "", text):  # except in IPv6 addresses
        raise ValueError(
            f"{shown} refers to another address, which is not supported: give a path on this machine, or an address "
            "such as s3://bucket/folder"
        )
    try:
        found = Address(text, use_listings_cache=False)
        if isinstance(found.fs, LocalFileSystem):
            raise ValueError("it is on this machine: give its path")
        return found
    except ImportError as error:
        raise ValueError(
            f"{shown} needs a package that is not installed: pip install {missing_package(error, scheme)}"
        ) from None
    except OSError as error:
        raise Unreachable(
            f"{shown} cannot be reached ({error_text(error)}): check the address and the network"
        ) from None
    except Exception as error:  # packages raise any kind of error for an address that they do not understand
        raise ValueError(f"{shown} cannot be read: {error_text(error)}") from None


def missing_package(error: ImportError, scheme: str) -> str:
    """The package to install for a store: its own, otherwise the ones that fsspec's driver names."""
    from fsspec.registry import known_implementations

    package = known_implementations.get(scheme, {}).get("class", scheme).partition(".")[0]
    if package != "fsspec":
        return package
    named = " ".join(re.findall('"([\\w-]+)"', str(error)))
    return named or getattr(error.__cause__, "name", None) or f"'fsspec[{scheme}]'"


class ObjectStorage:
    """Objects in a store, with the methods of `LocalStorage`; all raise Unreachable if the store does not answer."""

    local = False

    @contextlib.contextmanager
    def reaching(self, path: Any) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(f"{path} does not exist") from None  # packages would show secrets of the address
        except (FileExistsError, NotADirectoryError, NotImplementedError, ValueError, Unreachable):
            raise
        except Exception as error:  # packages raise any kind of error if a store does not answer
            reason = error_text(error, path.secrets())
            raise Unreachable(
                f"{path} cannot be reached ({reason}): check the address, the network and your credentials"
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
        """A path as a pattern; leading folders that exist literally are escaped."""
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
            raise FileExistsError(f"{path} already exists")
        if callable(content):
            with tempfile.NamedTemporaryFile() as file:
                write_content(file, content)  # type: ignore[arg-type]  # it writes bytes as a BinaryIO does
                return self.put(Path(file.name), path)
        data = content.encode() if isinstance(content, str) else content
        with self.reaching(path):
            if new:
                with contextlib.suppress(NotImplementedError, TypeError):  # a store without this mode: if two write at
                    return path.fs.pipe_file(path.path, data, mode="create")  # the same moment, one is lost
            path.fs.pipe_file(path.path, data)

    def put(self, file: Path, path: Any) -> None:
        with self.reaching(path):
            path.fs.put_file(str(file), path.path)

    def put_folder(self, folder: Path, path: Any) -> None:
        names = sorted(file.name for file in folder.iterdir())
        with self.reaching(path):  # many at once, where a store's package can do that
            path.fs.put([str(folder / name) for name in names], [f"{path.path}/{name}" for name in names])

    def sizes(self, folder: Any) -> dict[str, int]:
        with contextlib.suppress(FileNotFoundError):
            return {name: info["size"] for name, info in self.objects_below(folder).items()}
        return {}

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
    """The store's metadata of the objects in a folder, by path; {} if it gives none."""
    if is_web(folder):  # a listing has no metadata, and a password for a file is not for its folder
        return {}
    try:
        return {info["name"]: info for info in folder.fs.ls(folder.path, detail=True)}
    except Exception:  # objects may be readable even if their folder cannot be listed
        return {}


def object_version(info: dict) -> str:
    """A text that changes when an object does: its size, and a mark from its store."""
    mark = next((str(info[name]) for name in MARKS if info.get(name)), "")
    return f"{info.get('size')}-{mark}"


def fetch_file(path: Any, target: Path) -> None:
    """Downloads an object. ValueError if its store states no length, or if it is longer than stated."""
    remaining = size = path.fs.info(path.path, **path.request_options()).get("size")
    if size is None:
        raise ValueError(f"the store does not state the length of {path}: download it first")
    with open_in_ranges(path, size) as file, target.open("wb") as written:
        while block := file.read(BLOCK_BYTES):
            remaining -= len(block)
            if remaining < 0:
                raise ValueError(f"{path} is longer than the {size:,} bytes that its store states: download it first")
            written.write(block)


def text_digest(text: str) -> str:
    """A name for a fetched file that reveals no secret of its address."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.cache
def fetched_folder() -> Path:
    """The folder for fetched files; it is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="multimap_jax_")
    atexit.register(remove_fetched)
    return Path(folder)


def remove_fetched() -> None:
    """Removes fetched files. Runs at exit; call it before a process ends without exit handlers."""
    if fetched_folder.cache_info().currsize:
        shutil.rmtree(fetched_folder(), ignore_errors=True)
