"""Images in a store: what it says of them, and how each is fetched."""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterable

from multimap_jax.sources.source import PackedImage
from multimap_jax.storage.paths import error_text, is_web, object_version, reaching, read_object

# Bytes of the file of one image.
IMAGE_BYTES = 2**29


def objects_below(path) -> dict[str, dict]:
    """What a store says of all objects below a path, by their paths from there."""
    with reaching(path):
        found = path.fs.find(path.path, detail=True)
    folder = path.path.rstrip("/") + "/"
    return {name.removeprefix(folder): info for name, info in found.items() if name.startswith(folder)}


def remote_images(paths: Iterable) -> list[PackedImage]:
    """Images of a store, fetched when they are decoded.

    Each of their folders is listed once; not on web servers, where a listing says nothing of them and a password for an
    image is not one for its folder.
    """
    paths = list(paths)
    folders = {str(path.parent): path.parent for path in paths if not is_web(path)}
    known: dict[str, dict] = {}
    for folder in folders.values():
        try:
            known |= {info["name"]: info for info in folder.fs.ls(folder.path, detail=True)}
        except Exception:  # a folder that cannot be listed may hold objects that can be read
            continue
    return [remote_image(path, known.get(path.path)) for path in paths]


def remote_image(path, info: dict | None) -> PackedImage:
    """One image of a store. info: what its store says of it, None where that is not known."""
    size = None if info is None else info.get("size")
    read = functools.partial(fetch, path, size)
    return PackedImage(f"{path}", "", read, "" if info is None else object_version(info), remote=True)


def fetch(path, size: int | None = None, begin: int | None = None, end: int | None = None) -> bytes:
    """An object, or its bytes from `begin` to `end`. A transient OSError where the store does not answer, or sends
    another size than it listed; ValueError for more than an image may have."""
    try:
        content = read_object(path, IMAGE_BYTES, size, begin, end)
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, error_text(error, path)) from None
    if size is not None and len(content) != size:
        raise OSError(errno.ESTALE, "changed while it was read")
    return content
