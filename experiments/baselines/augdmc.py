"""AugDMC (Yao, Liu, Rashid, Hu; arXiv 2306.13023): an encoder for each aspect, learnt under augmentations that destroy
the other aspects, to prototypes.

Followed: color is kept by rotations and crops, shape by changes of hue and contrast (as the authors' main.py has it, a
rotation here being by any angle and a change of hue being a mixture of the channels with random weights); the loss is
the cross-entropy of ⟨f(augmented image), prototype⟩ / τ; k-means runs on pooled features of augmented images.

Chosen. The stable optimisation is read as: the prototypes hold still while the encoder learns, and are found anew in
the directions of the pooled features that stay under the augmentations: those with the largest ratio of the variance
between images to that between augmentations of one image. In main.py every image is its own prototype; ball and
cylinder did not come apart so (ARI 0 after 80 epochs). Prototypes are therefore shared: k-means on the mean of several
augmentations finds twice as many as the largest number of groups asked for. Both encoders see crops and mirror images
too; without these shape is hidden under place and slant. A little convolutional network on 48 × 48 pixels stands for
ResNet-18 on 128 × 128. k-means at the end runs in the stable directions. Either encoder may answer an aspect.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.baselines.task import Found, Task, group, k_means, unit_rows

SIDE, CHANNELS = 48, (16, 32, 64)
ROUNDS, FULL_ROUNDS = 10, 200
EPOCHS = 2  # of a round
VIEWS = 6
BATCH, RATE, TEMPERATURE = 40, 2e-3, 0.1
DIRECTIONS = 8
SHRINKAGE = 0.05  # of the covariance within images toward a multiple of the unit matrix


def augdmc(task: Task) -> Found:
    images = resized(task.images)
    rounds = FULL_ROUNDS if task.full else ROUNDS
    prototypes = min(2 * max(task.clusters.values()), len(images))
    features, losses = [], {}
    for name, augment in {"color": keep_color, "shape": keep_shape}.items():
        rows, losses[name] = learn(images, augment, prototypes, rounds, task.seed)
        features.append(rows)
    return Found(group(features, task.clusters), rounds * EPOCHS, losses, f"{prototypes} prototypes an encoder")


def resized(images: np.ndarray) -> jax.Array:
    """uint8 [images, h, w, 3] -> float32 [images, SIDE, SIDE, 3] in 0 … 1."""
    pixels = jnp.asarray(images, jnp.float32) / 255
    return jax.image.resize(pixels, (len(images), SIDE, SIDE, 3), "linear", antialias=True)


class Encoder(nnx.Module):
    """Pixels [images, SIDE, SIDE, 3] -> unit features [images, 64], pooled over places."""

    def __init__(self, rngs: nnx.Rngs):
        sizes = list(zip((3, *CHANNELS), CHANNELS))
        self.convolutions = nnx.List([nnx.Conv(i, o, (3, 3), strides=2, rngs=rngs) for i, o in sizes])
        self.norms = nnx.List([nnx.GroupNorm(channels, num_groups=8, rngs=rngs) for channels in CHANNELS])

    def __call__(self, x):
        for convolution, norm in zip(self.convolutions, self.norms):
            x = jax.nn.relu(norm(convolution(x)))
        x = x.mean((1, 2))
        return x / jnp.maximum(jnp.linalg.norm(x, axis=1, keepdims=True), 1e-6)


def keep_color(key, images):
    """Turned by any angle, cropped to .4 … 1 of the side."""
    return turned(key, images, jnp.pi, 0.4)


def keep_shape(key, images):
    """Channels mixed to one with random weights, each image scaled to one contrast; slightly turned and cropped."""
    first, second = jax.random.split(key)
    weights = jax.random.dirichlet(first, jnp.ones(3), (len(images),))
    grey = turned(second, jnp.einsum("nhwc,nc->nhw", images, weights)[..., None], 0.3, 0.6)
    grey = (grey - grey.mean((1, 2, 3), keepdims=True)) / (grey.std((1, 2, 3), keepdims=True) + 1e-3)
    return jnp.broadcast_to(grey, (*grey.shape[:3], 3))


def turned(key, images, angle: float, least: float):
    """Every image [h, w, c], or its mirror image, turned by up to ±angle around the middle of a random crop of
    least … 1 of its side."""
    count, side = images.shape[:2]
    keys = jax.random.split(key, 4)
    mirrored = jax.random.bernoulli(keys[3], shape=(count, 1, 1, 1))
    images = jnp.where(mirrored, images[:, :, ::-1], images)
    by = jax.random.uniform(keys[0], (count,), minval=-angle, maxval=angle)
    scale = jax.random.uniform(keys[1], (count,), minval=least, maxval=1.0)
    middle = jax.random.uniform(keys[2], (count, 2), minval=-1.0, maxval=1.0) * (1 - scale)[:, None] * side / 2
    grid = jnp.stack(jnp.meshgrid(jnp.arange(side), jnp.arange(side), indexing="ij"), -1) - (side - 1) / 2

    def one(image, by, scale, middle):
        turn = jnp.array([[jnp.cos(by), -jnp.sin(by)], [jnp.sin(by), jnp.cos(by)]])
        places = scale * grid @ turn.T + (middle + (side - 1) / 2)[None, None]
        sample = functools.partial(jax.scipy.ndimage.map_coordinates, order=1, mode="nearest")
        return jax.vmap(sample, (-1, None), -1)(image, [places[..., 0], places[..., 1]])

    return jax.vmap(one)(images, by, scale, middle)


def learn(images, augment, prototypes: int, rounds: int, seed: int) -> tuple[np.ndarray, float]:
    """(features [images, DIRECTIONS], last loss) of an encoder learnt under the augmentation."""
    graph, weights = nnx.split(Encoder(nnx.Rngs(seed)))
    optimizer, random = optax.adam(RATE), np.random.default_rng(seed)
    state, loss = optimizer.init(weights), 0.0
    seen, step = functions(graph, augment, optimizer)
    for number in range(rounds):
        key = jax.random.key(seed * 10_000 + number)
        mean, belongs, centroids = find_prototypes(seen(weights, images, key), prototypes)
        for turn, rows in enumerate(batches(len(images), random)):
            each = jax.random.fold_in(key, turn)
            weights, state, loss = step(weights, state, each, images[rows], belongs[rows], mean, centroids)
    return stable(np.asarray(seen(weights, images, jax.random.key(seed)))), float(loss)


def functions(graph, augment, optimizer):
    """(features of augmented images [views, images, 64], one step), compiled. The step is called from a Python loop:
    within jax.lax.scan XLA's convolutions are many times as slow on CPUs."""

    @jax.jit
    def seen(weights, images, key):
        encoder = nnx.merge(graph, weights)
        return jnp.stack([encoder(augment(each, images)) for each in jax.random.split(key, VIEWS)])

    def loss(weights, key, images, belongs, mean, centroids):
        features = nnx.merge(graph, weights)(augment(key, images)) - mean
        features /= jnp.maximum(jnp.linalg.norm(features, axis=1, keepdims=True), 1e-6)
        logits = features @ centroids.T / TEMPERATURE
        return optax.softmax_cross_entropy_with_integer_labels(logits, belongs).mean()

    @jax.jit
    def step(weights, state, *given):
        value, gradients = jax.value_and_grad(loss)(weights, *given)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, value

    return seen, step


