"""The page's data for each aspect, and the choice of images on the page."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from multimap_jax.clustering.axes import coordinates
from multimap_jax.clustering.kmeans import members
from multimap_jax.clustering.result import AspectResult, Assignment
from multimap_jax.prompts.answers import Answers

PAGE_IMAGES = 20_000  # most images on a page
FIRST = 60  # images of each group that a page always shows
EXEMPLARS = 6  # of a group, if none are given
COLUMNS = {"strength": "stability", "smallest": "smallest trial group"}  # field of a candidate -> its name on the page
SCALE = 10_000  # of coordinates, which are written as whole numbers


@dataclasses.dataclass(frozen=True)
class Page:
    """One aspect's result, and sentences about it. The page leaves out sentences that are "".

    Attributes:
      result: its metrics name the baselines as the page shows them.
      separability: whether the encoder separates the words. words: the words and their source. selection: how the
        number of groups was chosen. merge_order: the most similar groups first. warnings: shown only with this aspect.
    """

    result: AspectResult
    separability: str = ""
    words: str = ""
    selection: str = ""
    merge_order: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def images(self) -> Assignment:
        return self.result.assignment

    @functools.cached_property
    def members(self) -> list[np.ndarray]:
        """Images of each group, nearest to its centroid first."""
        return members(self.result.groups, self.images.distances, len(self.result.cluster_names))

    @functools.cached_property
    def least_confident(self) -> np.ndarray:
        """Images in groups, lowest confidence first, without those moved by hand. If confidences are unknown, the
        largest distance first."""
        known = self.images.confidences is not None
        values = self.images.confidences if known else self.images.distances
        order = np.argsort(values, kind="stable")[:: 1 if known else -1]
        return order[~(self.images.leftover | np.isnan(values))[order]]

    def shown_exemplars(self) -> list[list[int]]:
        """Exemplars of each group."""
        if self.result.exemplars is not None:
            return [[int(i) for i in group] for group in self.result.exemplars]
        return [images[:EXEMPLARS].tolist() for images in self.members]


def shown_images(pages: Sequence[Page], images: int, most: int = PAGE_IMAGES) -> np.ndarray:
    """Sorted indices of the images on the page: all of them or, if they are too many, the first of each view and an
    even sample of the rest."""
    if images <= most:
        return np.arange(images)
    first: list[np.ndarray] = []
    for page in pages:
        in_group = max(1, min(FIRST, most // (4 * len(pages) * max(1, len(page.members)))))
        in_view = most // (8 * len(pages))
        groups: list[list[int] | np.ndarray] = [*page.shown_exemplars(), *page.members]
        first += [np.array(group[:in_group], np.int64) for group in groups]
        views = (page.least_confident, np.flatnonzero(page.images.leftover), np.flatnonzero(page.images.outliers))
        first += [view[:in_view] for view in views]
    begin = np.unique(np.concatenate(first))[:most]
    rest = np.setdiff1d(np.arange(images), begin)
    return np.sort(np.concatenate([begin, rest[np.linspace(0, len(rest) - 1, most - len(begin)).astype(np.int64)]]))


def page_content(page: Page, shown: np.ndarray) -> dict:
    """The page's data for one aspect: only the images `shown`, but the sizes of all."""
    position = {int(i): at for at, i in enumerate(shown)}
    exemplars = [[position[i] for i in group if i in position] for group in page.shown_exemplars()]
    groups = zip(page.result.cluster_names, page.members, page.result.name_confidences, exemplars)
    known = page.images.confidences is not None
    return {
        "name": page.result.aspect.name,
        "groups": [
            {"name": str(name), "size": len(images), "name_confidence": number(confidence) or None, "exemplars": best}
            for name, images, confidence, best in groups
        ],
        "labels": page.images.labels[shown].tolist(),
        "distances": [number(distance) for distance in page.images.distances[shown]],
        "confidences": [number(confidence, 3) for confidence in page.images.confidences[shown]] if known else None,
        "outliers": np.flatnonzero(page.images.outliers[shown]).tolist(),
        "leftover": np.flatnonzero(page.images.leftover[shown]).tolist(),
        "leftover_size": int(page.images.leftover.sum()),
        "map": _map(page, shown),
        "separability": page.separability,
        "words": page.words,
        "metrics": _metrics(page.result.metrics),
        "selection": page.selection,
        "candidates": _candidates(page.result.candidates),
        "merge_order": list(page.merge_order),
        "warnings": list(page.warnings),
        "answers": _answers(page.result.answers, shown),
    }


