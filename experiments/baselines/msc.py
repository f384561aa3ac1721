"""MSC (Hu, Qian, Pei, Jin, Zhu; Finding multiple stable clusterings, ICDM 2015 and KAIS 51, 2017): every clustering is
a weighting of the features under which the groups are stable.

Followed: weights w >= 0 of features, sparse, define the similarity S of images; the stability of k groups is the
eigengap λ_k − λ_{k+1} of D^-1/2 S D^-1/2, D the sums of the rows of S; local maxima over w from many starts are the
clusterings, if they differ; k-means on the k leading eigenvectors, rows normalised. Features are made by hand.

Chosen, since the article is not openly stored: S_ij = exp(−Σ_f w_f (x_if − x_jf)² / h) on standardised features, with
Σ w = 1, which makes w sparse; h falls from 1 to .3; half the mean similarity is added to all, without which the most
stable groups are single images that stand alone; w moves by exponentiated gradients with momentum, scaled to their
largest entry. The gradient of an eigenvalue is that of vᵀ M v at its eigenvector. A search starts with a random third
of the features at equal weights, every second one away from what the best so far rests on. Two maxima differ if the
NMI of their groups is below .5; of each number of groups as many are kept as aspects are asked for, the most stable
first. The search runs on at most 200 images, as the KAIS version does for large sets, the eigenvectors are of all.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from experiments.baselines import handmade
from experiments.baselines.task import Found, Task, by_seed, k_means, standardised, unit_rows

SEARCHED = 200  # images
STARTS, STEPS = 32, 60
FULL_STARTS = 100
WIDTHS = (1.0, 0.3)
SHARE = 0.3  # of the features, with which a start begins
RATE, MOMENTUM = 0.2, 0.8
ALIKE = 0.5  # NMI
LEVEL = 0.5  # of the mean similarity


def msc(task: Task) -> Found:
    """On colour and gradient histograms of the images."""
    features = standardised(np.concatenate([handmade.colours(task.images), handmade.edges(task.images)], axis=1))
    return stable_clusterings(features, task)


def stable_clusterings(features: np.ndarray, task: Task) -> Found:
    """On features [images, d] with mean 0 and deviation 1."""
    starts = FULL_STARTS if task.full else STARTS
    found, gaps = {}, {}
    for k in sorted(set(task.clusters.values())):
        optima = search(features, k, len(task.clusters), starts, task.seed)
        found[k] = np.stack([by_seed(leading(features, weights, k), k) for weights, _ in optima])
        gaps[f"eigengap of {k}"] = max(gap for _, gap in optima)
    labels = {aspect: found[k] for aspect, k in task.clusters.items()}
    return Found(labels, STEPS, gaps, f"{starts} starts for each number of groups")


def search(features: np.ndarray, k: int, number: int, starts: int, seed: int) -> list[tuple[np.ndarray, float]]:
    """Up to `number` (weights [d], eigengap) with different groups, the largest eigengap first."""
    random = np.random.default_rng(seed)
    part = features[random.permutation(len(features))[:SEARCHED]]
    ended: list[tuple[np.ndarray, float]] = []
    for number_of_start in range(starts):
        start = (random.random(features.shape[1]) < SHARE) + 1e-3
        if number_of_start % 2:
            best = max(ended, key=lambda each: each[1])[0]
            start *= 1 - best / best.max() + 1e-3
        ended.append(ascend(part, start / start.sum(), k))
    kept, groups = [], []
    for weights, gap in sorted(ended, key=lambda each: -each[1]):
        labels = k_means(leading(part, weights, k), k, seed, starts=3)
        if len(kept) < number and all(agreement(labels, other) < ALIKE for other in groups):
            kept.append((weights, gap))
            groups.append(labels)
    return kept


def ascend(features: np.ndarray, weights: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """(weights [d], eigengap) of the maximum above the weights that are given."""
    weights, momentum, gap = weights.astype(np.float32), np.zeros_like(weights, np.float32), 0.0
    for width in np.geomspace(*WIDTHS, STEPS):
        values, vectors = eigen(similarity(weights, features, width), k + 1)
        gap = float(values[1] - values[0])
        slope = np.asarray(gap_slope(weights, features, width, vectors[:, 1], vectors[:, 0]))
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * slope
        weights = weights * np.exp(RATE * momentum / max(np.abs(momentum).max(), 1e-12))
        weights /= weights.sum()
    return weights, gap


@jax.jit
def similarity(weights, features, width):
    """D^-1/2 S D^-1/2, [images, images]."""
    squares = jnp.square(features) @ weights
    distances = squares[:, None] + squares[None, :] - 2 * (features * weights[None]) @ features.T
    found = jnp.exp(-distances / width)
    found += LEVEL * found.mean()
    scale = jax.lax.rsqrt(found.sum(1))
    return found * scale[:, None] * scale[None, :]


@jax.jit
def gap_slope(weights, features, width, last, next_):
    """Gradient of the eigengap by the weights [d]; last, next_ [images]: eigenvectors of λ_k and λ_{k+1}."""

    def gap(weights):
        matrix = similarity(weights, features, width)
        return last @ matrix @ last - next_ @ matrix @ next_

    return jax.grad(gap)(weights)


def eigen(matrix, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest eigenvalues, rising, and their eigenvectors [images, count]."""
    from scipy.linalg import eigh

    last = len(matrix) - 1
    values, vectors = eigh(np.asarray(matrix, np.float64), subset_by_index=[last - count + 1, last])
    return values, vectors.astype(np.float32)


def leading(features: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray:
    """The k leading eigenvectors as unit rows [images, k]."""
    return unit_rows(eigen(similarity(weights, features, WIDTHS[1]), k)[1])


def agreement(labels: np.ndarray, other: np.ndarray) -> float:
    from sklearn.metrics import normalized_mutual_info_score

    return normalized_mutual_info_score(labels, other)
