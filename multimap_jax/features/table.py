"""The table of features that k-means can run on: kind of features -> requirements, fit, rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from multimap_jax.arrays.rows import ConcatenatedRows, ProjectedRows, Rows, StoredRows
from multimap_jax.choices import FEATURES, FeatureKind
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError
from multimap_jax.features.answers import MatchedAnswers
from multimap_jax.features.span import Span, fit_span
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.proxies.fit import ProxyFit, embed_words
from multimap_jax.proxies.recipes import ProxyConfig


@dataclasses.dataclass(frozen=True)
class Material:
    """The inputs from which rows are computed.

    Attributes:
      images: unit embeddings [images, embed].
      proxies: of these images, None if the kind needs none.
      projection: [embed, axes], from `Feature.fit`, None without a fit.
      answers: about these images, None if the kind needs none.
    """

    clip: Clip
    config: ProxyConfig
    images: np.ndarray | StoredRows
    proxies: ProxyFit | None
    projection: np.ndarray | None
    answers: MatchedAnswers | None = None


@dataclasses.dataclass(frozen=True)
class Feature:
    """One kind of features.

    Attributes:
      rows: Material -> rows [images, d], as in `arrays.rows`.
      proxies: whether a proxy of every image is needed.
      group_proxies: whether `fit` learns a proxy of every cluster if there are fewer words than clusters.
      words: the minimum number of words of the aspect.
      image_space: whether the recipe's prompts must be in the space of the images.
      fit: `features.span.fit_span`, or None if nothing is fitted.
      answers: whether an answer about each image is needed.
    """

    rows: Callable[[Material], Rows]
    proxies: bool = False
    group_proxies: bool = False
    words: int = 0
    image_space: bool = False
    fit: Callable[..., Span] | None = None
    answers: bool = False


Needed = TypeVar("Needed")


def given(needed: Needed | None) -> Needed:
    """A field of `Material` that a kind of features needs; ValueError if it is None."""
    if needed is None:
        raise ValueError("these features need proxies, a projection or answers, which were not given")
    return needed


FEATURE_KINDS: dict[str, Feature] = {
    # The image in the span of the words' prompts.
    "span": Feature(
        lambda m: ProjectedRows(m.images, given(m.projection)),
        words=2,
        image_space=True,
        group_proxies=True,
        fit=fit_span,
    ),
    # The proxy itself, the paper's w_i.
    "proxy": Feature(lambda m: given(m.proxies).proxies, proxies=True),
    # The unit embedding of the prompt with w_i in it.
    "prompt": Feature(lambda m: given(m.proxies).prompt_embeddings, proxies=True),
    # The unnormalised embedding of "*" alone with w_i in it.
    "word": Feature(lambda m: embed_words(m.clip, given(m.proxies).proxies, m.config), proxies=True),
    # The unit image embedding.
    "image": Feature(lambda m: m.images),
    # Both as unit rows, side by side, because image features are about twenty times as long as proxies.
    "proxy+image": Feature(lambda m: ConcatenatedRows(given(m.proxies).proxies, m.images), proxies=True),
    # The unit embedding of the prompt with what a model that looked at the image said.
    "answer": Feature(lambda m: given(m.answers).rows(), answers=True),
}


def choose(kind: FeatureKind | None, aspect: Aspect, config: ProxyConfig) -> FeatureKind:
    """The kind of features to use. None means the recipe's kind, or "proxy" if the aspect has too few words for it.

    Raises InputError for an unknown kind, and for one that does not suit the aspect's words or the recipe.
    """
    if kind is None:
        kind = config.traits.features
        return kind if len(aspect.words) >= FEATURE_KINDS[kind].words else "proxy"
    if kind not in FEATURE_KINDS:
        raise InputError(f"features is {kind!r}, known: {', '.join(FEATURES)}", "features")
    least = FEATURE_KINDS[kind].words
    if len(aspect.words) < least:
        raise InputError(
            f"features {kind!r} need {least} words or more, but aspect {aspect.name!r} has {len(aspect.words)}: give "
            "more words, or use features 'proxy'",
            "words",
        )
    if FEATURE_KINDS[kind].image_space and config.traits.text_space:
        raise InputError(
            f"features {kind!r} do not work with the {config.recipe} recipe: use 'proxy', or another recipe", "features"
        )
    return kind
