"""Groups that were edited: how a model's centroids lead to them. The model stays as it is.

A centroid leads to a group, or to a split: centroids of its own, of which the nearest one decides. Single images are
pinned to a group. So new images go the same way: nearest centre of the model, then through splits to a group.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from multimap_jax.clustering.kmeans import cluster, nearest
from multimap_jax.editing.edits import Edit, check_cycle, like
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.filenames import is_plain_name, known_name

LEFT = -1
# An image is the one that was pinned where its name and its centre are the same, and its distance nearly so.
NEAR = 1e-3


@dataclasses.dataclass
class Split:
    """centroids float64 [parts, d]; what each leads to, as in `Regrouping`."""

    centroids: np.ndarray
    to: list[int]


@dataclasses.dataclass(frozen=True)
class Pin:
    """An image put by hand: the number of its group, LEFT for none; the model's centre nearest to it, and how far that
    is, by which it is known again."""

    group: int
    centre: int
    distance: float


@dataclasses.dataclass
class Regrouping:
    """Edited groups of one aspect.

    Attributes:
      groups: their names.
      to: for each centre of the model, what it leads to: the number of a group, or ~s for split s.
      splits: a split leads to groups, or to splits that come later.
      pinned: image name -> Pin.
    """

    groups: list[str]
    to: list[int]
    splits: list[Split] = dataclasses.field(default_factory=list)
    pinned: dict[str, Pin] = dataclasses.field(default_factory=dict)

    def assign(
        self, labels: np.ndarray, distances: np.ndarray, left: np.ndarray, rows, names: Sequence[str], centroids
    ):
        """(groups int, distances, whether left over bool), each [images], of images that the model put to `labels`.

        labels, distances, left [images]: what the model says. rows [images, d]: what it looked at. centroids: its own.
        """
        found, away = np.array(self.to, np.int64)[labels], np.array(distances, np.float64)
        for s, split in enumerate(self.splits):
            here = np.flatnonzero(found == ~s)
            if len(here):
                which, away[here] = nearest(rows[here], split.centroids)[:2]
                found[here] = np.array(split.to, np.int64)[which]
        left = np.array(left, bool)
        place = {name: i for i, name in enumerate(names) if name in self.pinned} if self.pinned else {}
        centroids_of = functools.cache(lambda group: self.centroids_of(group, centroids))
        for name, i in place.items():
            pin = self.pinned[name]
            if pin.centre == labels[i] and abs(pin.distance - distances[i]) <= NEAR * (1 + pin.distance):
                left[i] = pin.group == LEFT
                if pin.group != LEFT:
                    found[i] = pin.group
                    away[i] = float(nearest(rows[np.array([i])], centroids_of(pin.group))[1][0])
        return found, away, left

    def centroids_of(self, group: int, centroids: np.ndarray) -> np.ndarray:
        """The centroids [own, d] that lead to a group."""
        own = [centre for centre, to in zip(centroids, self.to) if to == group]
        own += [centre for split in self.splits for centre, to in zip(split.centroids, split.to) if to == group]
        return np.stack(own)


class Editor:
    """Makes edits on the groups of one run and aspect.

    Args:
      begun: the groups before. labels, distances, left [images]: the model's own, of the run's images. rows() gives
      what the model looked at, [images, d], asked where a group is split. centroids: the model's. names: of the images.
      seed: of k-means.
    """

    def __init__(self, begun: Regrouping, labels, distances, left, rows, centroids, names: Sequence[str], seed: int):
        self.now, self.labels, self.distances = begun, labels, distances
        self.rows, self.centroids, self.names, self.seed = rows, centroids, names, seed
        self.place = {name: i for i, name in enumerate(names)}
        asked = rows() if begun.splits or begun.pinned else None
        self.found, _, self.left = begun.assign(labels, distances, left, asked, names, centroids)

    def make(self, edit: Edit, later: Sequence[Edit]) -> None:
        """One edit. ValueError, with one sentence, where it cannot be made."""
        getattr(self, edit.kind)(edit, later)

    def merge(self, edit: Edit, _) -> None:
        kept, *others = [self.group(edit, name) for name in edit.groups]
        self.check_free(edit, edit.to, edit.groups)
        for other in others:
            self.lead(other, kept)
        self.now.groups[kept] = edit.to
        self.drop(others)

    def rename(self, edit: Edit, later: Sequence[Edit]) -> None:
        group = self.group(edit, edit.groups[0])
        if edit.to in self.now.groups:
            check_cycle(edit, later)
        self.check_free(edit, edit.to, edit.groups)
        self.now.groups[group] = edit.to

    def split(self, edit: Edit, _) -> None:
        """The parts are called by the group's name and a number, the largest first."""
        group, name = self.group(edit, edit.groups[0]), edit.groups[0]
        here = np.flatnonzero((self.found == group) & ~self.left)
        if len(here) < edit.parts:
            raise ValueError(f"{edit.where}: {name} holds {len(here)} images, which are not {edit.parts} groups")
        names = [f"{name} {i + 1}" for i in range(edit.parts)]
        for each in names:
            self.check_free(edit, each, ())
        parts = cluster(np.asarray(self.rows()[here], np.float64), edit.parts, self.seed)
        new = [group, *range(len(self.now.groups), len(self.now.groups) + edit.parts - 1)]
        self.lead(group, ~len(self.now.splits))
        self.now.splits.append(Split(parts.centroids, list(new)))
        self.now.groups[group : group + 1] = names[:1]
        self.now.groups += names[1:]
        self.found[here] = np.array(new)[parts.labels]
        for i in here.tolist():
            if self.names[i] in self.now.pinned:
                self.pin(i, int(self.found[i]))

    def move(self, edit: Edit, _) -> None:
        group = self.group(edit, edit.to)
        for i in self.images(edit):
            self.found[i], self.left[i] = group, False
            self.pin(i, group)

    def leftover(self, edit: Edit, _) -> None:
        for i in self.images(edit):
            self.left[i] = True
            self.pin(i, LEFT)

    def group(self, edit: Edit, name: str) -> int:
        if name not in self.now.groups:
            raise ValueError(
                f"{edit.where}: there is no group {name[:80]!r} of {edit.aspect}; {like(name, self.now.groups)}"
            )
        return self.now.groups.index(name)

    def check_free(self, edit: Edit, name: str, own: Sequence[str]) -> None:
        """ValueError where another group is called so, in whatever spelling. own: groups that give up their names."""
        form = normal_form(name)
        for other in self.now.groups:
            if other not in own and normal_form(other) == form:
                raise ValueError(
                    f"{edit.where}: there is a group {other} of {edit.aspect} already: merge both, or give another name"
                )

    def images(self, edit: Edit) -> list[int]:
        named = [known_name(name, self.place) for name in edit.images]
        missing = [name for name in named if name not in self.place]
        if missing:
            raise ValueError(
                f"{edit.where}: {len(missing):,} of its {len(named):,} images are not in the run, the first is "
                f"{missing[0][:200]}"
            )
        return [self.place[name] for name in named]

    def pin(self, i: int, group: int) -> None:
        self.now.pinned[self.names[i]] = Pin(group, int(self.labels[i]), float(self.distances[i]))

    def lead(self, group: int, to: int) -> None:
        """Whatever leads to a group leads elsewhere from now on."""
        self.now.to = [to if each == group else each for each in self.now.to]
        for split in self.now.splits:
            split.to = [to if each == group else each for each in split.to]
        if to >= 0:
            self.found[self.found == group] = to
            moved = {name: pin for name, pin in self.now.pinned.items() if pin.group == group}
            self.now.pinned |= {name: dataclasses.replace(pin, group=to) for name, pin in moved.items()}

    def drop(self, groups: Sequence[int]) -> None:
        """Takes away groups that nothing leads to any more; the others are numbered anew."""
        kept = [i for i in range(len(self.now.groups)) if i not in set(groups)]
        new = {old: number for number, old in enumerate(kept)}
        self.now.groups = [self.now.groups[i] for i in kept]
        self.now.to = [new.get(each, each) for each in self.now.to]
        for split in self.now.splits:
            split.to = [new.get(each, each) for each in split.to]
        pins = self.now.pinned.items()
        self.now.pinned = {name: dataclasses.replace(pin, group=new.get(pin.group, LEFT)) for name, pin in pins}
        self.found = np.array([new.get(each, each) for each in range(max(kept) + 1)], np.int64)[self.found]