def hidden_counts(pages: Sequence[Page], shown: np.ndarray, images: int) -> dict[str, list[list[int]]] | None:
    """Counts of the images that are not on the page, by the groups of two aspects ("0,1": [groups, groups]),
    unassigned images last; None if the page has all images."""
    if len(shown) == images:
        return None
    hidden = np.ones(images, bool)
    hidden[shown] = False
    labels = [np.where(page.images.leftover, len(page.members), page.images.labels)[hidden] for page in pages]
    counts = {}
    for i, j in itertools.combinations(range(len(pages)), 2):
        table = np.zeros((len(pages[i].members) + 1, len(pages[j].members) + 1), int)
        np.add.at(table, (labels[i], labels[j]), 1)
        counts[f"{i},{j}"] = table.tolist()
    return counts


def _map(page: Page, shown: np.ndarray) -> dict | None:
    """Whole numbers x and y, 0 … SCALE, with the same scale for both; None if there are no rows, or all are equal."""
    if page.result.rows is None or not len(shown):
        return None
    points = coordinates(page.result.rows, shown)
    low, span = points.min(0), np.ptp(points, axis=0).max()
    if not np.isfinite(span) or span <= 0:
        return None
    x, y = np.round((points - low) / span * SCALE).astype(int).T.tolist()
    return {"x": x, "y": y}


def _answers(answers: Answers | None, shown: np.ndarray) -> dict | None:
    """What a model said of each image shown: an index of its answers, -1 for none; and why an image is in no group."""
    if answers is None:
        return None
    said = [answers.texts[i] for i in shown.tolist()]
    texts = {text: i for i, text in enumerate(dict.fromkeys(text for text in said if text))}
    reasons = {at: answers.reasons[i] for at, i in enumerate(shown.tolist()) if i in answers.reasons}
    model = str(answers.origin.get("model", "that was asked"))
    return {"model": model, "texts": list(texts), "index": [texts.get(text, -1) for text in said], "reasons": reasons}


def _metrics(metrics: dict | None) -> dict | None:
    if not metrics:
        return None
    columns = [name for name, value in metrics.items() if isinstance(value, float)]
    rows = {"these groups": metrics} | metrics["beside"]
    return {
        "images": metrics["images"],
        "of": metrics["of"],
        "columns": [name.upper() if len(name) < 4 else name for name in columns],
        "rows": [[name, *(number(values[column], 3) for column in columns)] for name, values in rows.items()],
    }


def _candidates(rows: Sequence | None) -> dict | None:
    if rows is None or not len(rows):
        return None
    rows = [row if isinstance(row, dict) else dataclasses.asdict(row) for row in rows]
    columns = [name for name in rows[0] if name != "chosen"]
    return {
        "columns": [COLUMNS.get(name, str(name)) for name in columns],
        "rows": [[_cell(name, row.get(name)) for name in columns] for row in rows],
        "chosen": [i for i, row in enumerate(rows) if row.get("chosen")] or [0],
    }


def _cell(name: str, value: Any) -> Any:
    """A candidate's value for JSON; the size of its smallest group as a percentage."""
    if name == "smallest" and isinstance(value, float):
        return f"{value:.1%}"
    value = value.item() if isinstance(value, np.generic) else value
    return number(value) if isinstance(value, float) else value


def number(value: float, digits: int = 4) -> float | None:
    """The value rounded; None for infinities and NaN, which JSON does not have."""
    return round(float(value), digits) if np.isfinite(value) else None
