"""Images by their paths: files of this machine as they are, those in a store as what fetches them."""

from __future__ import annotations

import errno
import functools
from collections.abc import Sequence
from typing import Any

from multimap_jax.sources.source import PackedImage
from multimap_jax.storage.filenames import error_text
from multimap_jax.storage.objects import listing, object_version
from multimap_jax.storage.paths import storage_of
from multimap_jax.storage.transfer import read_object

IMAGE_BYTES = 2**29  # bytes of the file of one image


def image_at(path: Any, info: dict | None = None) -> Any:
    """One image: anything but a path of a store is as it was. info: what the store says of it, where that is known."""
    if storage_of(path).local:
        return path
    size, version = (None, "") if info is None else (info.get("size"), object_version(info))
    return PackedImage(f"{path}", "", functools.partial(fetch, path, size), version, remote=True)


def images_at(paths: Sequence) -> list:
    """As `image_at` of each; each folder of a store that they are in is listed once."""
    folders = {str(path.parent): path.parent for path in paths if not storage_of(path).local}
    known: dict[str, dict] = {}
    for folder in folders.values():
        known |= listing(folder)
    return [image_at(path, known.get(getattr(path, "path", ""))) for path in paths]


def fetch(path: Any, size: int | None = None, begin: int = 0, end: int | None = None) -> bytes:
    """An object, or its bytes from `begin` to `end`. A transient OSError where the store does not answer, or sends
    another size than it listed; ValueError for more than an image may have."""
    try:
        content = read_object(path, IMAGE_BYTES, size, begin, end)
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, error_text(error, path.secrets())) from None
    if size is not None and len(content) != size:
        raise OSError(errno.ESTALE, "changed while it was read")
    return content
