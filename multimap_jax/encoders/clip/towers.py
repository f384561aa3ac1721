"""CLIP's two towers as flax.nnx modules, written for ONE image or ONE text; `jax.vmap` outside.

Letters in shapes: t tokens of this call, p tokens before them, h heads, k size of a head, d width, m width of the MLP,
e embedding, l layers. A layer stack is one module whose arrays have a leading axis l; `jax.lax.scan` walks it.

Source: Radford et al. 2021 (arXiv 2103.00020); names and numbers as in the PyTorch `transformers.CLIPModel`.
The towers compute in the dtype of their weights; softmax, layer norm statistics and GELU stay in at least float32.
The precision of matrix products is the caller's choice: `jax.default_matmul_precision`.
"""

from __future__ import annotations

import jax
import jax.custom_batching
import jax.numpy as jnp
from flax import nnx

from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig, TextConfig

Past = tuple[jax.Array, jax.Array]  # keys, values
MANY = 128  # tokens from which attention of one image after the other is faster on CPUs: 196 were, 50 were not
ACTIVATION = {
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_pytorch_tanh": lambda x: jax.nn.gelu(x, approximate=True),
}


class LayerNorm(nnx.Module):
    """Normalises the last axis [d]."""

    def __init__(self, width: int, epsilon: float):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))
        self.epsilon = epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        wide = wide - wide.mean(-1, keepdims=True)
        wide = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon)
        return (wide * along(self.scale[...], wide) + along(self.bias[...], wide)).astype(x.dtype)


class Linear(nnx.Module):
    """x [..., in] -> [..., out]; the kernel is stored [in, out]."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs, bias: bool = True):
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), (inputs, outputs)) * inputs**-0.5)
        self.bias = nnx.Param(jnp.zeros(outputs)) if bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        y = multiply(x, self.kernel[...])
        return (y if self.bias is None else y + along(self.bias[...], y)).astype(x.dtype)


def along(vector: jax.Array, x: jax.Array) -> jax.Array:
    """Broadcasts vector [d] to x [..., d] explicitly, because implicit rank promotion is an error here."""
    return jnp.broadcast_to(vector, x.shape)


def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., in] @ kernel [in, out], in x's dtype, except that bf16 on CPUs gives float32.

    On CPUs the bf16 product and its gradient are written out, since XLA has no other fast one there. Accelerators have
    one, and the written-out form would move twice the bytes on them.
    """
    written_out = x.dtype == jnp.bfloat16 and jax.default_backend() == "cpu"
    return _multiply_bf16(x, kernel) if written_out else x @ kernel


def _contract(x: jax.Array, x_axis: int, y: jax.Array, y_axis: int) -> jax.Array:
    axes = (((x_axis % x.ndim,), (y_axis % y.ndim,)), ((), ()))
    return jax.lax.dot_general(x, y, axes, preferred_element_type=jnp.float32)


def _multiply_bf16_gradient(factors: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, ...]:
    (x, kernel), gradient = factors, gradient.astype(jnp.bfloat16)
    inputs, outputs = (array.reshape(-1, array.shape[-1]) for array in (x, gradient))
    pair = _contract(gradient, -1, kernel, 1), _contract(inputs, 0, outputs, 0)
    return tuple(array.astype(jnp.bfloat16) for array in pair)


_multiply_bf16 = jax.custom_vjp(lambda x, kernel: _contract(x, -1, kernel, 0))
_multiply_bf16.defvjp(lambda x, kernel: (_multiply_bf16(x, kernel), (x, kernel)), _multiply_bf16_gradient)


