"""Model selection: a number of clusters that is stable on other images, near the number of words that match images."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from multimap_jax.arrays.rows import Rows, take_rows
from multimap_jax.arrays.sampling import sample_indices
from multimap_jax.clustering.kmeans import nearest_by_product, principal_axes

SELECTION_IMAGES = 2000  # maximum number of images that clusters are compared on
HALVINGS = 10  # random splits of these images into halves
MAX_CLUSTERS = 60
MAX_AXES = 32  # maximum number of principal axes of the rows
# Penalty, in strength, for a factor of e between the numbers of clusters and words. Chosen on drawn scenes
# (experiments/calibration/model_selection.py).
WORD_PENALTY = 0.3
STRONG = 0.8  # strength that clusters need if there are no words (Tibshirani and Walther, 2005: .8 to .9)
WEAK = 0.5  # the search ends after WEAK_IN_A_ROW consecutive numbers with a strength below this
WEAK_IN_A_ROW = 15


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A candidate for the number of clusters.

    Attributes:
      groups: the number. strength: the prediction strength of Tibshirani and Walther (2005), 0 … 1, see
        `select_n_clusters`.
      smallest: the share of images in the smallest cluster. inertia: as a share of the inertia of one cluster.
      score: ranks the candidates.
    """

    groups: int
    strength: float
    smallest: float
    inertia: float
    score: float


def select_n_clusters(rows: Rows, words: float = 0.0, names: Sequence | None = None) -> list[Candidate]:
    """Candidates for the number of clusters in rows [images, d], the best first.

    Strength: the images are split into halves, and k-means runs on each. The clusters of one half are used to assign
    the images of the other. Strength is the share of image pairs in one cluster of the other half's own k-means that
    stay together, in the worst cluster, averaged over both directions and ten splits. One cluster has strength 1. Too
    many clusters are unstable, but strength cannot show that there are too few (Ben-David, von Luxburg and Pál, 2006).
    So the score also uses:

      * with words: `words`, the number of words that match images. The score is strength − 0.3 |log(clusters / words)|,
        and one cluster may win.
      * without words (0): the size. The largest number with a strength of .8 or more wins, otherwise one cluster.

    Uses at most 2,000 images: those with the lowest hashes of `names` (None: of row numbers), whatever the seed, so
    that each run finds the same number.
    """
    drawn = _sampled_axes(rows, names)[0]
    total = np.square(drawn - drawn.mean(0)).sum()
    halves, candidates, weak_in_a_row = _halves(len(drawn)), [_candidate(1, 1.0, 1.0, 1.0, words)], 0
    most = min(MAX_CLUSTERS, max(12, round(2 * words)) if words else MAX_CLUSTERS, len(drawn) // 5)
    with _many_small_fits() as fits:
        for k in range(2, most + 1):
            (labels, centroids), *again = fits(drawn, [slice(None), *halves], k)
            inertia = np.square(drawn - centroids[labels]).sum() / max(total, 1e-300)
            smallest = np.bincount(labels, minlength=k).min() / len(drawn)
            # Each half's own clusters, compared with its assignment by the other half's k-means.
            given = (nearest_by_product(drawn[half], again[i ^ 1][1]) for i, half in enumerate(halves))
            strength = float(np.mean([_strength(own, other, k) for (own, _), other in zip(again, given)]))
            candidates.append(_candidate(k, strength, smallest, inertia, words))
            weak_in_a_row = weak_in_a_row + 1 if strength < WEAK and k > words else 0
            if weak_in_a_row == WEAK_IN_A_ROW:
                break
    return sorted(candidates, key=lambda candidate: (-candidate.score, -candidate.groups))


def stability(rows: Rows, labels: np.ndarray, k: int, names: Sequence | None = None) -> np.ndarray:
    """The stability of each of k clusters of rows [images, d], [k], 0 … 1: the mean Jaccard index with the most similar
    cluster of k-means on half of the images, over the halves of `select_n_clusters`.

    A cluster below .6 is unreliable (Hennig, 2007).
    """
    drawn, which = _sampled_axes(rows, names)
    labels, totals = labels[which], np.zeros(k)
    halves = [half for half in _halves(len(drawn)) if len(half) >= k]
    with _many_small_fits() as fits:
        found = fits(drawn, halves, k)
    for _, centroids in found:
        table = _contingency(labels, nearest_by_product(drawn, centroids), k)
        union = table.sum(1)[:, None] + table.sum(0) - table
        totals += (table / np.maximum(union, 1)).max(1)
    return totals / max(len(halves), 1)


def _sampled_axes(rows: Rows, names: Sequence | None) -> tuple[np.ndarray, np.ndarray]:
    """(rows of a sample of images along their principal axes, the indices of these images)."""
    which = sample_indices(range(len(rows)) if names is None else names, 0, SELECTION_IMAGES)
    which = np.arange(len(rows)) if which is None else which
    drawn = take_rows(rows, which)
    if drawn.shape[1] > MAX_AXES:
        drawn = (drawn - drawn.mean(0)) @ principal_axes(drawn, MAX_AXES)[0]
    return drawn, which


def _halves(images: int) -> list[np.ndarray]:
    """The indices of both halves of each split, one half after the other."""
    random = np.random.default_rng(0)
    return [half for _ in range(HALVINGS) for half in np.array_split(random.permutation(images), 2)]


@contextlib.contextmanager
def _many_small_fits() -> Iterator[Callable]:
    """A function that runs k-means on subsets of rows in parallel, each on one core."""
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # about fewer distinct images than clusters
        yield lambda rows, subsets, k: list(pool.map(lambda subset: _fit(rows[subset], k), subsets))


def _candidate(k: int, strength: float, smallest: float, inertia: float, words: float) -> Candidate:
    if words:
        score = strength - WORD_PENALTY * abs(np.log(k / words))
    else:  # rank strong candidates by their number, then weak ones by their strength
        score = k if strength >= STRONG else strength
    return Candidate(k, strength, float(smallest), float(inertia), float(score))


def _fit(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.cluster import KMeans

    kmeans = KMeans(k, n_init=2, random_state=0).fit(rows)
    return kmeans.labels_, kmeans.cluster_centers_


def _contingency(labels: np.ndarray, given: np.ndarray, k: int) -> np.ndarray:
    """The number of images with each pair of `labels` and `given` labels, float64 [k, k]."""
    table = np.zeros((k, k))
    np.add.at(table, (labels, given), 1)
    return table


def _strength(labels: np.ndarray, given: np.ndarray, k: int) -> float:
    """The share of image pairs in a cluster of `labels` that have the same `given` label, for the worst cluster; 0 for
    a cluster without pairs."""
    table = _contingency(labels, given, k)
    sizes = table.sum(1)
    together = (table * (table - 1)).sum(1) / np.maximum(sizes * (sizes - 1), 1)
    return float(together.min())