def find_prototypes(features, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean [1, 64], prototype of every image int [images], unit prototypes [count, 64]) of features
    [views, images, 64]."""
    features = np.asarray(features)
    belongs = k_means(stable(features), count, 0, starts=3)
    averaged = features.mean(0)
    mean = averaged.mean(0, keepdims=True)
    rows = unit_rows(averaged - mean)
    return mean, belongs, unit_rows(np.stack([rows[belongs == each].mean(0) for each in np.unique(belongs)]))


def stable(features: np.ndarray) -> np.ndarray:
    """Features [views, images, 64] in the directions that stay under the augmentations, [images, DIRECTIONS], each as
    long as the ratio of its variances says."""
    from scipy.linalg import eigh

    features = (features - features.mean((0, 1))) / np.maximum(features.std((0, 1)), 1e-6)
    averaged = features.mean(0)
    within = np.cov((features - averaged).reshape(-1, features.shape[-1]).T)
    within += SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    _, directions = eigh(np.cov(averaged.T), within)
    return averaged @ directions[:, : -DIRECTIONS - 1 : -1]


def batches(images: int, random: np.random.Generator):
    """Rows of every batch of a round; the last images of an epoch that fill none are left out."""
    size = min(BATCH, images)
    for _ in range(EPOCHS):
        order = random.permutation(images)
        yield from (order[start : start + size] for start in range(0, images - size + 1, size))