class Layer(nnx.Module):
    """One pre-norm transformer layer: attention, then MLP, both added to the stream."""

    def __init__(self, config: TextConfig | ImageConfig, rngs: nnx.Rngs):
        d, m = config.width, config.mlp_width
        self.norm_1, self.norm_2 = LayerNorm(d, config.epsilon), LayerNorm(d, config.epsilon)
        self.qkv, self.out = Linear(d, 3 * d, rngs), Linear(d, d, rngs)
        self.up, self.down = Linear(d, m, rngs), Linear(m, d, rngs)
        self.heads, self.activation = config.heads, config.activation

    def __call__(
        self, x: jax.Array, past: Past | None = None, causal: bool = True, last_only: bool = False
    ) -> tuple[jax.Array, Past]:
        """x [t, d], past (keys, values) each [p, h, k] -> ([t, d], own (keys, values) each [t, h, k]).

        Every token attends to the past. `last_only`: return only the last token, [1, d], which still attends to all
        tokens.
        """
        t, d = x.shape
        q, k, v = (part.reshape(t, self.heads, -1) for part in jnp.split(self.qkv(self.norm_1(x)), 3, axis=-1))
        if last_only:
            x, q = x[-1:], q[-1:]
        one_by_one = past is None and not causal and t > MANY and jax.default_backend() == "cpu"
        mixed = _attention_one_by_one(q, k, v) if one_by_one else attention(q, k, v, past, causal)
        x = x + self.out(mixed.reshape(len(x), d))
        hidden = ACTIVATION[self.activation](self.up(self.norm_2(x)).astype(jnp.promote_types(x.dtype, jnp.float32)))
        return x + self.down(hidden.astype(x.dtype)), (k, v)


def attention(q: jax.Array, k: jax.Array, v: jax.Array, past: Past | None = None, causal: bool = True) -> jax.Array:
    """q [q, h, k] of the LAST q of t tokens, k and v [t, h, k], past (keys, values) [p, h, k] -> [q, h, k].

    The scores against the past are a separate product: under vmap over images the past is shared, and is never copied
    for each image.
    """
    q = q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)
    scores = jnp.einsum("qhk,thk->hqt", q, k)
    if causal:
        rows, columns = jnp.arange(len(k) - len(q), len(k)), jnp.arange(len(k))
        seen = rows[:, None] >= columns[None, :]
        scores = jnp.where(seen[None], scores, -jnp.inf)
    if past is None:
        return jnp.einsum("hqt,thk->qhk", _softmax(scores), v)
    keys, values = past
    scores = jnp.concatenate([jnp.einsum("qhk,phk->hqp", q, keys), scores], axis=-1)
    weights = _softmax(scores)
    before, own = weights[..., : len(keys)], weights[..., len(keys) :]
    return jnp.einsum("hqp,phk->qhk", before, values) + jnp.einsum("hqt,thk->qhk", own, v)


def _attention_of_all(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    return attention(q, k, v, causal=False)


# Under vmap one image after the other: on CPUs the same bits sooner, because the scores of one image stay in the cache.
_attention_one_by_one = jax.custom_vjp(jax.custom_batching.sequential_vmap(_attention_of_all))
_attention_one_by_one.defvjp(
    lambda *qkv: (_attention_one_by_one(*qkv), qkv),
    lambda qkv, gradient: jax.vjp(_attention_of_all, *qkv)[1](gradient),
)


def _softmax(scores: jax.Array) -> jax.Array:
    """Softmax over the last axis. Multiplies by the reciprocal, because a division compiles differently for one device
    and for several, and their results would differ in the last bits."""
    wide = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    exponentials = jnp.exp(wide - jax.lax.stop_gradient(wide.max(-1, keepdims=True)))
    return (exponentials * (1 / exponentials.sum(-1, keepdims=True))).astype(scores.dtype)


def stack_layers(config: TextConfig | ImageConfig, rngs: nnx.Rngs) -> Layer:
    """`config.layers` layers as one module with a leading axis on every array."""
    layers = [Layer(config, rngs) for _ in range(config.layers)]
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *layers)


def unstack_layers(stacked: Layer) -> list[Layer]:
    """The layers one by one, for an unrolled walk in which each may differ."""
    count = len(jax.tree.leaves(stacked)[0])
    return [jax.tree.map(lambda array, i=i: array[i], stacked) for i in range(count)]


def run_layers(layers: Layer, x: jax.Array, causal: bool, unroll: int = 1) -> tuple[jax.Array, Past]:
    """x [t, d] through the stack -> ([t, d], (keys, values) of every layer, each [l, t, h, k])."""
    return jax.lax.scan(lambda x, layer: layer(x, causal=causal), x, layers, unroll=unroll)


