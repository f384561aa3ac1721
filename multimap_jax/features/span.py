"""Features of the default recipe: images in the span of the words, whitened within the words' clusters."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np

from multimap_jax.arrays.rows import ProjectedRows, Rows, StoredRows, mean_row, walk
from multimap_jax.clustering.kmeans import cluster, cluster_means
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.encoder import Encoder
from multimap_jax.encoders.zero_shot import RootProbabilities
from multimap_jax.errors import InputError
from multimap_jax.prompts.aspect import Aspect, word_embeddings
from multimap_jax.proxies.fit import fit_proxies
from multimap_jax.proxies.recipes import ProxyConfig


@dataclasses.dataclass(frozen=True)
class Span:
    """The fitted features.

    Attributes:
      projection: float64 [embed, axes], from image embeddings to features.
      labels: int [images], the words' clusters, from which k-means on the features starts.
    """

    projection: np.ndarray
    labels: np.ndarray


def fit_span(
    clip: Clip,
    embeddings: np.ndarray | StoredRows,
    aspect: Aspect,
    k: int,
    contrast: Sequence[str] = (),
    config: ProxyConfig | None = None,
    seed: int = 0,
    drawn: np.ndarray | None = None,
) -> Span:
    """Fits the features of the default recipe to image embeddings [images, embed].

      1. k clusters of the words: k-means on the square roots of every image's zero-shot probabilities, whose distance
         is Hellinger's.
      2. The image in the span of the words: its coordinates along the axes of the words' prompts around their centre.
      3. Whitening of these coordinates within the clusters of step 1 (Fisher's discriminant).

    With fewer words than clusters, words are learnt first: the image embeddings are whitened within the clusters of
    step 1, k-means finds k clusters in them, and one proxy word is learnt for each, from its mean image moved to the
    region of the words. Its prompt is added to the words.

    The features have no tuned number. Learning words has three (steps, rate and weight of `ProxyConfig`), chosen on
    drawn pictures. experiments/results/quality_* shows what each step contributes.

    A new image needs only the product with `projection`. drawn: see `clustering.kmeans.cluster`.

    Raises InputError if the encoder cannot distinguish the words at all.
    """
    images = embeddings if isinstance(embeddings, StoredRows) else np.asarray(embeddings)
    texts = word_embeddings(clip, aspect).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on words: shown when they were checked; on empty clusters: shown later
        axes = word_axes(texts)
        if len(texts) < k:
            labels = word_clusters(texts, images, k, clip, seed, drawn)
            labels = cluster(ProjectedRows(images, whitening(images, labels, k)), k, seed, drawn).labels
            # A block size of its own: there are few clusters, and results must not depend on the images' block size.
            config = dataclasses.replace(config or ProxyConfig(), block_size=-(-k // 8) * 8)
            targets = cluster_targets(texts, images, labels, clip)
            learnt = fit_proxies(clip, targets, aspect, contrast=contrast, config=config).prompt_embeddings
            texts = np.concatenate([texts, learnt])
            axes = word_axes(texts)
        labels = word_clusters(texts, images, k, clip, seed, drawn)
    return Span(axes @ whitening(ProjectedRows(images, axes), labels, k), labels)


def word_clusters(
    texts: np.ndarray, images: Rows, k: int, encoder: Encoder, seed: int, drawn: np.ndarray | None = None
) -> np.ndarray:
    """k clusters of images with similar word probabilities, int [images]."""
    return cluster(RootProbabilities(encoder, images, texts), k, seed, drawn).labels


def word_axes(texts: np.ndarray) -> np.ndarray:
    """Orthonormal axes [embed, axes] of the span of the words' prompts `texts` [words, embed] around their centre."""
    _, lengths, axes = np.linalg.svd(texts - texts.mean(0), full_matrices=False)
    if not lengths[0] > 1e-6:
        raise InputError(
            "this encoder gives all the words the same embedding: give other words, or use features 'proxy'", "words"
        )
    return axes[lengths > 1e-4 * lengths[0]].T


def word_shares(texts: np.ndarray, images: Rows, encoder: Encoder) -> np.ndarray:
    """The mean zero-shot probability p_w of every word over the images, [words]."""
    return sum(encoder.probabilities(rows, texts).sum(0) for _, rows in walk(images)) / len(images)


def whitening(rows: Rows, labels: np.ndarray, k: int) -> np.ndarray:
    """The matrix [d, d] that makes the covariance of rows [images, d] within their k clusters isotropic.

    The covariance is shrunk towards a sphere by the amount that Ledoit and Wolf (2004) find best for this number of
    images, so that no direction is inflated if there are few images.
    """
    means, width = cluster_means(rows, labels, k), rows.shape[1]
    covariance, fourth = np.zeros((width, width)), 0.0
    for index, batch in walk(rows):
        rest = batch - means[labels[index]]
        covariance += rest.T @ rest / len(rows)
        fourth += np.square(np.square(rest).sum(1)).sum() / len(rows)
    sphere = np.trace(covariance) / width
    if sphere <= 1e-9 * np.square(means - means.mean(0)).sum():  # no variance within the clusters
        return np.eye(width)
    off = np.square(covariance).sum() - width * sphere**2
    noise = (fourth - np.square(covariance).sum()) / len(rows)
    shrunk = min(1.0, noise / off) if off > 0 else 1.0
    values, vectors = np.linalg.eigh((1 - shrunk) * covariance + shrunk * sphere * np.eye(width))
    return vectors / np.sqrt(np.maximum(values, 1e-9 * sphere))


def cluster_targets(texts: np.ndarray, images: Rows, labels: np.ndarray, encoder: Encoder) -> np.ndarray:
    """The targets of the clusters' proxies, unit rows [clusters, embed]: mean images, moved to the words' prompts.

    The means are moved from the mean image to the words' centre, and scaled to the spread of the words.
    """
    share = word_shares(texts, images, encoder)
    middle = share @ texts
    labels, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    means = cluster_means(images, labels, len(counts)) - mean_row(images)
    sizes = counts / len(labels)
    spread, found = share @ np.square(texts - middle).sum(1), sizes @ np.square(means).sum(1)
    targets = middle + np.sqrt(spread / max(found, 1e-12)) * means
    return (targets / np.linalg.norm(targets, axis=1, keepdims=True)).astype(np.float32)
