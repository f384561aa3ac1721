"""From files, PIL images or arrays to pixels: decoded in threads, streamed in batches of one shape."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import io
import os
import stat
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from multimap_jax.images.repair import repaired
from multimap_jax.sources import formats as kinds
from multimap_jax.sources.detect import READERS, open_source
from multimap_jax.sources.remote import IMAGE_BYTES, remote_image
from multimap_jax.sources.source import PackedImage
from multimap_jax.storage.paths import BoundedFile, error_text, is_remote, parse_path, size_of
from multimap_jax.storage.reading import is_transient

# Bytes that all threads together decode into at once, and one image alone at most; of a file.
ROOM_BYTES, MOST_BYTES, FILE_BYTES = 2**29, 2**30, IMAGE_BYTES
# Bytes of a pixel on its way, measured: by format, of modes of more than 8 bits, of progressive JPEGs, of all others.
FORMAT_BYTES = {"JPEG2000": 20, "WEBP": 16, "AVIF": 12, "HEIF": 12}
WIDE_BYTES, PROGRESSIVE_BYTES, PIXEL_BYTES = 12, 10, 8
# The same of a JPEG before it is turned or converted, and of an animation whose later frames are looked at.
JPEG_BYTES, MOVING_BYTES = 4, 32
JPEG_PIXELS = 2**30  # decoded smaller, for which its decoder still goes through all of them
MOVING = ("AVIF", "GIF", "PNG", "WEBP")
# Frames that are looked at for one with content, and pixels of all of them.
FRAMES, FRAME_PIXELS = 30, 2**27
SCANS = 200  # of a progressive JPEG: programs make ten or twenty
ICON = b"\0\0\1\0"
PLAIN = 8  # levels of 255 by which the pixels of one color may differ
REPAIRED_BYTES = 2**26  # of a file that is repaired
NO_VALUE = 1e30  # what stands for "nothing was measured here" in an image of floats is larger
# In an image's info: keys that no file can set.
OWN_RANGE = ("scaled by its own range", object())
UNSIGNED, WHITE_IS_ZERO = ("values without a sign", object()), ("0 is white", object())
# Tags of a TIFF: how many bits its values have, what 0 shows, and whether they have a sign.
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
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


class UnfitError(ValueError):
    """An image of more pixels, or narrower, than is read here; nothing in it is damaged."""


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
        path = images if is_remote(images) else parse_path(os.fspath(images))
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
    places = [parse_path(image) if isinstance(image, str) and "://" in image else image for image in images]
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


class Quiet:
    """No warnings while any thread is within. `warnings.catch_warnings` in several threads at once would leave behind
    whatever the last of them to leave had found."""

    def __init__(self):
        self.inside, self.lock, self.caught = 0, threading.Lock(), None

    def __enter__(self):
        with self.lock:
            if not self.inside:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(self, *_):
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.caught.__exit__(None, None, None)


QUIET = Quiet()


@contextlib.contextmanager
def opened_image(image) -> Iterator[Image.Image]:
    """A path, PIL image or uint8 array [h, w, 3] (or grey [h, w]) as an upright RGB image.

    EXIF orientation is applied; transparency is laid on white; grey of more than 8 bits is scaled to 8 bits; of an
    animation it is the first frame that shows something. What kind of file it is its content says, and only
    kinds.FORMATS are read. Within this context the image has its share of ROOM.

    Raises ValueError, with what is wrong, for what is no regular file, too large or too narrow.
    """
    with QUIET, contextlib.ExitStack() as stack:  # Pillow warns of damaged metadata of images that it can read
        if isinstance(image, (str, os.PathLike, PackedImage)):
            yield _read(stack, stack.enter_context(opened_file(image)))
        elif isinstance(image, Image.Image):
            stack.enter_context(ROOM.take(fit(image, MOST_BYTES)))
            yield _to_rgb(_with_meaning(_turned(image), image))
        else:
            picture = Image.fromarray(_checked_array(image))
            stack.enter_context(ROOM.take(fit(picture, MOST_BYTES)))
            yield _to_rgb(picture)


def opened_file(image: str | os.PathLike | PackedImage) -> BinaryIO:
    """The file of an image, or its bytes within a larger one. ValueError for what is no regular file or too large."""
    if isinstance(image, PackedImage):
        return io.BytesIO(image.read())
    status = os.stat(image)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if not status.st_size:
        raise ValueError("the file is empty")
    if status.st_size > FILE_BYTES:
        raise ValueError(f"a file of {status.st_size:,} bytes, expected {FILE_BYTES:,} at most")
    return BoundedFile(image)


def _checked_array(image) -> np.ndarray:
    array = np.asarray(image)
    ranks = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not ranks or not array.size:
        raise TypeError(f"expected a uint8 array [h, w, 3], found {array.dtype} {list(array.shape)}")
    check_shape(array.shape[:2])  # an array's sides are said as it has them, height first
    return array


def _read(stack: contextlib.ExitStack, file: BinaryIO) -> Image.Image:
    """The image in a file; where it cannot be decoded, in a copy without what is damaged beside its pixels."""
    try:
        with contextlib.ExitStack() as first:  # gives back its share of ROOM where it fails: the copy takes it whole
            image = _shown(first, file)
            stack.push(first.pop_all())
            return image
    except (UnfitError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they like (struct.error, SyntaxError, …) on damaged files
        if is_transient(error) or (found := _decoded_copy(stack, file)) is None:
            raise
        return found


def _shown(
    stack: contextlib.ExitStack, file: BinaryIO, room: Room | None = None, most: int | None = None
) -> Image.Image:
    """The image in a file; of an animation the first frame with content, where one has it."""
    with contextlib.ExitStack() as first:
        image, moves = _decoded(first, file, room, most)
        if not (moves and is_blank(image)):
            stack.push(first.pop_all())
            return image
    return _first_with_content(stack, file, room, most) or _decoded(stack, file, room, most)[0]


def _decoded(
    stack: contextlib.ExitStack, file: BinaryIO, room: Room | None = None, most: int | None = None
) -> tuple[Image.Image, bool]:
    """(The image in a file, whether others may follow it). It has its share of `room` until `stack` is closed."""
    found = stack.enter_context(_identified(file, room))
    stack.enter_context((room or ROOM).take(fit(found, most or MOST_BYTES, own=True)))
    if isinstance(found, JpegImageFile) and found.info.get("progressive"):
        check_scans(file)
    moves = found.format == "GIF" or (found.format in MOVING and getattr(found, "n_frames", 1) > 1)
    found.load()
    _turn(found)
    return _to_rgb(_with_meaning(found, found)), moves


def check_scans(file: BinaryIO) -> None:
    """UnfitError for a progressive JPEG of so many scans that decoding it takes minutes: each goes over all pixels."""
    here, scans = file.tell(), 0
    file.seek(0)
    while part := file.read(STRIP):
        scans += part.count(b"\xff\xda")
    file.seek(here)
    if scans > SCANS:
        raise UnfitError(f"{scans:,} scans, expected {SCANS:,} at most: save it again")


def _identified(file: BinaryIO, room: Room | None = None) -> Image.Image:
    try:
        file.seek(0)
        if file.read(len(ICON)) == ICON:  # which Pillow decodes to open it
            with (room or ROOM).take(ROOM_BYTES):
                file.seek(0)
                return Image.open(file, formats=kinds.formats())
        file.seek(0)
        return Image.open(file, formats=kinds.formats())
    except Image.DecompressionBombError:
        file.seek(0)
        if file.read(3) == b"\xff\xd8\xff":  # which can be decoded smaller
            file.seek(0)
            return JpegImageFile(file)
        raise UnfitError(too_many(MOST_BYTES // PIXEL_BYTES)) from None


def _decoded_copy(stack: contextlib.ExitStack, file: BinaryIO) -> Image.Image | None:
    """What can be decoded of a file after some repair, alone in the memory; None where nothing is."""
    if size_of(file) > REPAIRED_BYTES:
        return None
    with contextlib.ExitStack() as alone:
        alone.enter_context(ROOM.take(ROOM.limit))
        file.seek(0)
        content = file.read()
        most = MOST_BYTES - 4 * len(content)
        for copy, ends in repaired(content):
            with contextlib.ExitStack() as each, contextlib.suppress(Exception):
                expected = {_digest(copy + end, most) for end in ends[:-1]}
                image = _shown(each, io.BytesIO(copy + ends[-1]), Room(most), most)
                if not expected or expected == {_digest_of(image)}:
                    alone.push(each.pop_all())
                    stack.push(alone.pop_all())
                    return image
    return None


def _digest(content: bytes, most: int) -> bytes:
    with contextlib.ExitStack() as stack:
        return _digest_of(_decoded(stack, io.BytesIO(content), Room(most), most)[0])


def _digest_of(image: Image.Image) -> bytes:
    found, rows = hashlib.sha256(), max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        found.update(image.crop((0, top, image.width, min(top + rows, image.height))).tobytes())
    return found.digest()


def _first_with_content(
    stack: contextlib.ExitStack, file: BinaryIO, room: Room | None, most: int | None
) -> Image.Image | None:
    """The first of the frames after the first that is not of one color, among some; None where there is none."""
    with contextlib.ExitStack() as later, contextlib.suppress(Exception):  # later frames may be damaged
        found = later.enter_context(_identified(file))
        size, pixels = found.size, found.width * found.height
        if pixels * MOVING_BYTES <= (most or MOST_BYTES):
            later.enter_context((room or ROOM).take(pixels * MOVING_BYTES))
            for frame in range(1, min(FRAMES, FRAME_PIXELS // pixels) + 1):
                found.seek(frame)
                if found.size != size:  # a frame that lies outside the first one
                    break
                image = _to_rgb(_turned(found))
                if not is_blank(image):
                    stack.push(later.pop_all())
                    return image
    return None


def is_blank(image: Image.Image) -> bool:
    """Whether an RGB image is of one color, but for what compression makes of it."""
    return all(high - low <= PLAIN for low, high in image.getextrema())


def _turn(image: Image.Image) -> None:
    """Turns an image upright. Where its metadata is damaged it is turned as far as they can be read."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # whatever Pillow raises on damaged metadata
        pass


