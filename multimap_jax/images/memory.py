"""Estimates the memory for decoding an image, and shares the available memory between threads."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from multimap_jax.images.color import STRIP, is_wide

ROOM_BYTES = 2**29  # maximum bytes for all images that are decoded at the same time
MOST_BYTES = 2**30  # maximum bytes for one image that is decoded alone
# Measured bytes per pixel during decoding: by format, for modes of more than 8 bits, for progressive JPEGs, and for all
# other images.
FORMAT_BYTES = {"JPEG2000": 20, "WEBP": 16, "AVIF": 12, "HEIF": 12}
WIDE_BYTES = 12
PROGRESSIVE_BYTES = 10
PIXEL_BYTES = 8
JPEG_BYTES = 4  # the same for a JPEG before it is turned or converted
# Maximum pixels of a JPEG that is decoded at a smaller size: the decoder still reads all of them.
JPEG_PIXELS = 2**30
SCANS = 200  # maximum number of scans of a progressive JPEG; programs write ten or twenty
NARROWEST = 50  # maximum ratio of the longer side of an image to the shorter


class UnfitError(ValueError):
    """An image is too large or too narrow to be read, but not damaged."""


class Room:
    """Memory of `limit` bytes that threads share. An image that needs more than `limit` is admitted alone."""

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
    """The bytes that decoding an image takes. With `shrink`, a JPEG that would take more than `most` is set to be
    decoded at a half, a quarter or an eighth of its sides, which its decoder supports.

    Raises UnfitError for an image that takes more than that, or that is too narrow.
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
    """Bytes per pixel of the coefficients that a JPEG decoder keeps at any scale: 0 if the first scan has all
    components and is the last."""
    components = len(image.layer)
    if image.fp is None:  # closed
        return 0
    image.fp.seek(-2 * components - 8, os.SEEK_CUR)  # from the end of the first scan's header
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
    """UnfitError for a narrow image: scaled to the encoder's size by its shorter side, it would take much memory, and
    the encoder would see little of it."""
    short, long = min(sides), max(sides)
    if long > NARROWEST * short:
        raise UnfitError(
            f"{sides[0]:,} by {sides[1]:,} pixels: too long and narrow (one side is over {NARROWEST} times the other); "
            "crop it"
        )


def check_scans(file: BinaryIO) -> None:
    """UnfitError for a progressive JPEG with so many scans that decoding takes minutes: each covers all pixels."""
    here, scans = file.tell(), 0
    file.seek(0)
    while part := file.read(STRIP):
        scans += part.count(b"\xff\xda")
    file.seek(here)
    if scans > SCANS:
        raise UnfitError(f"{scans:,} scans, expected at most {SCANS:,}: save it again")
