"""Images in: every mode, every damage, one embedding whatever comes with it."""

import io
import os
import struct
import threading
import time
import warnings

import numpy as np
import pytest
from PIL import Image

import multimap_jax as mm
from multimap_jax.images import color, memory
from multimap_jax.images.decoding import Unreadable, as_list, decode, opened_image, stream_pixels
from multimap_jax.images.memory import Room
from multimap_jax.sources import formats as kinds
from multimap_jax.sources.folder import read_folder
from multimap_jax.sources.source import PackedImage


def corner(image):
    with opened_image(image) as opened:
        return opened.getpixel((0, 0))


def test_exif_orientation_is_honoured(tmp_path):
    picture = Image.new("RGB", (4, 2), "white")
    picture.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    picture.save(tmp_path / "turned.png", exif=exif)
    with opened_image(tmp_path / "turned.png") as upright:
        assert upright.size == (2, 4) and upright.getpixel((1, 0)) == (255, 0, 0)


MODES = {
    "grey": (Image.new("L", (3, 3), 100), (100, 100, 100)),
    "black and white": (Image.new("1", (3, 3), 1), (255, 255, 255)),
    "palette": (Image.new("RGB", (3, 3), (200, 10, 10)).quantize(4), (200, 10, 10)),
    "half transparent on white": (Image.new("RGBA", (3, 3), (0, 0, 0, 128)), (127, 127, 127)),
    "transparent": (Image.new("RGBA", (3, 3), (9, 9, 9, 0)), (255, 255, 255)),
    "grey with alpha": (Image.new("LA", (3, 3), (50, 255)), (50, 50, 50)),
    "CMYK": (Image.new("CMYK", (3, 3), (0, 255, 255, 0)), (255, 0, 0)),
    "16 bits": (Image.fromarray(np.full((3, 3), 32896, np.uint16)), (128, 128, 128)),
    "dark 16 bits": (Image.fromarray(np.full((3, 3), 200, np.uint16)), (1, 1, 1)),
    "32 bits": (Image.fromarray(np.full((3, 3), 65535, np.int32)), (255, 255, 255)),
    "floats": (Image.fromarray(np.full((3, 3), 0.5, np.float32)), (128, 128, 128)),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes(mode):
    image, expected = MODES[mode]
    assert max(abs(a - b) for a, b in zip(corner(image), expected)) <= 1
    with opened_image(image) as opened:
        assert opened.mode == "RGB"


def test_transparent_palette_files_lie_on_white(tmp_path):
    Image.new("P", (3, 3), 0).save(tmp_path / "p.png", transparency=0)
    assert corner(tmp_path / "p.png") == (255, 255, 255)


def test_arrays():
    assert corner(np.full((2, 2, 3), 7, np.uint8)) == (7, 7, 7) == corner(np.full((2, 2), 7, np.uint8))
    for wrong in (
        np.zeros((2, 2, 3)),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
        np.zeros(3, np.uint8),
    ):
        with pytest.raises(TypeError, match="expected a uint8 array"):
            corner(wrong)


@pytest.fixture
def folder(tmp_path):
    """Good images, three of them in folders below, four damaged ones, and files of other kinds."""
    random = np.random.default_rng(0)
    for name in ("b.png", "a/z.jpg", "a/deep/y.webp", "c.JPEG"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (40, 30, 3), np.uint8)).save(path)
    whole = io.BytesIO()
    Image.fromarray(random.integers(0, 255, (60, 60, 3), np.uint8)).save(whole, "JPEG")
    (tmp_path / "torn.jpg").write_bytes(whole.getvalue()[:700])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "noise.jpg").write_bytes(bytes(range(256)))
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / ".hidden.png").write_bytes(b"")
    return tmp_path


def test_folders_are_searched_in_a_fixed_order(folder):
    names = read_folder(folder).names
    assert names == ["a/deep/y.webp", "a/z.jpg", "b.png", "c.JPEG", "empty.png", "noise.jpg", "text.png", "torn.jpg"]


def test_bad_images_are_listed_all_at_once(clip, folder):
    with pytest.raises(mm.UnreadableImagesError, match="4 of 8 images") as raised:
        clip.embed_images(folder)
    assert [failure.index for failure in raised.value.failures] == [4, 5, 6, 7]
    text = str(raised.value)
    assert "empty.png: the file is empty" in text and "text.png: not an image" in text and "truncated" in text


