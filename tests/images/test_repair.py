"""Damaged metadata and a missing end take no pixels with them; missing pixels are still refused."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from multimap_jax.images.decoding import Unreadable, decode
from multimap_jax.sources import formats as kinds

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)).resize((96, 64))


def saved(kind, picture=PICTURE, **options):
    kinds.formats()  # registers HEIF for writing too
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def turned():
    """EXIF that says: turn by a quarter."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    return exif


def pixels(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    return decode(tmp_path / "x", 0, lambda picture: np.array(picture))


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks, last=False):
    """A PNG with further chunks, after its header or before its end."""
    whole = saved("PNG")
    place = -12 if last else 33
    return whole[:place] + b"".join(chunks) + whole[place:]


def segment(marker, content):
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def jpeg(*segments, **options):
    whole = saved("JPEG", **options)
    return whole[:2] + b"".join(segments) + whole[2:]


def changed(content, mark, new, after=0):
    place = content.rindex(mark) + after
    return content[:place] + new + content[place + len(new) :]


LARGE = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(2_000_000)))
RATIONAL = b"II*\0" + struct.pack("<IHHHIIHHIIIii", 8, 2, 0x112, 3, 1, 6, 0x11A, 10, 1, 38, 0, -1, 0)
# Each with the pixels that it has without the damage.
PNGS = {
    "EXIF without a header": png(chunk(b"eXIf", b"\0\x08\0\2\1\x12\0\3")),
    "EXIF in no hexadecimal": png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\nxx\nzz\n"))),
    "EXIF with a wrong checksum": png(chunk(b"eXIf", b"MM")[:-1] + b"x"),
    "large text": png(LARGE),
    "large text at the end": png(LARGE, last=True),
    "large international text": png(chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(2_000_000)))),
    "a bomb of text": png(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100_000_000)))),
    "a large profile": png(chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2_000_000)))),
    "an empty profile": png(chunk(b"iCCP", b"")),
    "a wrong checksum": png(chunk(b"tEXt", b"a\0b")[:-4] + bytes(4)),
    "a short gamma": png(chunk(b"gAMA", b"\0")),
    "a short transparency": png(chunk(b"tRNS", b"\0")),
    "an unknown compression": png(chunk(b"zTXt", b"a\0\5x")),
    "a short animation": png(chunk(b"acTL", b"\0")),
    "frames out of order": png(chunk(b"fcTL", struct.pack(">IIIIIHHBB", 7, 1, 1, 0, 0, 1, 1, 0, 0))),
    "a name that is no text": png(chunk(b"t\xffXt", b"\0")),
    "cut in a text at the end": png(LARGE, last=True)[:-30],
    "no end": saved("PNG")[:-12],
}
JPEGS = {
    "EXIF of nothing": jpeg(segment(0xE1, b"Exif\0\0garbage")),
    "EXIF that is cut": jpeg(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\1")),
    "a short JFIF": jpeg(segment(0xE0, b"JFIF\0")),
    "a short Adobe": jpeg(segment(0xEE, b"Adobe")),
    "a short profile": jpeg(segment(0xE2, b"ICC_PROFILE\0")),
    "an index of nothing": jpeg(segment(0xE2, b"MPF\0garbage")),
    "no end": saved("JPEG")[:-2],
    "half an end": saved("JPEG")[:-1],
    "zeros for an end": saved("JPEG")[:-2] + bytes(500),
    "no end, and a short profile": jpeg(segment(0xE2, b"ICC_PROFILE\0"))[:-2],
}
OTHERS = {
    "webp: cut in EXIF": saved("WEBP", exif=turned())[:-4],
    "webp: EXIF without end": changed(saved("WEBP", exif=turned()), b"EXIF", b"\xff\xff\0\0", 4),
    "webp: EXIF of nothing": changed(saved("WEBP", exif=turned()), b"MM\0*", b"garbage!"),
    "avif: EXIF of nothing": changed(saved("AVIF", exif=turned()), b"MM\0*", b"garbage!"),
    "avif: many tags": changed(saved("AVIF", exif=turned()), b"MM\0*", b"\xff\xff", 8),
    "heif: EXIF of nothing": changed(saved("HEIF", exif=turned()), b"MM\0*", b"garbage!"),
    "tiff: a resolution of nothing": changed(
        saved("TIFF", dpi=(72, 72)), b"\x1a\1\5\0", b"\1\0\0\0\xff\xff\xff\xff", 4
    ),
    "tiff, compressed: the same": changed(
        saved("TIFF", dpi=(72, 72), compression="tiff_lzw"), b"\x1a\1\5\0", b"\1\0\0\0\xff\xff\xff\xff", 4
    ),
    "mpo: an index of nothing": changed(saved("MPO", save_all=True, append_images=[PICTURE]), b"MPF\0", bytes(8), 4),
}


@pytest.mark.parametrize("name", PNGS)
def test_png(name, tmp_path):
    assert (pixels(tmp_path, PNGS[name]) == np.asarray(PICTURE)).all()


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg(name, tmp_path):
    assert (pixels(tmp_path, JPEGS[name]) == pixels(tmp_path, saved("JPEG"))).all()


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds(name, tmp_path):
    found = pixels(tmp_path, OTHERS[name])
    assert isinstance(found, np.ndarray) and sorted(found.shape) == [3, 64, 96]


def test_an_orientation_that_can_be_read_is_kept(tmp_path):
    whole, upright = saved("PNG", exif=turned()), np.asarray(PICTURE.transpose(Image.Transpose.ROTATE_270))
    assert (pixels(tmp_path, whole[:33] + LARGE + whole[33:]) == upright).all()
    for segments in (
        [segment(0xE1, b"Exif\0\0" + RATIONAL)],
        [segment(0xE1, b"Exif\0\0" + RATIONAL), b"\xff\xe0\0\4JF"],
    ):
        assert pixels(tmp_path, jpeg(*segments)).shape == (96, 64, 3)


def moving(kind, **options):
    """An animation whose first frame is blank."""
    return saved(kind, Image.new("RGB", PICTURE.size), save_all=True, append_images=[PICTURE], lossless=True, **options)


MOVING_PNG = moving("PNG")
TURNED = moving("WEBP", exif=turned())
SHORT_OF_CHECKSUM = chunk(b"tEXt", b"a\0b")[:-4] + bytes(4)
COUNT = MOVING_PNG.index(b"acTL")
LATER = MOVING_PNG.index(b"fcTL", MOVING_PNG.index(b"IDAT")) - 4
MOVING = {
    "png: a wrong checksum": MOVING_PNG[:33] + SHORT_OF_CHECKSUM + MOVING_PNG[33:],
    "png: a wrong checksum between frames": MOVING_PNG[:LATER] + SHORT_OF_CHECKSUM + MOVING_PNG[LATER:],
    "png: a wrong checksum of their number": MOVING_PNG[: COUNT + 12] + bytes(4) + MOVING_PNG[COUNT + 16 :],
    "png: another number of them": MOVING_PNG[: COUNT + 4] + bytes(4) + MOVING_PNG[COUNT + 8 :],
    "png: a short number of them": MOVING_PNG[: COUNT - 4] + chunk(b"acTL", b"\0") + MOVING_PNG[COUNT + 16 :],
    "webp: a wrong size": TURNED[:4] + (len(TURNED) + 900).to_bytes(4, "little") + TURNED[8:],
    "webp: cut in EXIF": TURNED[:-3],
}


@pytest.mark.parametrize("name", MOVING)
def test_a_damaged_animation_is_its_first_frame_with_content(name, tmp_path):
    found = pixels(tmp_path, MOVING[name])
    assert isinstance(found, np.ndarray) and found.std() > 20
    assert found.shape == ((96, 64, 3) if "webp" in name else (64, 96, 3))


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_what_is_left_of_the_exif_of_a_webp_turns_it(cut, tmp_path):
    assert pixels(tmp_path, saved("WEBP", exif=turned())[:-cut]).shape == (96, 64, 3)


MANNERS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "with restarts": {"restart_marker_blocks": 2},
    "whole colors": {"subsampling": 0},
}


