"""Features of images that nothing was trained for: colours and edges."""

from __future__ import annotations

import numpy as np


def colours(images: np.ndarray, bins: int = 8) -> np.ndarray:
    """Histograms of hue (of saturated pixels the more), saturation and value, float32 [images, 3 · bins]."""
    from skimage.color import rgb2hsv

    def histogram(image: np.ndarray) -> np.ndarray:
        hue, saturation, value = rgb2hsv(image).reshape(-1, 3).T
        counted = [(hue, saturation), (saturation, None), (value, None)]
        return np.concatenate([np.histogram(each, bins, (0, 1), weights=by)[0] for each, by in counted])

    return (np.stack([histogram(image) for image in images]) / images[0, ..., 0].size).astype(np.float32)


def edges(images: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients on a grid of 4 × 4, 8 directions each, float32 [images, 128]."""
    from skimage.feature import hog

    cell = images.shape[1] // 4
    return np.stack(
        [hog(image, 8, (cell, cell), (1, 1), channel_axis=-1, feature_vector=True) for image in images]
    ).astype(np.float32)