def test_skipping_says_what_was_kept(clip, folder):
    rows, kept = clip.embed_images(folder, on_error="skip")
    assert kept.tolist() == [0, 1, 2, 3] and rows.shape == (4, 32) and rows.dtype == np.float32
    assert (rows == clip.embed_images(list(read_folder(folder).images.values())[:4])).all()
    with pytest.raises(mm.UnreadableImagesError, match="2 of 2"):
        clip.embed_images([folder / "torn.jpg", folder / "nothing.png"], on_error="skip")


def test_an_embedding_does_not_depend_on_its_neighbours(clip):
    images = list(np.random.default_rng(1).integers(0, 255, (70, 32, 32, 3), np.uint8))
    rows = clip.embed_images(images)
    assert (clip.embed_images(images[33:35]) == rows[33:35]).all()
    assert (clip.embed_images(images[::-1]) == rows[::-1]).all()
    assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 1e-6
    raw = clip.embed_images(images[:3], normalize=False)
    assert np.allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), rows[:3])


def test_paths_images_and_arrays_are_the_same(clip, folder):
    picture = Image.open(folder / "b.png")
    rows = clip.embed_images([folder / "b.png", str(folder / "b.png"), picture, np.asarray(picture)])
    assert (rows == rows[0]).all()


def test_pixels_are_what_transformers_makes_of_them(clip, folder):
    from transformers import CLIPImageProcessorPil

    picture = Image.open(folder / "a" / "z.jpg")
    processor = CLIPImageProcessorPil.from_pretrained(clip.directory)
    theirs = processor(picture, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
    with opened_image(picture) as opened:
        assert (clip.preprocess(opened) == theirs).all()


def reason(path):
    return decode(path, 0, np.asarray).reason


def test_the_kind_of_a_file_is_what_its_content_says(tmp_path):
    Image.new("RGB", (5, 4), "red").save(tmp_path / "really.png", "JPEG")
    assert decode(tmp_path / "really.png", 0, np.asarray).shape == (4, 5, 3)
    for name, content in {
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "page.png": b"%PDF-1.4\n",
        "text.webp": b"hello",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert reason(tmp_path / name) == "not an image"


@pytest.mark.parametrize("ending", ["heic", "avif", "webp", "jp2", "bmp", "gif", "tiff", "ppm", "qoi"])
def test_kinds_that_telephones_and_others_write_are_read(tmp_path, ending):
    kinds.formats()  # registers HEIF for writing too
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / f"a.{ending}")
    assert read_folder(tmp_path).names == [f"a.{ending}"]
    assert max(abs(a - b) for a, b in zip(corner(tmp_path / f"a.{ending}"), (200, 30, 30))) <= 12


def test_narrow_and_huge_images_are_refused_before_they_take_memory(tmp_path, monkeypatch):
    for size in ((100_000, 1), (1, 300_000), (101, 2)):
        Image.new("1", size).save(tmp_path / "narrow.png")
        assert reason(tmp_path / "narrow.png").endswith("(one side is over 50 times the other); crop it")
    assert decode(np.zeros((1, 60, 3), np.uint8), 0, np.asarray).reason.startswith("1 by 60 pixels")
    Image.new("1", (300, 300)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    assert reason(tmp_path / "huge.png") == "more than 134,217,728 pixels: make it smaller"
    monkeypatch.undo()
    monkeypatch.setattr(memory, "MOST_BYTES", 8 * 80_000)
    assert reason(tmp_path / "huge.png") == "more than 80,000 pixels: make it smaller"
    Image.new("F", (300, 300)).save(tmp_path / "wide.tiff")
    assert reason(tmp_path / "wide.tiff") == "more than 53,333 pixels: make it smaller"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "L", "1", "CMYK", "I;16", "I", "F", "RGB"])
