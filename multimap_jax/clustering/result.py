"""The result for one aspect, which the terminal, the page, run.json, `apply` and `edit` share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from multimap_jax.arrays.rows import Rows
from multimap_jax.choices import UNASSIGNED_NAME
from multimap_jax.clustering.kmeans import Merge
from multimap_jax.clustering.selection import Candidate
from multimap_jax.prompts.answers import Answers
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.prompts.separability import Separability


@dataclasses.dataclass(frozen=True)
class Assignment:
    """The cluster of each image, every array [images].

    Attributes:
      labels: int, the nearest cluster. distances: float, to its centroid. confidences: float 0 … 1, see
        `multimap_jax.clustering.kmeans.nearest`; NaN for an image that was moved by hand.
      outliers: bool, whether an image is unlike most, see
        `multimap_jax.clustering.outliers.fit_inliers`.
      leftover: bool, whether an image is in the least confident share, which stays unassigned.
    """

    labels: np.ndarray
    distances: np.ndarray
    confidences: np.ndarray
    outliers: np.ndarray
    leftover: np.ndarray


@dataclasses.dataclass(frozen=True)
class AspectResult:
    """The clusters of one aspect, and the images in them.

    Attributes:
      aspect: with its words. contrast, features: as `MultiMaP` used them. asked: the requested number of clusters.
      assignment: of the requested images.
      cluster_names: [clusters]. name_confidences: float [clusters], 0 if unknown. stability: float [clusters], NaN if
        unknown.
      candidates: numbers of clusters with their evidence, the best first; empty if the number was given.
      merge_order: see `clustering.kmeans.merge_order`.
      proxies: block_size, image_steps and final_loss of the images' proxies, None if none were learnt.
      exemplars: indices of typical images of each cluster; rows: the input of k-means, [images, d]; None if unknown.
      answers: of features "answer", about these images, with a reason for each image in no group; None for others.
      words_from: the source of the words. separability: None if it was not computed.
      metrics: against true labels, None without them. seconds: of work on this aspect.
    """

    aspect: Aspect
    contrast: Sequence[str]
    features: str
    asked: int | str | None
    assignment: Assignment
    cluster_names: Sequence[str]
    name_confidences: np.ndarray
    stability: np.ndarray
    candidates: Sequence[Candidate] = ()
    merge_order: Sequence[Merge] = ()
    proxies: dict[str, int | float] | None = None
    exemplars: Sequence[np.ndarray] | None = None
    rows: Rows | None = None
    answers: Answers | None = None
    words_from: dict = dataclasses.field(default_factory=dict)
    separability: Separability | None = None
    metrics: dict | None = None
    seconds: float = 0.0

    @property
    def groups(self) -> np.ndarray:
        """The cluster of each image, int [images]; -1 for those that are unassigned."""
        return np.where(self.assignment.leftover, -1, self.assignment.labels)

    @property
    def group_names(self) -> list[str]:
        """The names that `groups` index: those of the clusters, and last the name for unassigned images."""
        return [*self.cluster_names, UNASSIGNED_NAME]

    @property
    def sizes(self) -> np.ndarray:
        """The number of images in each cluster, without unassigned images, int [clusters]."""
        return np.bincount(self.groups[self.groups >= 0], minlength=len(self.cluster_names))

    @property
    def mean_confidences(self) -> np.ndarray:
        """The mean confidence of the images in each cluster, float [clusters]; 0 if no image has one."""
        known = ~self.assignment.leftover & ~np.isnan(self.assignment.confidences)
        labels, confidences = self.assignment.labels[known], self.assignment.confidences[known]
        totals = np.bincount(labels, confidences, len(self.cluster_names))
        return totals / np.maximum(np.bincount(labels, minlength=len(self.cluster_names)), 1)
