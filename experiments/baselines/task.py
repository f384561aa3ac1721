"""What the methods of other papers that group a whole set are given, and what they give back.

Such a method knows nothing of words: it sees the images once and finds several clusterings, of which the one that fits
an aspect best counts as its answer to it (paper, section 4). Both records pass between processes as .npz files, since
a method may need an interpreter of its own; so this file needs nothing but numpy and scikit-learn.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

SEEDS = 10  # of k-means, as in the paper's tables
SIDE = 128  # pixels


@dataclasses.dataclass(frozen=True)
class Task:
    """images uint8 [images, SIDE, SIDE, 3]. embeddings float32 [images, embed]: a checkpoint's, unit rows. views: what
    other extractors say, name -> float [images, d]. clusters: aspect -> number of groups. full: as many epochs as the
    paper has, and not as many as a CPU does in a minute."""

    images: np.ndarray
    embeddings: np.ndarray
    clusters: Mapping[str, int]
    views: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    full: bool = False
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Found:
    """labels: aspect -> int [clusterings, seeds, images], all clusterings that may be the aspect's. losses: the last
    ones by name. note: what else is to be known of the run. memory: the highest of its process, in bytes."""

    labels: Mapping[str, np.ndarray]
    epochs: int = 0
    losses: Mapping[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""
    memory: int = 0


def group(features: Sequence[np.ndarray], clusters: Mapping[str, int]) -> dict[str, np.ndarray]:
    """k-means with SEEDS seeds on each of the features [images, d], in the number of groups of every aspect:
    aspect -> int [features, seeds, images]."""
    numbers = {k: np.stack([by_seed(rows, k) for rows in features]) for k in set(clusters.values())}
    return {aspect: numbers[k] for aspect, k in clusters.items()}


def by_seed(rows: np.ndarray, k: int) -> np.ndarray:
    """Labels int [seeds, images] of rows [images, d]; fewer groups where there are not so many different rows."""
    return np.stack([k_means(rows, k, seed) for seed in range(SEEDS)])


def k_means(rows: np.ndarray, k: int, seed: int, starts: int = 1) -> np.ndarray:
    """Labels int [images]."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(k, n_init=starts, random_state=seed).fit_predict(rows)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """rows [images, d] scaled to norm 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def standardised(rows: np.ndarray) -> np.ndarray:
    """Columns of rows [images, d] with mean 0 and deviation 1; columns that do not vary are left out."""
    deviation = rows.std(0)
    varies = deviation > 1e-6
    return ((rows - rows.mean(0))[:, varies] / deviation[varies]).astype(np.float32)


def save_task(task: Task, path: Path) -> None:
    said = json.dumps({"clusters": dict(task.clusters), "full": task.full, "seed": task.seed})
    views = {f"view {name}": rows for name, rows in task.views.items()}
    np.savez(path, images=task.images, embeddings=task.embeddings, said=said, **views)


def load_task(path: Path) -> Task:
    with np.load(path) as file:
        views = {name.removeprefix("view "): file[name] for name in file.files if name.startswith("view ")}
        return Task(file["images"], file["embeddings"], views=views, **json.loads(str(file["said"])))


def save_found(found: Found, path: Path) -> None:
    said = json.dumps(
        {"epochs": found.epochs, "losses": dict(found.losses), "note": found.note, "memory": found.memory}
    )
    np.savez(path, said=said, **{f"of {aspect}": labels for aspect, labels in found.labels.items()})


def load_found(path: Path) -> Found:
    with np.load(path) as file:
        labels = {name.removeprefix("of "): file[name] for name in file.files if name.startswith("of ")}
        return Found(labels, **json.loads(str(file["said"])))