def test_pixels_are_the_same_whatever_is_converted_at_once(mode, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (37, 23, 4), np.uint8)
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(noise[..., 0].astype(kind) * 200)
    else:
        image = Image.fromarray(noise, "RGBA" if mode != "CMYK" else "CMYK")
        image = image.convert("LA").convert(mode) if mode == "PA" else image.convert(mode)
    if mode == "P":
        image.info["transparency"] = bytes(range(256))
    assert image.mode == mode
    whole = decode(image, 0, np.asarray)
    monkeypatch.setattr(color, "STRIP", 100)
    parts = decode(image, 0, np.asarray)
    assert whole.shape == (37, 23, 3) and (whole == parts).all()


def test_images_of_the_caller_are_left_as_they_are():
    image = Image.new("RGB", (20, 10), "red")
    image.getexif()[0x0112] = 6

    def spoil(picture):
        assert picture.size == (10, 20)
        picture.paste("blue", (0, 0, 10, 20))
        return picture.size

    assert decode(image, 0, spoil) == (10, 20)
    assert image.size == (20, 10) and image.getpixel((3, 3)) == (255, 0, 0)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    assert reason(tmp_path / "pipe.jpg") == reason(tmp_path / "folder.jpg") == "not a regular file"


def test_threads_together_hold_no_more_pixels_than_there_is_room_for(tmp_path, monkeypatch):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    Image.new("RGB", (60, 60)).save(tmp_path / "large.png")
    inside, most, lock, room = [0], [0], threading.Lock(), Room(1000)
    monkeypatch.setattr(memory, "ROOM", room)

    def preprocess(image):
        pixels = min(image.width * image.height, 1000)
        with lock:
            inside[0] += pixels
            most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        with lock:
            inside[0] -= pixels
        return np.zeros(1)

    names = ["a.png", "large.png", "a.png", "a.png"] * 8
    batches = list(stream_pixels([tmp_path / name for name in names], preprocess, 8, threads=8))
    assert sum(map(len, batches)) == 32 and most[0] <= 1000 and room.free == 1000


def test_decoding_never_runs_far_ahead():
    started, lock = [0], threading.Lock()

    def count(image):
        with lock:
            started[0] += 1
        return np.zeros(1)

    for number, batch in enumerate(stream_pixels([np.zeros((2, 2, 3), np.uint8)] * 100, count, batch=8), 1):
        assert len(batch) == (8 if number < 13 else 4) and started[0] <= 8 * (number + 2)
    assert started[0] == 100


@pytest.mark.parametrize(
    "images, error, message",
    [
        ("no/such/folder", FileNotFoundError, "there is no folder"),
        (Image.new("RGB", (2, 2)), TypeError, "put it in a list"),
        (np.zeros((2, 2, 3), np.uint8), TypeError, "put it in a list"),
    ],
)
def test_bad_collections(images, error, message):
    with pytest.raises(error, match=message):
        as_list(images)


