"""Proxy words: the loss of one image and its optimisation for all images at once (paper, section 3).

Everything is written for ONE image and vmapped: loss, gradient, optimiser state, update. A block of images runs in
compiled chunks of 50 steps, always of the same shape, so that a result does not depend on the order of the images, on
how full a block is or on the number of devices.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from multimap_jax.clip.model import Clip
from multimap_jax.clip.slot import SlotEncoder, slot_encoder
from multimap_jax.prompts import Aspect, Prompt, check_words, make_prompt, reference_words
from multimap_jax.recipes import ProxyConfig
from multimap_jax.sharding import compute_dtype, image_mesh, matmul_precision, pad_rows, split_images

CHUNK = 50
LOOK_BACK = 10


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """What the proxy of one image is fitted to.

    image [embed]: unit image embedding. reference [width]: z_i. start [width]: where w_i starts. batch: index of the
    image's batch; batch_images: how many images are in it (1 where there are no batches).
    """

    image: jax.Array
    reference: jax.Array
    start: jax.Array
    batch: jax.Array
    batch_images: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Shared:
    """What is the same for all images.

    encoder: proxy -> unit prompt embedding. concepts [1 + contrast, width]: u_j, the own aspect first. scale: the unit
    of length (1 but in the default recipe). order int [epochs, batches]: the batches' order, for weight decay under
    the released recipe only (else None).
    """

    encoder: SlotEncoder
    concepts: jax.Array
    scale: jax.Array
    order: jax.Array | None
    config: ProxyConfig


@dataclasses.dataclass(frozen=True)
class ProxyFit:
    """What `fit_proxies` found.

    proxies float32 [images, width]: w_i. prompt_embeddings float32 [images, embed]: unit embeddings of the prompts with
    the proxies in them. reference int [images]: the reference word's index, -1 where there are no words.
    losses float32 [steps]: before update k, mean total over images. loss float32 [images]: total after the last update.
    block_size: images in one compiled call on one device; results repeat bit for bit at the same value.
    image_steps: steps of all images taken together; fewer than images × steps where images were done early.
    """

    proxies: np.ndarray
    prompt_embeddings: np.ndarray
    reference: np.ndarray
    losses: np.ndarray
    loss: np.ndarray
    block_size: int
    image_steps: int


def proxy_loss(proxy, target: Target, shared: Shared):
    """Total loss of one image: proxy [width] -> scalar."""
    config, total = shared.config, jnp.sum if shared.config.recipe != "released" else jnp.mean
    align = -jnp.dot(shared.encoder(proxy), target.image)
    if config.recipe == "released":
        align = 1 + align
    unit_area = shared.scale**2
    reference = total(jnp.square(proxy - target.reference)) / unit_area
    concept = concept_term(proxy, shared.concepts, config.concept, total) / unit_area
    return align + config.reference_weight * reference + config.concept_weight * concept


def concept_term(proxy, concepts, kind: str, total=jnp.sum):
    """L_concept: proxy [width], concepts [1 + contrast, width], the own one first -> scalar (paper, eq. 6 and 7)."""
    if kind == "contrastive":
        return -jax.nn.log_softmax(concepts @ proxy)[0]
    if kind == "distance":
        return total(jnp.square(proxy - concepts[0]))
    return jnp.zeros(())


def make_optimizer(name: str) -> optax.GradientTransformation:
    """Directions without the learning rate. eps 1e-20 inside the root is torch's 1e-10 outside it (Adagrad)."""
    return optax.scale_by_adam() if name == "adam" else optax.scale_by_rss(0.0, eps=1e-20)


def descend(proxy, state, gradient, step, shared: Shared):
    """One optimiser update of one proxy, with weight decay as L2 in the gradient."""
    config = shared.config
    rate = config.learning_rate * shared.scale
    if config.schedule == "linear":
        rate = rate * (1 - step / config.steps)
    direction, state = make_optimizer(config.optimizer).update(gradient + config.weight_decay * proxy, state)
    return proxy - rate * direction, state


def update(proxy, state, step, target: Target, shared: Shared):
    """Step (or epoch) `step` of one image -> (proxy, state, loss before the update)."""
    if shared.order is None:
        loss, gradient = jax.value_and_grad(proxy_loss)(proxy, target, shared)
        return *descend(proxy, state, gradient / target.batch_images, step, shared), loss

    def decay(count, carry):
        return jax.lax.fori_loop(0, count, lambda _, c: descend(*c, jnp.zeros_like(proxy), step, shared), carry)

    batches = shared.order.shape[1]
    place = jnp.argmax(shared.order[step] == target.batch)
    proxy, state = decay(place, (proxy, state))
    loss, gradient = jax.value_and_grad(proxy_loss)(proxy, target, shared)
    carry = descend(proxy, state, gradient / target.batch_images, step, shared)
    return *decay(batches - 1 - place, carry), loss


