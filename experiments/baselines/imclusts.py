"""iMClusts (Ren, Yu, Wang, Liu, Domeniconi, Zhang; A diversified attention model for interpretable multiple
clusterings, TKDE 2022): an auto-encoder whose latent space is attended to by several heads, each a clustering.

Followed, from the abstract and from a public program of the method, since the article is not openly stored: features
are scaled to 0 … 1; z is their encoding; head h attends from every image to all, A_h = softmax(Q_h K_hᵀ / √d),
C_h = A_h V_h; the rows of a head O_h are its part of LayerNorm(z + W [C_1 … C_H]); a decoder gives the features back
from all. L = reconstruction + α Σ HSIC(O_h, O_g) + β Σ KL(P_h ‖ Q_h): the linear HSIC, normalised, keeps heads apart;
Q_h are Student-t similarities to centroids, P_h their squares made sharp, as in DEC. First the reconstruction, then
centroids by k-means, then all of L. α = β = 1, Adam, rate .01, 200 and 100 epochs. k-means on each head at the end.

Chosen: the encoder is linear, since with hidden layers any head can be drawn into any groups, and planted views were
missed more often; eight dimensions a head, a head for each aspect; image embeddings go in. One start often ends with
both views in one head; of several that one is kept whose groups, of all heads together, explain most of the features by
least squares. No label takes part.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.baselines.task import Found, Task, group

EPOCHS = (100, 100)  # of the reconstruction alone, of the whole loss
FULL_EPOCHS = (200, 100)
STARTS, FULL_STARTS = 20, 100
HEAD, RATE = 8, 0.01
REDUNDANCY, CLUSTERING = 1.0, 1.0  # α and β


def imclusts(task: Task) -> Found:
    return attended_views(task.embeddings, task)


def attended_views(rows: np.ndarray, task: Task) -> Found:
    """On rows [images, d]."""
    numbers, epochs = tuple(task.clusters.values()), FULL_EPOCHS if task.full else EPOCHS
    span = rows.max(0) - rows.min(0)
    features = jnp.asarray((rows - rows.min(0)) / np.where(span > 0, span, 1), jnp.float32)
    starts = range(task.seed, task.seed + (FULL_STARTS if task.full else STARTS))
    heads, losses, _ = min((fit(features, numbers, epochs, seed) for seed in starts), key=lambda each: each[2])
    return Found(group(heads, task.clusters), sum(epochs), losses, f"best of {len(starts)} starts")


class Network(nnx.Module):
    """Features [images, d] -> (heads [images, heads, HEAD], features again). It sees all images at once."""

    def __init__(self, inputs: int, heads: int, rngs: nnx.Rngs):
        width = heads * HEAD
        self.encoder = nnx.Linear(inputs, width, rngs=rngs)
        self.query, self.key, self.value, self.output = (nnx.Linear(width, width, rngs=rngs) for _ in range(4))
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.hidden, self.decoder = nnx.Linear(width, width, rngs=rngs), nnx.Linear(width, inputs, rngs=rngs)

    def __call__(self, features):
        z = self.encoder(features)
        query, key, value = (heads_of(layer(z)) for layer in (self.query, self.key, self.value))
        attention = jax.nn.softmax(jnp.einsum("ihd,jhd->hij", query, key) / jnp.sqrt(HEAD), axis=-1)
        context = jnp.einsum("hij,jhd->ihd", attention, value).reshape(z.shape)
        rows = self.norm(z + self.output(context))
        return heads_of(rows), jax.nn.sigmoid(self.decoder(jax.nn.relu(self.hidden(rows))))


def heads_of(rows):
    """[images, heads · HEAD] -> [images, heads, HEAD]."""
    return rows.reshape(len(rows), -1, HEAD)


def fit(features, numbers: Sequence[int], epochs: tuple[int, int], seed: int):
    """(rows of every head, each [images, HEAD]; last losses; what the groups leave unexplained)."""
    graph, weights = nnx.split(Network(features.shape[1], len(numbers), nnx.Rngs(seed)))
    learnt = {"network": weights, "centroids": [jnp.zeros((k, HEAD)) for k in numbers]}
    learnt, _ = run(learnt, features, (0.0, 0.0), graph, epochs[0])
    heads = np.asarray(nnx.merge(graph, learnt["network"])(features)[0]).swapaxes(0, 1)
    learnt["centroids"] = [jnp.asarray(grouped(rows, k, seed)[0]) for rows, k in zip(heads, numbers)]
    learnt, losses = run(learnt, features, (REDUNDANCY, CLUSTERING), graph, epochs[1])
    heads = list(np.asarray(nnx.merge(graph, learnt["network"])(features)[0]).swapaxes(0, 1))
    losses = {name: float(values[-1]) for name, values in losses.items()}
    groups = [grouped(rows, k, seed)[1] for rows, k in zip(heads, numbers)]
    return heads, losses, unexplained(np.asarray(features), groups)


def grouped(rows: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """k-means on rows [images, HEAD]: (centroids [k, HEAD], labels int [images])."""
    from sklearn.cluster import KMeans

    found = KMeans(k, n_init=3, random_state=seed).fit(rows)
    return found.cluster_centers_, found.labels_


def unexplained(features: np.ndarray, groups: Sequence[np.ndarray]) -> float:
    """Share of the variance of features [images, d] that a sum of the groups' means leaves over."""
    member = np.concatenate([labels[:, None] == np.unique(labels) for labels in groups], axis=1).astype(features.dtype)
    centred = features - features.mean(0)
    fitted = member @ np.linalg.lstsq(member, centred, rcond=None)[0]
    return float(np.square(centred - fitted).sum() / max(np.square(centred).sum(), 1e-12))


