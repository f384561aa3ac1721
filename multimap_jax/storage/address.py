"""Paths in a store, which show no passwords."""

from __future__ import annotations

import errno
import re
from pathlib import PurePosixPath

from fsspec.spec import AbstractBufferedFile
from upath.extensions import ProxyUPath

from multimap_jax.storage.filenames import without_secrets
from multimap_jax.storage.transfer import is_web, read_object

SECRET_LENGTH = 3  # characters of the shortest secret: shorter ones appear in any text


class Address(ProxyUPath):
    """A path in a store. An f-string shows it without user, password, query and fragment; `str` returns all of it and
    is only for the store."""

    def __format__(self, spec: str) -> str:
        return format(without_secrets(str(self)), spec)

    def __repr__(self) -> str:
        return f"Address({format(self)!r})"

    def secrets(self) -> list[str]:
        """The parts of this address that no message may show: user, password, query and fragment, as written."""
        rest = str(self).partition("://")[2]
        user, at, _ = rest.rpartition("@")
        queries = re.split("[?#]", rest, maxsplit=1)[1:] if is_web(self) else []
        values = [value for query in queries for value in re.split("[=&#]", query)]
        words = {*(re.split("[:/]", user) if at else []), *queries, *values}
        return sorted((word for word in words if len(word) >= SECRET_LENGTH), key=len, reverse=True)

    def request_options(self) -> dict:
        """Options for requests to a web server that keep a password from being sent to any other address."""
        return {"allow_redirects": False} if is_web(self) and "@" in str(self) else {}

    def is_symlink(self) -> bool:
        return False

    def resolve(self, strict: bool = False) -> Address:
        return self

    absolute = resolve

    @property
    def name(self) -> str:
        """The name, for a web address without its query and fragment."""
        return re.split("[?#]", super().name, maxsplit=1)[0] if is_web(self) else super().name

    stem = property(lambda self: PurePosixPath(self.name).stem)
    suffix = property(lambda self: PurePosixPath(self.name).suffix)


class RangedObject(AbstractBufferedFile):
    """A web object of known size, fetched in ranges of limited size."""

    def __init__(self, address: Address, size: int, block_size: int):
        self.address = address
        super().__init__(address.fs, address.path, block_size=block_size, size=size)

    def _fetch_range(self, start: int, end: int) -> bytes:
        content = read_object(self.address, end - start, begin=start, end=end)
        if len(content) < end - start:
            raise OSError(errno.ESTALE, f"{self.address} ends before its length")
        return content