def start(shared: Shared, target: Target):
    """(proxy, optimiser state) of one image before the first step."""
    return target.start, make_optimizer(shared.config.optimizer).init(target.start)


def run_chunk(shared: Shared, first, count, carry, targets: Target):
    """Steps first … first + count of a block, count at most CHUNK -> (carry, losses [images, CHUNK])."""

    def body(k, everything):
        (proxies, states), losses = everything
        step = jax.vmap(update, in_axes=(0, 0, None, 0, None))
        proxies, states, loss = step(proxies, states, first + k, targets, shared)
        return (proxies, states), losses.at[:, k].set(loss)

    losses = jnp.zeros((len(targets.image), CHUNK), carry[0].dtype)
    return jax.lax.fori_loop(0, count, body, (carry, losses))


def finish(shared: Shared, proxies, targets: Target):
    """(prompt embeddings [images, embed], loss [images]) at the end."""
    loss = jax.vmap(proxy_loss, in_axes=(0, 0, None))(proxies, targets, shared)
    return jax.vmap(shared.encoder)(proxies), loss


@functools.partial(jax.jit, static_argnums=0)
def _start(mesh, shared, targets):
    return split_images(lambda shared, targets: jax.vmap(start, (None, 0))(shared, targets), mesh, 1)(shared, targets)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=4)
def _run_chunk(mesh, shared, first, count, carry, targets):
    return split_images(run_chunk, mesh, 3)(shared, first, count, carry, targets)


@functools.partial(jax.jit, static_argnums=0)
def _finish(mesh, shared, proxies, targets):
    return split_images(finish, mesh, 1)(shared, proxies, targets)


def fit_proxies(
    clip: Clip,
    embeddings: np.ndarray,
    aspect: Aspect,
    contrast: Sequence[str] = (),
    config: ProxyConfig | None = None,
    batch_order: np.ndarray | None = None,
    seed: int = 0,
    progress: bool = False,
) -> ProxyFit:
    """Learns one proxy word for every image.

    Args:
      clip: the frozen encoder.
      embeddings: [images, embed], unit rows, as `clip.embed_images` gives them.
      aspect: what to group by.
      contrast: names of the aspects that the contrastive concept pushes away from.
      config: the recipe; `ProxyConfig()` if None.
      batch_order: int [epochs, batches], under the released recipe with weight decay; drawn from `seed` if None.
      progress: whether to show a bar with a time estimate on stderr.

    Raises:
      ValueError: embeddings of another shape, not finite or not of norm 1; words or templates that cannot be used.
    """
    config = config or ProxyConfig()
    embeddings = _check_embeddings(embeddings, clip)
    contrast = _check_contrast(contrast, aspect, config)
    check_words(aspect, clip, contrast)
    prompt = make_prompt(aspect, clip.tokenizer)
    order = _batch_order(config, len(embeddings), batch_order, seed)
    reference = reference_words(clip, embeddings, aspect, bare=config.recipe == "released")
    wide = jax.enable_x64(True) if config.precision == "float64" else contextlib.nullcontext()
    with wide, matmul_precision(config.precision):
        shared, targets = prepare(clip, embeddings, aspect, contrast, config, prompt, reference, order)
        block = config.block_size or default_block_size()
        return _run_blocks(shared, targets, reference, int(config.steps), block, progress)


def embed_words(clip: Clip, proxies: np.ndarray, config: ProxyConfig) -> np.ndarray:
    """The prompt "*" alone with each proxy in it: unnormalised text embeddings, float32 [images, embed].

    The tower runs as the recipe says (the released program's word features).
    """
    tokenizer, plain = clip.tokenizer, config.recipe != "released"
    ids = (tokenizer.start, *tokenizer.encode("*")[-1:], tokenizer.end)
    mesh, block = image_mesh(), (config.block_size or default_block_size())
    size = block * mesh.size
    with matmul_precision("float32"):
        encoder = _encoder(clip.towers.text, ids, 1, plain, plain)
        blocks = [proxies[i : i + size] for i in range(0, len(proxies), size)]
        embedded = [np.asarray(_embed_words(mesh, encoder, pad_rows(rows, size)))[: len(rows)] for rows in blocks]
    return np.concatenate(embedded)


