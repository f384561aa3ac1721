"""Features of the default recipe: images in the span of the words, every direction as wide as it is telling."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from multimap_jax.clip.model import Clip
from multimap_jax.clustering import cluster, project
from multimap_jax.prompts import Aspect, word_embeddings
from multimap_jax.proxies import fit_proxies
from multimap_jax.recipes import ProxyConfig

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

    An image not seen before needs nothing but the product with this matrix.

    Raises ValueError for fewer than two words, for words that are all the same to the encoder, and under the released
    recipe, whose prompts are not in the space of the images.
    """
    check_span(aspect, config)
    images = np.asarray(embeddings)
    texts = word_embeddings(clip, aspect).astype(np.float64)
    projection = _project(texts, images, k, seed, clip.temperature_scale)
    if len(texts) < k:
        labels = cluster(project(images, projection), k, seed).labels
        targets = group_targets(texts, images, labels, clip.temperature_scale)
        # A block of its own: the groups are few, and do not depend on the shape that images are computed in.
        config = dataclasses.replace(config or ProxyConfig(), block_size=-(-k // 8) * 8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said when the words were first checked
            learnt = fit_proxies(clip, targets, aspect, contrast, config).prompt_embeddings
        projection = _project(np.concatenate([texts, learnt]), images, k, seed, clip.temperature_scale)
    return projection


def check_span(aspect: Aspect, config: ProxyConfig | None) -> None:
    if len(aspect.words) < 2:
        raise ValueError(
            f"features 'span' need two words or more, aspect {aspect.name!r} has {len(aspect.words)}: give words, or "
            "features 'proxy'"
        )
    if config is not None and config.recipe == "released":
        raise ValueError("features 'span' do not go with the released recipe: use 'proxy', or another recipe")


def word_axes(texts: np.ndarray, images: np.ndarray, scale: float, power: float = POWER) -> np.ndarray:
    """Axes [embed, axes] of the words' prompts `texts` [words, embed], each word weighed by its share of the images."""
    share = shares(texts, images, scale)
    _, lengths, axes = np.linalg.svd((texts - share @ texts) * share[:, None] ** power, full_matrices=False)
    if not lengths[0] > 1e-6:
        raise ValueError("the words are all the same to this encoder: give others, or features 'proxy'")
    kept = lengths > 1e-4 * lengths[0]
    return axes[kept].T * lengths[kept]


def shares(texts: np.ndarray, images: np.ndarray, scale: float) -> np.ndarray:
    """Mean zero-shot probability of every word over the images, [words]."""
    return softmax(project(images, scale * texts.T), axis=1).mean(0)


def whitening(features: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The matrix [d, d] after which the scatter within k groups of `features` [images, d] is round."""
    width, matrix = features.shape[1], np.eye(features.shape[1])
    total = np.var(features, axis=0).sum()
    for _ in range(ROUNDS):
        labels = cluster(features @ matrix, k, seed).labels
        rest = features - group_means(features, labels)[np.unique(labels, return_inverse=True)[1]]
        covariance = rest.T @ rest / len(rest)
        within = np.trace(covariance)
        if within <= 1e-9 * total:  # nothing left within the groups
            break
        values, vectors = np.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * within / width * np.eye(width))
        matrix = vectors / np.sqrt(values)
    return matrix


def group_means(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Means of the rows of each group that has any, [groups, d]."""
    return np.stack([rows[labels == label].mean(0, dtype=np.float64) for label in np.unique(labels)])


def group_targets(texts: np.ndarray, images: np.ndarray, labels: np.ndarray, scale: float) -> np.ndarray:
    """Unit rows [groups, embed] for proxies to be fitted to: the groups' mean images where the words' prompts are.

    Means are taken from the mean image to the words' centre and spread as widely as the words are.
    """
    share = shares(texts, images, scale)
    middle = share @ texts
    means = group_means(images, labels) - images.mean(0, dtype=np.float64)
    sizes = np.unique(labels, return_counts=True)[1] / len(labels)
    spread, found = share @ np.square(texts - middle).sum(1), sizes @ np.square(means).sum(1)
    targets = middle + np.sqrt(spread / max(found, 1e-12)) * means
    return (targets / np.linalg.norm(targets, axis=1, keepdims=True)).astype(np.float32)


def _project(texts: np.ndarray, images: np.ndarray, k: int, seed: int, scale: float) -> np.ndarray:
    axes = word_axes(texts, images, scale)
    return axes @ whitening(project(images, axes), k, seed)
