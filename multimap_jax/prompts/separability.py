"""Can this encoder tell the words of an aspect apart in these images? Never asks for labels."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
from scipy.special import entr, logsumexp, softmax

from multimap_jax.arrays.rows import StoredRows, take_rows
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError
from multimap_jax.prompts.aspect import Aspect, word_embeddings

# What "clear" needs of both criteria: 19 of 20 aspects of drawn scenes that are seen (zero-shot groups with an adjusted
# mutual information of .5 or more) reach each. Found on drawings alone: experiments.calibration.separability.
INFORMATION, STRUCTURE = 0.315, 0.28
SAMPLE_IMAGES = 2000  # a sample of which is looked at, at most
GROUPS = 60  # of k-means, at most
GAUSSIANS = 3  # samples without gaps, whose mean inertia `structure` compares with
RANDOM_WORDS = 24  # made of syllables, for the `information` that chance gives
DRAWS = 20  # of as many of them as the aspect has words


@dataclasses.dataclass(frozen=True)
class Separability:
    """What an encoder sees of an aspect in some images.

    Attributes:
      information: the entropy of the words over all images less that within an image, as a share of the most that so
        many words can have: whether images are told apart by the words, and surely. Adjusted for what words of random
        syllables give, as an adjusted Rand index is for chance: 0 is no more than theirs, 1 the most.
      structure: log of k-means' inertia on images that have the same mean and covariance of logits but lie without
        gaps (Gaussian), over that of these images: whether images stand in groups at all (the gap statistic of
        Tibshirani, Walther and Hastie, 2001, with this reference). About 0 where they do not.
      most: the word of most images, and its mean probability.
    """

    aspect: str
    encoder: str
    information: float
    structure: float
    most: tuple[str, float]

    @property
    def score(self) -> float:
        """The weaker criterion, 1 where it just suffices."""
        return min(self.information / INFORMATION, self.structure / STRUCTURE)

    @property
    def verdict(self) -> str:
        """ "clear" or "cannot"."""
        return "clear" if self.score >= 1 else "cannot"

    def content(self) -> dict:
        """As run.json has it."""
        numbers = {"information": round(self.information, 4), "structure": round(self.structure, 4)}
        return {"verdict": self.verdict, **numbers, "said": str(self)}

    def __str__(self) -> str:
        if self.verdict == "clear":
            return f"{self.encoder} separates the {self.aspect} words well on these images."
        word, share = self.most
        alike = f" (nearly all of them match {word!r})" if share > 0.9 else ""
        return (
            f"{self.encoder} cannot separate the {self.aspect} words on these images{alike}, so the groups are mostly "
            "noise."
        )


def diagnose(
    clip: Clip, embeddings: np.ndarray | StoredRows, aspect: Aspect, names=None, seed: int = 0
) -> Separability:
    """Whether the encoder tells the aspect's words apart in images, given as unit rows [images, embed].

    2,000 images are looked at at most: of `names` (None: of their numbers) those with the lowest hashes.

    Raises InputError for an aspect with fewer than two words.
    """
    if len(aspect.words) < 2:
        raise InputError(f"aspect {aspect.name!r} has {len(aspect.words)} words: give two or more to look for", "words")
    scaled = clip.temperature_scale * take_rows(sample_rows(embeddings, names, seed, SAMPLE_IMAGES)[0], None)
    logits, random_logits = (
        scaled @ word_embeddings(clip, asked).astype(np.float64).T for asked in (aspect, with_random_words(aspect))
    )
    chance = random_information(random_logits, len(aspect.words), seed)
    mean = softmax(logits, axis=1).mean(0)
    most = int(mean.argmax())
    adjusted = (information(logits) - chance) / (1 - chance)
    return Separability(
        aspect.name, clip.name, adjusted, structure(logits, seed), (aspect.words[most], float(mean[most]))
    )


def check_random_prompts(clip: Clip, aspect: Aspect) -> None:
    """InputError where a prompt of `diagnose` is longer than the context, before anything is computed."""
    clip.tokenizer.pad([aspect.fill(word) for word in with_random_words(aspect).words])


def with_random_words(aspect: Aspect) -> Aspect:
    """The aspect with the random words that `diagnose` compares its own words with."""
    return dataclasses.replace(aspect, words=random_words(RANDOM_WORDS, np.random.default_rng(0)))


def information(logits: np.ndarray) -> float:
    """Of logits [images, words] by how much the images' words differ more than an image's own, 0 … 1."""
    probable = softmax(logits, axis=1)
    return float(entr(probable.mean(0)).sum() - entr(probable).sum(1).mean()) / np.log(logits.shape[1])


def random_information(logits: np.ndarray, words: int, seed: int) -> float:
    """The mean `information` of logits [images, random words] over draws of this many of the words."""
    random = np.random.default_rng(seed)
    drawn = [random.choice(logits.shape[1], min(words, logits.shape[1]), replace=False) for _ in range(DRAWS)]
    return float(np.mean([information(logits[:, columns]) for columns in drawn]))


def random_words(count: int, random: np.random.Generator) -> tuple[str, ...]:
    """This many words of two or three random syllables."""
    found: dict[str, None] = {}
    while len(found) < count:
        letters = [
            random.choice(list(kind)) for _ in range(random.integers(2, 4)) for kind in ("bdfgklmnprstvz", "aeiou")
        ]
        found["".join(letters)] = None
    return tuple(found)


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
    return float(np.log(max(np.mean(gaussian), 1e-12) / inertia))


def _inertia(logits: np.ndarray, k: int) -> float:
    """Of k-means on the square roots of the words' probabilities, as `features.span.word_clusters` has it."""
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer different images than groups
        return float(KMeans(k, n_init=3, random_state=0).fit(np.sqrt(softmax(logits, axis=1))).inertia_)
