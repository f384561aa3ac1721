"""Which kinds of image files are read, and which look like photographs and are not."""

from __future__ import annotations

import functools
import re

from PIL import Image

# Pillow's names. Kinds that start other programs, hold many pages or cannot be told by their content are not here.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP")
# Raw photographs, and drawings: an ending of these is worth a word where nothing is made of the file.
PHOTOGRAPHS = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .jxl .jxr .kdc .mef .mos .mrw .nef .nrw .orf .pef .psd .raf .raw "
    ".rw2 .sr2 .srf .srw .svg .tga .x3f .xcf".split()
)
BEGINNING = 16  # bytes that tell an image, whatever it is called
BEGINS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II\*\0|MM\0\*|RIFF.{4}WEBP|BM.{4}\0{4}|\0{3}\x0cjP {2}|"
    rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1|avi[fs])",
    re.DOTALL,
)


def begins_as_image(begin: bytes) -> bool:
    """Whether the BEGINNING of a file is one of an image that is read."""
    return bool(BEGINS.match(begin))


@functools.cache
def formats() -> tuple[str, ...]:
    """FORMATS, once Pillow knows all of them."""
    from pillow_heif import register_heif_opener

    register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@functools.cache
def suffixes() -> frozenset[str]:
    """The file endings of these kinds."""
    known = formats()
    return frozenset(suffix for suffix, kind in Image.EXTENSION.items() if kind in known)
