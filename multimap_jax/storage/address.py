"""Paths of stores, which keep their secrets to themselves."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from upath.extensions import ProxyUPath

from multimap_jax.storage.filenames import without_secrets

WEB = ("http", "https")
SHORTEST = 3  # letters of a secret: fewer stand in any text


class Address(ProxyUPath):
    """A path of a store. In a sentence (an f-string) it is without user, password, query and fragment; `str` gives the
    whole of it, for the store alone."""

    def __format__(self, spec: str) -> str:
        return format(without_secrets(str(self)), spec)

    def __repr__(self) -> str:
        return f"Address({format(self)!r})"

    def secrets(self) -> list[str]:
        """What a text must not tell of this address: user and password, query and fragment, as they were written."""
        rest = str(self).partition("://")[2]
        user, at, _ = rest.rpartition("@")
        query = re.split("[?#]", rest, maxsplit=1)[1:] if self.protocol in WEB else []
        parts = [
            *(re.split("[:/]", user) if at else []),
            *query,
            *(part for each in query for part in re.split("[=&#]", each)),
        ]
        return sorted({part for part in parts if len(part) >= SHORTEST}, key=len, reverse=True)

    def only_there(self) -> dict:
        """What to tell the driver of a web server, so that a password goes to this address and to no other."""
        return {"allow_redirects": False} if self.protocol in WEB and "@" in str(self) else {}

    @property
    def name(self) -> str:
        """Without the query and fragment of an address of the web."""
        return re.split("[?#]", super().name, maxsplit=1)[0] if self.protocol in WEB else super().name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix
