"""Clusters rows on the host: k-means, nearest centroids and confidence, merge order.

Rows are as in `arrays.rows`, and are processed in batches.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from multimap_jax.arrays.rows import Rows, take_rows, walk
from multimap_jax.errors import InputError, warn

Merge = tuple[tuple[int, ...], tuple[int, ...], float]  # clusters, other clusters, added inertia; see `merge_order`

MAX_MERGED = 500  # maximum number of clusters for a merge order, whose memory grows with their square


@dataclasses.dataclass(frozen=True)
class Clustering:
    """The result of k-means.

    Attributes:
      labels: int [images], 0…k-1, the largest cluster first.
      centroids: float64 [k, d].
      distances, confidences: float64 [images], see `nearest`.
      spread: of the clusters, see `nearest`.
      inertia: the sum of squared distances, over the images that the centroids were computed from.
    """

    labels: np.ndarray
    centroids: np.ndarray
    distances: np.ndarray
    confidences: np.ndarray
    spread: float
    inertia: float


def cluster(
    rows: Rows,
    k: int,
    seed: int = 0,
    drawn: np.ndarray | None = None,
    begin: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> Clustering:
    """k-means (k-means++, best of 10 starts) on rows [images, d].

    Args:
      drawn: indices of the images that the centroids are computed from, None for all (see `sample_indices`). Every
        image is then assigned to the nearest centroid, which bounds the cost of k-means. experiments/RESULTS.md
        compares this with k-means on all images.
      begin: labels [images] to start from instead of k-means++; ignored if a cluster has no images.
      weights: how many images each row stands for, [images]; None: one each. Not together with `drawn`.

    Raises:
      InputError: more clusters than images.
    """
    from sklearn.cluster import KMeans

    check_clusters(k, len(rows))
    start: dict = {"init": "k-means++", "n_init": 10}
    if begin is not None and len(np.unique(begin)) == k:
        start = {"init": cluster_means(rows, begin, k), "n_init": 1}
    sample = take_rows(rows, drawn)
    kmeans = KMeans(k, **start, random_state=seed).fit(sample, sample_weight=weights)
    centroids, inertia = kmeans.cluster_centers_, float(kmeans.inertia_)
    spread = inertia / (len(sample) if weights is None else weights.sum()) / sample.shape[1] ** 0.25
    labels, distances, confidences = nearest(rows, centroids, spread)
    sizes = np.bincount(labels, weights, minlength=k)
    if not sizes.all():
        warn(
            f"only {np.count_nonzero(sizes)} of {k} groups have images, because the images are too similar: ask for "
            "fewer groups"
        )
    order = np.argsort(-sizes, kind="stable")
    return Clustering(np.argsort(order)[labels], centroids[order], distances, confidences, spread, inertia)


def check_clusters(k: int, images: int) -> None:
    if not 1 <= k <= images:
        noun = "image" if images == 1 else "images"
        raise InputError(f"{k} groups requested for {images} {noun}, expected 1 to {images}", "n_clusters")


def nearest(rows: Rows, centroids: np.ndarray, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(index of the nearest centroid int [images], Euclidean distance to it [images], confidence [images], 1/k … 1).

    Confidence is the probability of the nearest cluster under the assumption that clusters are isotropic, of equal
    variance and equally frequent: the softmax of −distance² / (2 spread). `cluster` sets spread to the mean squared
    distance divided by the fourth root of the number of dimensions. Division by the number itself would give the
    variance of independent dimensions, which is far overconfident. The power was chosen for calibration on drawn
    scenes; experiments/results/number.md measures it.

    Differences are summed row by row, so an image's result never depends on the other images.
    """
    labels, distances, confidences = np.empty(len(rows), np.int64), np.empty(len(rows)), np.empty(len(rows))
    step = max(1, 2**20 // centroids.size)  # differences of about 8 MB stay in the cache
    for index, batch in walk(rows):
        for begin in range(0, len(batch), step):
            apart = np.linalg.norm(centroids - batch[begin : begin + step, None], axis=2)
            here = slice(index.start + begin, index.start + begin + len(apart))
            labels[here], distances[here] = apart.argmin(1), apart.min(1)
            # Sorted, so that the sum has the same bits for any order of the centroids.
            farther = np.sort(np.square(apart) - np.square(distances[here, None]), axis=1)
            confidences[here] = 1 / np.exp(-farther / max(2 * spread, 1e-12)).sum(1)
    return labels, distances, confidences


def leftover_threshold(confidences: np.ndarray, distances: np.ndarray, share: float) -> tuple[float, float]:
    """(confidence, distance) of the last image to leave unassigned, if at most this share of the images is unassigned:
    the least confident first, and the farthest first among equals. (-1, 0) if all images are assigned."""
    count = int(share * len(confidences))
    if not count:
        return -1.0, 0.0
    values = np.stack([confidences, distances])[:, np.lexsort((-distances, confidences))[: count + 1]]
    # Equal images are left unassigned together or not at all: all images with the same answer are equal.
    ends = np.flatnonzero((np.diff(values) != 0).any(0))
    return (float(values[0, ends[-1]]), float(values[1, ends[-1]])) if len(ends) else (-1.0, 0.0)


def is_leftover(confidences: np.ndarray, distances: np.ndarray, threshold: tuple[float, float]) -> np.ndarray:
    """Whether each image is at the `leftover_threshold` or beyond it, bool [images]."""
    confidence, distance = threshold
    return (confidences < confidence) | ((confidences == confidence) & (distances >= distance))


def nearest_by_product(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Indices of the nearest centroids as in `nearest`, by one matrix product."""
    return (np.square(centroids).sum(1) - 2 * rows @ centroids.T).argmin(1)


def principal_axes(rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `most` principal axes of rows [images, d]: (orthonormal axes [d, n], standard deviations [n])."""
    values, axes = np.linalg.eigh(np.cov(rows.T, bias=True).reshape(rows.shape[1], -1))
    return axes[:, ::-1][:, :most], np.sqrt(np.maximum(values[::-1][:most], 0))


def members(labels: np.ndarray, distances: np.ndarray, k: int) -> list[np.ndarray]:
    """The images of each of k clusters, the nearest to the centroid first; ties in the original order.

    labels, distances: [images]; images with label -1 are in no cluster.
    """
    order = np.lexsort((distances, labels))
    order = order[labels[order] >= 0]
    return np.split(order, np.cumsum(np.bincount(labels[order], minlength=k))[:-1])


def cluster_means(rows: Rows, labels: np.ndarray, k: int) -> np.ndarray:
    """The mean of the rows [images, d] of each of k clusters, float64 [k, d]; 0 for an empty cluster. Images with label
    -1 are in none."""
    totals: np.ndarray | float = 0.0
    for index, batch in walk(rows):
        batch_labels = labels[index]
        totals = totals + np.stack([batch[batch_labels == label].sum(0, dtype=np.float64) for label in range(k)])
    return totals / np.maximum(np.bincount(labels[labels >= 0], minlength=k), 1)[:, None]


def merge_order(centroids: np.ndarray, sizes: np.ndarray) -> list[Merge]:
    """Ward's (1963) merges of k clusters down to one, the cheapest first: (clusters, other clusters, added inertia as a
    share of the inertia between the k centroids). [] for more than MAX_MERGED clusters."""
    if len(centroids) > MAX_MERGED:
        return []
    centroids, sizes = np.array(centroids, np.float64), np.maximum(sizes, 1e-9)
    total = max(sizes @ np.square(centroids - sizes @ centroids / sizes.sum()).sum(1), 1e-300)
    merged: dict[int, tuple[int, ...]] = {i: (i,) for i in range(len(centroids))}
    order: list[Merge] = []

    def costs(i: int) -> np.ndarray:
        costs = np.square(centroids - centroids[i]).sum(1) * sizes * sizes[i] / (sizes + sizes[i])
        return np.where([j in merged and j != i for j in range(len(centroids))], costs, np.inf)

    table = np.stack([costs(i) for i in range(len(centroids))])
    while len(merged) > 1:
        i, j = sorted(divmod(int(table.argmin()), len(centroids)))
        order.append((merged[i], merged[j], float(table[i, j] / total)))
        centroids[i] = (sizes[i] * centroids[i] + sizes[j] * centroids[j]) / (sizes[i] + sizes[j])
        sizes[i] += sizes[j]
        merged[i] = (*merged[i], *merged.pop(j))
        table[j] = table[:, j] = np.inf
        table[i] = table[:, i] = costs(i)
    return order
