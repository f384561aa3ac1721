"""Are two methods different in a cell? A paired bootstrap over images, and Holm's correction over cells.

Of the images of a set RESAMPLES samples are drawn, the same ones for every method, so that differences are paired. The
spread of a difference over the samples is its standard error, with which it is compared. The mean over the samples is
no estimate: drawn with replacement, they hold fewer different images, and the fewer images there are for many groups,
the higher is NMI.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000
LEVEL = 0.05
# Standard errors that a true difference must have to be found in four cases of five at 5%.
VISIBLE = 2.8


def resample(truth: np.ndarray, labels: Sequence[np.ndarray], seed: int) -> list[float]:
    """NMI of every resample of the images, mean over labellings; `seed` says which resamples."""
    images = len(truth)
    weights = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    return np.mean([resampled_nmi(truth, each, weights) for each in labels], axis=0).round(4).tolist()


def resampled_nmi(truth: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """NMI under weights [resamples, images] that say how often each image was drawn, [resamples]."""
    rows, columns = (np.unique(values, return_inverse=True)[1] for values in (truth, labels))
    shape = rows.max() + 1, columns.max() + 1
    joint = weights @ np.eye(shape[0] * shape[1])[rows * shape[1] + columns] / weights.sum(1, keepdims=True)
    joint = joint.reshape(-1, *shape)

    def entropy(p):
        return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)

    first, second = entropy(joint.sum(2)), entropy(joint.sum(1))
    shared = first + second - entropy(joint.reshape(len(joint), -1))
    mean = (first + second) / 2
    return np.where(mean > 1e-12, np.clip(shared / np.where(mean > 1e-12, mean, 1), 0, 1), 1.0)


def interval(found: float, resampled: np.ndarray) -> tuple[float, float]:
    """95% interval of what was found: as far from it as the quantiles of the resamples are from their mean."""
    low, high = found + np.quantile(resampled, (0.025, 0.975)) - np.mean(resampled)
    return float(low), float(high)


def p_value(difference: float, resampled: np.ndarray) -> float:
    """Of a difference between two methods, two-sided. resampled [resamples]: the same difference in every resample."""
    from scipy.stats import norm

    error = float(np.std(resampled))
    return float(2 * norm.sf(abs(difference) / error)) if error > 1e-12 else float(abs(difference) < 1e-9)


def holm(p: Sequence[float]) -> list[bool]:
    """Which of the p-values are significant at LEVEL, corrected for their number (Holm, 1979)."""
    found = [False] * len(p)
    for rank, i in enumerate(np.argsort(p)):
        if p[i] > LEVEL / (len(p) - rank):
            break
        found[i] = True
    return found
