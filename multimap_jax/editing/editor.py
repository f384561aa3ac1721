"""Edited groups: a mapping from a model's centroids to groups. The model itself does not change.

A centroid leads to a group or to a split. A split has further centroids, and the nearest one decides. Single images are
pinned to a group. New images follow the same path: from the model's nearest centroid, through splits, to a group.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from multimap_jax.arrays.rows import Rows
from multimap_jax.clustering.kmeans import cluster, nearest
from multimap_jax.editing import edits_file as edits
from multimap_jax.editing.edits_file import Edit, check_cycle, suggestion
from multimap_jax.errors import InputError
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.filenames import is_plain_name, known_name

UNASSIGNED = -1
# A pinned image is recognised by its name, its centroid and its distance, which may differ by this much relative to
# 1 + the distance.
SAME_DISTANCE = 1e-3


class SplitCentroids(msgspec.Struct):
    """centroids: float64 [parts, d]. to: the target of each, as in `Regrouping`."""

    centroids: np.ndarray
    to: list[int]


class Pin(msgspec.Struct, frozen=True):
    """An image assigned by hand.

    group: its number, or UNASSIGNED. centroid, distance: the model's nearest centroid and the distance to it; they
    identify the image.
    """

    group: int
    centroid: int
    distance: float


class Regrouping(msgspec.Struct):
    """Edited groups of one aspect.

    Attributes:
      groups: their names.
      to: the target of each of the model's centroids: the number of a group, or ~s for split s.
      splits: each leads to groups, or to later splits.
      pinned: image name -> Pin.
    """

    groups: list[str]
    to: list[int]
    splits: list[SplitCentroids] = []
    pinned: dict[str, Pin] = {}

    def assign(
        self,
        labels: np.ndarray,
        distances: np.ndarray,
        leftover: np.ndarray,
        rows: Rows | None,
        names: Sequence[str],
        centroids: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Applies the edits to images that the model assigned to `labels`: (groups int, distances, leftover bool,
        by_hand bool), each [images]. by_hand: whether an image is pinned.

        labels, distances, leftover [images], centroids: those of the model. rows: the features [images, d]; None is
        allowed if no group is split and no image is pinned.
        """
        rows = np.empty((0, 0)) if rows is None else rows  # never read if None
        groups, distances_now = np.array(self.to, np.int64)[labels], np.array(distances, np.float64)
        for s, split in enumerate(self.splits):
            here = np.flatnonzero(groups == ~s)
            if len(here):
                which, distances_now[here] = nearest(rows[here], split.centroids)[:2]
                groups[here] = np.array(split.to, np.int64)[which]
        leftover, by_hand = np.array(leftover, bool), np.zeros(len(labels), bool)
        centroids_of = functools.cache(lambda group: self.centroids_of(group, centroids))
        for i, name in enumerate(names) if self.pinned else ():
            pin = self.pinned.get(name)
            if pin is None or pin.centroid != labels[i]:
                continue
            if abs(pin.distance - distances[i]) <= SAME_DISTANCE * (1 + pin.distance):
                leftover[i], by_hand[i] = pin.group == UNASSIGNED, True
                if not leftover[i]:
                    groups[i] = pin.group
                    distances_now[i] = float(nearest(rows[np.array([i])], centroids_of(pin.group))[1][0])
        return groups, distances_now, leftover, by_hand

    def with_splits(self) -> list[Regrouping | SplitCentroids]:
        """Everything with centroids: the model's (self), then each split."""
        return [self, *self.splits]

    def centroids_of(self, group: int, centroids: np.ndarray) -> np.ndarray:
        """The centroids [number, d] that lead to a group."""
        found = [centroid for centroid, to in zip(centroids, self.to) if to == group]
        found += [centroid for split in self.splits for centroid, to in zip(split.centroids, split.to) if to == group]
        return np.stack(found)


