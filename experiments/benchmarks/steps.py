"""One optimisation step of many images, on random weights of a tower's size: ours, PyTorch's, and the rate of a plain
matrix product to hold them against. What the benchmarks of the optimisation share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from experiments.benchmarks.measuring import measure
from multimap_jax.encoders.clip.config import TextConfig
from multimap_jax.encoders.operations import full_operations, step_operations
from multimap_jax.proxies.recipes import ProxyConfig

TOWERS = {
    "ViT-B/32": TextConfig(49408, 77, 512, 12, 8, 2048, 512, end_token=49407),
    "ViT-B/16": TextConfig(49408, 77, 512, 12, 8, 2048, 512, end_token=49407),
    "ViT-L/14": TextConfig(49408, 77, 768, 12, 12, 3072, 768, end_token=49407),
}
# "a fruit with the color of *": eight tokens before the slot, one after it.
IDS, SLOT = (49406, *range(1000, 1007), 265, 49407), 8
# What runs all 77 tokens, and images in one step of it.
FULL_LOOPS = {"released_loop": 20, "frozen_loop": 64}


def step_flops(what: str, config: TextConfig) -> int:
    """Operations of one image and step, counted on paper."""
    if what in FULL_LOOPS:
        return full_operations(config) * (3 if what == "released_loop" else 2)
    return step_operations(config, IDS, SLOT)


def torch_row(what: str, precision: str, config: TextConfig, images: int, steps: int, repeats: int) -> dict:
    from experiments.benchmarks import torch_loops

    torch_loops.use_all_cores()
    if what.startswith("suffix"):
        step = torch_loops.suffix(config, IDS, SLOT, images, precision, what.endswith("compiled"))
    else:
        step = torch_loops.full_prompt(config, IDS, SLOT, images, what == "frozen_loop")

    def run(count=steps):
        for _ in range(count):
            step()
        torch_loops.synchronize()

    first = measure(lambda: run(1), 1)[0]
    seconds = measure(run, repeats)
    compile_s = max(0.0, first - statistics.median(seconds) / steps)
    return {"seconds": seconds, "compile_s": compile_s, "peak_memory": torch_loops.peak_memory()}


def image_step_times(seconds: Sequence[float]) -> dict:
    """Milliseconds of one image and step: the median of several measurements, the lowest and the highest."""
    each = [1e3 * second for second in seconds]
    spread = [round(min(each), 4), round(max(each), 4)]
    return {"ms_per_image_step": round(statistics.median(each), 4), "spread": spread}


def our_row(precision: str, config: TextConfig, images: int, steps: int, repeats: int) -> dict:
    import jax

    run, chunk, compile_s = compiled_steps(precision, config, images, ProxyConfig.paper())
    run(1)
    seconds = measure(lambda: run(steps), repeats)
    device = jax.local_devices()[0]
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use") if device.platform != "cpu" else None
    # The loop's number of steps is only known when it runs: XLA counts its body once.
    return {
        "seconds": seconds,
        "compile_s": compile_s,
        "peak_memory": memory,
        "flops_xla": chunk.cost_analysis().get("flops", 0) / images,
    }


def compiled_steps(
    precision: str, config: TextConfig, images: int, recipe: ProxyConfig
) -> tuple[Callable, object, float]:
    """(run(steps): moves the proxies of `images` images, over all devices, so often and waits, at most CHUNK times, and
    returns them with the optimiser's state; the compiled chunk; seconds of its compilation). Weights and images are
    random."""
    import jax

    from multimap_jax.encoders.clip.slot import compiled_slot_encoder, unit
    from multimap_jax.encoders.clip.towers import TextTower
    from multimap_jax.encoders.siglip.towers import SiglipTextTower
    from multimap_jax.proxies.loss import Common, Target
    from multimap_jax.proxies.solver import compiled_chunk, compiled_start
    from multimap_jax.runtime.mesh import image_mesh
    from multimap_jax.runtime.precision import compute_dtype, matmul_precision

    random, mesh = np.random.default_rng(0), image_mesh()

    def rows(*shape):
        return random.normal(size=shape, scale=0.02).astype(np.float32)

    with matmul_precision(precision):
        whole = TextTower(config) if config.padding is None else SiglipTextTower(config)
        tower = jax.tree.map(lambda array: array.astype(compute_dtype(precision)), whole)
        ids = tuple(min(token, config.vocabulary - 1) for token in IDS)
        encoder = compiled_slot_encoder(tower, ids, SLOT, True, True)
        numbers = jax.tree.map(np.float32, recipe)
        common = Common(encoder, rows(4, config.width), rows(2, config.width), np.float32(1), None, numbers)
        image = np.asarray(unit(rows(images, config.embed)))
        targets = Target(image, *np.zeros((2, images), np.int32), np.ones(images, np.float32))
        common, targets = jax.device_put((common, targets))
        carry = jax.block_until_ready(compiled_start(mesh, common, targets))
        begin = time.perf_counter()
        chunk = compiled_chunk.lower(mesh, common, 0, 1, carry, targets).compile()
        compile_s = time.perf_counter() - begin

    def run(steps: int):
        nonlocal carry
        carry, _ = jax.block_until_ready(chunk(common, 0, steps, carry, targets))
        return carry

    return run, chunk, compile_s


def peak_gflops(library: str, precision: str, size: int = 2048, seconds: float = 2.0) -> float:
    """Best rate of a plain matrix product of size³ on one device, in 10⁹ operations per second."""
    if library == "torch":
        from experiments.benchmarks import torch_loops

        torch_loops.use_all_cores()
        multiply, wait = torch_loops.product(size, precision), torch_loops.synchronize
    else:
        multiply, wait = our_product(size, precision), (lambda: None)
    multiply()
    wait()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:

        def run():
            multiply()
            wait()

        best = min(best, *measure(run, 3))
    return 2e-9 * size**3 / best


def our_product(size: int, precision: str) -> Callable[[], None]:
    """A plain matrix product of size³ by JAX, waited for."""
    import jax
    import jax.numpy as jnp

    from multimap_jax.runtime.precision import compute_dtype, matmul_precision

    a = jax.random.normal(jax.random.key(0), (size, size)).astype(compute_dtype(precision))
    with matmul_precision(precision):
        product = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32)).lower(a, a).compile()
    return lambda: product(a, a).block_until_ready()