@functools.partial(jax.jit, static_argnums=(3, 4))
def run(learnt, features, weights, graph, epochs: int):
    """Adam on all that is learnt: (the same after `epochs` steps, losses by name [epochs])."""
    optimizer = optax.adam(RATE)

    def step(carry, _):
        learnt, state = carry
        (_, said), gradients = jax.value_and_grad(loss, has_aux=True)(learnt, features, weights, graph)
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(learnt, updates), state), said

    (learnt, _), said = jax.lax.scan(step, (learnt, optimizer.init(learnt)), length=epochs)
    return learnt, said


def loss(learnt, features, weights, graph):
    heads, decoded = nnx.merge(graph, learnt["network"])(features)
    pairs = [(i, j) for i in range(heads.shape[1]) for j in range(i)]
    said = {
        "reconstruction": jnp.square(decoded - features).mean(),
        "redundancy": sum((hsic(heads[:, i], heads[:, j]) for i, j in pairs), start=jnp.zeros(())),
        "clustering": sum(sharpening(heads[:, h], each) for h, each in enumerate(learnt["centroids"])),
    }
    return said["reconstruction"] + weights[0] * said["redundancy"] + weights[1] * said["clustering"], said


def hsic(first, second):
    """Linear HSIC of [images, d] and [images, e] over the roots of their own, 0 … 1."""
    first, second = first - first.mean(0, keepdims=True), second - second.mean(0, keepdims=True)
    own = jnp.square(first.T @ first).sum() * jnp.square(second.T @ second).sum()
    return jnp.square(first.T @ second).sum() / jnp.sqrt(own + 1e-12)


def sharpening(rows, centroids):
    """KL(P ‖ Q) of DEC, a mean over rows [images, d]; no gradient flows through P."""
    similar = 1 / (1 + jnp.square(rows[:, None] - centroids[None]).sum(-1))
    similar /= similar.sum(1, keepdims=True)
    sharp = jnp.square(similar) / similar.sum(0, keepdims=True)
    sharp = jax.lax.stop_gradient(sharp / sharp.sum(1, keepdims=True))
    return (sharp * (jnp.log(sharp + 1e-9) - jnp.log(similar + 1e-9))).sum(1).mean()
