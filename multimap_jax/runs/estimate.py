"""Estimates the number of operations of a run, and its duration on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from multimap_jax.encoders.encoder import Encoder
from multimap_jax.prompts.aspect import Prompt

COMPILATION_SECONDS = 5


def operations_per_second(width: int, precision: str, seconds: float = 0.05) -> float:
    """Measured rate of matrix products like the towers' at a precision, over all devices of this process."""
    import jax
    import jax.numpy as jnp

    from multimap_jax.encoders.clip.towers import multiply
    from multimap_jax.runtime.mesh import image_mesh, split_images
    from multimap_jax.runtime.precision import compute_dtype, matmul_precision

    mesh, dtype = image_mesh(), compute_dtype(precision)
    kernel, rows = jnp.ones((width, 4 * width), dtype), jnp.ones((256 * mesh.size, width), dtype)
    product = jax.jit(split_images(lambda kernel, rows: multiply(rows, kernel), mesh, 1))
    with matmul_precision(precision):
        product(kernel, rows).block_until_ready()
        count, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            product(kernel, rows).block_until_ready()
            count += 1
    return count * 2 * rows.size * kernel.shape[1] / (time.perf_counter() - begin)


def padded(images: int, block: int, devices: int, processes: int) -> int:
    """Images that one process computes, including the padding of the last block."""
    whole = block * devices
    return whole * math.ceil(math.ceil(images / processes) / whole)


def embedding_seconds(clip: Encoder, images: int, rate: float) -> float:
    """Rough seconds for embedding `images` in one process: operations at half the measured rate."""
    return 2 * images * clip.image_operations() / rate


def proxy_seconds(clip: Encoder, wanted: Sequence[tuple[Prompt, int]], steps: int, rate: float) -> float:
    """Rough seconds for optimising proxies in one process: operations at half the measured rate, plus the time of each
    compilation on two CPU cores. wanted: prompts, each with its number of proxies."""
    operations = sum(number * steps * clip.step_operations(prompt.ids, prompt.slot) for prompt, number in wanted)
    return 2 * operations / rate + COMPILATION_SECONDS * len(wanted)