def _turned(image: Image.Image) -> Image.Image:
    """An upright copy of an image, which stays as it is."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # of pixels too, which are then damaged in the copy as well
        copy = image.copy()
        _turn(copy)
        return copy


def fit(image: Image.Image, most: int, own: bool = False) -> int:
    """Bytes that decoding an image takes. An `own` JPEG that would take more than `most` is set to be decoded at a
    half, a quarter or an eighth of its sides, as its decoder can.

    Raises UnfitError for an image that takes more, or is too narrow.
    """
    check_shape(image.size)
    pixels, each = image.width * image.height, bytes_of_pixel(image)
    if isinstance(image, JpegImageFile) and own and pixels * PROGRESSIVE_BYTES > most:
        stored = stored_bytes(image)
        for scale in (1, 2, 4, 8):
            small = -(-image.width // scale) * -(-image.height // scale)
            needed = int(max(stored * pixels + JPEG_BYTES * small, PIXEL_BYTES * small))
            if needed <= most and pixels <= JPEG_PIXELS:
                if scale > 1:
                    image.draft(image.mode, (image.width // scale, image.height // scale))
                return needed
        raise UnfitError(too_many(min(JPEG_PIXELS, int(most / (stored + JPEG_BYTES / 64)))))
    if pixels * each > most:
        raise UnfitError(too_many(most // each))
    return pixels * each


def stored_bytes(image: JpegImageFile) -> float:
    """Bytes a pixel of the coefficients that the decoder of a JPEG holds, at whatever scale: none where its first scan
    has all components and is the last."""
    components = len(image.layer)
    image.fp.seek(-2 * components - 8, os.SEEK_CUR)  # it stands after the header of the first scan
    if not image.info.get("progressive") and image.fp.read(2) == b"\xff\xda":
        return 0
    samples = [high * wide for _, high, wide, _ in image.layer]
    return 2 * sum(samples) / max(samples)


def bytes_of_pixel(image: Image.Image) -> int:
    if _is_wide(image):
        return WIDE_BYTES
    return FORMAT_BYTES.get(image.format, PROGRESSIVE_BYTES if image.info.get("progressive") else PIXEL_BYTES)


def too_many(pixels: int) -> str:
    return f"more than {pixels:,} pixels: make it smaller"


def check_shape(sides: tuple[int, int]) -> None:
    """UnfitError for an image so narrow that, its shorter side scaled to the encoder's, little of it would be seen and
    much memory taken."""
    short, long = min(sides), max(sides)
    if long > NARROWEST * short:
        raise UnfitError(f"{sides[0]:,} by {sides[1]:,} pixels: one side is over {NARROWEST} times the other; cut it")


def _with_meaning(image: Image.Image, read: Image.Image) -> Image.Image:
    """`image`, which knows from now on what the TIFF that it was `read` from says of its values: Pillow has those of 32
    bits with a sign, whatever they are, and turns those of 8 bits alone over where 0 is white."""
    tags = getattr(read, "tag_v2", None)
    if tags is not None and _is_wide(image):
        unsigned = image.mode == "I" and tags.get(BITS) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,)
        image.info |= {UNSIGNED: unsigned, WHITE_IS_ZERO: tags.get(PHOTOMETRIC) == 0}
    return image


def _is_wide(image: Image.Image) -> bool:
    """Whether it is grey of more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _to_rgb(image: Image.Image) -> Image.Image:
    if _is_wide(image):
        return _scaled(image, (65535,) if image.mode.startswith("I;16") else (1, 255, 65535))
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


