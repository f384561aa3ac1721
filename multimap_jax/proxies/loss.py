"""The loss and one update of a proxy (paper, section 3), for ONE image; `solver` vmaps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from multimap_jax.encoders.clip.slot import SlotEncoder
from multimap_jax.proxies.recipes import ProxyConfig

Array = jax.Array | np.ndarray  # NumPy until a compiled function takes it


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """The target of the proxy of one image.

    Attributes:
      image: [embed], the unit image embedding.
      word: the index of the word z_i.
      batch: the index of the image's batch.
      batch_images: the number of images in the batch (1 without batches).
    """

    image: Array
    word: Array
    batch: Array
    batch_images: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Common:
    """The values that all images share.

    Attributes:
      encoder: proxy -> unit prompt embedding.
      words: [words, width], the candidates for z_i.
      concepts: [1 + contrast, width], u_j, the own aspect first.
      scale: the unit of length (1 except in the default recipe).
      order: int [epochs, batches], the order of the batches; only for the released recipe with weight decay, else None.
      config: the recipe.
    """

    encoder: SlotEncoder
    words: jax.Array
    concepts: jax.Array
    scale: jax.Array | np.floating
    order: Array | None
    config: ProxyConfig


def proxy_loss(proxy: jax.Array, target: Target, common: Common) -> jax.Array:
    """Total loss of one image: proxy [width] -> scalar."""
    config, traits = common.config, common.config.traits
    total = jnp.mean if traits.mean_distance else jnp.sum
    align = -jnp.dot(common.encoder(proxy), target.image)
    if traits.offset:
        align = traits.offset + align
    unit_area = common.scale**2
    reference = total(jnp.square(proxy - common.words[target.word])) / unit_area
    concept = concept_term(proxy, common.concepts, config.concept, total) / unit_area
    return align + config.reference_weight * reference + config.concept_weight * concept


def concept_term(
    proxy: jax.Array, concepts: jax.Array, kind: str, total: Callable[[jax.Array], jax.Array] = jnp.sum
) -> jax.Array:
    """L_concept: proxy [width], concepts [1 + contrast, width], the own one first -> scalar (paper, eq. 6 and 7)."""
    if kind == "contrastive":
        return -jax.nn.log_softmax(concepts @ proxy)[0]
    if kind == "distance":
        return total(jnp.square(proxy - concepts[0]))
    return jnp.zeros(())


def make_optimizer(name: str) -> optax.GradientTransformation:
    """The optimiser, without the learning rate. eps 1e-20 inside the root equals torch's 1e-10 outside it (Adagrad)."""
    return optax.scale_by_adam() if name == "adam" else optax.scale_by_rss(0.0, eps=1e-20)


def descend(
    proxy: jax.Array, state: optax.OptState, gradient: jax.Array, step: jax.Array, common: Common
) -> tuple[jax.Array, optax.OptState]:
    """One optimiser update of one proxy, with weight decay as L2 in the gradient."""
    config = common.config
    rate = config.learning_rate * common.scale
    if config.schedule == "linear":
        rate = rate * (1 - step / config.steps)
    direction, state = make_optimizer(config.optimizer).update(gradient + config.weight_decay * proxy, state)
    return proxy - rate * direction, state


def update(
    proxy: jax.Array, state: optax.OptState, step: jax.Array, target: Target, common: Common
) -> tuple[jax.Array, optax.OptState, jax.Array]:
    """Step (or epoch) `step` of one image -> (proxy, state, loss before the update)."""
    if common.order is None:
        loss, gradient = jax.value_and_grad(proxy_loss)(proxy, target, common)
        return *descend(proxy, state, gradient / target.batch_images, step, common), loss

    def decay(count: jax.Array, carry: tuple[jax.Array, optax.OptState]) -> tuple[jax.Array, optax.OptState]:
        still = jnp.zeros_like(proxy)
        return jax.lax.fori_loop(0, count, lambda _, c: descend(c[0], c[1], still, step, common), carry)

    batches = common.order.shape[1]
    position = jnp.argmax(common.order[step] == target.batch)
    proxy, state = decay(position, (proxy, state))
    loss, gradient = jax.value_and_grad(proxy_loss)(proxy, target, common)
    carry = descend(proxy, state, gradient / target.batch_images, step, common)
    return *decay(batches - 1 - position, carry), loss


def start(common: Common, target: Target) -> tuple[jax.Array, optax.OptState]:
    """(proxy, optimiser state) of one image before the first step."""
    first = common.words[target.word] if common.config.init == "reference" else common.concepts[0]
    return first, make_optimizer(common.config.optimizer).init(first)
