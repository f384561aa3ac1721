"""Images that belong to no group, because they are of something else than the others: whatever the aspect."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from multimap_jax.arrays.rows import take_rows, walk
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.clustering.kmeans import principal_axes

# Images that are looked at; images to an axis, and axes at most; of the images those that shape the bulk, and how often
# they are chosen anew. Chosen on drawn scenes (experiments/number.py).
IMAGES, IMAGES_AN_AXIS, AXES, KEPT, ROUNDS = 10_000, 10, 64, 0.75, 3


@dataclasses.dataclass(frozen=True)
class Inliers:
    """What most images have in common.

    Attributes:
      centre: float64 [embed]. axes: float64 [embed, axes], orthonormal. spread: float64 [axes], standard deviations
        along them. rest: mean and standard deviation of what is left of an image beside the axes, its length.
      fence: the distance from the centre above which an image is an outlier.
    """

    centre: np.ndarray
    axes: np.ndarray
    spread: np.ndarray
    rest: tuple[float, float]
    fence: float = np.inf

    def distances(self, embeddings) -> np.ndarray:
        """Of image embeddings [images, embed] from the centre, [images], in standard deviations."""
        found = []
        for _, part in walk(embeddings):
            along, rest = split_by_axes(part, self.centre, self.axes)
            beside = np.maximum((rest - self.rest[0]) / self.rest[1], 0)
            found.append(np.sqrt(np.square(along / self.spread).sum(1) + np.square(beside)))
        return np.concatenate(found)

    def outliers(self, embeddings) -> np.ndarray:
        """Which image embeddings [images, embed] lie beyond the fence, bool [images]."""
        return self.distances(embeddings) > self.fence


def split_by_axes(rows: np.ndarray, centre: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coordinates along the axes [images, axes], length of what is left [images]) of rows from the centre."""
    rows = np.asarray(rows, np.float64) - centre
    along = rows @ axes
    return along, np.sqrt(np.maximum(np.square(rows).sum(1) - np.square(along).sum(1), 0))


def fit_inliers(embeddings, names: Sequence | None = None) -> Inliers:
    """The bulk of image embeddings [images, embed].

    Distances are Mahalanobis' along the principal axes, one to ten images, and one more for what an image has beside
    them; of the three quarters of the images that are nearest, chosen three times (the concentration step of Rousseeuw
    and van Driessen, 1999), so that outliers have little part in what they are measured by. Many that are nearly the
    same picture may still hide each other. The fence is Tukey's far-out one, three interquartile ranges above the upper
    quartile; of fewer than twenty images none is an outlier.

    10,000 images are looked at at most: of `names` (None: of their numbers) those with the lowest hashes.
    """
    rows = take_rows(sample_rows(embeddings, names, 0, IMAGES)[0], None)
    near = np.ones(len(rows), bool)
    for _ in range(ROUNDS):
        centre = rows[near].mean(0)
        axes, spread = principal_axes(rows[near], min(AXES, max(1, len(rows) // IMAGES_AN_AXIS)))
        rest, least = split_by_axes(rows[near], centre, axes)[1], 1e-6 * spread[0] + 1e-12
        bulk = Inliers(centre, axes, np.maximum(spread, least), (float(rest.mean()), float(max(rest.std(), least))))
        distances = bulk.distances(rows)
        near = distances <= np.quantile(distances, KEPT)
    if len(rows) < 2 * IMAGES_AN_AXIS:
        return bulk
    low, high = np.quantile(distances, [0.25, 0.75])
    return dataclasses.replace(bulk, fence=float(high + 3 * (high - low) + 1e-6 * (1 + high)))
