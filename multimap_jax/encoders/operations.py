"""Counts the floating point operations of the towers, for estimates and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

from multimap_jax.encoders.clip.config import ImageConfig, TextConfig


def layer_operations(config: TextConfig | ImageConfig) -> int:
    """Floating point operations of one layer's matrix products for one token (a multiply and an add count as two)."""
    return 2 * (4 * config.width**2 + 2 * config.width * config.mlp_width)


def step_operations(config: TextConfig, ids: Sequence[int], slot: int) -> int:
    """Operations of one optimisation step of one image with the prompt `ids`, the proxy at `slot`: tokens from the slot
    to the end, forward and back to the slot. Where every token sees all others: all tokens of the context.

    Gradients are needed for activations only, not for weights, so the backward pass costs as much as the forward pass.
    The last layer runs its queries and MLP for the token alone at which the tower is read.
    """
    seen = len(ids) if config.padding is None else config.context
    tokens = seen - slot if config.padding is None else seen
    keys_values = 2 * 2 * config.width**2
    forward = (config.layers - 1) * tokens * layer_operations(config)
    forward += tokens * keys_values + layer_operations(config) - keys_values
    attention = 4 * config.width * seen * tokens * config.layers
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
