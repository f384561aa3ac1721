"""Groups as an HTML table, for notebooks."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence

import numpy as np

from multimap_jax.clustering.kmeans import members
from multimap_jax.images.thumbnails import inline, thumbnails

SHOWN, FIGURE = 5, 8  # pictures of a group
SIDE = 72


@dataclasses.dataclass(frozen=True)
class Shown:
    """One group: its name, size, how sure the name is (0 unknown), and its nearest images, as `thumbnails` takes
    them."""

    name: str
    size: int
    sure: float
    images: Sequence


def groups_html(title: str, groups: Sequence[Shown]) -> str:
    """A table of groups. Everything that a user named is escaped."""
    body = "".join(map(_row, groups))
    head = "<tr><th>group</th><th>images</th><th>sure of the name</th><th>nearest to the centre</th></tr>"
    return f"<div><strong>{html.escape(title)}</strong><table>{head}{body}</table></div>"


def _row(group: Shown) -> str:
    pictures = "".join(
        f'<img alt="" style="display:inline;margin:1px" src="data:image/jpeg;base64,{inline(picture)}">'
        for picture in thumbnails(list(group.images), side=SIDE)
        if picture
    )
    sure = f"{group.sure:.0%}" if group.sure else ""
    name = html.escape(group.name)
    return f"<tr><td>{name}</td><td>{group.size:,}</td><td>{sure}</td><td>{pictures}</td></tr>"


def nearest_of(labels: np.ndarray, distances: np.ndarray, k: int, number: int) -> list[list[int]]:
    """Indices of the images nearest to the centre of each of k groups; labels of -1 are of none."""
    return [own[:number].tolist() for own in members(labels, distances, k)]


def of_model(model) -> list[Shown]:
    """The groups of a fitted `MultiMaP`; with pictures where it was fitted on paths."""
    labels = np.where(model.leftover_, -1, model.labels_)
    sizes = np.bincount(labels[labels >= 0], minlength=model.n_clusters_)
    best = nearest_of(labels, model.distances_, model.n_clusters_, SHOWN)
    paths = getattr(model, "_paths", None)
    images = [[paths[i] for i in each] if paths else [] for each in best]
    return [
        Shown(*each) for each in zip(model.cluster_names_, sizes.tolist(), model.cluster_confidences_.tolist(), images)
    ]
