"""Makes thumbnails of images, for the page and for notebooks."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence

from PIL import Image

from multimap_jax.images.decoding import AnImage, Unreadable, stream_pixels
from multimap_jax.runtime.progress import open_bar

SIDE = 128  # pixels of the longer side
QUALITY = 75  # of the JPEG
BATCH = 64  # images decoded ahead
INLINE = 2_000  # maximum number of thumbnails inside the page; if there are more, all go into a folder next to it


def thumbnails(images: Sequence[AnImage], progress: bool = False, side: int = SIDE) -> list[bytes]:
    """A JPEG of each image, b"" if it can no longer be read."""

    def shrink(picture: Image.Image) -> bytes:
        picture = picture.copy() if picture.width <= side and picture.height <= side else picture
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=QUALITY)
        return buffer.getvalue()

    found: list[bytes] = []
    with open_bar(len(images), "making thumbnails", "image", shown=progress) as bar:
        for batch in stream_pixels(images, shrink, BATCH):
            found += [b"" if isinstance(item, Unreadable) else item for item in batch]
            bar.update(len(batch))
    return found


def inline(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")


def pick(images: Mapping[str, AnImage], names: Sequence[str]) -> list[AnImage]:
    """The images with these names; a path that does not exist for a missing one."""
    return [images.get(name, "\0") for name in names]


def folder_name(pictures: Sequence[bytes]) -> str:
    """The name of a folder of thumbnails: a hash of its content, so that no folder is mistaken for another."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(picture).digest() for picture in pictures))
    return f"thumbnails-{digest.hexdigest()[:12]}"
