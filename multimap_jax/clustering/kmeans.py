"""From rows to groups, on the host: k-means, the nearest centre and how sure it is, which groups would become one.

Rows are what `rows` says, and are walked in parts.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

from multimap_jax.arrays.rows import take_rows, walk

MOST_MERGED = 500  # groups of which is told which would become one


@dataclasses.dataclass(frozen=True)
class Clustering:
    """What k-means finds.

    Attributes:
      labels: int [images], 0…k-1, the largest group first.
      centroids: float64 [k, d].
      distances, confidences: float64 [images], see `nearest`.
      spread: of the groups, see `nearest`.
      inertia: the sum of squared distances of the images that centroids were found on.
    """

    labels: np.ndarray
    centroids: np.ndarray
    distances: np.ndarray
    confidences: np.ndarray
    spread: float
    inertia: float


def cluster(
    rows, k: int, seed: int = 0, drawn: np.ndarray | None = None, begin: np.ndarray | None = None
) -> Clustering:
    """k-means (k-means++, best of 10 starts) on rows [images, d]; ValueError for more groups than images.

    drawn: indices of the images that the centroids are found on, None for all (see `sample_indices`); all images go to
    the nearest one, so that the cost of k-means ends growing. Its agreement with k-means on all is in
    experiments/RESULTS.md.
    begin: groups [images] to start from instead, where all k of them hold images.
    """
    from sklearn.cluster import KMeans

    check_clusters(k, len(rows))
    start: dict = {"init": "k-means++", "n_init": 10}
    if begin is not None and len(np.unique(begin)) == k:
        start = {"init": cluster_means(rows, begin, k), "n_init": 1}
    looked = take_rows(rows, drawn)
    kmeans = KMeans(k, **start, random_state=seed).fit(looked)
    centroids, inertia = kmeans.cluster_centers_, float(kmeans.inertia_)
    spread = inertia / len(looked) / looked.shape[1] ** 0.25
    labels, distances, confidences = nearest(rows, centroids, spread)
    sizes = np.bincount(labels, minlength=k)
    if not sizes.all():
        warnings.warn(
            f"only {np.count_nonzero(sizes)} of {k} groups hold images: the images are too alike", stacklevel=2
        )
    order = np.argsort(-sizes, kind="stable")
    return Clustering(np.argsort(order)[labels], centroids[order], distances, confidences, spread, inertia)


def check_clusters(k: int, images: int) -> None:
    if not 1 <= k <= images:
        noun = "image" if images == 1 else "images"
        raise ValueError(f"{k} groups asked for among {images} {noun}, expected 1 to {images}")


def nearest(rows, centroids: np.ndarray, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(index of the nearest centre int [images], Euclidean distance to it [images], confidence [images], 1/k … 1).

    Confidence is how probable the nearest group is where groups are round, alike and equally frequent: the softmax of
    −distance² / (2 spread). As spread `cluster` takes the mean squared distance over the fourth root of the number of
    dimensions: over all of them it would be the groups' variance if what they hold were independent, and far too sure.
    The power was chosen for calibration on drawn scenes; how well it does is in experiments/results/number.md.

    Differences are summed row by row, so that an image's answer cannot depend on which images come with it.
    """
    labels, distances, confidences = np.empty(len(rows), np.int64), np.empty(len(rows)), np.empty(len(rows))
    step = max(1, 2**20 // centroids.size)  # differences of about 8 MB at once stay in the cache
    for whole, part in walk(rows):
        for begin in range(0, len(part), step):
            some = np.linalg.norm(centroids - part[begin : begin + step, None], axis=2)
            here = slice(whole.start + begin, whole.start + begin + len(some))
            labels[here], distances[here] = some.argmin(1), some.min(1)
            # Sorted, so that the sum has the same bits in whatever order the centroids come.
            farther = np.sort(np.square(some) - np.square(distances[here, None]), axis=1)
            confidences[here] = 1 / np.exp(-farther / max(2 * spread, 1e-12)).sum(1)
    return labels, distances, confidences


def leftover_threshold(confidences: np.ndarray, distances: np.ndarray, share: float) -> tuple[float, float]:
    """(confidence, distance) of the surest image that is left out where this share of them is, the least sure ones and
    of those the farthest; (-1, 0) where none is."""
    count = int(share * len(confidences))
    if not count:
        return -1.0, 0.0
    last = np.lexsort((-distances, confidences))[count - 1]
    return float(confidences[last]), float(distances[last])


def is_leftover(confidences: np.ndarray, distances: np.ndarray, least: tuple[float, float]) -> np.ndarray:
    """Images that are no surer than `leftover_threshold`, bool [images]."""
    confidence, distance = least
    return (confidences < confidence) | ((confidences == confidence) & (distances >= distance))


def nearest_by_product(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """As the first of `nearest`, by one matrix product."""
    return (np.square(centroids).sum(1) - 2 * rows @ centroids.T).argmin(1)


def principal_axes(rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """(orthonormal axes [d, n], standard deviations along them [n]) of rows [images, d], the longest `most` of them."""
    values, axes = np.linalg.eigh(np.cov(rows.T, bias=True).reshape(rows.shape[1], -1))
    return axes[:, ::-1][:, :most], np.sqrt(np.maximum(values[::-1][:most], 0))


def members(labels: np.ndarray, distances: np.ndarray, k: int) -> list[np.ndarray]:
    """The images of each of k groups, the nearest to its centre first, those of equal distance as they come.

    labels, distances: [images]; images with label -1 are in no group.
    """
    order = np.lexsort((distances, labels))
    order = order[labels[order] >= 0]
    return np.split(order, np.cumsum(np.bincount(labels[order], minlength=k))[:-1])


def cluster_means(rows, labels: np.ndarray, k: int) -> np.ndarray:
    """Means of the rows [images, d] of each of k groups, float64 [k, d]; 0 where a group is empty."""
    totals: np.ndarray | float = 0.0
    for whole, part in walk(rows):
        own = labels[whole]
        totals = totals + np.stack([part[own == label].sum(0, dtype=np.float64) for label in range(k)])
    return totals / np.maximum(np.bincount(labels, minlength=k), 1)[:, None]


def merge_order(centroids: np.ndarray, sizes: np.ndarray) -> list[tuple[tuple[int, ...], tuple[int, ...], float]]:
    """Which of k groups would become one, the first first, until one is left: (groups, other groups, the inertia that
    this adds as a share of all that lies between the k centroids), by Ward's rule (1963); [] for over MERGED groups, of
    which nobody looks at all."""
    if len(centroids) > MOST_MERGED:
        return []
    centroids, sizes = np.array(centroids, np.float64), np.maximum(sizes, 1e-9)
    whole = max(sizes @ np.square(centroids - sizes @ centroids / sizes.sum()).sum(1), 1e-300)
    held, found = {i: (i,) for i in range(len(centroids))}, []

    def costs(i: int) -> np.ndarray:
        costs = np.square(centroids - centroids[i]).sum(1) * sizes * sizes[i] / (sizes + sizes[i])
        return np.where([j in held and j != i for j in range(len(centroids))], costs, np.inf)

    table = np.stack([costs(i) for i in range(len(centroids))])
    while len(held) > 1:
        i, j = sorted(divmod(int(table.argmin()), len(centroids)))
        found.append((held[i], held[j], float(table[i, j] / whole)))
        centroids[i] = (sizes[i] * centroids[i] + sizes[j] * centroids[j]) / (sizes[i] + sizes[j])
        sizes[i] += sizes[j]
        held[i] = (*held[i], *held.pop(j))
        table[j] = table[:, j] = np.inf
        table[i] = table[:, i] = costs(i)
    return found
