"""From rows to groups, on the host: k-means, the nearest centre, what lies far from every centre.

Rows are what `rows` says, and are walked in parts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Sequence

import numpy as np

from multimap_jax.rows import PART, take, walk

# Rows that k-means looks at; the rest only go to the nearest centre. experiments/results/scaling_cpu compares a tenth
# of the rows with all of them.
SAMPLE = 100_000


@dataclasses.dataclass(frozen=True)
class Groups:
    """labels int [images], 0…k-1, the largest group first; centres float64 [k, d]; distances float64 [images], each
    to the own centre."""

    labels: np.ndarray
    centres: np.ndarray
    distances: np.ndarray


def cluster(rows, k: int, seed: int = 0, drawn: np.ndarray | None = None, begin: np.ndarray | None = None) -> Groups:
    """k-means (k-means++, best of 10 starts) on rows [images, d]; ValueError for more groups than images.

    drawn: indices of the images that the centres are found on, None for all (see `draw`); all images go to the nearest
    one: so the cost of k-means ends growing. Its agreement with k-means on all is in experiments/RESULTS.md.
    begin: groups [images] to start from instead, where all k of them hold images.
    """
    from sklearn.cluster import KMeans

    check_clusters(k, len(rows))
    start: dict = {"init": "k-means++", "n_init": 10}
    if begin is not None and len(np.unique(begin)) == k:
        start = {"init": group_means(rows, begin, k), "n_init": 1}
    kmeans = KMeans(k, **start, random_state=seed)
    centres = kmeans.fit(take(rows, drawn)).cluster_centers_
    labels, distances = nearest(rows, centres)
    sizes = np.bincount(labels, minlength=k)
    if not sizes.all():
        warnings.warn(
            f"only {np.count_nonzero(sizes)} of {k} groups hold images: the images are too alike", stacklevel=2
        )
    order = np.argsort(-sizes, kind="stable")
    return Groups(np.argsort(order)[labels], centres[order], distances)


def draw(names: Sequence, seed: int, sample: int = SAMPLE) -> np.ndarray | None:
    """Indices of the `sample` images whose (seed, name) have the lowest hashes, in order; None where there are no more.

    So an image is drawn or not whatever comes with it, but for those at the edge.
    """
    if len(names) <= sample:
        return None
    hashes = np.empty(len(names), ">u8")
    for begin in range(0, len(names), PART):
        texts = (f"{seed} {name}".encode("utf-8", "replace") for name in names[begin : begin + PART])
        digests = b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts)
        hashes[begin : begin + PART] = np.frombuffer(digests, ">u8")
    return np.sort(np.argsort(hashes, kind="stable")[:sample])


def sampled(rows, names: Sequence | None, seed: int, sample: int) -> tuple:
    """(rows [n, d], their names) of the images that `draw` draws, or all as they are; names None: their numbers.

    Of what was drawn the same are drawn again: a smaller sample of a sample is that of all.
    """
    names = range(len(rows)) if names is None else names
    drawn = draw(names, seed, sample)
    return (rows, names) if drawn is None else (rows[drawn], [names[i] for i in drawn.tolist()])


def check_clusters(k: int, images: int) -> None:
    if not 1 <= k <= images:
        noun = "image" if images == 1 else "images"
        raise ValueError(f"{k} groups asked for among {images} {noun}, expected 1 to {images}")


def nearest(rows, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index of the nearest centre int [images], Euclidean distance to it [images]).

    Differences are summed row by row, so that an image's answer cannot depend on which images come with it.
    """
    labels, distances = np.empty(len(rows), np.int64), np.empty(len(rows))
    step = max(1, 2**20 // centres.size)  # differences of about 8 MB at once stay in the cache
    for whole, part in walk(rows):
        for begin in range(0, len(part), step):
            some = np.linalg.norm(centres - part[begin : begin + step, None], axis=2)
            here = slice(whole.start + begin, whole.start + begin + len(some))
            labels[here], distances[here] = some.argmin(1), some.min(1)
    return labels, distances


def group_means(rows, labels: np.ndarray, k: int) -> np.ndarray:
    """Means of the rows [images, d] of each of k groups, float64 [k, d]; 0 where a group is empty."""
    totals: np.ndarray | float = 0.0
    for whole, part in walk(rows):
        own = labels[whole]
        totals = totals + np.stack([part[own == label].sum(0, dtype=np.float64) for label in range(k)])
    return totals / np.maximum(np.bincount(labels, minlength=k), 1)[:, None]


def fences(distances: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """How far from its centre an image of each of k groups may lie and belong to it, [k]; infinity for empty ones.

    Tukey's far-out fence: three interquartile ranges above the upper quartile of the group.
    """
    found = np.full(k, np.inf)
    for label in np.unique(labels):
        low, high = np.quantile(distances[labels == label], [0.25, 0.75])
        found[label] = high + 3 * (high - low) + 1e-6 * (1 + high)
    return found


def outliers(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images far from the centre of their own group, bool [images]."""
    return distances > fences(distances, labels, labels.max(initial=0) + 1)[labels]
