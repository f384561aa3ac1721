"""Agreement of clusters with true labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multimap_jax.errors import InputError, InputTypeError, names_arguments


@names_arguments
def evaluate(true_labels: ArrayLike, labels: ArrayLike) -> dict[str, float]:
    """Measures the agreement of two clusterings of the same images; each value is at most 1 (equal clusterings).

    Args:
      true_labels, labels: [images] each, all strings or all numbers; only equality of values matters.

    Returns:
      nmi: normalised mutual information, arithmetic mean (paper, section 4). ri: the plain Rand index (same place).
      ari, ami: both corrected for chance. accuracy: under the best one-to-one matching of groups and labels.

    Raises:
      InputError: the lengths differ, there are no labels, or strings, numbers or None are mixed.
    """
    from sklearn import metrics

    true_labels, labels = _numbers(true_labels, "true_labels"), _numbers(labels, "labels")
    if true_labels.shape != labels.shape or not true_labels.size:
        raise InputError(
            f"expected one label for each true label, and at least one, found {labels.size} labels and "
            f"{true_labels.size} true labels",
            "labels",
        )
    return {
        "nmi": float(metrics.normalized_mutual_info_score(true_labels, labels)),
        "ri": float(metrics.rand_score(true_labels, labels)),
        "ari": float(metrics.adjusted_rand_score(true_labels, labels)),
        "ami": float(metrics.adjusted_mutual_info_score(true_labels, labels)),
        "accuracy": float(matched(true_labels, labels).sum() / len(labels)),
    }


def matched(true_labels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the best one-to-one matching maps each image's cluster to its true label, bool [images]."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    true_labels, labels = _numbers(true_labels, "true_labels"), _numbers(labels, "labels")
    counts = contingency_matrix(true_labels, labels)
    label_of = np.full(counts.shape[1], -1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    label_of[columns] = rows
    return label_of[labels] == true_labels


def _numbers(labels: ArrayLike, parameter: str) -> np.ndarray:
    """A number for each label, equal for equal ones."""
    try:
        values = np.asarray(labels)
        if values.dtype.kind in "US":  # NumPy makes strings of numbers beside strings; as objects they cannot be sorted
            values = np.asarray(labels, dtype=object)
        return np.unique(values, return_inverse=True)[1].ravel()
    except (TypeError, ValueError):  # values that cannot be sorted, or lists of unequal length
        kinds = sorted({type(label).__name__ for label in labels})  # type: ignore[union-attr]  # no array without items
        raise InputTypeError(
            f"expected labels that are all strings or all numbers, found {' and '.join(kinds)}: write all as strings "
            "or all as numbers, missing labels too",
            parameter,
        ) from None
