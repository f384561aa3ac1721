"""The image formats that are supported, and the formats of photographs that are not."""

from __future__ import annotations

import functools
import re

from PIL import Image

# Pillow's names. Formats that start other programs, hold many pages or cannot be recognised by content are left out.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP")
# Extensions of raw photographs and drawings: not supported, so a note says that they are skipped.
PHOTOGRAPHS = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .jxl .jxr .kdc .mef .mos .mrw .nef .nrw .orf .pef .psd .raf .raw "
    ".rw2 .sr2 .srf .srw .svg .tga .x3f .xcf".split()
)
BEGINNING = 16  # bytes that identify an image file, whatever its name
BEGINS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II\*\0|MM\0\*|RIFF.{4}WEBP|BM.{4}\0{4}|\0{3}\x0cjP {2}|"
    rb".{4}ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1|avi[fs])",
    re.DOTALL,
)


def begins_as_image(begin: bytes) -> bool:
    """Whether the first BEGINNING bytes of a file are those of a supported image format."""
    return bool(BEGINS.match(begin))


@functools.cache
def formats() -> tuple[str, ...]:
    """The FORMATS that Pillow can open, once its plugins are registered."""
    from pillow_heif import register_heif_opener

    register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@functools.cache
def suffixes() -> frozenset[str]:
    """The file extensions of the supported formats."""
    known = formats()
    return frozenset(suffix for suffix, kind in Image.EXTENSION.items() if kind in known)
