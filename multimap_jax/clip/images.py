"""From files, PIL images or arrays to pixels: decoded in threads, streamed in batches of one shape."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import stat
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from multimap_jax.inputs import kinds
from multimap_jax.inputs.files import passing
from multimap_jax.inputs.open import READERS, open_source
from multimap_jax.inputs.places import BoundedFile, is_remote, place, plain
from multimap_jax.inputs.remote import remote_image
from multimap_jax.inputs.source import Packed

# Bytes that all threads together decode into at once, and one image alone at most; of a file.
ROOM_BYTES, MOST_BYTES, FILE_BYTES = 2**29, 2**30, 2**29
# Bytes of a pixel on its way, measured: by format, of modes of more than 8 bits, of progressive JPEGs, of all others.
FORMAT_BYTES = {"JPEG2000": 20, "WEBP": 16, "AVIF": 12, "HEIF": 12}
WIDE_BYTES, PROGRESSIVE_BYTES, PIXEL_BYTES = 12, 10, 8
# Images of a store that are fetched at once: most of the time each waits.
AT_ONCE = 32
# Pixels that are converted at once, and how many times an image's longer side may be its shorter one.
STRIP = 2**20
NARROWEST = 50


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded: its index in the list, its name, the reason, and whether that may pass though
    the file stays as it is (a disk that did not answer, too many open files, no memory)."""

    index: int
    name: str
    reason: str
    passing: bool = False

    def __str__(self):
        return f"{self.name}: {self.reason}"


class UnreadableImagesError(ValueError):
    """Every image of a list that could not be decoded, in `failures`."""

    def __init__(self, failures: Sequence[Unreadable], total: int):
        self.failures = tuple(failures)
        lines = "\n  ".join(str(failure) for failure in failures)
        super().__init__(
            f"{len(failures)} of {total} images cannot be read (on_error='skip' leaves them out):\n  {lines}"
        )


def as_list(images) -> list:
    """A folder or another source, one path, a list or an array [images, h, w, 3] as a list of single images."""
    if isinstance(images, (str, os.PathLike)) or is_remote(images):
        path = images if is_remote(images) else place(os.fspath(images))
        if path.is_file() and path.suffix.lower() not in READERS:
            return [path]
        source = open_source(path)
        for note in source.notes:
            warnings.warn(note, stacklevel=3)
        return list(source.images.values())
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        raise TypeError(
            "expected a list of images (or an array [images, h, w, 3]), found a single one: put it in a list"
        )
    places = [place(image) if isinstance(image, str) and "://" in image else image for image in images]
    return [remote_image(image, None) if is_remote(image) else image for image in places]


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


