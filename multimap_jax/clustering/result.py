"""What came out for one aspect: the record that the terminal, the page, run.json, `apply` and `edit` share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from multimap_jax.arrays.rows import Rows
from multimap_jax.choices import LEFT_OVER
from multimap_jax.clustering.kmeans import Merge
from multimap_jax.clustering.selection import Candidate
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.prompts.separability import Separability


@dataclasses.dataclass(frozen=True)
class Assignment:
    """The cluster of each image, every array [images].

    Attributes:
      labels: int, the nearest cluster. distances: float, to its centroid. confidences: float 0 … 1, see
        `clustering.kmeans.nearest`; NaN where an image was moved by hand.
      outliers: bool, unlike most images, see `clustering.outliers.fit_inliers`.
      leftover: bool, among the least confident share that was to be left out.
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
      aspect: with its words. contrast, features: as `MultiMaP` used them. asked: the number of clusters asked for.
      assignment: of the images that were asked for.
      cluster_names: [clusters]. name_confidences: float [clusters], 0 where nothing is known. stability: float
        [clusters], NaN where nothing is known.
      candidates: numbers of clusters with their evidence, the best first; empty where the number was given.
      merge_order: see `clustering.kmeans.merge_order`.
      proxies: block_size, image_steps and final_loss of the images' proxies, None where none were learnt.
      exemplars: indices of images that show each cluster; rows: what k-means ran on, [images, d]; None if unknown.
      words_from: where the words come from. separability: None where it was not asked.
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
    words_from: dict = dataclasses.field(default_factory=dict)
    separability: Separability | None = None
    metrics: dict | None = None
    seconds: float = 0.0

    @property
    def groups(self) -> np.ndarray:
        """The cluster of each image, int [images]; -1 for those left over."""
        return np.where(self.assignment.leftover, -1, self.assignment.labels)

    @property
    def group_names(self) -> list[str]:
        """What `groups` are indices of: the clusters' names, and last the name for images left over."""
        return [*self.cluster_names, LEFT_OVER]

    @property
    def sizes(self) -> np.ndarray:
        """Images in each cluster, without those left over, int [clusters]."""
        return np.bincount(self.groups[self.groups >= 0], minlength=len(self.cluster_names))

    @property
    def mean_confidences(self) -> np.ndarray:
        """Mean confidence of the images in each cluster, float [clusters]; 0 where none has one."""
        known = ~self.assignment.leftover & ~np.isnan(self.assignment.confidences)
        labels, confidences = self.assignment.labels[known], self.assignment.confidences[known]
        totals = np.bincount(labels, confidences, len(self.cluster_names))
        return totals / np.maximum(np.bincount(labels, minlength=len(self.cluster_names)), 1)
