"""Decodes files, PIL images or arrays to pixels in threads, and streams them in batches of one shape."""

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from multimap_jax.errors import InputError, InputTypeError, found_text, warn
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

# One image: a path, an image in a larger file or a store, a PIL image, or an array uint8 [h, w, 3] or [h, w].
AnImage = str | os.PathLike[str] | PackedImage | Image.Image | np.ndarray
# A folder or other source, one path, an array [images, h, w, 3], or a list of single images.
Images = str | os.PathLike[str] | np.ndarray | Sequence[AnImage]
Decoded = TypeVar("Decoded")
Preprocess = Callable[[Image.Image], np.ndarray]  # an RGB image -> float32 [size, size, 3]

MOVING = ("AVIF", "GIF", "PNG", "WEBP")  # formats that may be animations
MOVING_BYTES = 32  # memory per pixel to inspect the later frames of an animation, measured
FRAMES = 30  # maximum number of frames to inspect for one with content
FRAME_PIXELS = 2**27  # maximum pixels of all these frames
ICON = b"\0\0\1\0"  # the first bytes of an icon file
BLANK_LEVELS = 8  # levels of 255 by which pixels of a blank image may differ
REPAIRED_BYTES = 2**26  # maximum bytes of a file that is repaired
FETCHED_AT_ONCE = 32  # images fetched from a store at once: most of the time is waiting


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded.

    Attributes:
      index: in the list of images.
      name, reason: which image, and why.
      transient: whether a retry with the same file may succeed (the disk did not answer, too many open files, no
        memory).
    """

    index: int
    name: str
    reason: str
    transient: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class UnreadableImagesError(InputError):
    """Some images of a list could not be decoded; `failures` lists all of them."""

    def __init__(self, failures: Sequence[Unreadable], total: int):
        self.failures = tuple(failures)
        lines = "\n  ".join(str(failure) for failure in failures)
        super().__init__(
            f"{len(failures)} of {total} images cannot be read:\n  {lines}", parameter="on_error", value="skip"
        )


def as_list(images: Images) -> list[AnImage]:
    """Turns a folder or other source, one path, a list or an array [images, h, w, 3] into a list of single images."""
    if (path := as_path(images)) is not None:
        if path.is_file() and path.suffix.lower() not in READERS:
            return [path]
        source = open_source(path)
        for note in source.notes:
            warn(note)
        return list(source.images.values())
    if isinstance(images, Image.Image | os.PathLike) or (isinstance(images, np.ndarray) and images.ndim < 4):
        raise InputTypeError(
            "expected a list of images (or an array [images, h, w, 3]), found a single image: put it in a list",
            "images",
        )
    if not isinstance(images, Iterable):
        raise InputTypeError(f"expected a folder, or a list of images or paths, {found_text(images)}", "images")
    return [image_at(parse_path(image) if isinstance(image, str) and "://" in image else image) for image in images]


class Quiet:
    """A context that suppresses warnings while any thread is in it. With `warnings.catch_warnings` in several threads,
    the last one to leave could restore the wrong filters."""

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
def opened_image(image: AnImage, least: int | None = None) -> Iterator[Image.Image]:
    """Opens a path, PIL image or uint8 array [h, w, 3] (or grey [h, w]) as an upright RGB image.

    Applies the EXIF orientation, puts transparency on white, and scales grey of more than 8 bits to 8 bits. Uses the
    first frame with content of an animation. The content of a file decides its format; only formats.FORMATS are read.
    The image holds its share of `memory.ROOM` within this context.

    least: if both sides of the result may be as small as this many pixels, a JPEG is decoded at a half, a quarter or an
    eighth of its sides where that is large enough, which is faster.

    Raises ValueError for a file that is not a regular one, and for an image that is too large or too narrow.
    """
    with QUIET, contextlib.ExitStack() as stack:  # Pillow warns about damaged metadata of images that it can read
        if isinstance(image, (str, os.PathLike, PackedImage)):
            yield _read(stack, stack.enter_context(opened_file(image)), least)
        else:
            picture = image if isinstance(image, Image.Image) else Image.fromarray(_checked_array(image))
            stack.enter_context(memory.ROOM.take(decoding_bytes(picture, memory.MOST_BYTES)))
            yield to_rgb(with_tiff_tags(_turned(picture), picture))


def opened_file(image: str | os.PathLike | PackedImage) -> BinaryIO:
    """Opens the file of an image, or its bytes in a larger file. ValueError if it is too large or not regular."""
    if isinstance(image, PackedImage):
        return io.BytesIO(image.read())
    status = os.stat(image)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if not status.st_size:
        raise ValueError("the file is empty")
    if status.st_size > IMAGE_BYTES:
        raise ValueError(f"the file has {status.st_size:,} bytes, expected at most {IMAGE_BYTES:,}")
    return BoundedFile(image)


def _checked_array(image: np.ndarray) -> np.ndarray:
    array = np.asarray(image)
    ranks = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not ranks or not array.size:
        raise InputTypeError(f"expected a uint8 array [h, w, 3], found {array.dtype} {list(array.shape)}")
    check_shape(array.shape[:2])  # so that the message gives the height first, as in the array's shape
    return array


def _read(stack: contextlib.ExitStack, file: BinaryIO, least: int | None) -> Image.Image:
    """The image in a file; if it cannot be decoded, the image in a copy without damaged metadata."""
    try:
        with contextlib.ExitStack() as first:  # on failure this releases its memory, because the copy needs all of it
            image = _shown(first, file, least=least)
            stack.push(first.pop_all())
            return image
    except (UnfitError, MemoryError):
        raise
    except Exception as error:  # decoders raise any kind of error (struct.error, SyntaxError, …) on damaged files
        if is_transient(error) or (found := _decoded_copy(stack, file)) is None:
            raise
        return found


def _shown(
    stack: contextlib.ExitStack, file: BinaryIO, most: int | None = None, least: int | None = None
) -> Image.Image:
    """The image in a file; for an animation, the first frame with content, if any."""
    with contextlib.ExitStack() as first:
        image, moves = _decoded(first, file, most, least)
        if not (moves and is_blank(image)):
            stack.push(first.pop_all())
            return image
    return _first_with_content(stack, file, most) or _decoded(stack, file, most, least)[0]


def _decoded(
    stack: contextlib.ExitStack, file: BinaryIO, most: int | None = None, least: int | None = None
) -> tuple[Image.Image, bool]:
    """(The image in a file, whether more frames may follow). It holds its share of memory until `stack` is closed. With
    `most`, the caller holds all memory, and decoding may take at most this many bytes."""
    room = memory.ROOM if most is None else Room(most)
    found = stack.enter_context(_identified(file, room))
    stack.enter_context(room.take(decoding_bytes(found, most or memory.MOST_BYTES, shrink=True)))
    if isinstance(found, JpegImageFile) and found.info.get("progressive"):
        check_scans(file)
    if isinstance(found, JpegImageFile) and least and not found.decoderconfig:  # not yet set to a smaller size
        found.draft(found.mode, (least, least))
    moves = found.format == "GIF" or (found.format in MOVING and getattr(found, "n_frames", 1) > 1)
    found.load()
    _turn(found)
    return to_rgb(with_tiff_tags(found, found)), moves


def _identified(file: BinaryIO, room: Room) -> Image.Image:
    try:
        file.seek(0)
        decodes = file.read(len(ICON)) == ICON  # Pillow decodes an icon to open it
        with room.take(memory.ROOM_BYTES if decodes else 0):
            file.seek(0)
            return Image.open(file, formats=formats.formats())
    except Image.DecompressionBombError:
        file.seek(0)
        if file.read(3) == b"\xff\xd8\xff":  # a JPEG can be decoded at a smaller size
            file.seek(0)
            return JpegImageFile(file)
        raise UnfitError(too_many(memory.MOST_BYTES // memory.PIXEL_BYTES)) from None


def _decoded_copy(stack: contextlib.ExitStack, file: BinaryIO) -> Image.Image | None:
    """The image of a file after a repair, or None. Takes all of the memory for decoding."""
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
    """The first later frame that is not blank, among up to FRAMES frames; None if there is none."""
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
    """Whether an RGB image has a single color, apart from compression artefacts."""
    return bool((np.ptp(np.array(image.getextrema()), axis=1) <= BLANK_LEVELS).all())


def _turn(image: Image.Image) -> None:
    """Turns an image upright, as far as its metadata can be read."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # Pillow raises any kind of error on damaged metadata
        if isinstance(error, MemoryError):
            raise