@contextlib.contextmanager
def opened_image(image) -> Iterator[Image.Image]:
    """A path, PIL image or uint8 array [h, w, 3] (or grey [h, w]) as an upright RGB image.

    EXIF orientation is applied; transparency is laid on white; 16-bit grey is scaled to 8 bits. What kind of file it is
    its content says, and only kinds.FORMATS are read. Within this context the image has its share of ROOM.

    Raises ValueError, with what is wrong, for what is no regular file, too large or too narrow.
    """
    with opened_picture(image) as found:
        check_shape(found.size)
        each = bytes_of_pixel(found)
        if found.width * found.height > MOST_BYTES // each:
            raise ValueError(too_many(MOST_BYTES // each))
        with ROOM.take(found.width * found.height * each), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged metadata of images that it can read
            if isinstance(image, Image.Image):
                upright = ImageOps.exif_transpose(found)  # a copy, so that the caller's image stays as it is
            else:
                ImageOps.exif_transpose(found, in_place=True)
                upright = found
            yield _to_rgb(upright)


@contextlib.contextmanager
def opened_picture(image) -> Iterator[Image.Image]:
    """What a path, PIL image or array holds, as a PIL image; closed at the end where it was opened here."""
    if isinstance(image, (str, os.PathLike, Packed)):
        if not isinstance(image, Packed):
            status = os.stat(image)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("not a regular file")
            if not status.st_size:
                raise ValueError("the file is empty")
            if status.st_size > FILE_BYTES:
                raise ValueError(f"a file of {status.st_size:,} bytes, expected {FILE_BYTES:,} at most")
        with io.BytesIO(image.read()) if isinstance(image, Packed) else BoundedFile(image) as file:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    opened = Image.open(file, formats=kinds.formats())
                except Image.DecompressionBombError:
                    raise ValueError(too_many(MOST_BYTES // PIXEL_BYTES)) from None
            with opened:
                yield opened
    elif isinstance(image, Image.Image):
        yield image
    else:
        array = np.asarray(image)
        ranks = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
        if array.dtype != np.uint8 or not ranks or not array.size:
            raise TypeError(f"expected a uint8 array [h, w, 3], found {array.dtype} {list(array.shape)}")
        check_shape(array.shape[:2])  # an array's sides are said as it has them, height first
        yield Image.fromarray(array)


def bytes_of_pixel(image: Image.Image) -> int:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return WIDE_BYTES
    return FORMAT_BYTES.get(image.format, PROGRESSIVE_BYTES if image.info.get("progressive") else PIXEL_BYTES)


def too_many(pixels: int) -> str:
    return f"more than {pixels:,} pixels: make it smaller"


def check_shape(sides: tuple[int, int]) -> None:
    """ValueError for an image so narrow that, its shorter side scaled to the encoder's, little of it would be seen and
    much memory taken."""
    short, long = min(sides), max(sides)
    if long > NARROWEST * short:
        raise ValueError(f"{sides[0]:,} by {sides[1]:,} pixels: one side is over {NARROWEST} times the other; cut it")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image), 65535)
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image))
        # These modes carry no range of their own: the smallest usual one that holds the values.
        return _grey(values, next(top for top in (1, 255, 65535, np.inf) if values.max() <= top))
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    rows = max(1, STRIP // image.width)
    if not image.has_transparency_data or image.height <= rows:
        return _on_white(image)
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_on_white(part), (0, top))
    return whole


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _grey(values: np.ndarray, top: float) -> Image.Image:
    """Grey values [h, w] of 0 to `top`."""
    found = np.empty(values.shape, np.uint8)
    rows = max(1, STRIP // values.shape[1])
    for begin in range(0, len(values), rows):
        part = values[begin : begin + rows].astype(np.float64) / top
        found[begin : begin + rows] = np.round(np.clip(part, 0, 1) * 255)
    return Image.fromarray(found).convert("RGB")


def name_of(image, index: int) -> str:
    if isinstance(image, Packed):
        return f"{image.file}, {image.place}"
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"


def decode(image, index: int, preprocess: Callable[[Image.Image], np.ndarray]) -> np.ndarray | Unreadable:
    """Pixels [size, size, 3] float32, or why there are none."""
    try:
        with opened_image(image) as opened:
            return preprocess(opened)
    except FileNotFoundError:
        return Unreadable(index, name_of(image, index), "no such file")
    except UnidentifiedImageError:
        return Unreadable(index, name_of(image, index), "not an image")
    except Exception as error:  # decoders raise whatever they like (struct.error, SyntaxError, …) on damaged files
        return Unreadable(index, name_of(image, index), plain(error), passing(error))


def stream_pixels(
    images: Sequence, preprocess: Callable, batch: int, threads: int | None = None
) -> Iterator[list[np.ndarray | Unreadable]]:
    """Decoded images in lists of up to `batch`, in order; at most two batches are decoded ahead of the reader."""
    fetched = len(images) and isinstance(images[0], Packed) and images[0].remote
    threads = threads or (AT_ONCE if fetched else min(16, (os.cpu_count() or 1) + 1))
    waiting: deque[Future] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        remaining = iter(enumerate(images))
        done: list = []
        while True:
            while len(waiting) < 2 * batch and (item := next(remaining, None)) is not None:
                waiting.append(pool.submit(decode, item[1], item[0], preprocess))
            if not waiting:
                break
            done.append(waiting.popleft().result())
            if len(done) == batch:
                yield done
                done = []
        if done:
            yield done
    finally:  # where a run is stopped, what waits is not decoded first
        pool.shutdown(wait=False, cancel_futures=True)
