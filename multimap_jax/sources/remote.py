"""Turns paths into images: local files stay paths, objects in a store become a `PackedImage` that fetches them."""

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

IMAGE_BYTES = 2**29  # maximum bytes of the file of one image


def image_at(path: Any, info: dict | None = None) -> Any:
    """One image; anything but a path in a store is returned unchanged. info: the store's metadata, if known."""
    if storage_of(path).local:
        return path
    size, version = (None, "") if info is None else (info.get("size"), object_version(info))
    return PackedImage(f"{path}", "", functools.partial(fetch, path, size), version, remote=True)


def images_at(paths: Sequence) -> list:
    """`image_at` of each path; lists each folder of a store only once."""
    folders = {str(path.parent): path.parent for path in paths if not storage_of(path).local}
    known: dict[str, dict] = {}
    for folder in folders.values():
        known |= listing(folder)
    return [image_at(path, known.get(getattr(path, "path", ""))) for path in paths]


def fetch(path: Any, size: int | None = None, begin: int = 0, end: int | None = None) -> bytes:
    """Fetches an object, or its bytes from `begin` to `end`.

    Raises a transient OSError if the store does not answer or sends another size than it listed, ValueError if the
    object is larger than an image may be.
    """
    try:
        content = read_object(path, IMAGE_BYTES, size, begin, end)
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, error_text(error, path.secrets())) from None
    if size is not None and len(content) != size:
        raise OSError(errno.ESTALE, "it changed while it was read")
    return content
