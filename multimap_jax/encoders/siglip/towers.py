"""SigLIP's two towers, written for ONE image or ONE text; `jax.vmap` outside. Layers, letters in shapes and precision
are those of `encoders.clip.towers`.

Source: Zhai et al. 2023 (arXiv 2303.15343) and Tschannen et al. 2025 (SigLIP 2, arXiv 2502.14786); names and numbers as
in the PyTorch `transformers.SiglipModel`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig, TextConfig
from multimap_jax.encoders.clip.towers import (
    ACTIVATION,
    LayerNorm,
    Linear,
    TextTower,
    along,
    attention,
    cut_patches,
    multiply,
    run_layers,
    stack_layers,
)


class SiglipTextTower(TextTower):
    """Token ids [context], padded -> text embedding [e], not normalised. Every token sees all others, the padding too,
    and the tower is read at the last position."""

    def __init__(self, config: TextConfig, rngs: nnx.Rngs | None = None):
        rngs = rngs or nnx.Rngs(0)
        super().__init__(config, rngs)
        self.projection = Linear(config.width, config.embed, rngs)

    def __call__(self, ids: jax.Array) -> jax.Array:
        hidden, _ = run_layers(self.layers, self.embed_tokens(ids), causal=False)
        return self.projection(self.final_norm(hidden[-1]))


class AttentionPooling(nnx.Module):
    """One learnt query over all patches, then an MLP: [t, d] -> [d]."""

    def __init__(self, config: ImageConfig, rngs: nnx.Rngs):
        d, m = config.width, config.mlp_width
        self.query = nnx.Param(jax.random.normal(rngs.params(), (d,)) * 0.02)
        self.qkv_kernel = nnx.Param(jax.random.normal(rngs.params(), (d, 3 * d)) * d**-0.5)
        self.qkv_bias = nnx.Param(jnp.zeros(3 * d))
        self.out, self.norm = Linear(d, d, rngs), LayerNorm(d, config.epsilon)
        self.up, self.down = Linear(d, m, rngs), Linear(m, d, rngs)
        self.heads, self.activation = config.heads, config.activation

    def __call__(self, x: jax.Array) -> jax.Array:
        d = x.shape[-1]
        kernel, bias = self.qkv_kernel[...], self.qkv_bias[...]
        query = multiply(self.query[...][None].astype(x.dtype), kernel[:, :d])
        keys_values = multiply(x, kernel[:, d:])
        q = (query + along(bias[:d], query)).astype(x.dtype).reshape(1, self.heads, -1)
        k, v = jnp.split((keys_values + along(bias[d:], keys_values)).astype(x.dtype), 2, axis=-1)
        k, v = (part.reshape(len(x), self.heads, -1) for part in (k, v))
        pooled = self.out(attention(q, k, v, causal=False).reshape(1, d))
        hidden = ACTIVATION[self.activation](self.up(self.norm(pooled)).astype(jnp.promote_types(x.dtype, jnp.float32)))
        return (pooled + self.down(hidden.astype(x.dtype)))[0]


class SiglipImageTower(nnx.Module):
    """Pixels [size, size, 3], scaled as the checkpoint's preprocessing says -> image embedding [e], not normalised."""

    cpu_block = 8  # with 196 patches faster than 32

    def __init__(self, config: ImageConfig, rngs: nnx.Rngs | None = None):
        rngs = rngs or nnx.Rngs(0)
        self.config = config
        self.patches = Linear(3 * config.patch**2, config.width, rngs)
        tokens = (config.size // config.patch) ** 2
        self.positions = nnx.Param(jax.random.normal(rngs.params(), (tokens, config.width)) * 0.02)
        self.layers = stack_layers(config, rngs)
        self.final_norm = LayerNorm(config.width, config.epsilon)
        self.pooling = AttentionPooling(config, rngs)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        cut = cut_patches(pixels.astype(self.patches.kernel[...].dtype), self.config)
        hidden, _ = run_layers(self.layers, self.patches(cut) + self.positions[...], causal=False)
        return self.pooling(self.final_norm(hidden))


class SiglipTowers(nnx.Module):
    """Both towers, and the log scale and the bias of the sigmoids that they were trained with."""

    def __init__(self, config: CLIPConfig, rngs: nnx.Rngs | None = None):
        rngs = rngs or nnx.Rngs(0)
        self.text = SiglipTextTower(config.text, rngs)
        self.image = SiglipImageTower(config.image, rngs)
        self.logit_scale = nnx.Param(jnp.asarray(2.302585))
        self.logit_bias = nnx.Param(jnp.asarray(-10.0))
