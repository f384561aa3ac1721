"""Paths of stores, which keep their secrets to themselves."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from upath.extensions import ProxyUPath

from multimap_jax.inputs.names import without_secrets

WEB = ("http", "https")


class Address(ProxyUPath):
    """A path of a store. In a sentence (an f-string) it is without user, password, query and fragment; `str` gives the
    whole of it, for the store alone."""

    def __format__(self, spec: str) -> str:
        return format(without_secrets(str(self)), spec)

    def __repr__(self) -> str:
        return f"Address({format(self)!r})"

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
