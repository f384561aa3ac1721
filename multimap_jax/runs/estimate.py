"""Estimates the number of operations of a run, and its duration on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig, TextConfig
from multimap_jax.prompts.aspect import Prompt

COMPILATION_SECONDS = 5


def layer_operations(config: TextConfig | ImageConfig) -> int:
    """Floating point operations of one layer's matrix products for one token (a multiply and an add count as two)."""
    return 2 * (4 * config.width**2 + 2 * config.width * config.mlp_width)


def step_operations(config: TextConfig, prompt: Prompt) -> int:
    """Operations of one optimisation step of one image: tokens from the slot to the end, forward and back to the slot.

    Gradients are needed for activations only, not for weights, so the backward pass costs as much as the forward pass.
    The last layer runs its queries and MLP for the end token only.
    """
    tokens = prompt.end - prompt.slot + 1
    keys_values = 2 * 2 * config.width**2
    forward = (config.layers - 1) * tokens * layer_operations(config)
    forward += tokens * keys_values + layer_operations(config) - keys_values
    attention = 4 * config.width * len(prompt.ids) * tokens * config.layers
    return 2 * (forward + attention + 2 * config.width * config.embed)


def full_operations(config: TextConfig) -> int:
    """Operations of all tokens of the context through the text tower, forward only."""
    per_token = layer_operations(config) + 4 * config.context * config.width
    return config.context * config.layers * per_token + 2 * config.width * config.embed


def image_operations(config: ImageConfig) -> int:
    """Operations of embedding one image."""
    tokens = (config.size // config.patch) ** 2 + 1
    per_token = layer_operations(config) + 4 * tokens * config.width
    return tokens * (config.layers * per_token + 2 * 3 * config.patch**2 * config.width)


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


def embedding_seconds(config: ImageConfig, images: int, rate: float) -> float:
    """Rough seconds for embedding `images` in one process: operations at half the measured rate."""
    return 2 * images * image_operations(config) / rate


def proxy_seconds(config: CLIPConfig, wanted: Sequence[tuple[Prompt, int]], steps: int, rate: float) -> float:
    """Rough seconds for optimising proxies in one process: operations at half the measured rate, plus the time of each
    compilation on two CPU cores. wanted: prompts, each with its number of proxies."""
    operations = sum(number * steps * step_operations(config.text, prompt) for prompt, number in wanted)
    return 2 * operations / rate + COMPILATION_SECONDS * len(wanted)
