"""One cell of a table: an aspect of a labelled set, embedded, and what a method's answer to it is worth.

A method gives features [images, d], on which k-means runs with ten seeds, or labels: int [images], or int
[seeds, images] where the seed takes part in the features; or Learnt, features with what is to be said of the learning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

import multimap_jax as mm
from experiments.evaluation import datasets
from experiments.evaluation import significance as compare
from multimap_jax.choices import TEMPLATE
from multimap_jax.clustering.kmeans import cluster

SEEDS = 10


@dataclasses.dataclass(frozen=True)
class Case:
    """One aspect of one labelled set, embedded by one checkpoint.

    embeddings [images, embed]: unit rows. words: candidates. names: the true names, () where there are none.
    config: the paper's recipe with the learning rate and weight decay to be used. pooled [images, image width]: what
    the image tower projects, for Multi-Sub only. others: the set's other aspects, with words.
    """

    clip: mm.Clip
    subject: str
    aspect: str
    embeddings: np.ndarray
    truth: np.ndarray
    words: tuple[str, ...]
    names: tuple[str, ...]
    contrast: tuple[str, ...]
    config: mm.ProxyConfig
    pooled: np.ndarray | None = None
    others: tuple[mm.Aspect, ...] = ()

    @property
    def clusters(self) -> int:
        return len(set(self.truth.tolist()))

    def asked(self, template: str = TEMPLATE) -> mm.Aspect:
        return mm.Aspect(self.aspect, self.subject, self.words, template)


@dataclasses.dataclass(frozen=True)
class Learnt:
    """features [images, d], the epochs that they took and the last losses by name."""

    features: np.ndarray
    epochs: int
    losses: dict[str, float]


def make_case(
    item: datasets.DataSet,
    labelled: datasets.Labelled,
    aspect: str,
    clip: mm.Clip,
    embeddings: np.ndarray,
    config: mm.ProxyConfig,
) -> Case:
    """The case of one aspect of a data set, asked with the set's own candidate words."""
    facts, truth = item.aspects[aspect], labelled.labels[aspect]
    names = facts.labels or tuple(sorted(set(truth.tolist())))
    contrast = tuple(other for other in item.aspects if other != aspect)
    others = tuple(mm.Aspect(other, item.subject, item.aspects[other].words) for other in contrast)
    return Case(clip, item.subject, aspect, embeddings, truth, facts.words, names, contrast, config, others=others)


def score(outcome: np.ndarray | Learnt, case: Case, seeds: int = SEEDS) -> list[dict[str, float]]:
    """`mm.evaluate` for every k-means seed; once for labels that no seed changes."""
    return [mm.evaluate(case.truth, labels) for labels in labellings(outcome, case, seeds)]


def rate(outcome: np.ndarray | Learnt, case: Case, seed: int) -> dict:
    """`rate_labels`, with what was said of the learning."""
    said = {"epochs": outcome.epochs, "losses": outcome.losses} if isinstance(outcome, Learnt) else {}
    return rate_labels(np.stack(labellings(outcome, case)), case.truth, seed) | said


def rate_labels(labels: np.ndarray, truth: np.ndarray, seed: int) -> dict:
    """Of labels int [seeds, images]: means over seeds, the number of images, and the NMI of every resample of them."""
    scores = [mm.evaluate(truth, each) for each in labels]
    means = {name: float(np.mean([each[name] for each in scores])) for name in ("nmi", "ri", "accuracy")}
    return means | {"images": len(truth), "resampled": compare.resample(truth, labels, seed)}


def labellings(outcome: np.ndarray | Learnt, case: Case, seeds: int = SEEDS) -> list[np.ndarray]:
    """Labels [images] of every seed; one where no seed changes them."""
    outcome = outcome.features if isinstance(outcome, Learnt) else outcome
    if np.issubdtype(outcome.dtype, np.integer):
        return list(np.atleast_2d(outcome))
    return [cluster(outcome, case.clusters, seed).labels for seed in range(seeds)]


def by_seed(groups: Callable[[int], np.ndarray]) -> np.ndarray:
    """Labels int [seeds, images] of groups(seed)."""
    return np.stack([groups(seed) for seed in range(SEEDS)])
