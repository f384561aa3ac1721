"""What the page knows of each aspect, and which images it holds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from multimap_jax.clustering.axes import coordinates
from multimap_jax.clustering.kmeans import members

# Images that a page holds at most; of each group and of the least sure ones, those that come first if there are more.
PAGE_IMAGES, FIRST = 20_000, 60
EXEMPLARS = 6
SCALE = 10_000  # of whole numbers that coordinates are written as


@dataclasses.dataclass(frozen=True)
class Page:
    """One aspect's result. What is None is not known, and its view is not shown.

    Attributes:
      aspect: its name.
      labels: int [images]. names: of each group. confidences: float [groups], how sure each name is, 0 where that is
        not known.
      outliers: bool [images], of something else than the others. distances: float [images], to the centre of the own
        group.
      metrics: from `run.measure`, with the baselines' under "beside" by the names to show.
      separability: whether the encoder sees the aspect, a sentence, or "". words: where its words come from, the same.
      sure: float [images], 0 … 1, how sure it is that an image belongs to its group.
      leftover: bool [images], those that belong to no group.
      exemplars: for each group indices of images that show it best; those nearest to the centre if None.
      rows: [images, d], what k-means ran on, for the map.
      number: why there are so many groups, a sentence, or "". evidence: for that, a row for each candidate, mappings or
        dataclasses; the chosen one has "chosen", else it is the first.
      merges: what a hierarchy of the groups says, in sentences.
    """

    aspect: str
    labels: np.ndarray
    names: Sequence[str]
    confidences: Sequence[float]
    outliers: np.ndarray
    distances: np.ndarray
    metrics: dict | None = None
    separability: str = ""
    words: str = ""
    sure: np.ndarray | None = None
    leftover: np.ndarray | None = None
    exemplars: Sequence[Sequence[int]] | None = None
    rows: object | None = None
    number: str = ""
    evidence: Sequence | None = None
    merges: Sequence[str] = ()

    @functools.cached_property
    def order(self) -> np.ndarray:
        """Images by closeness to the centre of their group, int [images]."""
        return np.argsort(self.distances, kind="stable")

    @functools.cached_property
    def left(self) -> np.ndarray:
        """bool [images]."""
        return np.zeros(len(self.labels), bool) if self.leftover is None else np.asarray(self.leftover, bool)

    @functools.cached_property
    def members(self) -> list[np.ndarray]:
        """Images of each group, nearest to its centre first."""
        return members(np.where(self.left, -1, self.labels), self.distances, len(self.names))

    @functools.cached_property
    def least_sure(self) -> np.ndarray:
        """Images in groups, the least sure first; the farthest first where nothing is known of that."""
        known = self.sure is not None
        order = np.argsort(self.sure, kind="stable") if known else self.order[::-1]
        return order[~self.left[order]]

    def shown_best(self) -> list[list[int]]:
        """Exemplars of each group."""
        if self.exemplars is not None:
            return [[int(i) for i in group] for group in self.exemplars]
        return [members[:EXEMPLARS].tolist() for members in self.members]


def held(pages: Sequence[Page], images: int, most: int = PAGE_IMAGES) -> np.ndarray:
    """Indices of the images that the page holds, in order: all, or if they are too many those that each view begins
    with, and an even share of the rest."""
    if images <= most:
        return np.arange(images)
    first: list[np.ndarray] = []
    for page in pages:
        each = max(1, min(FIRST, most // (4 * len(pages) * max(1, len(page.names)))))
        first += [np.array(group[:each], np.int64) for group in page.shown_best()]
        first += [members[:each] for members in page.members]
        some = most // (8 * len(pages))
        first += [page.least_sure[:some], np.flatnonzero(page.left)[:some], np.flatnonzero(page.outliers)[:some]]
    begin = np.unique(np.concatenate(first))[:most]
    rest = np.setdiff1d(np.arange(images), begin)
    return np.sort(np.concatenate([begin, rest[np.linspace(0, len(rest) - 1, most - len(begin)).astype(np.int64)]]))


def page_content(page: Page, shown: np.ndarray) -> dict:
    """What the page is told of one aspect, of the images `shown` alone but for sizes."""
    place = {int(i): at for at, i in enumerate(shown)}
    best = [[place[i] for i in group if i in place] for group in page.shown_best()]
    sizes = [len(members) for members in page.members]
    groups = [
        {"name": str(name), "size": size, "sure": number(sure) or None, "exemplars": own}
        for name, size, sure, own in zip(page.names, sizes, page.confidences, best)
    ]
    known = page.sure is not None
    return {
        "name": page.aspect,
        "groups": groups,
        "left": int(page.left.sum()),
        "labels": page.labels[shown].tolist(),
        "distances": [number(each) for each in page.distances[shown]],
        "sure": [number(each, 3) for each in page.sure[shown]] if known else None,
        "far": np.flatnonzero(page.outliers[shown]).tolist(),
        "leftover": np.flatnonzero(page.left[shown]).tolist(),
        "map": _map(page, shown),
        "separability": page.separability,
        "words": page.words,
        "metrics": _metrics(page.metrics),
        "number": page.number,
        "evidence": _evidence(page.evidence),
        "merges": list(page.merges),
    }


def crossed(pages: Sequence[Page], shown: np.ndarray, images: int) -> dict[str, list[list[int]]] | None:
    """Counts of the images that the page does not hold, by the groups of two aspects ("0,1": [groups, groups]), those
    that are left over last; None where it holds all."""
    if len(shown) == images:
        return None
    rest = np.ones(images, bool)
    rest[shown] = False
    labels = [np.where(page.left, len(page.names), page.labels)[rest] for page in pages]
    found = {}
    for i, one in enumerate(pages):
        for j in range(i + 1, len(pages)):
            shape = len(one.names) + 1, len(pages[j].names) + 1
            cells = np.bincount(labels[i] * shape[1] + labels[j], minlength=shape[0] * shape[1])
            found[f"{i},{j}"] = cells.reshape(shape).tolist()
    return found


def _map(page: Page, shown: np.ndarray) -> dict | None:
    """Whole numbers x and y of 0 … SCALE, both in one scale; None where all images are at one place, or none is
    known."""
    if page.rows is None or not len(shown):
        return None
    points = coordinates(page.rows, shown)
    low, span = points.min(0), np.ptp(points, axis=0).max()
    if not np.isfinite(span) or span <= 0:
        return None
    x, y = np.round((points - low) / span * SCALE).astype(int).T.tolist()
    return {"x": x, "y": y}


def _metrics(metrics: dict | None) -> dict | None:
    if not metrics:
        return None
    columns = [name for name, value in metrics.items() if isinstance(value, float)]
    rows = {"these groups": metrics} | metrics["beside"]
    table = [[name, *(number(values[column], 3) for column in columns)] for name, values in rows.items()]
    head = [name.upper() if len(name) < 4 else name for name in columns]
    return {"images": metrics["images"], "of": metrics["of"], "columns": head, "rows": table}


def _evidence(rows: Sequence | None) -> dict | None:
    if rows is None or not len(rows):
        return None
    rows = [dataclasses.asdict(row) if dataclasses.is_dataclass(row) else row for row in rows]
    columns = [name for name in rows[0] if name != "chosen"]
    chosen = [i for i, row in enumerate(rows) if row.get("chosen")]
    return {
        "columns": [str(name) for name in columns],
        "rows": [[_cell(row.get(name)) for name in columns] for row in rows],
        "chosen": chosen or [0],
    }


def _cell(value):
    """A value of a table as JSON has it."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return number(value) if isinstance(value, float) else str(value)


def number(value: float, digits: int = 4) -> float | None:
    """As many digits as are of use; None for what is no number, which JSON does not have."""
    return round(float(value), digits) if np.isfinite(value) else None
