"""Learns proxy words of images: prepares embeddings and an aspect for `solver` (paper, section 3)."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from multimap_jax.arrays.rows import Embeddings, StoredRows, allocate
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.clip.slot import SlotEncoder
from multimap_jax.encoders.load import load_clip
from multimap_jax.errors import InputError, names_arguments, warn
from multimap_jax.prompts.aspect import Aspect, Prompt, check_words, make_prompt, reference_words
from multimap_jax.proxies.loss import Common, Target
from multimap_jax.proxies.recipes import ProxyConfig, given_or_default
from multimap_jax.proxies.solver import DivergedError, default_block_size, run_blocks
from multimap_jax.runtime.mesh import image_mesh, pad_rows, split_images
from multimap_jax.runtime.precision import compute_dtype, matmul_precision
from multimap_jax.runtime.progress import Bar


@dataclasses.dataclass(frozen=True)
class ProxyFit:
    """The result of `fit_proxies`.

    Attributes:
      proxies: float32 [images, width], w_i.
      prompt_embeddings: float32 [images, embed], unit embeddings of the prompts with the proxies in them.
      reference: int [images], the index of the reference word, -1 without words.
      losses: float32 [steps], the mean total loss over images before update k.
      loss: float32 [images], the total loss after the last update.
      block_size: images in one compiled call on one device; results repeat bit for bit at the same value.
      image_steps: the sum of steps over all images; less than images × steps if some images stopped early.
    """

    proxies: np.ndarray | StoredRows
    prompt_embeddings: np.ndarray | StoredRows
    reference: np.ndarray
    losses: np.ndarray
    loss: np.ndarray
    block_size: int
    image_steps: int


@names_arguments
def fit_proxies(
    clip: Clip | str | Path,
    embeddings: Embeddings,
    aspect: Aspect,
    *,
    contrast: Sequence[str] = (),
    config: ProxyConfig | None = None,
    batch_order: np.ndarray | None = None,
    seed: int = 0,
    progress: bool | Bar = False,
    only: Sequence[int] | np.ndarray | None = None,
) -> ProxyFit:
    """Learns one proxy word for every image.

    Args:
      clip: the frozen encoder, a Clip or a name for `load_clip`.
      embeddings: [images, embed], unit rows, as returned by `clip.embed_images`.
      aspect: what to group by.
      contrast: names of the aspects that the contrastive concept pushes away from.
      config: the settings; `ProxyConfig()` if None.
      batch_order: int [epochs, batches], for the released recipe with weight decay; drawn from `seed` if None.
      progress: whether to show a bar with a time estimate on stderr; or a larger bar to advance.
      only: indices into `embeddings`, of the images to learn proxies for; the released recipe still forms its batches
        from all images. None for all.

    Raises:
      InputTypeError: `aspect`, `contrast` or `config` has the wrong type.
      ValueError: embeddings have the wrong shape, are not finite or do not have norm 1; words or templates cannot be
        used; `only` holds no image or an unknown one; a loss becomes infinite or NaN.
    """
    clip, config = load_clip(clip), given_or_default(config)
    check_words(aspect, clip, contrast)
    embeddings = clip.check_embeddings(embeddings)
    prompt = check_proxies(clip, aspect, contrast, config)
    order = _batch_order(config, len(embeddings), batch_order, seed)
    among = (_check_indices(only, len(embeddings)), len(embeddings))
    embeddings = embeddings[:] if only is None else embeddings[among[0]]
    reference = reference_words(clip, embeddings, aspect, bare=config.traits.text_space)
    wide = jax.enable_x64(True) if config.precision == "float64" else contextlib.nullcontext()
    with wide, matmul_precision(config.precision):
        common, targets = prepare(clip, embeddings, aspect, contrast, config, prompt, reference, order, among)
        block = config.block_size or default_block_size(clip.shares_prompt)
        try:
            found = run_blocks(common, targets, int(config.steps), block, progress)
        except DivergedError as error:
            raise InputError(
                f"the proxies of aspect {aspect.name!r} diverged: the loss of {error.images} or more of "
                f"{len(reference)} images is not finite at step {error.step}; use a learning rate below "
                f"{float(config.learning_rate):g}"
            ) from None
    return ProxyFit(reference=reference, block_size=block, **found)


def check_proxies(clip: Clip, aspect: Aspect, contrast: Sequence[str], config: ProxyConfig) -> Prompt:
    """The prompt that proxies are put into. ValueError if the checkpoint does not support the recipe or the prompt is
    too long; a warning if a term of the loss is empty."""
    if config.concept == "contrastive" and not len(contrast):
        warn("without contrast aspects the contrastive concept term is always 0: name some, or set concept='none'")
    if config.traits.text_space and clip.token_width != clip.embedding_width:
        raise InputError(
            f"the {config.recipe} recipe uses text embeddings (width {clip.embedding_width}) as token embeddings "
            f"(width {clip.token_width}), so it needs an encoder where both widths are equal"
        )
    return make_prompt(aspect, clip.tokenizer)


def embed_words(clip: Clip, proxies: np.ndarray | StoredRows, config: ProxyConfig) -> np.ndarray:
    """Embeds each proxy in the prompt "*" alone: unnormalised text embeddings, float32 [images, embed].

    The tower runs as in the recipe (the released program's word features).
    """
    tokenizer = clip.tokenizer
    ids = tokenizer.whole(tokenizer.placeholder())
    mesh, block = image_mesh(), config.block_size or default_block_size(clip.shares_prompt)
    size = block * mesh.size
    with matmul_precision("float32"):
        encoder = clip.slot_encoder(ids, tokenizer.before, plain=config.traits.plain_tower)
        found = allocate((len(proxies), clip.embedding_width))
        for begin in range(0, len(proxies), size):
            rows = proxies[begin : begin + size]
            found[begin : begin + size] = np.asarray(_embed_words(mesh, encoder, pad_rows(rows, size)))[: len(rows)]
    return found


@functools.partial(jax.jit, static_argnums=0)
def _embed_words(mesh: Mesh, encoder: SlotEncoder, proxies: np.ndarray) -> jax.Array:
    return split_images(lambda encoder, proxies: jax.vmap(encoder.embed)(proxies), mesh, 1)(encoder, proxies)


def prepare(
    clip: Clip,
    embeddings: np.ndarray,
    aspect: Aspect,
    contrast: Sequence[str],
    config: ProxyConfig,
    prompt: Prompt,
    reference: np.ndarray,
    order: np.ndarray | None = None,
    among: tuple[np.ndarray, int] | None = None,
) -> tuple[Common, Target]:
    """The arguments of `proxy_loss`: the values that all images share, and a Target whose arrays have a leading images
    axis.

    among: the indices of these images among all images of the batches, and the number of all; None if these are all.
    """
    traits = config.traits
    vectors = _text_vectors if traits.text_space else Clip.token_embeddings
    real = np.float64 if config.precision == "float64" else np.float32
    words = vectors(clip, list(aspect.words)).astype(real)
    concepts = vectors(clip, [aspect.name, *contrast]).astype(real)
    if not aspect.words:
        config, words = dataclasses.replace(config, reference_weight=0.0), concepts[:1]
    scale = float(np.linalg.norm(words, axis=1).mean()) if traits.own_unit else 1.0
    encoder = clip.slot_encoder(prompt.ids, prompt.slot, compute_dtype(config.precision), traits.plain_tower)
    common = Common(encoder, jnp.asarray(words), jnp.asarray(concepts), real(scale), order, jax.tree.map(real, config))
    which, total = among or (np.arange(len(reference)), len(reference))
    batch = which // (config.batch_size or total)
    sizes = (
        np.bincount(np.arange(total) // (config.batch_size or total))[batch] if traits.batches else np.ones(len(which))
    )
    targets = Target(
        embeddings.astype(real, copy=False), reference.astype(np.int32), batch.astype(np.int32), sizes.astype(real)
    )
    return common, targets


def _text_vectors(clip: Clip, words: Sequence[str]) -> np.ndarray:
    """The released program's word vectors: unnormalised text embeddings of bare words, [words, embed]."""
    return clip.embed_texts(words, normalize=False)


def _check_indices(only: Sequence[int] | np.ndarray | None, images: int) -> np.ndarray:
    """The indices in `only`, int [n]; all of them for None."""
    if only is None:
        return np.arange(images)
    wrong = [i for i in np.ravel(only).tolist() if type(i) is not int or not 0 <= i < images]
    if wrong or not np.size(only):
        found = repr(wrong[0]) if wrong else "none"
        raise InputError(f"expected indices of images, whole numbers from 0 to {images - 1}, found {found}", "only")
    return np.ravel(only).astype(int)


def _batch_order(config: ProxyConfig, images: int, given: np.ndarray | None, seed: int) -> np.ndarray | None:
    """The order of the batches, int32 [epochs, batches]; None if it does not matter."""
    if not config.batches_matter:
        if given is not None:
            raise InputError("batch_order is only for the released recipe with weight decay")
        return None
    batches = -(-images // (config.batch_size or images))
    if given is None:
        random = np.random.default_rng(seed)
        given = np.stack([random.permutation(batches) for _ in range(config.steps)])
    order = np.asarray(given, np.int32)
    if order.shape != (config.steps, batches) or (np.sort(order, 1) != np.arange(batches)).any():
        raise InputError(
            f"batch_order has shape {list(order.shape)}, expected [{config.steps}, {batches}] (epochs, batches), "
            f"each row a permutation of 0 … {batches - 1}"
        )
    return order