@functools.partial(jax.jit, static_argnums=0)
def _embed_words(mesh, encoder, proxies):
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
) -> tuple[Shared, Target]:
    """What `proxy_loss` takes: what all images share, and a Target whose arrays have a leading images axis."""
    released = config.recipe == "released"
    if released and clip.config.text.width != clip.config.text.embed:
        raise ValueError(
            f"the released recipe puts text embeddings ({clip.config.text.embed} wide) where token embeddings "
            f"({clip.config.text.width} wide) go, so it needs a checkpoint where the two are equal"
        )
    vectors = _text_vectors if released else Clip.token_embeddings
    real = np.float64 if config.precision == "float64" else np.float32
    words = vectors(clip, list(aspect.words)).astype(real)
    concepts = vectors(clip, [aspect.name, *contrast]).astype(real)
    if not aspect.words:
        config, words = dataclasses.replace(config, reference_weight=0.0), concepts[:1]
    scale = float(np.linalg.norm(words, axis=1).mean()) if config.recipe == "default" else 1.0
    dtype = compute_dtype(config.precision)
    tower = jax.tree.map(lambda array: jnp.asarray(array, dtype), clip.towers.text)
    encoder = _encoder(tower, prompt.ids, prompt.slot, not released, not released)
    shared = Shared(encoder, jnp.asarray(concepts), real(scale), order, jax.tree.map(real, config))
    z = words[reference]
    first = z if config.init == "reference" else np.broadcast_to(concepts[0], z.shape)
    batch = np.arange(len(z)) // (config.batch_size or len(z))
    sizes = np.bincount(batch)[batch] if released else np.ones(len(z))
    targets = Target(embeddings.astype(real), z, first, batch.astype(np.int32), sizes.astype(real))
    return shared, targets


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _encoder(tower, ids, slot, positions, final_norm):
    return slot_encoder(tower, ids, slot, positions, final_norm)


def _text_vectors(clip: Clip, words: Sequence[str]) -> np.ndarray:
    """The released program's word vectors: unnormalised text embeddings of bare words, [words, embed]."""
    return clip.embed_texts(words, normalize=False)


def default_block_size() -> int:
    """Images in one call of a device: small enough that few images waste little, large enough to fill it."""
    return 64 if jax.default_backend() == "cpu" else 4096


def _run_blocks(
    shared: Shared, targets: Target, reference: np.ndarray, steps: int, block: int, progress: bool
) -> ProxyFit:
    images, size = len(targets.image), block * image_mesh().size
    with tqdm(
        total=images * steps, desc="optimising proxies", unit="step", unit_scale=True, disable=not progress
    ) as bar:
        if shared.config.tolerance > 0:
            parts, image_steps = _run_to_rest(shared, targets, size, steps, bar)
        else:
            parts = [
                _run_block(shared, rows, size, steps, bar) for _, rows in _blocks(targets, np.arange(images), size)
            ]
            image_steps = images * steps
    proxies, prompts, loss, losses = (list(column) for column in zip(*parts))
    proxies, prompts, loss = map(np.concatenate, (proxies, prompts, loss))
    losses = (sum(losses) / images).astype(loss.dtype)
    return ProxyFit(proxies, prompts, reference, losses, loss, block, image_steps)


def _blocks(targets, indices: np.ndarray, size: int):
    """(indices of up to `size` images, their rows) until all `indices` had their turn."""
    for begin in range(0, len(indices), size):
        picked = indices[begin : begin + size]
        yield picked, jax.tree.map(operator.itemgetter(picked), targets)


def _padded(rows, size: int):
    return jax.tree.map(lambda array: pad_rows(array, size), rows)


def _run_block(shared: Shared, rows: Target, size: int, steps: int, bar: tqdm) -> tuple[np.ndarray, ...]:
    """All steps of up to `size` images -> proxies, prompt embeddings, loss, and losses [steps] summed over images."""
    mesh, valid = image_mesh(), len(rows.image)
    rows = _padded(rows, size)
    carry, losses = _start(mesh, shared, rows), np.zeros(steps)
    for first in range(0, steps, CHUNK):
        count = min(CHUNK, steps - first)
        carry, chunk = _run_chunk(mesh, shared, first, count, carry, rows)
        losses[first : first + count] = np.asarray(chunk, np.float64)[:valid, :count].sum(0)
        bar.update(valid * count)
    return *_finish_block(mesh, shared, carry[0], rows, valid), losses


