"""The library's own paths: a million proxies by `fit_proxies`, images by `embed_images`; and the towers beside the
default one."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from experiments.accelerator.common import PRECISIONS, Piece, Sizes, of_peak, peak_memory, rows_of
from experiments.accelerator.rates import step_rate
from experiments.benchmarks.images import write_photos
from experiments.benchmarks.measuring import highest_memory, measure
from experiments.benchmarks.random_clip import SMALL_IMAGE, SMALL_TEXT, write_random_clip
from multimap_jax.encoders.clip.config import ImageConfig
from multimap_jax.encoders.operations import image_operations, step_operations
from multimap_jax.proxies.recipes import ProxyConfig

# Of the time that is left to its part, what the million may take.
SHARE = 0.85
# Photographs that are drawn; more are these again.
DRAWN = 64


def million(sizes: Sizes, found: dict, end: float) -> Iterable[Piece]:
    """Proxies of a million embeddings by the default recipe. In float32 where that fits into the time, else in the most
    exact precision that does."""
    rates = {row["precision"]: row.get("image_steps_per_second") for row in rows_of(found, "steps")}
    seconds = SHARE * (end - time.time() - sizes.start)
    precision = exact_enough(sizes.images * ProxyConfig().steps, rates, seconds)
    yield {"precision": precision, "wanted": sizes.images}, partial(fit_many, sizes, precision, found, end)


def exact_enough(image_steps: int, rates: dict, seconds: float) -> str:
    """The most exact precision that does so many image-steps in time, else the fastest; float32 if none is known."""
    rates = {precision: rate for precision, rate in rates.items() if rate} or {"float32": 1.0}
    fitting = [each for each in PRECISIONS if each in rates and image_steps / rates[each] <= seconds]
    return fitting[0] if fitting else max(rates, key=rates.get)


def fit_many(sizes: Sizes, precision: str, found: dict, end: float) -> dict:
    """`fit_proxies` itself, on random unit rows that lie on the host: as many as it does in time."""
    import jax

    import multimap_jax as mm
    from multimap_jax.prompts.aspect import make_prompt

    (_, tower), config = sizes.default, ProxyConfig(precision=precision, block_size=sizes.block)
    with tempfile.TemporaryDirectory() as folder:
        write_random_clip(Path(folder), tower.text, dataclasses.replace(SMALL_IMAGE, embed=tower.text.embed))
        clip = mm.load_clip(folder)
    aspect = mm.Aspect("color", "fruit", ("red", "green", "yellow"))

    def fit(rows):
        begin = time.perf_counter()
        return mm.fit_proxies(clip, rows, aspect, config=config), time.perf_counter() - begin

    one, first = fit(unit_rows(1, tower.text.embed))
    block = one.block_size * jax.local_device_count()
    once = fit(unit_rows(block, tower.text.embed))[1]
    rows = unit_rows(sizes.images, tower.text.embed)
    images = min(sizes.images, block * max(1, int(SHARE * (end - time.time()) / once)))
    fitted, took = fit(rows[:images])
    rate, prompt = fitted.image_steps / took, make_prompt(aspect, clip.tokenizer)
    return {
        "images": images,
        "steps": int(config.steps),
        "block": one.block_size,
        "seconds": round(took, 1),
        **({} if images == sizes.images else {"seconds_of_all_at_this_rate": round(sizes.images * took / images)}),
        "image_steps_per_second": round(rate, 1),
        **of_peak(
            found,
            precision,
            1e-9 * rate * step_operations(clip.config.text, prompt.ids, prompt.slot),
            jax.local_device_count(),
        ),
        "first_block_s": round(first, 1),
        **peak_memory(),
        "host_memory": highest_memory(),
    }


def unit_rows(images: int, embed: int) -> np.ndarray:
    """Random unit rows [images, embed]."""
    random, rows = np.random.default_rng(0), np.empty((images, embed), np.float32)
    for begin in range(0, images, 4096):
        part = rows[begin : begin + 4096]
        random.standard_normal(out=part, dtype=np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def images(sizes: Sizes, found: dict, end: float) -> Iterable[Piece]:
    """Images embedded a second by the default tower, which is always float32."""
    name, config = sizes.default
    yield {"tower": name, "precision": "float32"}, partial(image_rate, sizes, config.image, found)


def image_rate(sizes: Sizes, config: ImageConfig, found: dict) -> dict:
    """From files, decoding included, and of the tower alone, with pixels that lie on the device."""
    import jax

    import multimap_jax as mm

    with tempfile.TemporaryDirectory() as folder:
        write_random_clip(Path(folder), dataclasses.replace(SMALL_TEXT, embed=config.embed), config)
        clip, drawn = mm.load_clip(folder), write_photos(Path(folder), min(DRAWN, sizes.photos))
        paths = (drawn * (sizes.photos // len(drawn) + 1))[: sizes.photos]
        clip.embed_images(paths[:DRAWN])
        seconds = measure(lambda: clip.embed_images(paths), 2)
    rate = tower_rate(clip, sizes.seconds)
    return {
        "images": sizes.photos,
        "images_per_second": round(sizes.photos / min(seconds), 1),
        "tower_images_per_second": round(rate, 1),
        "block": clip.image_block,
        **of_peak(found, "float32", 1e-9 * rate * image_operations(config), jax.local_device_count()),
        **peak_memory(),
    }


def tower_rate(clip, seconds: float) -> float:
    """Images a second through the image tower, in blocks of the default size."""
    import jax

    from multimap_jax.runtime.mesh import image_mesh, split_images
    from multimap_jax.runtime.precision import matmul_precision

    mesh, size = image_mesh(), clip.config.image.size
    pixels = jax.device_put(np.zeros((clip.image_block * mesh.size, size, size, 3), np.float32))
    embed = jax.jit(split_images(lambda tower, pixels: jax.vmap(tower)(pixels), mesh, 1))

    def run():
        embed(clip.towers.image, pixels).block_until_ready()

    with matmul_precision("float32"):
        run()
        repeats = min(30, max(3, round(seconds / measure(run, 1)[0])))
        return len(pixels) / statistics.median(measure(run, repeats))


def towers(sizes: Sizes, found: dict, end: float) -> Iterable[Piece]:
    """Steps and images of the towers beside the default one. A text tower of the same shape is not measured again."""
    (default, config), *others = sizes.towers.items()
    seen = {config.text: default}
    for name, config in others:
        same = seen.setdefault(config.text, name)
        for precision in PRECISIONS:
            work = partial(step_rate, sizes, config.text, precision, found) if same == name else {"same_as": same}.copy
            yield {"what": "steps", "tower": name, "precision": precision}, work
        head = {"what": "images", "tower": name, "precision": "float32"}
        yield head, partial(image_rate, sizes, config.image, found)