def _turned(image: Image.Image) -> Image.Image:
    """An upright copy of an image; the original does not change."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # if the pixels are damaged, the copy below fails too
        if isinstance(error, MemoryError):
            raise
        copy = image.copy()
        _turn(copy)
        return copy


def name_of(image: AnImage, index: int) -> str:
    if isinstance(image, PackedImage):
        return f"{image.file}, {image.position}"
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"


def decode(
    image: AnImage, index: int, preprocess: Callable[[Image.Image], Decoded], least: int | None = None
) -> Decoded | Unreadable:
    """The result of `preprocess` on an image, such as pixels [size, size, 3] float32, or why it cannot be decoded.
    least: as in `opened_image`."""
    try:
        with opened_image(image, least) as opened:
            return preprocess(opened)
    except (FileNotFoundError, UnidentifiedImageError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not an image"
        return Unreadable(index, name_of(image, index), reason)
    except Exception as error:  # decoders raise any kind of error (struct.error, SyntaxError, …) on damaged files
        return Unreadable(index, name_of(image, index), error_text(error), is_transient(error))


def is_image(image: str | os.PathLike | PackedImage) -> bool:
    """Whether a file holds an image that can be read, by its content; OSError if that cannot be checked now."""
    with QUIET, contextlib.suppress(Exception), opened_file(image) as file, _identified(file, memory.ROOM):
        return True
    found = decode(image, 0, lambda _: None)  # an image with damaged metadata, or not an image
    if isinstance(found, Unreadable) and found.transient:
        raise OSError(errno.EIO, str(found))
    return not isinstance(found, Unreadable)


def stream_pixels(
    images: Sequence[AnImage],
    preprocess: Callable[[Image.Image], Decoded],
    batch: int,
    threads: int | None = None,
    least: int | None = None,
) -> Iterator[list[Decoded | Unreadable]]:
    """Yields decoded images in lists of up to `batch`, in order; decodes at most two batches ahead of the reader.
    least: as in `opened_image`."""
    fetched = len(images) and isinstance(images[0], PackedImage) and images[0].remote
    threads = threads or (FETCHED_AT_ONCE if fetched else min(16, (os.cpu_count() or 1) + 1))
    waiting: deque[Future] = deque()
    pool, remaining, done = ThreadPoolExecutor(threads), iter(enumerate(images)), []
    try:
        while True:
            for i, image in itertools.islice(remaining, 2 * batch - len(waiting)):
                waiting.append(pool.submit(decode, image, i, preprocess, least))
            if not waiting:
                return
            done.append(waiting.popleft().result())
            if len(done) == batch or not waiting:
                yield done
                done = []
    finally:  # if a run is stopped, do not decode the waiting images first
        pool.shutdown(wait=False, cancel_futures=True)
