"""An HTML table of groups, for notebooks."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from multimap_jax.clustering.kmeans import members
from multimap_jax.images.decoding import AnImage
from multimap_jax.images.thumbnails import inline, thumbnails

TABLE_IMAGES = 5  # of each group in a table
FIGURE_IMAGES = 8  # of each group in a figure
SIDE = 72  # pixels of a thumbnail


@dataclasses.dataclass(frozen=True)
class GroupSummary:
    """One group: its name, size, confidence of the name (0: unknown), and the images nearest to its centroid, in the
    form that `thumbnails` takes."""

    name: str
    size: int
    name_confidence: float
    images: Sequence[AnImage]


def groups_html(title: str, groups: Sequence[GroupSummary]) -> str:
    """A table of groups. All names are escaped."""
    head = "<tr><th>group</th><th>images</th><th>name confidence</th><th>most typical images</th></tr>"
    body = "".join(map(_row, groups))
    return f"<div><strong>{html.escape(title)}</strong><table>{head}{body}</table></div>"


def _row(group: GroupSummary) -> str:
    pictures = "".join(
        f'<img alt="" style="display:inline;margin:1px" src="data:image/jpeg;base64,{inline(picture)}">'
        for picture in thumbnails(list(group.images), side=SIDE)
        if picture
    )
    confidence = f"{group.name_confidence:.2f}" if group.name_confidence else ""
    cells = (html.escape(group.name), f"{group.size:,}", confidence, pictures)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def nearest_images(labels: np.ndarray, distances: np.ndarray, k: int, number: int) -> list[list[int]]:
    """Indices of the `number` images nearest to the centroid of each of k groups; images with label -1 have none."""
    return [images[:number].tolist() for images in members(labels, distances, k)]


def of_model(model: Any) -> list[GroupSummary]:
    """The groups of a fitted `MultiMaP`; with pictures if it was fitted on paths."""
    labels = np.where(model.leftover_, -1, model.labels_)
    sizes = np.bincount(labels[labels >= 0], minlength=model.n_clusters_).tolist()
    paths = getattr(model, "_paths", None) or []
    nearest = nearest_images(labels, model.distances_, model.n_clusters_, TABLE_IMAGES if paths else 0)
    images = [[paths[i] for i in group] for group in nearest]
    confidences = model.cluster_confidences_.tolist()
    return [GroupSummary(*values) for values in zip(model.cluster_names_, sizes, confidences, images)]
