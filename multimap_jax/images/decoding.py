"""From files, PIL images or arrays to pixels: decoded in threads, streamed in batches of one shape."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import itertools
import os
import stat
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from multimap_jax.errors import InputError, InputTypeError
from multimap_jax.images import memory
from multimap_jax.images.color import strips, to_rgb, with_tiff_tags
from multimap_jax.images.memory import Room, UnfitError, check_scans, check_shape, decoding_bytes, too_many
from multimap_jax.images.repair import repaired
from multimap_jax.sources import formats
from multimap_jax.sources.detect import READERS, open_source
from multimap_jax.sources.remote import IMAGE_BYTES, image_at
from multimap_jax.sources.source import PackedImage
from multimap_jax.storage.filenames import error_text
from multimap_jax.storage.local import BoundedFile
from multimap_jax.storage.paths import as_path, parse_path, size_of
from multimap_jax.storage.reading import is_transient

# What an image may be: a file, or one that is opened, or an array uint8 [h, w, 3] or [h, w].
AnImage = str | os.PathLike[str] | PackedImage | Image.Image | np.ndarray
# A folder or another source, one path, an array [images, h, w, 3], or single images.
Images = str | os.PathLike[str] | np.ndarray | Sequence[AnImage]
Decoded = TypeVar("Decoded")
Preprocess = Callable[[Image.Image], np.ndarray]  # an RGB image -> float32 [size, size, 3]

MOVING = ("AVIF", "GIF", "PNG", "WEBP")  # formats of animations
MOVING_BYTES = 32  # of a pixel of an animation whose later frames are looked at, measured
FRAMES = 30  # that are looked at for one with content
FRAME_PIXELS = 2**27  # of all of them
ICON = b"\0\0\1\0"  # what an icon file begins with
BLANK_LEVELS = 8  # of 255, by which the pixels of one color may differ
REPAIRED_BYTES = 2**26  # of a file that is repaired
FETCHED_AT_ONCE = 32  # images of a store: most of the time each waits


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded: its index in the list, its name, the reason, and whether it may be readable
    another time though the file stays as it is (a disk that did not answer, too many open files, no memory)."""

    index: int
    name: str
    reason: str
    transient: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class UnreadableImagesError(InputError):
    """Every image of a list that could not be decoded, in `failures`."""

    def __init__(self, failures: Sequence[Unreadable], total: int):
        self.failures = tuple(failures)
        lines = "\n  ".join(str(failure) for failure in failures)
        super().__init__(
            f"{len(failures)} of {total} images cannot be read:\n  {lines}", parameter="on_error", value="skip"
        )


def as_list(images: Images) -> list[AnImage]:
    """A folder or another source, one path, a list or an array [images, h, w, 3] as a list of single images."""
    if (path := as_path(images)) is not None:
        if path.is_file() and path.suffix.lower() not in READERS:
            return [path]
        source = open_source(path)
        for note in source.notes:
            warnings.warn(note, stacklevel=3)
        return list(source.images.values())
    if isinstance(images, Image.Image | os.PathLike) or (isinstance(images, np.ndarray) and images.ndim < 4):
        raise InputTypeError(
            "expected a list of images (or an array [images, h, w, 3]), found a single one: put it in a list", "images"
        )
    return [image_at(parse_path(image) if isinstance(image, str) and "://" in image else image) for image in images]


class Quiet:
    """No warnings while any thread is within. `warnings.catch_warnings` in several threads at once would leave behind
    whatever the last of them to leave had found."""

    def __init__(self) -> None:
        self.inside, self.lock, self.caught = 0, threading.Lock(), contextlib.ExitStack()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.caught.enter_context(warnings.catch_warnings(action="ignore"))
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.caught.close()


QUIET = Quiet()


@contextlib.contextmanager
def opened_image(image: AnImage) -> Iterator[Image.Image]:
    """A path, PIL image or uint8 array [h, w, 3] (or grey [h, w]) as an upright RGB image.

    EXIF orientation is applied; transparency is laid on white; grey of more than 8 bits is scaled to 8 bits; of an
    animation it is the first frame that shows something. What kind of file it is its content says, and only
    formats.FORMATS are read. Within this context the image has its share of `memory.ROOM`.

    Raises ValueError, with what is wrong, for what is no regular file, too large or too narrow.
    """
    with QUIET, contextlib.ExitStack() as stack:  # Pillow warns of damaged metadata of images that it can read
        if isinstance(image, (str, os.PathLike, PackedImage)):
            yield _read(stack, stack.enter_context(opened_file(image)))
        else:
            picture = image if isinstance(image, Image.Image) else Image.fromarray(_checked_array(image))
            stack.enter_context(memory.ROOM.take(decoding_bytes(picture, memory.MOST_BYTES)))
            yield to_rgb(with_tiff_tags(_turned(picture), picture))


