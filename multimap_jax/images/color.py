"""Images of any mode as RGB: transparency laid on white, values of more than 8 bits scaled to 8."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

STRIP = 2**20  # pixels that are converted at once
NO_VALUE = 1e30  # larger numbers in an image of floats mean "nothing was measured here"
# In an image's info: keys that no file can set.
OWN_RANGE: Any = ("scaled by its own range", object())
UNSIGNED: Any = ("values without a sign", object())
WHITE_IS_ZERO: Any = ("0 is white", object())
# Tags of a TIFF: how many bits its values have, what 0 shows, and whether they have a sign.
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339


def with_tiff_tags(image: Image.Image, read: Image.Image) -> Image.Image:
    """`image`, which knows from now on what the TIFF that it was `read` from says of its values: Pillow has those of 32
    bits with a sign, whatever they are, and turns those of 8 bits alone over where 0 is white."""
    tags = getattr(read, "tag_v2", None)
    if tags is not None and is_wide(image):
        unsigned = image.mode == "I" and tags.get(BITS) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,)
        image.info |= {UNSIGNED: unsigned, WHITE_IS_ZERO: tags.get(PHOTOMETRIC) == 0}
    return image


def is_wide(image: Image.Image) -> bool:
    """Whether it is grey of more than 8 bits."""
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
    """An image in pieces of its full width, of about STRIP pixels, from above."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _scaled(image: Image.Image, tops: Sequence[int]) -> Image.Image:
    """Values of more than 8 bits as grey.

    Nothing in a file says how bright a value is. They are taken to be of 0 to one of the usual `tops`, the smallest
    that holds them. Where none does, where one would leave three quarters of its range empty (12 bits in 16), and where
    values are negative, they are scaled by their own range; info[OWN_RANGE] says so.
    """
    lowest, highest = _range(image)
    top = next((top for top in tops if highest <= top), None)
    if top and lowest >= 0 and (highest >= top / 4 or lowest == highest):
        return _grey(image, 0, top)
    found = _grey(image, lowest, highest)
    found.info[OWN_RANGE] = True
    return found


def warn_of_own_range(images: int) -> None:
    """Warns, once for all of them, where images were scaled by their own range."""
    if images:
        warnings.warn(
            f"{images:,} grey {'images have' if images > 1 else 'image has'} values of no usual range (0 to 1, 255 or "
            "65,535): each was scaled from its own lowest value (black) to its highest (white).",
            stacklevel=3,
        )


def _range(image: Image.Image) -> tuple[float, float]:
    """The lowest and the highest of the values that are numbers; 0, 0 where none is."""
    lowest, highest = np.inf, -np.inf
    for strip in _values(image):
        numbers = strip[np.abs(strip) < NO_VALUE]  # false for NaN
        if numbers.size:
            lowest, highest = min(lowest, float(numbers.min())), max(highest, float(numbers.max()))
    return (lowest, highest) if lowest <= highest else (0.0, 0.0)


def _values(image: Image.Image) -> Iterator[np.ndarray]:
    """float64 [rows, w], in order."""
    for values in map(np.asarray, strips(image)):
        yield (values.view(np.uint32) if image.info.get(UNSIGNED) else values).astype(np.float64)


def _grey(image: Image.Image, low: float, high: float) -> Image.Image:
    """Values of `low` to `high` as grey; black where there is no number."""
    low, high = (high, low) if image.info.get(WHITE_IS_ZERO) else (low, high)
    grey, begin = np.empty((image.height, image.width), np.uint8), 0
    for strip in _values(image):
        strip = (np.nan_to_num(strip, nan=low) - low) / ((high - low) or 1)
        grey[begin : begin + len(strip)] = np.round(np.clip(strip, 0, 1) * 255)
        begin += len(strip)
    return Image.fromarray(grey).convert("RGB")
