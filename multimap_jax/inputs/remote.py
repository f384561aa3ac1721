"""Images in a store: what it says of them, and how each is fetched."""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterable

from multimap_jax.inputs.places import plain, reaching, version_of
from multimap_jax.inputs.source import Packed


def objects_below(path) -> dict[str, dict]:
    """What a store says of all objects below a path, by their paths from there."""
    with reaching(path):
        found = path.fs.find(path.path, detail=True)
    own = path.path.rstrip("/") + "/"
    return {name.removeprefix(own): info for name, info in found.items() if name.startswith(own)}


def remote_images(paths: Iterable) -> list[Packed]:
    """Images of a store, fetched when they are decoded. Each folder that they are in is listed once."""
    paths = list(paths)
    folders = {str(path.parent): path.parent for path in paths}
    known: dict[str, dict] = {}
    for folder in folders.values():
        try:
            known |= {info["name"]: info for info in folder.fs.ls(folder.path, detail=True)}
        except Exception:  # a folder that cannot be listed may hold objects that can be read
            continue
    return [remote_image(path, known.get(path.path)) for path in paths]


def remote_image(path, info: dict | None) -> Packed:
    """One image of a store. info: what its store says of it, None where that is not known."""
    size = None if info is None else info.get("size")
    read = functools.partial(fetch, path, size)
    return Packed(str(path), "", read, "" if info is None else version_of(info), remote=True)


def fetch(path, size: int | None = None, begin: int | None = None, end: int | None = None) -> bytes:
    """An object, or its bytes from `begin` to `end`. An OSError that may pass where the store does not answer, or what
    it gives is not of the size that was listed."""
    try:
        content = path.fs.cat_file(path.path, start=begin, end=end)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, plain(error)) from None
    if size is not None and len(content) != size:
        raise OSError(errno.ESTALE, "changed while it was read")
    return content
