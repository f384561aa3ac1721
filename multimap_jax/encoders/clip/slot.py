"""The text tower specialised to one prompt: a proxy at the slot -> the prompt's unit embedding.

A causal tower is read at the end token. So these savings are exact: the tokens before the slot are the same for every
image, and their keys and values are computed once; tokens after the end token are never computed; and the last layer
computes only the end token. In a tower in which every token sees all others the last saving alone is exact: all other
layers compute the whole context, padding too, for every image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from multimap_jax.encoders.clip.towers import Layer, LayerNorm, Linear, Past, TextTower, run_layers, unstack_layers


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SlotEncoder:
    """Proxy [width] -> unit embedding [embed] of the prompt (`embed`: unnormalised). One proxy; `vmap` outside."""

    layers: list[Layer]  # unstacked: the last one is computed for the end token only
    # (keys, values) of the tokens before the slot, each [p, heads, head size], one pair per layer; None where they see
    # the slot, and `before` [p, width] holds them.
    past: list[Past | None]
    before: jax.Array | None
    position: jax.Array  # [width], added to the proxy
    after: jax.Array  # [tokens after the slot up to where the tower is read, width]
    final_norm: LayerNorm | None
    projection: Linear

    def __call__(self, proxy: jax.Array) -> jax.Array:
        return unit(self.embed(proxy))

    def embed(self, proxy: jax.Array) -> jax.Array:
        first = (proxy.astype(self.position.dtype) + self.position)[None]
        causal = self.before is None
        hidden = jnp.concatenate([first, self.after] if self.before is None else [self.before, first, self.after])
        for layer, past in zip(self.layers[:-1], self.past[:-1]):
            hidden, _ = layer(hidden, past, causal)
        hidden, _ = self.layers[-1](hidden, self.past[-1], causal, last_only=True)
        last = hidden[0] if self.final_norm is None else self.final_norm(hidden[0])
        embedding = self.projection(last)
        return embedding.astype(jnp.promote_types(embedding.dtype, jnp.float32))


def unit(x: jax.Array) -> jax.Array:
    """x [..., e] scaled to norm 1."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True))


def slot_encoder(
    tower: TextTower, ids: Sequence[int], slot: int, positions: bool = True, final_norm: bool = True
) -> SlotEncoder:
    """ids int [t], from the start token to the end token; `slot` is where the proxy goes.

    `positions` and `final_norm` False: without position embeddings, without the final layer norm, as the released
    program runs the tower.
    """
    if tower.config.padding is not None:
        ids = [*ids, *[tower.config.padding] * (tower.config.context - len(ids))]
    tokens = tower.tokens[...][jnp.asarray(ids)]
    added = tower.positions[...][: len(ids)] * (1 if positions else 0)
    embedded = tokens + added
    layers = unstack_layers(tower.layers)
    norm = tower.final_norm if final_norm else None
    rest = added[slot], embedded[slot + 1 :], norm, tower.projection
    if tower.config.padding is not None:
        return SlotEncoder(layers, [None] * len(layers), embedded[:slot], *rest)
    _, (keys, values) = run_layers(tower.layers, embedded[:slot], causal=True)
    return SlotEncoder(layers, [(keys[i], values[i]) for i in range(len(layers))], None, *rest)


compiled_slot_encoder = jax.jit(slot_encoder, static_argnums=(1, 2, 3, 4))
