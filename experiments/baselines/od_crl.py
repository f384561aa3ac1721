"""OD-CRL (arXiv 2602.05464): images on an orthogonal basis of the words, cleared of what the other aspects say.

Followed, from its abstract and from summaries: the basis of an aspect is the SVD of its words' text embeddings, cut
where the singular values bend most (AOBO); images are projected to the null space of the other aspects' bases (NSDP);
their coefficients on the aspect's own basis are clustered by k-means.

Ours, since no stored public text has the equations: embeddings are of the filled prompts and uncentred, as in CRL
(arXiv 2510.04564), on which it builds; what is kept are the directions before the convex bend of the greatest
curvature; the rows are normalised, as in CRL; and the basis has at least as many directions as groups are asked for
(two for the other aspects, whose number of groups is not asked). Without that floor the cut leaves the direction that
all prompts share and one more, on which four groups cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import multimap_jax as mm
from experiments.evaluation.case import Case
from multimap_jax.prompts.aspect import word_embeddings

DIRECTIONS_OF_OTHERS = 2


def od_crl(case: Case) -> np.ndarray:
    """Unit rows [images, directions]."""

    def of_words(aspect: mm.Aspect, least: int) -> np.ndarray:
        return cut_basis(word_embeddings(case.clip, aspect), least)

    others = [of_words(aspect, DIRECTIONS_OF_OTHERS) for aspect in case.others if aspect.words]
    rows = clear(case.embeddings, others) @ of_words(case.asked(), case.clusters).T
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def cut_basis(texts: np.ndarray, least: int) -> np.ndarray:
    """Orthonormal rows [directions, embed] of texts [words, embed]: `least` at the least, if they have so many."""
    lengths, basis = row_space(texts)
    return basis[: max(least, before_the_bend(lengths))]


def before_the_bend(lengths: np.ndarray) -> int:
    """How many of the singular values [n], largest first, stand before their sharpest convex bend; 1 without a bend.

    The curvature is y″ / (1 + y′²)^1.5 by central differences, with values and indices both scaled to 0 … 1.
    """
    if len(lengths) < 3:
        return 1
    values, step = lengths / lengths[0], 1 / (len(lengths) - 1)
    slopes = (values[2:] - values[:-2]) / (2 * step)
    curvature = (values[2:] - 2 * values[1:-1] + values[:-2]) / step**2 / (1 + slopes**2) ** 1.5
    return 1 + int(curvature.argmax()) if curvature.max() > 0 else 1


def clear(rows: np.ndarray, bases: Sequence[np.ndarray]) -> np.ndarray:
    """Rows [images, embed] without their part in the span of all the bases' rows."""
    if not bases:
        return rows
    _, unwanted = row_space(np.concatenate(bases))
    return rows - rows @ unwanted.T @ unwanted


def row_space(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(singular values [rank], orthonormal rows [rank, embed]), the largest first."""
    _, lengths, basis = np.linalg.svd(rows, full_matrices=False)
    kept = lengths > 1e-5 * lengths[0]
    return lengths[kept], basis[kept]