def cut_patches(pixels: jax.Array, config: ImageConfig) -> jax.Array:
    """pixels [size, size, 3] -> [patches, patch * patch * 3]; a patch is flattened as (row, column, channel)."""
    side, patch = config.size // config.patch, config.patch
    cut = pixels[: side * patch, : side * patch].reshape(side, patch, side, patch, 3)
    return cut.swapaxes(1, 2).reshape(side * side, patch * patch * 3)


class TextTower(nnx.Module):
    """Token ids [t] -> text embedding [e], not normalised."""

    def __init__(self, config: TextConfig, rngs: nnx.Rngs | None = None):
        rngs = rngs or nnx.Rngs(0)
        self.config = config
        self.tokens = nnx.Param(jax.random.normal(rngs.params(), (config.vocabulary, config.width)) * 0.02)
        self.positions = nnx.Param(jax.random.normal(rngs.params(), (config.context, config.width)) * 0.01)
        self.layers = stack_layers(config, rngs)
        self.final_norm = LayerNorm(config.width, config.epsilon)
        self.projection = Linear(config.width, config.embed, rngs, bias=False)

    def __call__(self, ids: jax.Array) -> jax.Array:
        """ids int [t], t at most the context length, padded after the end token; the padding has no influence."""
        hidden, _ = run_layers(self.layers, self.embed_tokens(ids), causal=True)
        return self.projection(self.final_norm(hidden[self.end_position(ids)]))

    def embed_tokens(self, ids: jax.Array) -> jax.Array:
        """ids int [t] -> [t, d], positions added."""
        return self.tokens[...][ids] + self.positions[...][: len(ids)]

    def end_position(self, ids: jax.Array) -> jax.Array:
        """Where the text is read: the first end token, or the largest id in the old convention."""
        return jnp.argmax(ids if self.config.end_token is None else ids == self.config.end_token)


class ImageTower(nnx.Module):
    """Pixels [size, size, 3], scaled as the checkpoint's preprocessing says -> image embedding [e], not normalised.

    cpu_block: images in one call on a CPU.
    """

    cpu_block = 32

    def __init__(self, config: ImageConfig, rngs: nnx.Rngs | None = None):
        rngs = rngs or nnx.Rngs(0)
        tokens = (config.size // config.patch) ** 2 + 1
        self.config = config
        self.patches = Linear(3 * config.patch**2, config.width, rngs, bias=False)
        self.class_token = nnx.Param(jax.random.normal(rngs.params(), (config.width,)) * 0.02)
        self.positions = nnx.Param(jax.random.normal(rngs.params(), (tokens, config.width)) * 0.02)
        self.first_norm = LayerNorm(config.width, config.epsilon)
        self.layers = stack_layers(config, rngs)
        self.final_norm = LayerNorm(config.width, config.epsilon)
        self.projection = Linear(config.width, config.embed, rngs, bias=False)

    def __call__(self, pixels: jax.Array) -> jax.Array:
        return self.projection(self.pool(pixels))

    def pool(self, pixels: jax.Array) -> jax.Array:
        """pixels -> the features before the projection, [d]."""
        hidden, _ = run_layers(self.layers, self.embed_patches(pixels), causal=False)
        return self.final_norm(hidden[0])

    def embed_patches(self, pixels: jax.Array) -> jax.Array:
        """pixels [size, size, 3] -> [1 + patches, d]."""
        cut = cut_patches(pixels.astype(self.patches.kernel[...].dtype), self.config)
        x = jnp.concatenate([self.class_token[...][None], self.patches(cut)]) + self.positions[...]
        return self.first_norm(x)


class Towers(nnx.Module):
    """Both towers and the temperature (log scale of the similarities) that they were trained with."""

    def __init__(self, config: CLIPConfig, rngs: nnx.Rngs | None = None):
        rngs = rngs or nnx.Rngs(0)
        self.text = TextTower(config.text, rngs)
        self.image = ImageTower(config.image, rngs)
        self.logit_scale = nnx.Param(jnp.asarray(2.6592))
