"""Words that nobody gave: candidates from a vocabulary, WordNet or a language model, among which the images choose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from multimap_jax.arrays.rows import StoredRows
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.choices import SUBJECT, TEMPLATE
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.prompts.aspect import Aspect, has_room_for
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.prompts.separability import Separability, diagnose
from multimap_jax.words.choose import IMAGES, Choice, choose_words
from multimap_jax.words.sources import Sources, candidates
from multimap_jax.words.vocabulary import Vocabulary, aspects_for, read_vocabulary


def seen_words(clip: Clip, aspect: Aspect) -> Aspect:
    """The aspect with those of its words that the checkpoint was trained on, where it says so."""
    if clip.known_words is None:
        return aspect
    words = tuple(word for word in aspect.words if clip.known_words.issuperset(normal_form(word).split()))
    return dataclasses.replace(aspect, words=words)


def usable_words(clip: Clip, aspect: Aspect) -> Aspect:
    """The aspect with those of its words that the checkpoint may know and that its prompt can be made with: for words
    that nobody asked for, which are no reason to end a run."""
    known = seen_words(clip, aspect)
    words = tuple(word for word in known.words if has_room_for(aspect, word, clip.tokenizer))
    return dataclasses.replace(aspect, words=words)


@dataclasses.dataclass(frozen=True)
class FoundWords:
    """aspect: with the words that images pick. source: of the candidates. choice: how they were picked. separability:
    whether the encoder tells them apart."""

    aspect: Aspect
    source: str
    choice: Choice
    separability: Separability


def find_words(
    clip: Clip,
    embeddings: np.ndarray | StoredRows,
    name: str,
    subject: str = SUBJECT,
    source: str | Sequence[str] = "vocabulary",
    template: str = TEMPLATE,
    sources: Sources | None = None,
    names: Sequence | None = None,
) -> FoundWords:
    """Words for an aspect that has none, chosen by images.

    Args:
      clip: the encoder. embeddings: unit rows [images, embed].
      name, subject, template: of the aspect.
      source: "vocabulary", "wordnet" (words below the aspect's noun, or below the subject's for a species or type),
        "wordnet:NOUN", "llm", or candidate words themselves.
      sources: where these lie; None: the built-in vocabulary and the usual place of WordNet.
      names: of the images; some thousand with the lowest hashes are looked at. None: their numbers.

    Raises ValueError, FileNotFoundError or OSError with one sentence where there are no two words.
    """
    words = candidates(name, subject, source, sources) if isinstance(source, str) else tuple(source)
    aspect = seen_words(clip, Aspect(name, subject, words, template))
    embeddings, names = sample_rows(embeddings, names, 0, IMAGES)
    choice = choose_words(clip, embeddings, aspect, names)
    aspect = dataclasses.replace(aspect, words=choice.words)
    label = source if isinstance(source, str) else "given"
    return FoundWords(aspect, label, choice, diagnose(clip, embeddings, aspect, names))


def aspects_to_suggest(
    clip: Clip, subject: str = SUBJECT, vocabulary: Vocabulary | None = None, template: str = TEMPLATE
) -> list[Aspect]:
    """The vocabulary's aspects for a subject with the words that the checkpoint knows, where these are two or more."""
    found = aspects_for(read_vocabulary(None) if vocabulary is None else vocabulary, subject)
    aspects = [usable_words(clip, Aspect(name, subject, words, template)) for name, words in found.items()]
    return [aspect for aspect in aspects if len(aspect.words) > 1]


def suggest_aspects(
    clip: Clip,
    embeddings: np.ndarray | StoredRows,
    subject: str = SUBJECT,
    vocabulary: Vocabulary | None = None,
    template: str = TEMPLATE,
    progress: Callable[[list], Sequence] = list,
) -> list[FoundWords]:
    """The vocabulary's aspects for a subject, those first that the encoder tells apart best in these images.

    Args:
      embeddings: unit rows [images, embed].
      vocabulary: as `read_vocabulary` gives it; None: the built-in one.
      progress: what the list of aspects is walked by.

    In the order of `Separability.score`, the weaker of its two criteria. Aspects of which the checkpoint knows fewer
    than two words are passed over.
    """
    embeddings, names = sample_rows(embeddings, None, 0, IMAGES)
    found = [
        find_words(clip, embeddings, aspect.name, subject, aspect.words, template, names=names)
        for aspect in progress(aspects_to_suggest(clip, subject, vocabulary, template))
    ]
    return sorted(found, key=lambda each: -each.separability.score)
