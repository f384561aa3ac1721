"""Can this encoder tell the words of an aspect apart in these images? Never asks for labels."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import entr, logsumexp, softmax

from multimap_jax.arrays.rows import Rows, take_rows
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError
from multimap_jax.prompts.aspect import Aspect, check_aspect, word_embeddings
from multimap_jax.prompts.unrelated import UnrelatedWords

# What "well" needs of each number, and less than which of two is "hardly". Found on drawn scenes alone:
# experiments.calibration.separability.
WELL = {"separation": 0.35, "fit": 4.5, "structure": 0.28}
HARDLY = {"separation": 0.2, "fit": 2.5}
SAMPLE_IMAGES = 2000  # a sample of which is looked at, at most
GROUPS = 60  # of k-means, at most
GAUSSIANS = 3  # samples without gaps, whose mean inertia `structure` compares with
DRAWS = 20  # of as many unrelated words as the aspect has words
MEANING = {
    "well": "separates the {aspect} words well on these images",
    "partly": "separates the {aspect} words partly on these images: expect some images in the wrong group",
    "hardly": "hardly separates the {aspect} words on these images: the groups may be mostly noise",
}


@dataclasses.dataclass(frozen=True)
class Separability:
    """What an encoder sees of an aspect in some images.

    Attributes:
      separation: the mutual information between images and words, as a share of the words' entropy: whether each image
        is surely of one word. Adjusted for what as many unrelated words give, as an adjusted Rand index is for chance:
        0 is no more than theirs, 1 the most.
      fit: how much better the words fit the images than unrelated words do, in standard deviations of these. See
        `prompts.unrelated.UnrelatedWords.scores`.
      structure: log of k-means' inertia on images that have the same mean and covariance of logits but lie without
        gaps (Gaussian), over that of these images: whether images stand in groups at all (the gap statistic of
        Tibshirani, Walther and Hastie, 2001, with this reference). About 0 where they do not.
      most: the word of most images, and its mean probability.
    """

    aspect: str
    encoder: str
    separation: float
    fit: float
    structure: float
    most: tuple[str, float]

    @property
    def score(self) -> float:
        """The weakest number, 1 where it is just enough for "well"."""
        return min(getattr(self, name) / least for name, least in WELL.items())

    @property
    def verdict(self) -> str:
        """ "well", "partly" or "hardly"."""
        if self.score >= 1:
            return "well"
        return "hardly" if any(getattr(self, name) < least for name, least in HARDLY.items()) else "partly"

    def content(self) -> dict:
        """As run.json has it."""
        numbers = {name: round(getattr(self, name), 4) for name in WELL}
        return {"verdict": self.verdict, **numbers, "said": str(self)}

    def __str__(self) -> str:
        word, share = self.most
        alike = f" Nearly all of them match {word!r}." if share > 0.9 and self.verdict != "well" else ""
        return f"{self.encoder} {MEANING[self.verdict].format(aspect=self.aspect)}.{alike}"


def diagnose(
    clip: Clip, embeddings: Rows, aspect: Aspect, *, names: Sequence | None = None, seed: int = 0
) -> Separability:
    """Whether the encoder tells the aspect's words apart in images, given as unit rows [images, embed].

    2,000 images are looked at at most: of `names` (None: of their numbers) those with the lowest hashes.

    Raises InputError for an aspect with fewer than two words.
    """
    check_aspect(aspect)
    if len(aspect.words) < 2:
        raise InputError(f"aspect {aspect.name!r} has {len(aspect.words)} words: give two or more to look for", "words")
    rows = take_rows(sample_rows(embeddings, names, seed, SAMPLE_IMAGES)[0], None)
    texts, unrelated = word_embeddings(clip, aspect).astype(np.float64), UnrelatedWords.of(clip, aspect)
    scaled = clip.temperature_scale * rows
    logits = scaled @ texts.T
    chance = chance_separation(scaled @ unrelated.texts.astype(np.float64).T, len(aspect.words), seed)
    mean = softmax(logits, axis=1).mean(0)
    most = int(mean.argmax())
    return Separability(
        aspect.name,
        clip.name,
        (separation(logits) - chance) / (1 - chance),
        fit(rows, texts, logits.argmax(1), unrelated),
        structure(logits, seed),
        (aspect.words[most], float(mean[most])),
    )


def separation(logits: np.ndarray) -> float:
    """The mutual information of images and words as a share of the words' entropy, 0 … 1; of logits [images, words]."""
    probable = softmax(logits, axis=1)
    entropy = float(entr(probable.mean(0)).sum())
    return (entropy - float(entr(probable).sum(1).mean())) / max(entropy, 1e-9)


def chance_separation(logits: np.ndarray, words: int, seed: int) -> float:
    """The mean `separation` of logits [images, unrelated words] over draws of this many of the words."""
    if not logits.shape[1]:
        return 0.0
    random = np.random.default_rng(seed)
    drawn = [random.choice(logits.shape[1], min(words, logits.shape[1]), replace=False) for _ in range(DRAWS)]
    return float(np.mean([separation(logits[:, columns]) for columns in drawn]))


def fit(rows: np.ndarray, texts: np.ndarray, picked: np.ndarray, unrelated: UnrelatedWords) -> float:
    """`Separability.fit`: the mean score of the word that each image picks, int [images], among those that pick it."""
    words, counts = np.unique(picked, return_counts=True)
    means = np.stack([rows[picked == word].mean(0) for word in words])
    scores = unrelated.scores(means, rows.mean(0), texts[words])[0]
    return float(counts @ np.diag(scores) / len(rows))


def structure(logits: np.ndarray, seed: int = 0) -> float:
    """`Separability.structure` of logits [images, words]; 0 where there are too few images or all are one."""
    groups = min(logits.shape[1], GROUPS, len(logits) // 2)
    logits = logits - logsumexp(logits, axis=1, keepdims=True)
    middle = logits.mean(0)
    _, lengths, axes = np.linalg.svd(logits - middle, full_matrices=False)
    inertia = _inertia(logits, groups) if groups > 1 else 0.0
    if inertia <= 1e-12:
        return 0.0
    random, spread = np.random.default_rng(seed), lengths / np.sqrt(len(logits))
    gaussian = [
        _inertia(middle + (random.standard_normal((len(logits), len(spread))) * spread) @ axes, groups)
        for _ in range(GAUSSIANS)
    ]
    return float(np.log(max(float(np.mean(gaussian)), 1e-12) / inertia))


def _inertia(logits: np.ndarray, k: int) -> float:
    """Of k-means on the square roots of the words' probabilities, as `features.span.word_clusters` has it."""
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer different images than groups
        return float(KMeans(k, n_init=3, random_state=0).fit(np.sqrt(softmax(logits, axis=1))).inertia_)
