"""Two coordinates of every image, for maps: the first two principal axes of the rows that k-means runs on."""

from __future__ import annotations

import numpy as np

from multimap_jax.arrays.rows import take_rows, walk
from multimap_jax.clustering.kmeans import principal_axes

SAMPLE_ROWS = 20_000  # that the axes are computed from, at most


def first_axes(rows) -> tuple[np.ndarray, np.ndarray]:
    """(mean [d], axes [d, 2]) of rows [images, d] as in `arrays.rows`; a missing second axis is zero.

    The largest entry of each axis is positive, so that a map looks the same each time.
    """
    step = max(1, -(-len(rows) // SAMPLE_ROWS))
    sample = take_rows(rows, np.arange(0, len(rows), step))
    mean = sample.mean(0)
    axes, found = np.zeros((len(mean), 2)), principal_axes(sample, 2)[0]
    signs = np.sign(np.take_along_axis(found, np.abs(found).argmax(0)[None], 0))
    axes[:, : found.shape[1]] = found * signs
    return mean, axes


def coordinates(rows, indices: np.ndarray | None = None) -> np.ndarray:
    """Coordinates of all rows, or of those at `indices`, float64 [images, 2]."""
    mean, axes = first_axes(rows)
    if indices is not None:
        return (take_rows(rows, indices) - mean) @ axes if len(indices) else np.zeros((0, 2))
    return np.concatenate([(np.asarray(batch, np.float64) - mean) @ axes for _, batch in walk(rows)])