def opened_file(image: str | os.PathLike | PackedImage) -> BinaryIO:
    """The file of an image, or its bytes within a larger one. ValueError for what is no regular file or too large."""
    if isinstance(image, PackedImage):
        return io.BytesIO(image.read())
    status = os.stat(image)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if not status.st_size:
        raise ValueError("the file is empty")
    if status.st_size > IMAGE_BYTES:
        raise ValueError(f"a file of {status.st_size:,} bytes, expected {IMAGE_BYTES:,} at most")
    return BoundedFile(image)


def _checked_array(image: np.ndarray) -> np.ndarray:
    array = np.asarray(image)
    ranks = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not ranks or not array.size:
        raise InputTypeError(f"expected a uint8 array [h, w, 3], found {array.dtype} {list(array.shape)}")
    check_shape(array.shape[:2])  # an array's sides are said as it has them, height first
    return array


def _read(stack: contextlib.ExitStack, file: BinaryIO) -> Image.Image:
    """The image in a file; where it cannot be decoded, in a copy without what is damaged beside its pixels."""
    try:
        with contextlib.ExitStack() as first:  # gives back its share of memory where it fails: the copy takes it whole
            image = _shown(first, file)
            stack.push(first.pop_all())
            return image
    except (UnfitError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they like (struct.error, SyntaxError, …) on damaged files
        if is_transient(error) or (found := _decoded_copy(stack, file)) is None:
            raise
        return found


def _shown(stack: contextlib.ExitStack, file: BinaryIO, most: int | None = None) -> Image.Image:
    """The image in a file; of an animation the first frame with content, where one has it."""
    with contextlib.ExitStack() as first:
        image, moves = _decoded(first, file, most)
        if not (moves and is_blank(image)):
            stack.push(first.pop_all())
            return image
    return _first_with_content(stack, file, most) or _decoded(stack, file, most)[0]


def _decoded(stack: contextlib.ExitStack, file: BinaryIO, most: int | None = None) -> tuple[Image.Image, bool]:
    """(The image in a file, whether others may follow it). It has its share of the memory until `stack` is closed; with
    `most` it is alone there and takes so many bytes at most."""
    room = memory.ROOM if most is None else Room(most)
    found = stack.enter_context(_identified(file, room))
    stack.enter_context(room.take(decoding_bytes(found, most or memory.MOST_BYTES, shrink=True)))
    if isinstance(found, JpegImageFile) and found.info.get("progressive"):
        check_scans(file)
    moves = found.format == "GIF" or (found.format in MOVING and getattr(found, "n_frames", 1) > 1)
    found.load()
    _turn(found)
    return to_rgb(with_tiff_tags(found, found)), moves


def _identified(file: BinaryIO, room: Room) -> Image.Image:
    try:
        file.seek(0)
        decodes = file.read(len(ICON)) == ICON  # Pillow does, to open it
        with room.take(memory.ROOM_BYTES if decodes else 0):
            file.seek(0)
            return Image.open(file, formats=formats.formats())
    except Image.DecompressionBombError:
        file.seek(0)
        if file.read(3) == b"\xff\xd8\xff":  # which can be decoded smaller
            file.seek(0)
            return JpegImageFile(file)
        raise UnfitError(too_many(memory.MOST_BYTES // memory.PIXEL_BYTES)) from None


def _decoded_copy(stack: contextlib.ExitStack, file: BinaryIO) -> Image.Image | None:
    """What can be decoded of a file after some repair, alone in the memory; None where nothing is."""
    if size_of(file) > REPAIRED_BYTES:
        return None
    with contextlib.ExitStack() as alone:
        alone.enter_context(memory.ROOM.take(memory.ROOM.limit))
        file.seek(0)
        content = file.read()
        most = memory.MOST_BYTES - 4 * len(content)
        for copy, ends in repaired(content):
            with contextlib.ExitStack() as attempt, contextlib.suppress(Exception):
                expected = {_digest(copy + end, most) for end in ends[:-1]}
                image = _shown(attempt, io.BytesIO(copy + ends[-1]), most)
                if not expected or expected == {_digest_of(image)}:
                    alone.push(attempt.pop_all())
                    stack.push(alone.pop_all())
                    return image
    return None


def _digest(content: bytes, most: int) -> bytes:
    with contextlib.ExitStack() as stack:
        return _digest_of(_decoded(stack, io.BytesIO(content), most)[0])


def _digest_of(image: Image.Image) -> bytes:
    found = hashlib.sha256()
    for strip in strips(image):
        found.update(strip.tobytes())
    return found.digest()


def _first_with_content(stack: contextlib.ExitStack, file: BinaryIO, most: int | None) -> Image.Image | None:
    """The first of the frames after the first that is not of one color, among some; None where there is none."""
    with contextlib.ExitStack() as later, contextlib.suppress(Exception):  # later frames may be damaged
        room = memory.ROOM if most is None else Room(most)
        found = later.enter_context(_identified(file, room))
        size, pixels = found.size, found.width * found.height
        if pixels * MOVING_BYTES <= (most or memory.MOST_BYTES):
            later.enter_context(room.take(pixels * MOVING_BYTES))
            for frame in range(1, min(FRAMES, FRAME_PIXELS // pixels) + 1):
                found.seek(frame)
                if found.size != size:  # a frame that lies outside the first one
                    break
                image = to_rgb(_turned(found))
                if not is_blank(image):
                    stack.push(later.pop_all())
                    return image
    return None


def is_blank(image: Image.Image) -> bool:
    """Whether an RGB image is of one color, but for what compression makes of it."""
    return bool((np.ptp(np.array(image.getextrema()), axis=1) <= BLANK_LEVELS).all())


def _turn(image: Image.Image) -> None:
    """Turns an image upright. Where its metadata is damaged it is turned as far as they can be read."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # whatever Pillow raises on damaged metadata
        if isinstance(error, MemoryError):
            raise


def _turned(image: Image.Image) -> Image.Image:
    """An upright copy of an image, which stays as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # of pixels too, which are then damaged in the copy as well
        if isinstance(error, MemoryError):
            raise
        copy = image.copy()
        _turn(copy)
        return copy


def name_of(image: AnImage, index: int) -> str:
    if isinstance(image, PackedImage):
        return f"{image.file}, {image.position}"
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"


def decode(image: AnImage, index: int, preprocess: Callable[[Image.Image], Decoded]) -> Decoded | Unreadable:
    """What is made of an image, such as pixels [size, size, 3] float32, or why there is nothing."""
    try:
        with opened_image(image) as opened:
            return preprocess(opened)
    except (FileNotFoundError, UnidentifiedImageError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not an image"
        return Unreadable(index, name_of(image, index), reason)
    except Exception as error:  # decoders raise whatever they like (struct.error, SyntaxError, …) on damaged files
        return Unreadable(index, name_of(image, index), error_text(error), is_transient(error))


def is_image(image: str | os.PathLike | PackedImage) -> bool:
    """Whether a file holds an image that can be read, by its content; OSError where nobody knows for now."""
    with QUIET, contextlib.suppress(Exception), opened_file(image) as file, _identified(file, memory.ROOM):
        return True
    found = decode(image, 0, lambda _: None)  # damaged beside its pixels, or none
    if isinstance(found, Unreadable) and found.transient:
        raise OSError(errno.EIO, str(found))
    return not isinstance(found, Unreadable)


def stream_pixels(
    images: Sequence[AnImage], preprocess: Callable[[Image.Image], Decoded], batch: int, threads: int | None = None
) -> Iterator[list[Decoded | Unreadable]]:
    """Decoded images in lists of up to `batch`, in order; at most two batches are decoded ahead of the reader."""
    fetched = len(images) and isinstance(images[0], PackedImage) and images[0].remote
    threads = threads or (FETCHED_AT_ONCE if fetched else min(16, (os.cpu_count() or 1) + 1))
    waiting: deque[Future] = deque()
    pool, remaining, done = ThreadPoolExecutor(threads), iter(enumerate(images)), []
    try:
        while True:
            for i, image in itertools.islice(remaining, 2 * batch - len(waiting)):
                waiting.append(pool.submit(decode, image, i, preprocess))
            if not waiting:
                return
            done.append(waiting.popleft().result())
            if len(done) == batch or not waiting:
                yield done
                done = []
    finally:  # where a run is stopped, what waits is not decoded first
        pool.shutdown(wait=False, cancel_futures=True)
