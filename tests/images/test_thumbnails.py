"""Thumbnails: their size, what JPEGs are decoded at, and which stored ones are taken."""

import io

import numpy as np
import pytest
from PIL import Image

from multimap_jax.images.decoding import opened_image
from multimap_jax.images.thumbnails import SIDE, jpeg_size, stored_thumbnails, thumbnail, thumbnails
from multimap_jax.storage.packed import PackedItems, as_packed


def gradient(width, height):
    """An image that is dark at its left and top, and bright at its right and bottom."""
    x, y = np.meshgrid(np.linspace(0, 200, width), np.linspace(0, 200, height))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], 2).astype(np.uint8))


def opened(content):
    return Image.open(io.BytesIO(content))


def difference(image, other):
    """The mean difference of brightness, of 255 levels; JPEG keeps colors at half the size."""
    return np.abs(np.asarray(image.convert("L"), float) - np.asarray(other.convert("L"))).mean()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((10, 4), (10, 4)),
        ((128, 128), (128, 128)),
        ((129, 60), (128, 60)),
        ((256, 256), (128, 128)),
        ((300, 200), (128, 85)),
        ((1000, 500), (128, 64)),
        ((200, 1000), (26, 128)),
        ((1000, 20), (128, 3)),
        ((3, 120), (3, 120)),
    ],
)
def test_a_thumbnail_has_the_shape_and_the_colors_of_its_image(size, expected):
    image = gradient(*size)
    small = thumbnail(image)
    assert opened(small).size == expected == jpeg_size(small)
    assert opened(small).format == "JPEG" and image.size == size
    assert difference(opened(small), image.resize(expected, Image.Resampling.BOX)) < 4


def test_a_jpeg_is_decoded_at_the_size_that_is_needed(tmp_path):
    gradient(1000, 800).save(tmp_path / "a.jpg")
    gradient(1000, 800).save(tmp_path / "a.png")
    sizes = {}
    for name in ("a.jpg", "a.png"):
        for least in (None, 900, 400, 128, 10):
            with opened_image(tmp_path / name, least) as image:
                sizes[name, least] = image.size
    assert [sizes["a.jpg", least] for least in (None, 900, 400, 128, 10)] == [
        (1000, 800), (1000, 800), (500, 400), (250, 200), (125, 100),
    ]  # fmt: skip
    assert {sizes["a.png", least] for least in (None, 900, 400, 128, 10)} == {(1000, 800)}
    from_jpeg, from_png = (opened(content) for content in thumbnails([tmp_path / "a.jpg", tmp_path / "a.png"]))
    assert from_jpeg.size == from_png.size == (128, 102) and difference(from_jpeg, from_png) < 4


def test_a_thumbnail_of_a_turned_or_progressive_jpeg_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    gradient(800, 600).save(tmp_path / "turned.jpg", exif=exif)
    gradient(800, 600).save(tmp_path / "progressive.jpg", progressive=True)
    turned, progressive = map(opened, thumbnails([tmp_path / "turned.jpg", tmp_path / "progressive.jpg"]))
    assert turned.size == (96, 128) and progressive.size == (128, 96)
    upright = gradient(800, 600).rotate(-90, expand=True).resize((96, 128), Image.Resampling.BOX)
    assert difference(turned, upright) < 4


@pytest.mark.parametrize(("ending", "length"), [("jpg", 60_000), ("gif", 100_000)])
def test_what_an_image_says_besides_its_pixels_stays_there(tmp_path, ending, length):
    """A comment or the place where a photograph was taken is not on the page, and a long comment is no failure."""
    exif = Image.Exif()
    exif[0x8298] = "secret owner"
    secret = b"secret " * (length // 7)
    gradient(60, 60).save(tmp_path / f"a.{ending}", comment=secret, exif=exif)
    with Image.open(tmp_path / f"a.{ending}") as saved:
        assert b"secret" in saved.info["comment"]
    with opened_image(tmp_path / f"a.{ending}") as image:
        assert b"secret" not in thumbnail(image)
    (found,) = thumbnails([tmp_path / f"a.{ending}"])
    assert opened(found).size == (60, 60) and b"secret" not in found


def test_a_huge_jpeg_is_made_smaller_once(tmp_path, monkeypatch):
    """Where memory sets the size already, the thumbnail's size does not change it again."""
    gradient(1600, 1600).save(tmp_path / "a.jpg", progressive=True)
    monkeypatch.setattr("multimap_jax.images.memory.MOST_BYTES", 2**23)
    with opened_image(tmp_path / "a.jpg") as image:
        halved = image.size
    with opened_image(tmp_path / "a.jpg", 128) as image:
        assert image.size == halved < (1600, 1600)
    assert opened(thumbnails([tmp_path / "a.jpg"])[0]).size == (128, 128)


def test_images_that_cannot_be_read_have_no_thumbnail(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    found = thumbnails([tmp_path / "broken.jpg", tmp_path / "none.png", gradient(5, 5)])
    assert found[:2] == [b"", b""] and opened(found[2]).size == (5, 5)


def as_jpeg(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def test_only_what_can_be_a_thumbnail_is_taken_from_a_run(tmp_path):
    """A stranger's run may hold anything where its thumbnails are."""
    good = thumbnail(gradient(300, 300))
    png = io.BytesIO()
    gradient(9, 9).save(png, "PNG")
    others = [
        png.getvalue(),
        b"<svg onload='alert(1)'>",
        as_jpeg(gradient(SIDE + 1, 5)),
        as_jpeg(gradient(5, SIDE + 1), progressive=True),
        good[:30],
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff\xe0\0\0" * 3,
        as_jpeg(gradient(8, 8), comment=b"x" * 2**15) + b"y" * 2**15,
    ]
    np.savez(tmp_path / "a.npz", **as_packed([good, *others, as_jpeg(gradient(SIDE, 5), progressive=True)]))
    count = len(others) + 2
    packed = PackedItems([tmp_path / "a.npz"], np.array([count]), np.arange(count))
    found = stored_thumbnails(packed, range(count))
    assert found[0] == good and not any(found[1:-1]) and opened(found[-1]).size == (SIDE, 5)