def begun(names: Sequence[str]) -> Regrouping:
    """The groups of a model that nobody has edited."""
    return Regrouping(list(names), list(range(len(names))))


def as_content(now: Regrouping) -> dict:
    """As groups.json has it."""

    def target(to: int) -> dict:
        return {"group": now.groups[to]} if to >= 0 else {"split": ~to}

    splits = [{"centroids": each.centroids.tolist(), "to": [target(to) for to in each.to]} for each in now.splits]
    pinned = [
        {
            "image": name,
            "group": None if pin.group == LEFT else now.groups[pin.group],
            "centre": pin.centre,
            "distance": pin.distance,
        }
        for name, pin in now.pinned.items()
    ]
    return {"groups": now.groups, "centroids": [target(to) for to in now.to], "splits": splits, "pinned": pinned}


def of_content(content: dict, centroids: np.ndarray) -> Regrouping:
    """What a groups.json says of one aspect, of a model with these centroids [k, d]. Any error for anything else."""
    groups, splits = list(content["groups"]), []
    if not groups or not all(map(is_plain_name, groups)) or len(set(groups)) != len(groups):
        raise ValueError("groups are not unique names that can be read")
    number = {name: i for i, name in enumerate(groups)}

    def target(of: dict, first: int) -> int:
        if "group" in of:
            return number[of["group"]]
        if type(of["split"]) is not int or not first <= of["split"] < len(content["splits"]):
            raise ValueError(f"split {of['split']!r} is none that comes later")
        return ~of["split"]

    to = [target(of, 0) for of in content["centroids"]]
    if len(to) != len(centroids):
        raise ValueError(f"{len(to)} centroids, the model has {len(centroids)}")
    for s, split in enumerate(content["splits"]):
        own = np.array(split["centroids"], np.float64)
        if own.ndim != 2 or own.shape != (len(split["to"]), centroids.shape[1]) or not np.isfinite(own).all():
            raise ValueError(
                f"the centroids of split {s} are not {len(split['to'])} rows of {centroids.shape[1]} numbers"
            )
        splits.append(Split(own, [target(of, s + 1) for of in split["to"]]))
    pinned = {}
    for pin in content["pinned"]:
        group = LEFT if pin["group"] is None else number[pin["group"]]
        if type(pin["centre"]) is not int or not np.isfinite(float(pin["distance"])):
            raise ValueError("a pinned image without its centre or distance")
        pinned[str(pin["image"])] = Pin(group, pin["centre"], float(pin["distance"]))
    if set(range(len(groups))) - {*to, *(each for split in splits for each in split.to)}:
        raise ValueError("a group that no centre leads to")
    return Regrouping(groups, to, splits, pinned)