@pytest.mark.parametrize("name", MANNERS)
def test_a_jpeg_without_its_end_is_read_only_with_all_its_pixels(name, tmp_path):
    whole = saved("JPEG", **MANNERS[name])
    assert (pixels(tmp_path, whole[:-2]) == pixels(tmp_path, whole)).all()
    marks = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7\xda]", whole)][1:]
    for cut in [len(whole) - lost for lost in (*range(4, 40, 3), len(whole) // 3)] + marks:
        found = pixels(tmp_path, whole[:cut])
        assert isinstance(found, Unreadable) and "truncated" in found.reason


def test_a_jpeg_without_its_end_may_end_with_zeros(tmp_path):
    noises = np.random.default_rng(0).integers(0, 255, (4000, 8, 8), np.uint8)
    whole = next(each for each in (saved("JPEG", Image.fromarray(noise)) for noise in noises) if each[-3] == 0)
    assert (pixels(tmp_path, whole[:-2]) == pixels(tmp_path, whole)).all()


def test_the_settings_of_pillow_stay(tmp_path):
    from PIL import ImageFile, PngImagePlugin

    before = ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK, Image.MAX_IMAGE_PIXELS
    pixels(tmp_path, png(LARGE))
    assert before == (ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK, Image.MAX_IMAGE_PIXELS)
