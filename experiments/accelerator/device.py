"""The machine, the rate of a plain matrix product on it, and errors of the towers against its CPU."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from experiments.accelerator.common import PRECISIONS, Piece, Sizes, memory_stats
from experiments.accelerator.vendors import vendor_gflops
from experiments.benchmarks.steps import IDS, SLOT, peak_gflops
from multimap_jax.encoders.clip.config import CLIPConfig


def device(sizes: Sizes, found: dict, end: float) -> Iterable[Piece]:
    """The machine, and the rate of a plain matrix product."""
    yield {"what": "device"}, device_facts
    for precision in PRECISIONS:
        yield {"what": "product", "precision": precision}, partial(product, sizes, precision)


def device_facts() -> dict:
    import jax

    from multimap_jax.proxies.solver import default_block_size
    from multimap_jax.runtime.machine import machine

    first = jax.local_devices()[0]
    return {
        "machine": machine(),
        "platform": first.platform,
        "kind": first.device_kind,
        "devices": jax.local_device_count(),
        "memory": memory_stats().get("bytes_limit"),
        "jax": jax.__version__,
        "default_block_size": default_block_size(),
    }


def product(sizes: Sizes, precision: str) -> dict:
    import jax

    rate = peak_gflops("jax", precision, sizes.product, sizes.seconds / 2)
    return {"gflops": round(rate, 1), "vendor_gflops": vendor_gflops(jax.local_devices()[0].device_kind, precision)}


def parity(sizes: Sizes, found: dict, end: float) -> Iterable[Piece]:
    """Both towers and the slot's gradient in float32, against the CPU."""
    name, config = sizes.default
    yield {"tower": name, "precision": "float32"}, partial(compare, config)


def compare(config: CLIPConfig, images: int = 8) -> dict:
    import jax

    from experiments.benchmarks.parity_full_size import errors
    from multimap_jax.encoders.clip.towers import Towers

    cpu, accelerator = jax.devices("cpu")[0], jax.local_devices()[0]
    with jax.default_device(cpu):
        towers = Towers(config)
    ours, against = values(towers, accelerator, images), "float32 on this machine's CPU"
    if accelerator.platform == "cpu":
        against = "float64 on the same CPU, for want of an accelerator"
        with jax.enable_x64(True):
            theirs = values(jax.tree.map(lambda array: array.astype(np.float64), towers), cpu, images)
    else:
        theirs = values(towers, cpu, images)
    found = {name: errors(ours[name], theirs[name]) for name in theirs}
    return {"images": images, "device": str(accelerator), "compared_with": against} | found


def values(towers, place, images: int) -> dict[str, np.ndarray]:
    """What parity compares, computed on the device `place` in the precision of the weights."""
    import jax

    from experiments.benchmarks.parity_full_size import embed_both
    from multimap_jax.encoders.clip.slot import slot_encoder
    from multimap_jax.runtime.precision import matmul_precision

    random, text, image = np.random.default_rng(0), towers.text.config, towers.image.config
    pixels = random.normal(size=(images, image.size, image.size, 3)).astype(np.float32)
    ids = random.integers(1, 49000, (images, text.context)).astype(np.int32)
    ids[:, 40] = text.end_token
    target = random.normal(size=text.embed)
    target = (target / np.linalg.norm(target)).astype(np.float32)
    with jax.default_device(place), matmul_precision("float32"):
        towers, pixels, ids, target = jax.device_put((towers, pixels, ids, target), place)
        found, proxy = embed_both(towers, pixels, ids), towers.text.tokens[...][IDS[SLOT]]
        gradient = jax.jit(jax.grad(lambda proxy, encoder, target: -encoder(proxy) @ target))
        found["slot_gradient"] = gradient(proxy, slot_encoder(towers.text, IDS, SLOT), target.astype(proxy.dtype))
        return {name: np.asarray(array) for name, array in found.items()}
