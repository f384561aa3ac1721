"""Converts images of any mode to RGB: transparency on white, values of more than 8 bits scaled to 8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from multimap_jax.errors import warn

STRIP = 2**20  # pixels converted at once
NO_VALUE = 1e30  # larger numbers in an image of floats mean "no measurement"
# Keys in an image's info. They are not plain strings, so that no file can set them.
OWN_RANGE: Any = ("scaled by its own range", object())
UNSIGNED: Any = ("values without a sign", object())
WHITE_IS_ZERO: Any = ("0 is white", object())
# Tags of a TIFF: the bits of its values, the color of 0, and whether values are signed.
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339


def with_tiff_tags(image: Image.Image, read: Image.Image) -> Image.Image:
    """`image`, with the tags about values of the TIFF that it was `read` from. Pillow treats all 32-bit values as
    signed, and if 0 is white, it inverts only 8-bit values."""
    tags = getattr(read, "tag_v2", None)
    if tags is not None and is_wide(image):
        unsigned = image.mode == "I" and tags.get(BITS) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,)
        image.info |= {UNSIGNED: unsigned, WHITE_IS_ZERO: tags.get(PHOTOMETRIC) == 0}
    return image


def is_wide(image: Image.Image) -> bool:
    """Whether an image is grey with more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def to_rgb(image: Image.Image) -> Image.Image:
    if is_wide(image):
        return _scaled(image, (65535,) if image.mode.startswith("I;16") else (1, 255, 65535))
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    converted, top = Image.new("RGB", image.size), 0
    for strip in strips(image):
        strip = strip.convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        converted.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
        top += strip.height
    return converted


def strips(image: Image.Image) -> Iterator[Image.Image]:
    """The image in strips of full width and about STRIP pixels, from the top."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _scaled(image: Image.Image, tops: Sequence[int]) -> Image.Image:
    """Scales values of more than 8 bits to grey.

    A file does not say which value is white. Values are assumed to range from 0 to the smallest of the usual `tops`
    that is large enough. They are scaled by their own range instead, and info[OWN_RANGE] is set, if no top is large
    enough, if three quarters of the range would be empty (12 bits in 16), or if values are negative.
    """
    lowest, highest = _range(image)
    top = next((top for top in tops if highest <= top), None)
    if top and lowest >= 0 and (highest >= top / 4 or lowest == highest):
        return _grey(image, 0, top)
    found = _grey(image, lowest, highest)
    found.info[OWN_RANGE] = True
    return found


def warn_of_own_range(images: int) -> None:
    """Warns once if images were scaled by their own range. images: how many."""
    if images:
        warn(
            f"{images:,} grey {'images have' if images > 1 else 'image has'} an unusual range of values (not 0 to 1, "
            "255 or 65,535). Each was scaled so that its lowest value is black and its highest is white."
        )


def _range(image: Image.Image) -> tuple[float, float]:
    """The lowest and the highest valid value; 0, 0 if there is none."""
    lowest, highest = np.inf, -np.inf
    for strip in _values(image):
        numbers = strip[np.abs(strip) < NO_VALUE]  # false for NaN
        if numbers.size:
            lowest, highest = min(lowest, float(numbers.min())), max(highest, float(numbers.max()))
    return (lowest, highest) if lowest <= highest else (0.0, 0.0)


def _values(image: Image.Image) -> Iterator[np.ndarray]:
    """The values of an image, in strips float64 [rows, w] from the top."""
    for values in map(np.asarray, strips(image)):
        yield (values.view(np.uint32) if image.info.get(UNSIGNED) else values).astype(np.float64)


def _grey(image: Image.Image, low: float, high: float) -> Image.Image:
    """Values from `low` to `high` as grey; NaN becomes black."""
    low, high = (high, low) if image.info.get(WHITE_IS_ZERO) else (low, high)
    grey, begin = np.empty((image.height, image.width), np.uint8), 0
    for strip in _values(image):
        strip = (np.nan_to_num(strip, nan=low) - low) / ((high - low) or 1)
        grey[begin : begin + len(strip)] = np.round(np.clip(strip, 0, 1) * 255)
        begin += len(strip)
    return Image.fromarray(grey).convert("RGB")
