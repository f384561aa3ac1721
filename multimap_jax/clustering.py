"""From rows to groups, on the host: k-means, the nearest centre, what lies far from every centre.

Rows are anything with a length that gives an array [part, d] for a slice or for indices: an array, or a `Product`.
They are walked in parts, so that a million of them take no more memory than they stand in already.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator

import numpy as np

# Rows that k-means looks at; the rest only go to the nearest centre. experiments/results/scaling_cpu compares a tenth
# of the rows with all of them.
SAMPLE = 100_000
# Rows taken at once, in no table. A result's bits depend on it where there are more rows, by rounding alone.
PART = 4096


@dataclasses.dataclass(frozen=True)
class Groups:
    """labels int [images], 0…k-1, the largest group first; centres float64 [k, d]; distances float64 [images], each
    to the own centre."""

    labels: np.ndarray
    centres: np.ndarray
    distances: np.ndarray


@dataclasses.dataclass(frozen=True)
class Product:
    """Rows [n, e] times a matrix [e, d], float64, computed when they are asked for and never kept."""

    rows: np.ndarray | Product
    matrix: np.ndarray

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index) -> np.ndarray:
        return np.asarray(self.rows[index], np.float64) @ self.matrix


def walk(rows) -> Iterator[tuple[slice, np.ndarray]]:
    """(which, those rows) of PART rows after PART rows."""
    for begin in range(0, len(rows), PART):
        part = slice(begin, begin + PART)
        yield part, rows[part]


def cluster(rows, k: int, seed: int = 0, sample: int = SAMPLE) -> Groups:
    """k-means (k-means++, best of 10 starts) on rows [images, d]; ValueError for more groups than images.

    Of more than `sample` images the centres are found on that many, drawn with `seed`, and all images go to the nearest
    one: so the cost of k-means ends growing. Its agreement with k-means on all is in experiments/RESULTS.md.
    """
    from sklearn.cluster import KMeans

    check_clusters(k, len(rows))
    kmeans = KMeans(k, init="k-means++", n_init=10, random_state=seed)
    centres = kmeans.fit(draw_rows(rows, sample, seed)).cluster_centers_
    labels, distances = nearest(rows, centres)
    sizes = np.bincount(labels, minlength=k)
    if not sizes.all():
        warnings.warn(
            f"only {np.count_nonzero(sizes)} of {k} groups hold images: the images are too alike", stacklevel=2
        )
    order = np.argsort(-sizes, kind="stable")
    return Groups(np.argsort(order)[labels], centres[order], distances)


def draw_rows(rows, sample: int, seed: int) -> np.ndarray:
    """All rows, or `sample` of them in their order where there are more, float64 [at most sample, d]."""
    if len(rows) <= sample:
        return np.concatenate([np.asarray(part, np.float64) for _, part in walk(rows)])
    drawn = np.sort(np.random.default_rng(seed).choice(len(rows), sample, replace=False))
    return np.concatenate([np.asarray(rows[some], np.float64) for _, some in walk(drawn)])


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


def outliers(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images far from the centre of their own group, bool [images].

    Far is Tukey's far-out fence: more than three interquartile ranges above the upper quartile of the group.
    """
    far = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = labels == label
        low, high = np.quantile(distances[members], [0.25, 0.75])
        far[members] = distances[members] > high + 3 * (high - low) + 1e-6 * (1 + high)
    return far
