"""How much memory decoding an image takes, and the share of it that each thread gets."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from multimap_jax.images.color import STRIP, is_wide

ROOM_BYTES = 2**29  # that all threads together decode into at once
MOST_BYTES = 2**30  # that one image alone may take
# Bytes of a pixel while it is decoded, measured: by format, of modes of more than 8 bits, of progressive JPEGs, of all
# others.
FORMAT_BYTES = {"JPEG2000": 20, "WEBP": 16, "AVIF": 12, "HEIF": 12}
WIDE_BYTES = 12
PROGRESSIVE_BYTES = 10
PIXEL_BYTES = 8
JPEG_BYTES = 4  # the same of a JPEG before it is turned or converted
JPEG_PIXELS = 2**30  # of a JPEG that is decoded smaller, for which its decoder still goes through all of them
SCANS = 200  # of a progressive JPEG, at most: programs make ten or twenty
NARROWEST = 50  # how many times an image's longer side may be its shorter one


class UnfitError(ValueError):
    """An image of more pixels, or narrower, than is read here; nothing in it is damaged."""


class Room:
    """Room for `limit` bytes at once. What is larger than all of it goes in alone."""

    def __init__(self, limit: int):
        self.limit = self.free = limit
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, amount: int) -> Iterator[None]:
        amount = min(amount, self.limit)
        with self.changed:
            self.changed.wait_for(lambda: self.free >= amount)
            self.free -= amount
        try:
            yield
        finally:
            with self.changed:
                self.free += amount
                self.changed.notify_all()


ROOM = Room(ROOM_BYTES)


def decoding_bytes(image: Image.Image, most: int, shrink: bool = False) -> int:
    """Bytes that decoding an image takes. With `shrink` a JPEG that would take more than `most` is set to be decoded at
    a half, a quarter or an eighth of its sides, as its decoder can.

    Raises UnfitError for an image that takes more, or is too narrow.
    """
    check_shape(image.size)
    pixels, pixel_bytes = image.width * image.height, bytes_of_pixel(image)
    if isinstance(image, JpegImageFile) and shrink and pixels * PROGRESSIVE_BYTES > most:
        stored = stored_bytes(image)
        for scale in (1, 2, 4, 8):
            small = -(-image.width // scale) * -(-image.height // scale)
            needed = int(max(stored * pixels + JPEG_BYTES * small, PIXEL_BYTES * small))
            if needed <= most and pixels <= JPEG_PIXELS:
                if scale > 1:
                    image.draft(image.mode, (image.width // scale, image.height // scale))
                return needed
        raise UnfitError(too_many(min(JPEG_PIXELS, int(most / (stored + JPEG_BYTES / 64)))))
    if pixels * pixel_bytes > most:
        raise UnfitError(too_many(most // pixel_bytes))
    return pixels * pixel_bytes


def stored_bytes(image: JpegImageFile) -> float:
    """Bytes a pixel of the coefficients that the decoder of a JPEG holds, at whatever scale: none where its first scan
    has all components and is the last."""
    components = len(image.layer)
    if image.fp is None:  # closed
        return 0
    image.fp.seek(-2 * components - 8, os.SEEK_CUR)  # it stands after the header of the first scan
    if not image.info.get("progressive") and image.fp.read(2) == b"\xff\xda":
        return 0
    samples = [high * wide for _, high, wide, _ in image.layer]
    return 2 * sum(samples) / max(samples)


def bytes_of_pixel(image: Image.Image) -> int:
    if is_wide(image):
        return WIDE_BYTES
    return FORMAT_BYTES.get(image.format or "", PROGRESSIVE_BYTES if image.info.get("progressive") else PIXEL_BYTES)


def too_many(pixels: int) -> str:
    return f"more than {pixels:,} pixels: make it smaller"


def check_shape(sides: tuple[int, int]) -> None:
    """UnfitError for an image so narrow that, its shorter side scaled to the encoder's, little of it would be seen and
    much memory taken."""
    short, long = min(sides), max(sides)
    if long > NARROWEST * short:
        raise UnfitError(f"{sides[0]:,} by {sides[1]:,} pixels: one side is over {NARROWEST} times the other; cut it")


def check_scans(file: BinaryIO) -> None:
    """UnfitError for a progressive JPEG of so many scans that decoding it takes minutes: each goes over all pixels."""
    here, scans = file.tell(), 0
    file.seek(0)
    while part := file.read(STRIP):
        scans += part.count(b"\xff\xda")
    file.seek(here)
    if scans > SCANS:
        raise UnfitError(f"{scans:,} scans, expected {SCANS:,} at most: save it again")
