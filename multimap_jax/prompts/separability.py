"""Can this encoder tell the words of an aspect apart in these images? Never asks for labels."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import entr, softmax

from multimap_jax.arrays.rows import Embeddings, take_rows
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.load import load_clip
from multimap_jax.errors import InputError, names_arguments
from multimap_jax.prompts.aspect import Aspect, check_aspect, word_embeddings
from multimap_jax.prompts.normalize import normal_form

# What "well" needs of each criterion, and the score that "partly" needs: what drawings and photographs gave.
# experiments.calibration.separability also judges each set by what the others give.
WIN_RATE, STRUCTURE, SHARE = 0.82, 0.37, 0.09
PARTLY = 0.18
CRITERIA = ("win_rate", "structure", "share")
SAMPLE_IMAGES = 2000  # a sample of which is looked at, at most
GROUPS = 60  # of k-means, at most
GAUSSIANS = 3  # samples without gaps, whose mean inertia `structure` compares with
# What the words of an aspect are compared with: words that no image shows, and things that images may show.
ABSTRACT_WORDS = (
    "idea time day way year thing place point number group problem fact reason question part kind case example word "
    "work life name"
).split()
THINGS = (
    "dog bird tree house person car flower card shoe table cup book phone clock boat apple bread guitar ball chair "
    "window river mountain cloud machine paper letter animal food toy"
).split()
DRAWS = 20  # of as many of them as the aspect has words


@dataclasses.dataclass(frozen=True)
class Separability:
    """What an encoder sees of an aspect in some images.

    Attributes:
      win_rate: the share of images that the best of the aspect's words fits better than the best of as many abstract
        words does, each word compared with how it fits the mean image. .5 is chance.
      structure: log of k-means' inertia on images that have the same mean and covariance of logits but lie without
        gaps (Gaussian), over that of these images: whether images stand in groups at all (the gap statistic of
        Tibshirani, Walther and Hastie, 2001, with this reference). About 0 where they do not.
      share: the mean probability of the aspect's words where many things are there to choose from too. A low one means
        that the words may be of something else; the verdict is then "partly" at best.
      most: the word of most images, and its mean probability.
      score: the weakest criterion, 0 for chance and 1 for what "well" needs. A low share alone lowers it only to what
        "partly" needs.
      verdict: "well", "partly" or "hardly".
    """

    aspect: str
    encoder: str
    win_rate: float
    structure: float
    share: float
    most: tuple[str, float]

    @property
    def score(self) -> float:
        """The weakest criterion: 0 is chance, 1 what "well" needs."""
        won, share = (self.win_rate - 0.5) / (WIN_RATE - 0.5), self.share / SHARE
        return min(won, self.structure / STRUCTURE, max(share, PARTLY))

    @property
    def verdict(self) -> str:
        """ "well", "partly" or "hardly"."""
        return "well" if self.score >= 1 else "partly" if self.score >= PARTLY else "hardly"

    def content(self) -> dict:
        """As run.json has it."""
        numbers = {name: round(getattr(self, name), 4) for name in CRITERIA}
        return {"verdict": self.verdict, **numbers, "said": str(self)}

    def __str__(self) -> str:
        word, share = self.most
        alike = f" (nearly all of them match {word!r})" if share > 0.9 else ""
        encoder, words = f"This encoder ({self.encoder})", f"the {self.aspect} words"
        return {
            "well": f"{encoder} separates {words} well on these images.",
            "partly": f"{encoder} partly separates {words} on these images: check the groups, some images will be "
            "misplaced.",
            "hardly": f"{encoder} hardly separates {words} on these images{alike}: the groups may be mostly noise.",
        }[self.verdict]


@names_arguments
def diagnose(
    clip: Clip | str | Path, embeddings: Embeddings, aspect: Aspect, *, names: Sequence | None = None, seed: int = 0
) -> Separability:
    """Whether the encoder tells the aspect's words apart in images, given as unit rows [images, embed].

    Uses at most 2,000 images: those whose `names` (None: whose indices) have the lowest hashes. clip: a Clip, or a name
    for `load_clip`.

    Raises InputError for an aspect with fewer than two words.
    """
    clip = load_clip(clip)
    check_aspect(aspect)
    if len(aspect.words) < 2:
        raise InputError(
            f"expected two or more words for {aspect.name!r}, found {len(aspect.words)}: add words", "words"
        )
    rows = clip.check_embeddings(embeddings)
    scaled = clip.temperature_scale * take_rows(sample_rows(rows, names, seed, SAMPLE_IMAGES)[0], None)
    logits, abstract, things = (
        scaled @ word_embeddings(clip, asked).astype(np.float64).T for asked in (aspect, *compared(aspect))
    )
    mean = softmax(logits, axis=1).mean(0)
    most = int(mean.argmax())
    probable = softmax(np.concatenate([logits, things], axis=1), axis=1)
    return Separability(
        aspect.name,
        clip.name,
        win_rate(logits, abstract, seed),
        structure(logits, seed),
        float(probable[:, : len(aspect.words)].sum(1).mean()),
        (aspect.words[most], float(mean[most])),
    )


def check_compared_prompts(clip: Clip, aspect: Aspect) -> None:
    """InputError where a prompt of `diagnose` is longer than the context, before anything is computed."""
    for asked in compared(aspect):
        clip.tokenizer.pad([asked.fill(word) for word in asked.words])


def compared(aspect: Aspect) -> list[Aspect]:
    """The aspect with abstract words, and with things, but for its own words where others are left."""
    own = {normal_form(word) for word in aspect.words}
    return [
        dataclasses.replace(aspect, words=tuple(word for word in words if word not in own) or tuple(words))
        for words in (ABSTRACT_WORDS, THINGS)
    ]


def win_rate(logits: np.ndarray, others: np.ndarray, seed: int = 0) -> float:
    """`Separability.win_rate` of logits [images, words] and [images, other words], the mean over draws of as many of
    the latter as there are words."""
    best, others = (logits - logits.mean(0)).max(1), others - others.mean(0)
    random, count = np.random.default_rng(seed), min(logits.shape[1], others.shape[1])
    drawn = [random.choice(others.shape[1], count, replace=False) for _ in range(DRAWS)]
    return float(np.mean([best > others[:, columns].max(1) for columns in drawn]))


def structure(logits: np.ndarray, seed: int = 0) -> float:
    """`Separability.structure` of logits [images, words], with as many groups as words that images pick (the
    exponential of their entropy); 0 where there are too few images or all are one."""
    picked = float(np.exp(entr(softmax(logits, axis=1).mean(0)).sum()))
    groups = min(max(round(picked), 2), GROUPS, len(logits) // 2)
    rows = logits - logits.mean(1, keepdims=True)
    middle = rows.mean(0)
    _, lengths, axes = np.linalg.svd(rows - middle, full_matrices=False)
    inertia = _inertia(rows, groups) if groups > 1 else 0.0
    if inertia <= 1e-12:
        return 0.0
    random, spread = np.random.default_rng(seed), lengths / np.sqrt(len(rows))
    gaussian = [
        _inertia(middle + (random.standard_normal((len(rows), len(spread))) * spread) @ axes, groups)
        for _ in range(GAUSSIANS)
    ]
    return float(np.log(max(float(np.mean(gaussian)), 1e-12) / inertia))


def _inertia(rows: np.ndarray, k: int) -> float:
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer different images than groups
        return float(KMeans(k, n_init=3, random_state=0).fit(rows).inertia_)
