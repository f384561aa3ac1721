"""Features of the default recipe: images in the span of the words, every direction as wide as it is telling."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from multimap_jax.clip.model import Clip
from multimap_jax.clustering import Product, cluster, group_means, walk
from multimap_jax.prompts import Aspect, word_embeddings
from multimap_jax.proxies import fit_proxies
from multimap_jax.recipes import ProxyConfig

# Chosen on drawn pictures that no table shows. What the axes (POWER) and the rounds (ROUNDS, SHRINKAGE) bring is in the
# ablation of experiments/results/quality and quality_photos; other values of the three are in no table.
POWER = 0.25
ROUNDS = 4
SHRINKAGE = 0.3


def fit_projection(
    clip: Clip,
    embeddings: np.ndarray,
    aspect: Aspect,
    k: int,
    contrast: Sequence[str] = (),
    config: ProxyConfig | None = None,
    seed: int = 0,
    drawn: np.ndarray | None = None,
) -> np.ndarray:
    """The matrix [embed, axes] that takes image embeddings [images, embed] to the features of the default recipe.

    With t_w the unit embedding of the prompt filled with word w, and p_w the mean over images of the zero-shot
    probability of w:

      1. Axes are those of the rows (t_w − Σ p_w t_w) · p_w^¼, as long as their singular values: what all prompts have
         in common goes, and words that no picture shows fade.
      2. k groups are found by k-means and the axes made such that the scatter within groups is round (its covariance
         shrunk by .3 towards a sphere), four times over.
      3. Where there are fewer words than groups: one proxy word is learnt for every group, from the group's mean image
         moved to where the words are; its prompt joins the words, and 1 and 2 are done again.

    An image not seen before needs nothing but the product with this matrix. drawn: see `clustering.cluster`.

    Raises ValueError for words that are all the same to the encoder.
    """
    images = np.asarray(embeddings)
    texts = word_embeddings(clip, aspect).astype(np.float64)
    projection = _project(texts, images, k, seed, clip.temperature_scale, drawn)
    if len(texts) < k:
        labels = cluster(Product(images, projection), k, seed, drawn).labels
        targets = group_targets(texts, images, labels, clip.temperature_scale)
        # A block of its own: the groups are few, and do not depend on the shape that images are computed in.
        config = dataclasses.replace(config or ProxyConfig(), block_size=-(-k // 8) * 8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said when the words were first checked
            learnt = fit_proxies(clip, targets, aspect, contrast, config).prompt_embeddings
        projection = _project(np.concatenate([texts, learnt]), images, k, seed, clip.temperature_scale, drawn)
    return projection


def word_axes(texts: np.ndarray, images: np.ndarray, scale: float, power: float = POWER) -> np.ndarray:
    """Axes [embed, axes] of the words' prompts `texts` [words, embed], each word weighed by its share of the images."""
    share = word_shares(texts, images, scale)
    _, lengths, axes = np.linalg.svd((texts - share @ texts) * share[:, None] ** power, full_matrices=False)
    if not lengths[0] > 1e-6:
        raise ValueError("the words are all the same to this encoder: give others, or features 'proxy'")
    kept = lengths > 1e-4 * lengths[0]
    return axes[kept].T * lengths[kept]


def word_shares(texts: np.ndarray, images: np.ndarray, scale: float) -> np.ndarray:
    """p_w: mean zero-shot probability of every word over the images, [words]."""
    similar = Product(images, scale * texts.T)
    return sum(softmax(part, axis=1).sum(0) for _, part in walk(similar)) / len(images)


def whitening(rows, k: int, seed: int, drawn: np.ndarray | None = None) -> np.ndarray:
    """The matrix [d, d] after which the scatter within k groups of `rows` [images, d] is round."""
    width = len(rows[:1][0])
    matrix, total = np.eye(width), np.trace(scatter(rows, np.zeros(len(rows), np.int64), 1))
    for _ in range(ROUNDS):
        covariance = scatter(rows, cluster(Product(rows, matrix), k, seed, drawn).labels, k)
        within = np.trace(covariance)
        if within <= 1e-9 * total:  # nothing left within the groups
            break
        values, vectors = np.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * within / width * np.eye(width))
        matrix = vectors / np.sqrt(values)
    return matrix


def scatter(rows, labels: np.ndarray, k: int) -> np.ndarray:
    """Covariance [d, d] of rows [images, d] around the means of their k groups."""
    means = group_means(rows, labels, k)
    rests = (part - means[labels[whole]] for whole, part in walk(rows))
    return sum(rest.T @ rest for rest in rests) / len(rows)


def group_targets(texts: np.ndarray, images: np.ndarray, labels: np.ndarray, scale: float) -> np.ndarray:
    """Unit rows [groups, embed] for proxies to be fitted to: the groups' mean images where the words' prompts are.

    Means are taken from the mean image to the words' centre and spread as widely as the words are.
    """
    share = word_shares(texts, images, scale)
    middle = share @ texts
    labels, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    means = group_means(images, labels, len(counts)) - images.mean(0, dtype=np.float64)
    sizes = counts / len(labels)
    spread, found = share @ np.square(texts - middle).sum(1), sizes @ np.square(means).sum(1)
    targets = middle + np.sqrt(spread / max(found, 1e-12)) * means
    return (targets / np.linalg.norm(targets, axis=1, keepdims=True)).astype(np.float32)


def _project(texts: np.ndarray, images: np.ndarray, k: int, seed: int, scale: float, drawn) -> np.ndarray:
    axes = word_axes(texts, images, scale)
    return axes @ whitening(Product(images, axes), k, seed, drawn)
