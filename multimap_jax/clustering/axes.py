"""Two coordinates of every image, for maps: the first two principal axes of the rows that k-means runs on."""

from __future__ import annotations

import numpy as np

from multimap_jax.arrays.rows import Rows, take_rows, walk
from multimap_jax.clustering.kmeans import principal_axes

AXES_ROWS = 20_000  # maximum number of rows that the axes are computed from


def coordinates(rows: Rows, indices: np.ndarray | None = None) -> np.ndarray:
    """Coordinates of all rows [images, d], or of those at `indices`, float64 [images, 2]; a missing second axis is 0.

    The largest entry of each axis is positive, so that a map looks the same each time.
    """
    sample = take_rows(rows, np.arange(0, len(rows), max(1, -(-len(rows) // AXES_ROWS))))
    mean, found = sample.mean(0), principal_axes(sample, 2)[0]
    axes = np.zeros((len(mean), 2))
    axes[:, : found.shape[1]] = found * np.sign(np.take_along_axis(found, np.abs(found).argmax(0)[None], 0))
    if indices is not None:
        return (take_rows(rows, indices) - mean) @ axes if len(indices) else np.zeros((0, 2))
    return np.concatenate([(np.asarray(batch, np.float64) - mean) @ axes for _, batch in walk(rows)])
