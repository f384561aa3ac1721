"""Finds images that are unlike most others, whatever the aspect."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from multimap_jax.arrays.rows import Rows, take_rows, walk
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.clustering.kmeans import principal_axes

# All were chosen on drawn scenes (experiments/calibration/model_selection.py).
OUTLIER_IMAGES = 10_000  # maximum number of images that inliers are fitted on
IMAGES_PER_AXIS = 10  # images per principal axis
MAX_AXES = 64  # maximum number of principal axes
INLIER_SHARE = 0.75  # share of the images that the next round is fitted on
ROUNDS = 3  # rounds of choosing these images


@dataclasses.dataclass(frozen=True)
class Inliers:
    """The distribution of most images.

    Attributes:
      centre: float64 [embed]. axes: float64 [embed, axes], orthonormal. spread: float64 [axes], standard deviations
        along them. rest: mean and standard deviation of the length of an image's residual, off the axes.
      fence: the distance above which an image is an outlier.
    """

    centre: np.ndarray
    axes: np.ndarray
    spread: np.ndarray
    rest: tuple[float, float]
    fence: float = np.inf

    def distances(self, embeddings: Rows) -> np.ndarray:
        """Distances of image embeddings [images, embed] from the centre, [images], in standard deviations."""
        found = []
        for _, batch in walk(embeddings):
            along, rest = split_by_axes(batch, self.centre, self.axes)
            excess = np.maximum((rest - self.rest[0]) / self.rest[1], 0)
            found.append(np.sqrt(np.square(along / self.spread).sum(1) + np.square(excess)))
        return np.concatenate(found)

    def outliers(self, embeddings: Rows) -> np.ndarray:
        """Which image embeddings [images, embed] lie beyond the fence, bool [images]."""
        return self.distances(embeddings) > self.fence


def split_by_axes(rows: np.ndarray, centre: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coordinates along the axes [images, axes], length of the residual [images]) of rows, relative to the centre."""
    rows = np.asarray(rows, np.float64) - centre
    along = rows @ axes
    return along, np.sqrt(np.maximum(np.square(rows).sum(1) - np.square(along).sum(1), 0))


def fit_inliers(embeddings: Rows, names: Sequence | None = None) -> Inliers:
    """Fits inliers to image embeddings [images, embed].

    Distances are Mahalanobis distances along the principal axes, one axis per ten images, and one more for the
    residual. They are fitted on the nearest three quarters of the images, chosen three times (the concentration step of
    Rousseeuw and van Driessen, 1999), so outliers have little influence. Many near-copies of one picture may still hide
    each other. The fence is Tukey's for far-out values, three interquartile ranges above the upper quartile. With fewer
    than twenty images there are no outliers.

    Uses at most 10,000 images: those with the lowest hashes of `names` (None: of row numbers).
    """
    rows = take_rows(sample_rows(embeddings, names, 0, OUTLIER_IMAGES)[0], None)
    inlier = np.ones(len(rows), bool)
    for _ in range(ROUNDS):
        centre = rows[inlier].mean(0)
        axes, spread = principal_axes(rows[inlier], min(MAX_AXES, max(1, len(rows) // IMAGES_PER_AXIS)))
        rest, least = split_by_axes(rows[inlier], centre, axes)[1], 1e-6 * spread[0] + 1e-12
        bulk = Inliers(centre, axes, np.maximum(spread, least), (float(rest.mean()), float(max(rest.std(), least))))
        distances = bulk.distances(rows)
        inlier = distances <= np.quantile(distances, INLIER_SHARE)
    if len(rows) < 2 * IMAGES_PER_AXIS:
        return bulk
    low, high = np.quantile(distances, [0.25, 0.75])
    return dataclasses.replace(bulk, fence=float(high + 3 * (high - low) + 1e-6 * (1 + high)))
