"""How much there is to compute, and how long that will take on this machine."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

from multimap_jax.clip.config import CLIPConfig, ImageConfig, TextConfig
from multimap_jax.prompts import Prompt


def machine() -> str:
    """This machine in words: processor, cores that may be used, devices that JAX sees."""
    import jax

    model, information = platform.machine(), Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        model = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, JAX on {jax.local_device_count()} × {jax.local_devices()[0].device_kind}"


def layer_operations(config: TextConfig | ImageConfig) -> int:
    """Floating point operations of one layer's matrix products for one token (a multiply and an add are two)."""
    return 2 * (4 * config.width**2 + 2 * config.width * config.mlp_width)


def step_operations(config: TextConfig, prompt: Prompt) -> int:
    """Operations of one optimisation step of one image: tokens from the slot to the end, forward and back to the slot.

    The gradient goes to activations only, never to weights, so that backward costs as much as forward. The last layer
    runs its queries and MLP for the end token alone.
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


def operations_per_second(width: int = 512, seconds: float = 0.2) -> float:
    """Measured rate of a plain float32 matrix product of the towers' kind, in operations per second."""
    import jax
    import jax.numpy as jnp

    product = jax.jit(lambda a, b: a @ b)
    a, b = jnp.ones((256, width)), jnp.ones((width, 4 * width))
    product(a, b).block_until_ready()
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        product(a, b).block_until_ready()
        count += 1
    return count * 2 * a.size * b.shape[1] / (time.perf_counter() - begin)


def estimate_seconds(
    config: CLIPConfig, prompts: list[Prompt], images: int, steps: int, block: int, rate: float
) -> float:
    """Rough seconds for optimising all prompts: operations at half the measured rate, and about 5 s a compilation."""
    padded = -(-images // block) * block
    operations = sum(padded * steps * step_operations(config.text, prompt) for prompt in prompts)
    return 2 * operations / rate + 5 * len(prompts)
