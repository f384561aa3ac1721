"""How many groups: as many as are found again in other images, and not far from as many as words are picked."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from multimap_jax.arrays.rows import take_rows
from multimap_jax.arrays.sampling import sample_indices
from multimap_jax.clustering.kmeans import nearest_by_product, principal_axes

# Images that are looked at, halvings of them, the most groups, and axes of their rows at most.
IMAGES, HALVINGS, MOST, AXES = 2000, 10, 60, 32
# What strength a factor of e between the groups and the words is worth. Without words: the strength that groups need;
# and in how many numbers one after the other it is less than WEAK where the search ends.
STRAY, STRONG, WEAK, WEAK_IN_A_ROW = 0.3, 0.8, 0.5, 15


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A number of groups.

    Attributes:
      groups: the number. strength: the prediction strength of Tibshirani and Walther (2005), 0 … 1, see
        `select_n_clusters`.
      smallest: the share of images in the smallest group. inertia: as a share of that of one group.
      score: what numbers are compared by.
    """

    groups: int
    strength: float
    smallest: float
    inertia: float
    score: float


def select_n_clusters(rows, words: float = 0.0, names: Sequence | None = None) -> list[Candidate]:
    """Candidates for the number of groups in rows [images, d], the best first.

    Strength: images are halved; k-means of either half puts the other half's images into its groups; of the pairs of
    images that are together in a group of the other half's own k-means, the share that stay together, in the group that
    does worst; the mean over both ways and ten halvings. One group has strength 1. Groups that are too many come apart.
    That they are too few strength cannot see (Ben-David, von Luxburg and Pál, 2006), so it is weighed:

      * where there are words, against the distance from `words`, how many of them images pick: the score is strength −
        0.3 |log(groups / words)|, and one group may win. The 0.3 was chosen on drawn scenes (experiments/number.py).
      * where there are none (0), the largest number wins whose strength is .8 or more, else one group.

    2,000 images are looked at at most: of `names` (None: of their numbers) those with the lowest hashes, whatever the
    seed of anything else, so that each run finds the same number.
    """
    rows = _sampled_axes(rows, names)[0]
    whole = np.square(rows - rows.mean(0)).sum()
    halves, found, weak_in_a_row = _halves(len(rows)), [_candidate(1, 1.0, 1.0, 1.0, words)], 0
    most = min(MOST, max(12, round(2 * words)) if words else MOST, len(rows) // 5)
    with _many_small_fits() as fits:
        for k in range(2, most + 1):
            (labels, centroids), *again = fits(rows, [slice(None), *halves], k)
            inertia = np.square(rows - centroids[labels]).sum() / max(whole, 1e-300)
            smallest = np.bincount(labels, minlength=k).min() / len(rows)
            strength = _strength_of(rows, halves, again, k)
            found.append(_candidate(k, strength, smallest, inertia, words))
            weak_in_a_row = weak_in_a_row + 1 if strength < WEAK and k > words else 0
            if weak_in_a_row == WEAK_IN_A_ROW:
                break
    return sorted(found, key=lambda each: (-each.score, -each.groups))


def stability(rows, labels: np.ndarray, k: int, names: Sequence | None = None) -> np.ndarray:
    """How well each of k groups of rows [images, d] is found again where k-means sees only half of the images: the mean
    over the halves of `select_n_clusters` of its Jaccard index with the group that is most like it, [k], 0 … 1.

    Below .6 a group is not to be relied upon (Hennig, 2007).
    """
    rows, which = _sampled_axes(rows, names)
    labels, totals = labels[which], np.zeros(k)
    halves = [half for half in _halves(len(rows)) if len(half) >= k]
    with _many_small_fits() as fits:
        found = fits(rows, halves, k)
    for _, centroids in found:
        table = _contingency(labels, nearest_by_product(rows, centroids), k)
        either = table.sum(1)[:, None] + table.sum(0) - table
        totals += (table / np.maximum(either, 1)).max(1)
    return totals / max(len(halves), 1)


def _sampled_axes(rows, names: Sequence | None) -> tuple[np.ndarray, np.ndarray]:
    """(rows of some images along their longest axes, which images these are)."""
    which = sample_indices(range(len(rows)) if names is None else names, 0, IMAGES)
    which = np.arange(len(rows)) if which is None else which
    rows = take_rows(rows, which)
    if rows.shape[1] > AXES:
        rows = (rows - rows.mean(0)) @ principal_axes(rows, AXES)[0]
    return rows, which


def _halves(images: int) -> list[np.ndarray]:
    """Of ten halvings, one half after the other."""
    random = np.random.default_rng(0)
    return [half for _ in range(HALVINGS) for half in np.array_split(random.permutation(images), 2)]


@contextlib.contextmanager
def _many_small_fits() -> Iterator[Callable]:
    """k-means of each of some parts of rows, each on one core and as many at once as there are cores."""
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # of fewer different images than groups
        yield lambda rows, parts, k: list(pool.map(lambda part: _groups(rows[part], k), parts))


def _candidate(k: int, strength: float, smallest: float, inertia: float, words: float) -> Candidate:
    if words:
        score = strength - STRAY * abs(np.log(k / words))
    else:  # those that are strong by their number, then the others by their strength
        score = k if strength >= STRONG else strength
    return Candidate(k, strength, float(smallest), float(inertia), float(score))


def _groups(rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.cluster import KMeans

    kmeans = KMeans(k, n_init=2, random_state=0).fit(rows)
    return kmeans.labels_, kmeans.cluster_centers_


def _strength_of(rows: np.ndarray, halves: Sequence[np.ndarray], fits: Sequence[tuple], k: int) -> float:
    """The mean strength over `_halves`, each beside its other one. fits: their labels and centroids."""
    others = (nearest_by_product(rows[half], fits[own ^ 1][1]) for own, half in enumerate(halves))
    return float(np.mean([_strength(labels, given, k) for (labels, _), given in zip(fits, others)]))


def _contingency(own: np.ndarray, given: np.ndarray, k: int) -> np.ndarray:
    """How many images are in each of k own groups and each of k given ones, float64 [k, k]."""
    table = np.zeros((k, k))
    np.add.at(table, (own, given), 1)
    return table


def _strength(own: np.ndarray, given: np.ndarray, k: int) -> float:
    """Of pairs of images together in `own` groups the share that are together in the `given` ones, in the worst group.

    0 where a group has no pairs.
    """
    table = _contingency(own, given, k)
    sizes = table.sum(1)
    together = (table * (table - 1)).sum(1) / np.maximum(sizes * (sizes - 1), 1)
    return float(together.min())