class Editor:
    """Applies edits to the groups of one aspect of a run.

    Args:
      begun: the groups before the edits.
      labels, distances, leftover: [images], the model's assignment of the run's images.
      rows: gives the features [images, d]; called only if a group is split or was edited before.
      centroids: those of the model. names: those of the images. seed: for k-means.
    """

    def __init__(
        self,
        begun: Regrouping,
        labels: np.ndarray,
        distances: np.ndarray,
        leftover: np.ndarray,
        rows: Callable[[], Rows],
        centroids: np.ndarray,
        names: Sequence[str],
        seed: int,
    ):
        self.now, self.labels, self.distances = begun, labels, distances
        self.rows, self.names, self.seed = rows, names, seed
        self.positions = {name: i for i, name in enumerate(names)}
        features = rows() if begun.splits or begun.pinned else None
        self.groups, _, self.leftover, _ = begun.assign(labels, distances, leftover, features, names, centroids)

    def make(self, edit: Edit, later: Sequence[Edit]) -> None:
        """Applies one edit. later: the edits after it. Raises InputError, with one sentence, if that is impossible."""
        match edit:
            case edits.Merge():
                self.merge(edit)
            case edits.Rename():
                self.rename(edit, later)
            case edits.Split():
                self.split(edit)
            case edits.Move():
                self.pin(self.images(edit, edit.move), self.group(edit, edit.to))
            case edits.Leftover():
                self.pin(self.images(edit, edit.leftover), UNASSIGNED)

    def merge(self, edit: edits.Merge) -> None:
        kept, *merged = [self.group(edit, name) for name in edit.merge]
        if len({kept, *merged}) < len(edit.merge):
            self.refuse(edit, f"merge has {', '.join(edit.merge)[:80]}, expected two or more different groups")
        self.check_free(edit, edit.into, edit.merge)
        self.now.groups[kept] = str(edit.into)
        # Remove the merged groups and renumber the remaining ones.
        remaining = [i for i in range(len(self.now.groups)) if i not in merged]
        new = {old: number for number, old in enumerate(remaining)}
        new |= dict.fromkeys(merged, new[kept])
        self.now.groups = [self.now.groups[i] for i in remaining]
        for target in self.now.with_splits():
            target.to = [new.get(to, to) for to in target.to]
        for name, pin in self.now.pinned.items():
            self.now.pinned[name] = msgspec.structs.replace(pin, group=new.get(pin.group, pin.group))
        self.groups = np.array([new[i] for i in range(len(new))], np.int64)[self.groups]

    def rename(self, edit: edits.Rename, later: Sequence[Edit]) -> None:
        group = self.group(edit, edit.rename)
        if edit.to in self.now.groups:
            check_cycle(edit, later)
        self.check_free(edit, edit.to, (edit.rename,))
        self.now.groups[group] = str(edit.to)

    def split(self, edit: edits.Split) -> None:
        """Splits a group. The new groups get its name and a number, the largest first."""
        group = self.group(edit, edit.split)
        here = np.flatnonzero((self.groups == group) & ~self.leftover)
        if len(here) < edit.into:
            self.refuse(edit, f"cannot split {edit.split} into {edit.into} groups: it has {len(here)} images")
        names = [f"{edit.split} {i + 1}" for i in range(edit.into)]
        for name in names:
            self.check_free(edit, name)
        clusters = cluster(np.asarray(self.rows()[here], np.float64), edit.into, self.seed)
        new = [group, *range(len(self.now.groups), len(self.now.groups) + edit.into - 1)]
        for target in self.now.with_splits():
            target.to = [~len(self.now.splits) if to == group else to for to in target.to]
        self.now.splits.append(SplitCentroids(clusters.centroids, list(new)))
        self.now.groups[group] = names[0]
        self.now.groups += names[1:]
        self.groups[here] = np.array(new)[clusters.labels]
        for i in here.tolist():
            if self.names[i] in self.now.pinned:
                self.pin([i], int(self.groups[i]))

    def group(self, edit: Edit, name: str) -> int:
        """The number of a group that the edit names."""
        if name not in self.now.groups:
            self.refuse(edit, f"there is no group {name[:80]!r} of {edit.aspect}; {suggestion(name, self.now.groups)}")
        return self.now.groups.index(name)

    def check_free(self, edit: Edit, name: str, replaced: Sequence[str] = ()) -> None:
        """Refuses a name that another group has, in any spelling. replaced: groups whose names become free."""
        form = normal_form(name)
        for other in self.now.groups:
            if other not in replaced and normal_form(other) == form:
                self.refuse(edit, f"{edit.aspect} already has a group {other}: merge both, or give another name")

    def images(self, edit: Edit, given: Sequence[str]) -> list[int]:
        """The indices of images that the edit names."""
        names = [known_name(name, self.positions) for name in given]
        missing = [name for name in names if name not in self.positions]
        if missing:
            self.refuse(
                edit,
                f"{len(missing):,} of its {len(names):,} images are not in this run, such as {missing[0][:200]}",
            )
        return [self.positions[name] for name in names]

    def pin(self, images: Sequence[int], group: int) -> None:
        for i in images:
            self.leftover[i] = group == UNASSIGNED
            if group != UNASSIGNED:
                self.groups[i] = group
            self.now.pinned[self.names[i]] = Pin(group, int(self.labels[i]), float(self.distances[i]))

    def refuse(self, edit: Edit, reason: str) -> None:
        raise InputError(f"{edit.where}: {reason}", "edits")


def begun(names: Sequence[str]) -> Regrouping:
    """The groups of a model before any edit."""
    return Regrouping(list(names), list(range(len(names))))


def as_content(now: Regrouping) -> dict:
    """The entry of one aspect in groups.json: the attributes of `Regrouping`."""
    return msgspec.to_builtins(now, enc_hook=np.ndarray.tolist)


def of_content(content: dict, centroids: np.ndarray) -> Regrouping:
    """Reads the entry of one aspect in groups.json, for a model with these centroids [k, d]. Raises any error if it is
    invalid."""
    now = msgspec.convert(content, Regrouping, dec_hook=lambda _, rows: np.array(rows, np.float64))
    groups = range(len(now.groups))
    if not groups or not all(map(is_plain_name, now.groups)) or len(set(now.groups)) != len(groups):
        raise ValueError("the groups do not have unique, readable names")
    if len(now.to) != len(centroids):
        raise ValueError(f"it has {len(now.to)} centroids, the model has {len(centroids)}")
    for s, split in enumerate(now.with_splits()):  # split s leads to splits from s + 1 on, the model's to any
        unknown = [to for to in split.to if to not in groups and ~to not in range(s, len(now.splits))]
        if unknown:
            raise ValueError(f"{unknown[0]} is neither a group nor a later split")
    for s, split in enumerate(now.splits):
        shape = (len(split.to), centroids.shape[1])
        if split.centroids.shape != shape or not np.isfinite(split.centroids).all():
            raise ValueError(f"the centroids of split {s} are not {shape[0]} rows of {shape[1]} finite numbers")
    if not all(pin.group in (UNASSIGNED, *groups) and np.isfinite(pin.distance) for pin in now.pinned.values()):
        raise ValueError("a pinned image has no group or distance")
    if set(groups) - {to for split in now.with_splits() for to in split.to}:
        raise ValueError("no centroid leads to one of the groups")
    return now
