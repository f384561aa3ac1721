"""Makes thumbnails of images, for the page and for notebooks, and reads those that a run keeps."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from multimap_jax.images.decoding import AnImage, Unreadable, stream_pixels
from multimap_jax.runtime.progress import open_bar
from multimap_jax.storage.packed import PackedItems

SIDE = 128  # pixels of the longer side
QUALITY = 75  # of the JPEG
BATCH = 64  # images decoded ahead
INLINE = 2_000  # maximum number of thumbnails inside the page; if there are more, all go into a folder next to it
STORED_BYTES = 2**15  # maximum bytes of a stored thumbnail; pure noise has less than half as many
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # JPEG markers before the height and width of an image


def thumbnail(picture: Image.Image, side: int = SIDE) -> bytes:
    """A JPEG of an RGB image, whose longer side has at most `side` pixels."""
    longer = max(picture.size)
    if longer > side:
        size = (max(1, round(picture.width * side / longer)), max(1, round(picture.height * side / longer)))
        if longer < 2 * side:
            picture = picture.resize(size, Image.Resampling.BILINEAR)
        else:  # means of some of the pixels, which is much faster than of all
            samples = 2 if longer < 8 * side else 4
            picture = picture.resize((size[0] * samples, size[1] * samples), Image.Resampling.NEAREST).reduce(samples)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY, comment=None)  # a photograph's comment may say too much
    return buffer.getvalue()


def thumbnails(images: Sequence[AnImage], progress: bool = False, side: int = SIDE) -> list[bytes]:
    """A JPEG of each image, b"" if it can no longer be read. A file of a JPEG is decoded at a smaller size."""
    found: list[bytes] = []
    with open_bar(len(images), "making thumbnails", "image", shown=progress) as bar:
        for batch in stream_pixels(images, lambda picture: thumbnail(picture, side), BATCH, least=side):
            found += [b"" if isinstance(item, Unreadable) else item for item in batch]
            bar.update(len(batch))
    return found


def stored_thumbnails(packed: PackedItems, indices: Sequence[int] | np.ndarray) -> list[bytes]:
    """The thumbnails of the images at `indices` that a run keeps; b"" for those that are missing, or that `thumbnail`
    cannot have made."""
    pictures = packed.read(indices, STORED_BYTES)
    return [picture if 0 < max(jpeg_size(picture)) <= SIDE else b"" for picture in pictures]


def jpeg_size(content: bytes) -> tuple[int, int]:
    """The width and height in the header of a JPEG, (0, 0) if it has none."""
    at = 2 if content.startswith(b"\xff\xd8\xff") else len(content)
    while at + 9 <= len(content) and content[at] == 0xFF:
        if content[at + 1] in FRAMES:
            return int.from_bytes(content[at + 7 : at + 9]), int.from_bytes(content[at + 5 : at + 7])
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return 0, 0


def inline(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")


def pick(images: Mapping[str, AnImage], names: Sequence[str]) -> list[AnImage]:
    """The images with these names; a path that does not exist for a missing one."""
    return [images.get(name, "\0") for name in names]


def folder_name(pictures: Sequence[bytes]) -> str:
    """The name of a folder of thumbnails: a hash of its content, so that no folder is mistaken for another."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(picture).digest() for picture in pictures))
    return f"thumbnails-{digest.hexdigest()[:12]}"