def say_own_range(images: int) -> None:
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
    for part in _strips(image):
        numbers = part[np.abs(part) < NO_VALUE]  # false for NaN
        if numbers.size:
            lowest, highest = min(lowest, float(numbers.min())), max(highest, float(numbers.max()))
    return (lowest, highest) if lowest <= highest else (0.0, 0.0)


def _strips(image: Image.Image) -> Iterator[np.ndarray]:
    """float64 [rows, w], in order."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        values = np.asarray(part)
        yield (values.view(np.uint32) if image.info.get(UNSIGNED) else values).astype(np.float64)


def _grey(image: Image.Image, low: float, high: float) -> Image.Image:
    """Values of `low` to `high` as grey; black where there is no number."""
    low, high = (high, low) if image.info.get(WHITE_IS_ZERO) else (low, high)
    found, begin = np.empty((image.height, image.width), np.uint8), 0
    for part in _strips(image):
        part = (np.nan_to_num(part, nan=low) - low) / ((high - low) or 1)
        found[begin : begin + len(part)] = np.round(np.clip(part, 0, 1) * 255)
        begin += len(part)
    return Image.fromarray(found).convert("RGB")


def name_of(image, index: int) -> str:
    if isinstance(image, PackedImage):
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
        return Unreadable(index, name_of(image, index), error_text(error), is_transient(error))


def is_image(image: str | os.PathLike | PackedImage) -> bool:
    """Whether a file holds an image that can be read, by its content; OSError where nobody knows for now."""
    with QUIET, contextlib.suppress(Exception), opened_file(image) as file, _identified(file):
        return True
    found = decode(image, 0, lambda _: None)  # damaged beside its pixels, or none
    if isinstance(found, Unreadable) and found.passing:
        raise OSError(errno.EIO, str(found))
    return not isinstance(found, Unreadable)


def stream_pixels(
    images: Sequence, preprocess: Callable, batch: int, threads: int | None = None
) -> Iterator[list[np.ndarray | Unreadable]]:
    """Decoded images in lists of up to `batch`, in order; at most two batches are decoded ahead of the reader."""
    fetched = len(images) and isinstance(images[0], PackedImage) and images[0].remote
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
