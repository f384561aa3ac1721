"""From files, PIL images or arrays to pixels: decoded in threads, streamed in batches of one shape."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from multimap_jax.inputs.folder import read_folder


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
    """A folder, one path, a list or an array [images, h, w, 3] as a list of single images."""
    if isinstance(images, (str, os.PathLike)):
        path = Path(images)
        if path.exists() and not path.is_dir():
            return [path]
        folder = read_folder(path)
        for note in folder.notes:
            warnings.warn(note, stacklevel=3)
        return list(folder.files)
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        raise TypeError(
            "expected a list of images (or an array [images, h, w, 3]), found a single one: put it in a list"
        )
    return list(images)


def open_image(image) -> Image.Image:
    """A path, PIL image or uint8 array [h, w, 3] (or grey [h, w]) as an upright RGB image.

    EXIF orientation is applied; transparency is laid on white; 16-bit grey is scaled to 8 bits.
    """
    if isinstance(image, (str, os.PathLike)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged metadata of images that it can read
            with Image.open(image) as opened:
                return _to_rgb(ImageOps.exif_transpose(opened))
    if isinstance(image, Image.Image):
        return _to_rgb(ImageOps.exif_transpose(image))
    array = np.asarray(image)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or not array.size:
        raise TypeError(f"expected a uint8 array [h, w, 3], found {array.dtype} {list(array.shape)}")
    return Image.fromarray(array).convert("RGB")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image, np.float64) / 65535)
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, np.float64))
        # These modes carry no range of their own: the smallest usual one that holds the values.
        return _grey(values / next(top for top in (1, 255, 65535, np.inf) if values.max() <= top))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _grey(values: np.ndarray) -> Image.Image:
    """Grey values [h, w] in 0…1."""
    return Image.fromarray(np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)).convert("RGB")


def name_of(image, index: int) -> str:
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"


def decode(image, index: int, preprocess: Callable[[Image.Image], np.ndarray]) -> np.ndarray | Unreadable:
    """Pixels [size, size, 3] float32, or why there are none."""
    try:
        return preprocess(open_image(image))
    except FileNotFoundError:
        return Unreadable(index, name_of(image, index), "no such file")
    except UnidentifiedImageError:
        empty = isinstance(image, (str, os.PathLike)) and os.path.getsize(image) == 0
        return Unreadable(index, name_of(image, index), "the file is empty" if empty else "not an image")
    except Exception as error:  # decoders raise whatever they like (struct.error, SyntaxError, …) on damaged files
        # The system's errors have a number, Pillow's own have none.
        passing = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)
        return Unreadable(index, name_of(image, index), str(error) or type(error).__name__, passing)


def stream_pixels(
    images: Sequence, preprocess: Callable, batch: int, threads: int | None = None
) -> Iterator[list[np.ndarray | Unreadable]]:
    """Decoded images in lists of up to `batch`, in order; at most two batches are decoded ahead of the reader."""
    threads = threads or min(16, (os.cpu_count() or 1) + 1)
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(threads) as pool:
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