def _finish_block(mesh, shared, proxies, rows, valid: int) -> tuple[np.ndarray, ...]:
    prompts, loss = _finish(mesh, shared, proxies, rows)
    return tuple(np.asarray(array)[:valid] for array in (proxies, prompts, loss))


def _run_to_rest(shared: Shared, targets: Target, size: int, steps: int, bar: tqdm):
    """`_run_block` for all images, a chunk of steps at a time: images whose loss has come to rest leave and the others
    close ranks -> (one tuple a block, steps of all images taken together). A step's loss of those that have left is
    their last one."""
    mesh, images = image_mesh(), len(targets.image)
    everyone, losses, image_steps = np.arange(images), np.zeros(steps), 0
    starts = [
        (_start(mesh, shared, _padded(rows, size)), len(picked)) for picked, rows in _blocks(targets, everyone, size)
    ]
    carry = jax.tree.map(
        lambda *parts: np.concatenate(parts), *(jax.tree.map(lambda a, n=n: np.asarray(a)[:n], s) for s, n in starts)
    )
    active, last = everyone, np.zeros(images)
    for first in range(0, steps, CHUNK):
        count, fell = min(CHUNK, steps - first), []
        losses[first : first + count] = last.sum() - last[active].sum()
        for picked, rows in _blocks((carry, targets), active, size):
            moved, chunk = _run_chunk(mesh, shared, first, count, *_padded(rows, size))
            for whole, part in zip(jax.tree.leaves(carry), jax.tree.leaves(moved)):
                whole[picked] = np.asarray(part)[: len(picked)]
            chunk = np.asarray(chunk, np.float64)[: len(picked), :count]
            losses[first : first + count] += chunk.sum(0)
            last[picked] = chunk[:, -1]
            fell.append(chunk[:, max(0, count - 1 - LOOK_BACK)] - chunk[:, -1])
            bar.update(len(picked) * count)
        image_steps += len(active) * count
        active = active[np.concatenate(fell) >= shared.config.tolerance]
        if not len(active):
            losses[first + count :] = last.sum()
            break
    finished = [
        _finish_block(mesh, shared, *_padded(rows, size), len(picked))
        for picked, rows in _blocks((carry[0], targets), everyone, size)
    ]
    return [(*part, losses if i == 0 else 0) for i, part in enumerate(finished)], image_steps


def _check_embeddings(embeddings, clip: Clip) -> np.ndarray:
    embeddings, width = np.asarray(embeddings), clip.config.image.embed
    if embeddings.ndim != 2 or embeddings.shape[1] != width or not len(embeddings):
        raise ValueError(f"embeddings have shape {list(embeddings.shape)}, expected [images, {width}], 1 image or more")
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) < 1e-3))
    if len(wrong):
        raise ValueError(
            f"embeddings must be unit rows, row {wrong[0]} has norm {norms[wrong[0]]:.4g} ({len(wrong)} such rows): "
            "use clip.embed_images, or divide each row by its norm"
        )
    return embeddings


def _check_contrast(contrast: Sequence[str], aspect: Aspect, config: ProxyConfig) -> tuple[str, ...]:
    if isinstance(contrast, str):
        raise TypeError(f"contrast: expected a sequence of aspect names, found the string {contrast!r}")
    if aspect.name in contrast:
        raise ValueError(f"contrast of aspect {aspect.name!r} holds the aspect itself: take it out")
    if config.concept == "contrastive" and not len(contrast):
        warnings.warn(
            "with no contrast aspect the contrastive concept term is always 0; name some, or set concept='none'",
            stacklevel=3,
        )
    return tuple(contrast)


def _batch_order(config: ProxyConfig, images: int, given, seed: int) -> np.ndarray | None:
    """The order of the batches, int32 [epochs, batches], where it matters."""
    if config.recipe != "released" or not config.weight_decay:
        if given is not None:
            raise ValueError("batch_order has a meaning under the released recipe with weight decay only")
        return None
    batches = -(-images // config.batch_size)
    if given is None:
        random = np.random.default_rng(seed)
        given = np.stack([random.permutation(batches) for _ in range(config.steps)])
    order = np.asarray(given, np.int32)
    if order.shape != (config.steps, batches) or (np.sort(order, 1) != np.arange(batches)).any():
        raise ValueError(
            f"batch_order has shape {list(order.shape)}, expected [{config.steps}, {batches}] (epochs, batches), "
            f"each row an order of 0 … {batches - 1}"
        )
    return order
