"""What the parts of `on_accelerator` share: sizes, pieces, shares of the peak, memory.

A part takes (sizes, what was found so far, when time ends) and gives its pieces: a head, which says what the piece is,
and a function that measures it. A part runs in a process of its own, so that memory, an error or a crash of one is not
the next one's.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator

from experiments.benchmarks.measuring import highest_memory, in_words
from experiments.benchmarks.steps import TOWERS
from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig, TextConfig

Piece = tuple[dict, Callable[[], dict]]
PRECISIONS = ("float32", "tf32", "bf16")
NO_TIME = "not run: time"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
      towers: by name; the first is the default one.
      blocks: block sizes to compare.
      images, photos: embeddings whose proxies are learnt, and files to embed.
      torch_images, torch_steps: of the frozen suffix in PyTorch, in one step and in one measurement.
      product: side of the matrices of the plain product.
      block: images in one call of a device; None for the default.
      seconds: about how long each rate is measured.
      start: seconds in which the part "million" begins and compiles.
      compiled: whether torch.compile is tried.
    """

    towers: dict[str, CLIPConfig]
    blocks: tuple[int, ...]
    images: int
    photos: int
    torch_images: int
    torch_steps: int
    product: int
    block: int | None
    seconds: float
    start: float
    compiled: bool

    @property
    def default(self) -> tuple[str, CLIPConfig]:
        return next(iter(self.towers.items()))


IMAGE_TOWERS = {
    "ViT-B/32": ImageConfig(224, 32, 768, 12, 12, 3072, 512),
    "ViT-B/16": ImageConfig(224, 16, 768, 12, 12, 3072, 512),
    "ViT-L/14": ImageConfig(224, 14, 1024, 24, 16, 4096, 768),
}
FULL = Sizes(
    towers={name: CLIPConfig(text, IMAGE_TOWERS[name]) for name, text in TOWERS.items()},
    blocks=tuple(2**k for k in range(9, 16)),  # 512 … 32,768
    images=1_000_000,
    photos=1024,
    torch_images=4096,
    torch_steps=10,
    product=8192,
    block=None,
    seconds=2,
    start=40,
    compiled=True,
)


def tiny(width: int, patch: int) -> CLIPConfig:
    """Two small towers, with the vocabulary that the prompt's ids need."""
    text = TextConfig(49408, 77, width, 2, 4, 4 * width, width, end_token=49407)
    return CLIPConfig(text, ImageConfig(64, patch, width, 2, 4, 4 * width, width))


QUICK = Sizes(
    towers={"tiny": tiny(64, 16), "tiny, small patches": tiny(64, 8)},
    blocks=(16, 32),
    images=2000,
    photos=64,
    torch_images=32,
    torch_steps=2,
    product=1024,
    block=32,
    seconds=0.3,
    start=0,
    compiled=False,
)


def measured(pieces: Iterable[Piece], end: float) -> Iterator[dict]:
    """A row for each piece: its head and what it found, or why it found nothing. A piece is not begun where less than
    1.2 times the longest one before it is left."""
    longest = 0.0
    for head, work in pieces:
        begin = time.time()
        if end - begin < 1.2 * longest:
            yield head | {"error": NO_TIME}
            continue
        try:
            row = work()
        except Exception as error:  # out of memory, a missing library, a program that XLA cannot compile …
            row = {"error": in_words(error)}
        longest = max(longest, time.time() - begin)
        yield head | row | {"took": round(time.time() - begin, 1)}


def rows_of(found: dict, part: str) -> list[dict]:
    """What a part has found so far."""
    return found["parts"].get(part, {}).get("rows", [])


def device_of(found: dict) -> dict:
    """What the part "device" says of it; empty where that failed."""
    return next((row for row in rows_of(found, "device") if row["what"] == "device" and "error" not in row), {})


def of_peak(found: dict, precision: str, gflops: float, devices: int) -> dict:
    """`gflops` of so many devices, and what share it is of the plain product's and of the vendor's, where known."""
    result = {"gflops": round(gflops, 1)}
    for row in rows_of(found, "device"):
        if row["what"] == "product" and row["precision"] == precision:
            for name, share in (("gflops", "of_product"), ("vendor_gflops", "of_vendor")):
                if row.get(name):
                    result[share] = round(gflops / (devices * row[name]), 4)
    return result


def peak_memory() -> dict:
    """The highest memory of this process so far, and what it is of."""
    peak = memory_stats().get("peak_bytes_in_use")
    return {"peak_memory": peak or highest_memory(), "peak_of": "device" if peak else "process"}


def memory_stats() -> dict:
    """What the first device says of its memory; empty where it says nothing."""
    import jax

    try:
        return jax.local_devices()[0].memory_stats() or {}
    except Exception:  # not every backend has it
        return {}
