"""Optimises all proxies: blocks of images of one shape, in compiled chunks of steps, split over the devices.

A block runs in chunks of 50 steps, always with the same shape. So results do not depend on the order of the images, on
how full a block is, or on the number of devices.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from multimap_jax.proxies.loss import Common, Target, proxy_loss, start, update
from multimap_jax.runtime.mesh import image_mesh, pad_rows, split_images
from multimap_jax.runtime.profiling import chunk_done, traced
from multimap_jax.runtime.progress import Bar, open_bar

# Steps in one compiled call, and how many steps back a loss is compared if `tolerance` is set. No table compares other
# values; tests/proxies/test_fit.py checks what a tolerance may cost.
CHUNK = 50
LOOK_BACK = 10

Carry = tuple[jax.Array, optax.OptState]  # proxies and optimiser states of a block
Tree = TypeVar("Tree")


class DivergedError(ArithmeticError):
    """The loss of `images` images was not finite before update `step`."""

    def __init__(self, step: int, images: int):
        super().__init__(f"the loss of {images} images is not finite at step {step}")
        self.step, self.images = step, images


def check_finite(losses: np.ndarray, first: int) -> None:
    """DivergedError if any of `losses` [images, steps], starting at step `first`, is not finite."""
    bad = ~np.isfinite(losses)
    if bad.any():
        step = int(np.flatnonzero(bad.any(0))[0])
        raise DivergedError(first + step, int(bad[:, step].sum()))


def run_chunk(
    common: Common, first: jax.Array, count: jax.Array, carry: Carry, targets: Target
) -> tuple[Carry, jax.Array]:
    """Steps first … first + count of a block, count at most CHUNK -> (carry, losses [images, CHUNK])."""

    def body(k: jax.Array, everything: tuple[Carry, jax.Array]) -> tuple[Carry, jax.Array]:
        (proxies, states), losses = everything
        step = jax.vmap(update, in_axes=(0, 0, None, 0, None))
        proxies, states, loss = step(proxies, states, first + k, targets, common)
        return (proxies, states), losses.at[:, k].set(loss)

    losses = jnp.zeros((len(targets.image), CHUNK), carry[0].dtype)
    return jax.lax.fori_loop(0, count, body, (carry, losses))


def finish(common: Common, proxies: jax.Array, targets: Target) -> tuple[jax.Array, jax.Array]:
    """(prompt embeddings [images, embed], loss [images]) at the end."""
    loss = jax.vmap(proxy_loss, in_axes=(0, 0, None))(proxies, targets, common)
    return jax.vmap(common.encoder)(proxies), loss


@functools.partial(jax.jit, static_argnums=0)
def compiled_start(mesh: Mesh, common: Common, targets: Target) -> Carry:
    return split_images(lambda common, targets: jax.vmap(start, (None, 0))(common, targets), mesh, 1)(common, targets)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=4)
def compiled_chunk(
    mesh: Mesh, common: Common, first: int, count: int, carry: Carry, targets: Target
) -> tuple[Carry, jax.Array]:
    return split_images(run_chunk, mesh, 3)(common, first, count, carry, targets)


@functools.partial(jax.jit, static_argnums=0)
def compiled_finish(mesh: Mesh, common: Common, proxies: jax.Array, targets: Target) -> tuple[jax.Array, jax.Array]:
    return split_images(finish, mesh, 1)(common, proxies, targets)


def default_block_size(shares_prompt: bool = True) -> int:
    """Images in one call of a device: small enough to waste little on few images, large enough to keep it busy.

    No table shows these numbers: 128 was compared with 64 on two CPU cores, 4096 was never run. Where images share no
    part of the prompt (`Encoder.shares_prompt`), each takes some thirty times the memory: all 64 tokens, not two.
    """
    whole = 128 if jax.default_backend() == "cpu" else 4096
    return whole if shares_prompt else whole // 16


def run_blocks(common: Common, targets: Target, steps: int, block: int, progress: bool | Bar) -> dict:
    """Runs all steps of all images -> a dictionary of fields of `ProxyFit`. progress: `shown` of `open_bar`. Raises
    DivergedError."""
    images, size = len(targets.image), block * image_mesh().size
    tails = common.words.shape[1:], targets.image.shape[1:], ()
    found = [np.empty((images, *tail), targets.image.dtype) for tail in tails]
    with open_bar(images * steps, "optimising proxies", "step", shown=progress) as bar, traced("proxies"):
        run = _run_to_rest if common.config.tolerance > 0 else _run_in_turn
        losses, image_steps = run(common, targets, size, steps, bar, found)
    check_finite(found[2][:, None], steps)
    return {
        "proxies": found[0],
        "prompt_embeddings": found[1],
        "losses": (losses / images).astype(found[2].dtype),
        "loss": found[2],
        "image_steps": image_steps,
    }


def _blocks(targets: Tree, indices: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, Tree]]:
    """Yields (indices of up to `size` images, their rows) over all `indices`."""
    for begin in range(0, len(indices), size):
        picked = indices[begin : begin + size]
        yield picked, jax.tree.map(operator.itemgetter(picked), targets)


def _padded(rows: Tree, size: int) -> Tree:
    return jax.tree.map(lambda array: pad_rows(array, size), rows)


def _run_in_turn(
    common: Common, targets: Target, size: int, steps: int, bar: Bar, found: list[np.ndarray]
) -> tuple[np.ndarray, int]:
    """Runs all steps of one block after the other -> (losses [steps] summed over images, sum of steps over images).
    Writes the proxies, prompt embeddings and loss of every image into `found`."""
    mesh, images, losses = image_mesh(), len(targets.image), np.zeros(steps)
    for picked, rows in _blocks(targets, np.arange(images), size):
        rows = _padded(rows, size)
        carry = compiled_start(mesh, common, rows)
        for first in range(0, steps, CHUNK):
            count = min(CHUNK, steps - first)
            carry, chunk = compiled_chunk(mesh, common, first, count, carry, rows)
            chunk = np.asarray(chunk, np.float64)[: len(picked), :count]
            check_finite(chunk, first)
            losses[first : first + count] += chunk.sum(0)
            bar.update(len(picked) * count)
            chunk_done()
        _finish_block(mesh, common, carry[0], rows, picked, found)
    return losses, images * steps


def _finish_block(
    mesh: Mesh, common: Common, proxies: jax.Array, rows: Target, picked: np.ndarray, found: list[np.ndarray]
) -> None:
    for array, block in zip(found, (proxies, *compiled_finish(mesh, common, proxies, rows))):
        array[picked] = np.asarray(block)[: len(picked)]


def _run_to_rest(
    common: Common, targets: Target, size: int, steps: int, bar: Bar, found: list[np.ndarray]
) -> tuple[np.ndarray, int]:
    """Like `_run_in_turn`, but runs a chunk of steps of all images at a time. Images whose loss has converged are
    removed, and the others fill the blocks. Removed images count with their last loss in later steps."""
    mesh, images = image_mesh(), len(targets.image)
    everyone, losses, image_steps = np.arange(images), np.zeros(steps), 0
    starts = [
        (compiled_start(mesh, common, _padded(rows, size)), len(picked))
        for picked, rows in _blocks(targets, everyone, size)
    ]
    carry = jax.tree.map(
        lambda *blocks: np.concatenate(blocks), *(jax.tree.map(lambda a, n=n: np.asarray(a)[:n], s) for s, n in starts)
    )
    active, last = everyone, np.zeros(images)
    for first in range(0, steps, CHUNK):
        count, fell = min(CHUNK, steps - first), []
        losses[first : first + count] = last.sum() - last[active].sum()
        for picked, rows in _blocks((carry, targets), active, size):
            moved, chunk = compiled_chunk(mesh, common, first, count, *_padded(rows, size))
            for array, block in zip(jax.tree.leaves(carry), jax.tree.leaves(moved)):
                array[picked] = np.asarray(block)[: len(picked)]
            chunk = np.asarray(chunk, np.float64)[: len(picked), :count]
            check_finite(chunk, first)
            losses[first : first + count] += chunk.sum(0)
            last[picked] = chunk[:, -1]
            fell.append(chunk[:, max(0, count - 1 - LOOK_BACK)] - chunk[:, -1])
            bar.update(len(picked) * count)
            chunk_done()
        image_steps += len(active) * count
        active = active[np.concatenate(fell) >= common.config.tolerance]
        if not len(active):
            losses[first + count :] = last.sum()
            break
    for picked, rows in _blocks((carry[0], targets), everyone, size):
        proxies, block = _padded(rows, size)
        _finish_block(mesh, common, proxies, block, picked, found)
    return losses, image_steps
