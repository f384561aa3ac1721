"""Small pictures of images, for the page and for notebooks."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence

from PIL import Image

from multimap_jax.images.decoding import AnImage, Unreadable, stream_pixels
from multimap_jax.runtime.progress import open_bar

SIDE = 128  # pixels of the longer side
QUALITY = 75  # of a JPEG
BATCH = 64  # images that are decoded ahead
INLINE = 2_000  # thumbnails within the page, at most; more of them have a folder beside it


def thumbnails(images: Sequence[AnImage], progress: bool = False, side: int = SIDE) -> list[bytes]:
    """A JPEG of each image, b"" where it can no longer be read."""

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
    """The images of these names; a path to nothing where one is not there."""
    return [images.get(name, "\0") for name in names]


def folder_name(pictures: Sequence[bytes]) -> str:
    """What a folder of thumbnails is called: by what is in it, so that one never stands in for another."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(picture).digest() for picture in pictures))
    return f"thumbnails-{digest.hexdigest()[:12]}"