def test_folders_without_images(tmp_path):
    with pytest.raises(ValueError, match="number of other files: 0"):
        read_folder(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ValueError, match="number of other files: 1"):
        read_folder(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file"):
        read_folder(tmp_path / "a.txt")


def test_wrong_arguments(clip):
    with pytest.raises(ValueError, match='expected "raise" or "skip"'):
        clip.embed_images([], on_error="ignore")
    with pytest.raises(TypeError, match="put it in a list"):
        clip.embed_texts("one text")
    assert clip.embed_images([]).shape == (0, 32)


def test_what_waits_is_not_decoded_where_nobody_reads_on():
    decoded = []

    def slow(picture):
        time.sleep(0.05)
        decoded.append(1)
        return np.asarray(picture)

    stream = stream_pixels([np.zeros((4, 4, 3), np.uint8)] * 100, slow, 25, threads=2)
    next(stream)
    stream.close()
    time.sleep(0.3)
    assert len(decoded) <= 25 + 4


@pytest.mark.parametrize("kind, most", [("JPEG2000", 53), ("WEBP", 67), ("PNG", 134)])
def test_formats_that_take_more_memory_may_be_smaller(kind, most, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "x", kind)
    with Image.open(tmp_path / "x") as image:
        assert memory.MOST_BYTES // memory.bytes_of_pixel(image) // 10**6 == most


def test_a_large_jpeg_is_decoded_smaller_where_its_memory_is_bounded(tmp_path, monkeypatch):
    picture = Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    picture.save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")
    picture.save(tmp_path / "progressive.jpg", progressive=True)
    whole = decode(tmp_path / "a.jpg", 0, np.array)
    assert whole.shape == (400, 300, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)  # Pillow refuses twice as many
    monkeypatch.setattr(memory, "MOST_BYTES", 8 * 400 * 300)
    assert (decode(tmp_path / "a.jpg", 0, np.array) == whole).all()
    assert decode(tmp_path / "progressive.jpg", 0, np.array).shape == (300, 400, 3)
    monkeypatch.setattr(memory, "MOST_BYTES", 500_000)
    half = decode(tmp_path / "a.jpg", 0, np.array)
    assert half.shape == (200, 150, 3) and np.abs(half.astype(int) - whole[::2, ::2]).max() < 6
    assert decode(tmp_path / "progressive.jpg", 0, np.array).shape == (150, 200, 3)
    monkeypatch.setattr(memory, "MOST_BYTES", 100_000)
    assert decode(tmp_path / "a.jpg", 0, np.array).shape == (100, 75, 3)
    # All coefficients of a progressive one are held, at whatever scale.
    assert reason(tmp_path / "progressive.jpg").startswith("more than 32,653 pixels")
    monkeypatch.setattr(memory, "JPEG_PIXELS", 100_000)
    assert reason(tmp_path / "a.jpg").startswith("more than 100,000 pixels")


RAMP = np.tile(np.linspace(0, 1, 64), (8, 1))
# Name -> (values, whether they are scaled by their own range).
VALUES = {
    "16 bits": ((RAMP * 65535).astype(np.uint16), False),
    "a dark photograph": ((RAMP * 20_000).astype(np.uint16), False),
    "12 bits in 16": ((RAMP * 4095).astype(np.uint16), True),
    "8 bits in 16": ((RAMP * 255).astype(np.uint16), True),
    "16 bits in 32": ((RAMP * 65535).astype(np.int32), False),
    "negative": ((RAMP * 2000 - 1000).astype(np.int32), True),
    "a million": ((RAMP * 1_000_000).astype(np.int32), True),
    "all of 32 bits": ((RAMP * (2**31 - 1)).astype(np.int32), True),
    "to 1": (RAMP.astype(np.float32), False),
    "to 255": ((RAMP * 255).astype(np.float32), False),
    "a little above 255": ((RAMP * 255.5).astype(np.float32), True),
    "above 65,535": ((RAMP * 100_000).astype(np.float32), True),
    "degrees": ((RAMP * 40 + 270).astype(np.float32), True),
    "with gaps": (np.where(RAMP < 0.1, np.nan, RAMP * 1e5).astype(np.float32), True),
    "with a number for gaps": (np.where(RAMP < 0.1, -3.4028235e38, RAMP * 300).astype(np.float32), True),
    "infinite": (np.where(RAMP > 0.9, np.inf, RAMP * 300).astype(np.float32), True),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_of_more_than_8_bits(name):
    values, own_range = VALUES[name]
    with opened_image(Image.fromarray(values)) as image:
        found = np.asarray(image)
        assert (color.OWN_RANGE in image.info) == own_range
    if own_range:
        assert found.min() == 0 and found.max() == 255 and 100 < np.median(found) < 155
    else:
        top = next(top for top in (1, 255, 65535) if values.max() <= top)
        assert (found[..., 0] == np.round(values.astype(np.float64) / top * 255)).all()


def tiff(values, photometric=1):
    """A TIFF as other programs write it, of values in little endian."""
    data, bits = values.tobytes(), 8 * values.dtype.itemsize
    sizes = [(256, values.shape[1]), (257, values.shape[0]), (258, bits), (259, 1), (262, photometric), (273, 8)]
    sizes += [(277, 1), (278, values.shape[0]), (279, len(data)), (339, " uif".index(values.dtype.kind))]
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in sizes)
    return b"II*\0" + struct.pack("<L", 8 + len(data)) + data + struct.pack("<H", len(sizes)) + entries + bytes(4)


TIFFS = {
    "32 bits without a sign": (tiff((RAMP * (2**32 - 1)).astype(np.uint32)), 1),
    "32 bits with one": (tiff(((RAMP - 0.5) * (2**32 - 2)).astype(np.int32)), 1),
    "0 is black": (tiff((RAMP * 65535).astype(np.uint16)), 1),
    "0 is white": (tiff((RAMP * 65535).astype(np.uint16), 0), -1),
    "0 is white, 12 bits": (tiff((RAMP * 4095).astype(np.uint16), 0), -1),
    "0 is white, floats": (tiff(RAMP.astype(np.float32), 0), -1),
    "0 is white, 8 bits": (tiff((RAMP * 255).astype(np.uint8), 0), -1),
}


@pytest.mark.parametrize("name", TIFFS)
def test_values_of_a_tiff_are_what_it_says(name):
    content, way = TIFFS[name]
    file = Image.open(io.BytesIO(content))
    before = dict(file.info)
    for image in (PackedImage("a", "b", lambda: content), file):
        with opened_image(image) as opened:
            steps = np.diff(np.asarray(opened)[..., 0].astype(int)) * way
        assert (steps >= 0).all() and (steps.sum(1) == 255).all()
    assert file.info == before  # the caller's image stays as it is


def test_images_that_are_scaled_by_their_own_range_are_said_once(clip):
    images = [Image.fromarray(VALUES[name][0]) for name in ("a million", "12 bits in 16", "16 bits")]
    with pytest.warns(UserWarning, match="^2 grey images have an unusual range of values") as said:
        clip.embed_images(images)
    assert len(said) == 1


def test_warnings_are_as_they_were_after_many_threads():
    def slow(picture):
        time.sleep(0.001 * (picture.width % 7))
        return np.zeros(1)

    with pytest.warns(UserWarning, match="^heard$"):
        sizes = [np.zeros((8, 8 + i % 7, 3), np.uint8) for i in range(60)]
        assert sum(map(len, stream_pixels(sizes, slow, 8, threads=8))) == 60
        warnings.warn("heard", stacklevel=1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_its_first_frame_with_content(kind, tmp_path):
    picture, red, clear = Image.effect_noise((64, 48), 90).convert("RGBA"), Image.new("RGBA", (64, 48), "red"), "#fff0"

    def shown(*frames):
        frames[0].save(tmp_path / "a", kind, save_all=True, append_images=frames[1:], duration=90)
        return decode(tmp_path / "a", 0, np.array)

    for first in (red, Image.new("RGBA", (64, 48), clear)):
        blank = shown(first, first.copy(), red)
        for found in (shown(first, picture), shown(first, red, picture, red)):
            assert found.shape == (48, 64, 3) and found.std() > 20
        assert blank.std((0, 1)).max() < 5
    assert shown(picture, red).std() > 20


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_later_frames_that_are_damaged_take_nothing_with_them(kind, tmp_path):
    red, picture = Image.new("RGB", (64, 48), "red"), Image.effect_noise((64, 48), 90).convert("RGB")
    red.save(tmp_path / "a", kind, save_all=True, append_images=[picture])
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: -len(content) // 3])
    assert corner(tmp_path / "a")[1:] == (0, 0)


def test_frames_that_lie_far_outside_the_first_one_are_not_drawn(tmp_path):
    blank = Image.new("P", (10, 10))
    blank.save(tmp_path / "a.gif", save_all=True, append_images=[blank.copy()], optimize=False)
    content = bytearray((tmp_path / "a.gif").read_bytes())
    far = content.rindex(b"\x2c") if content.count(b"\x2c") > 1 else len(content) - 1
    frame = b"\x2c" + struct.pack("<HHHH", 13_000, 13_000, 1, 1) + b"\x00" + b"\x02\x02\x44\x01\x00"
    content[far:] = frame + b";"
    (tmp_path / "a.gif").write_bytes(content)
    found = decode(tmp_path / "a.gif", 0, lambda picture: picture.size)
    assert found == (10, 10)


def test_a_jpeg_of_very_many_scans_is_left_out(tmp_path):
    file = io.BytesIO()
    Image.effect_noise((32, 32), 60).convert("RGB").save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content.rindex(b"\xff\xda")
    (tmp_path / "a.jpg").write_bytes(content[:last] + content[last:-2] * 300 + content[-2:])
    found = decode(tmp_path / "a.jpg", 0, lambda picture: picture.size)
    assert isinstance(found, Unreadable) and "scans, expected at most 200" in found.reason
