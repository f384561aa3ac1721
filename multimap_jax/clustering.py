"""From features to named groups, on the host."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

FEATURES = ("span", "proxy", "prompt", "word", "image", "proxy+image")
SAMPLE = 100_000
PART = 4096


@dataclasses.dataclass(frozen=True)
class Groups:
    """labels int [images], 0…k-1, the largest group first; centres float64 [k, features]."""

    labels: np.ndarray
    centres: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        return np.bincount(self.labels, minlength=len(self.centres))


def cluster(features: np.ndarray, k: int, seed: int = 0, sample: int = SAMPLE) -> Groups:
    """k-means (k-means++, best of 10 starts) on features [images, d]; ValueError for more groups than images.

    Of more than `sample` images the centres are found on that many, drawn with `seed`, and all images go to the nearest
    one: so the cost of k-means ends growing. Its agreement with k-means on all is in experiments/RESULTS.md.
    """
    from sklearn.cluster import KMeans

    check_clusters(k, len(features))
    kmeans = KMeans(k, init="k-means++", n_init=10, random_state=seed)
    centres = kmeans.fit(np.asarray(draw_rows(features, sample, seed), np.float64)).cluster_centers_
    labels, _ = nearest(features, centres)
    sizes = np.bincount(labels, minlength=k)
    if not sizes.all():
        warnings.warn(
            f"only {np.count_nonzero(sizes)} of {k} groups hold images: the images are too alike", stacklevel=2
        )
    order = np.argsort(-sizes, kind="stable")
    return Groups(np.argsort(order)[labels], centres[order])


def draw_rows(rows: np.ndarray, sample: int, seed: int) -> np.ndarray:
    """All rows, or `sample` of them in their order where there are more."""
    if len(rows) <= sample:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), sample, replace=False))]


def check_clusters(k: int, images: int) -> None:
    if not 1 <= k <= images:
        raise ValueError(f"{k} groups asked for among {images} images, expected 1 to {images}")


def nearest(features: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index of the nearest centre int [images], Euclidean distance to it [images])."""
    # Row by row, so that an image's answer cannot depend on which images come with it.
    distances = np.stack([np.linalg.norm(centres - row, axis=1) for row in features])
    return distances.argmin(1), distances.min(1)


def outliers(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images far from the centre of their own group, bool [images].

    Far is Tukey's far-out fence: more than three interquartile ranges above the upper quartile of the group.
    """
    far = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = labels == label
        low, high = np.quantile(distances[members], [0.25, 0.75])
        far[members] = distances[members] > high + 3 * (high - low) + 1e-6 * (1 + high)
    return far


def build_features(kind: str, proxies, prompts, words, images, projection=None) -> np.ndarray:
    """The rows that k-means runs on.

    "span": the unit image embedding times `projection` (see `span.fit_projection`). "proxy": w_i. "prompt": unit
    embedding of the prompt with w_i in it. "word": unnormalised embedding of "*" alone with w_i in it. "image": the
    unit image embedding. "proxy+image": both as unit rows, side by side.
    """
    if kind == "span":
        return project(images, projection)
    if kind == "proxy+image":
        return np.concatenate([proxies / np.linalg.norm(proxies, axis=1, keepdims=True), images], axis=1)
    return {"proxy": proxies, "prompt": prompts, "word": words, "image": images}[kind]


def project(images: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """images [n, embed] @ matrix [embed, d], float64; in parts, so that the images are never held in float64."""
    return np.concatenate([images[i : i + PART].astype(np.float64) @ matrix for i in range(0, len(images), PART)])


def check_features(kind: str | None) -> None:
    if kind is not None and kind not in FEATURES:
        raise ValueError(f"features is {kind!r}, known: {', '.join(FEATURES)}")


def name_groups(
    labels: np.ndarray, k: int, probabilities: np.ndarray, words: tuple[str, ...], aspect: str
) -> tuple[list[str], np.ndarray]:
    """A unique name for every group, and how sure it is, float [k] in 0…1.

    probabilities [images, words]: zero-shot. A group's score for a word is the mean over its images; words go to groups
    by the best one-to-one matching, and the score is the confidence. Groups that no word is left for take their best
    word with a number behind it; without words they are called by the aspect, with confidence 0.
    """
    from scipy.optimize import linear_sum_assignment

    if not words:
        return [f"{aspect} {i + 1}" for i in range(k)], np.zeros(k)
    members = np.eye(k)[labels]
    scores = members.T @ probabilities / np.maximum(members.sum(0), 1)[:, None]
    best = scores.argmax(1)
    groups, chosen = linear_sum_assignment(scores, maximize=True)
    best[groups] = chosen
    names = [words[word] for word in best]
    for group in sorted(set(range(k)) - set(groups.tolist())):
        names[group] = _numbered(names[group], names)
    return names, scores[np.arange(k), best]


def _numbered(name: str, taken: list[str]) -> str:
    number = 2
    while f"{name} {number}" in taken:
        number += 1
    return f"{name} {number}"
