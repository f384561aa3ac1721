"""Finds words for an aspect without any, among those of a vocabulary, WordNet or a language model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from multimap_jax.arrays.rows import Embeddings
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.choices import SUBJECT, TEMPLATE
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.load import load_clip
from multimap_jax.errors import names_arguments
from multimap_jax.prompts.aspect import Aspect, has_room_for
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.prompts.separability import Separability, diagnose
from multimap_jax.words.choose import WORD_IMAGES, Choice, choose_words
from multimap_jax.words.vocabulary import Vocabulary, aspects_for, known_vocabulary
from multimap_jax.words.word_sources import WordSources, candidates


def seen_words(clip: Clip, aspect: Aspect) -> Aspect:
    """The aspect with only the words that the checkpoint was trained on, if it lists these."""
    if clip.known_words is None:
        return aspect
    words = tuple(word for word in aspect.words if clip.known_words.issuperset(normal_form(word).split()))
    return dataclasses.replace(aspect, words=words)


def usable_words(clip: Clip, aspect: Aspect) -> Aspect:
    """The aspect with only the words that the checkpoint may know and that fit into its prompt. Words that the user did
    not give must not end a run."""
    words = tuple(word for word in seen_words(clip, aspect).words if has_room_for(aspect, word, clip.tokenizer))
    return dataclasses.replace(aspect, words=words)


@dataclasses.dataclass(frozen=True)
class FoundWords:
    """aspect: with the chosen words. source: of the candidates, "given" for words of the caller. separability: of the
    chosen words."""

    aspect: Aspect
    source: str
    choice: Choice
    separability: Separability


@names_arguments
def find_words(
    clip: Clip | str | Path,
    embeddings: Embeddings,
    name: str,
    subject: str = SUBJECT,
    *,
    source: str | Sequence[str] = "vocabulary",
    template: str = TEMPLATE,
    sources: WordSources | None = None,
    names: Sequence | None = None,
) -> FoundWords:
    """Finds words for an aspect that has none: the candidates that match the images.

    Args:
      clip: a Clip, or a name for `load_clip`. embeddings: unit rows [images, embed].
      name, subject, template: of the aspect.
      source: "vocabulary", "wordnet" (hyponyms of the aspect, or of the subject for a species or type),
        "wordnet:NOUN", "llm", or the candidate words themselves.
      sources: files and addresses of the sources; None: the built-in vocabulary and WordNet's default folder.
      names: of the images; those with the lowest hashes are used. None: their indices.

    Raises InputError or OSError with one sentence if there are fewer than two words.
    """
    clip = load_clip(clip)
    embeddings = clip.check_embeddings(embeddings)
    Aspect(name, subject, template=template)  # checks them
    words = candidates(name, subject, source, sources) if isinstance(source, str) else tuple(source)
    aspect = seen_words(clip, Aspect(name, subject, words, template))
    embeddings, names = sample_rows(embeddings, names, 0, WORD_IMAGES)
    choice = choose_words(clip, embeddings, aspect, names)
    aspect = dataclasses.replace(aspect, words=choice.words)
    source = source if isinstance(source, str) else "given"
    return FoundWords(aspect, source, choice, diagnose(clip, embeddings, aspect, names=names))


def aspects_to_suggest(
    clip: Clip, subject: str = SUBJECT, vocabulary: Vocabulary | None = None, template: str = TEMPLATE
) -> list[Aspect]:
    """The vocabulary's aspects for a subject, with two or more words that the checkpoint knows."""
    found = aspects_for(known_vocabulary(vocabulary), subject)
    aspects = [usable_words(clip, Aspect(name, subject, words, template)) for name, words in found.items()]
    return [aspect for aspect in aspects if len(aspect.words) > 1]


@names_arguments
def suggest_aspects(
    clip: Clip | str | Path,
    embeddings: Embeddings,
    subject: str = SUBJECT,
    *,
    vocabulary: Vocabulary | None = None,
    template: str = TEMPLATE,
    progress: Callable[[list[Aspect]], Iterable[Aspect]] = list,
) -> list[FoundWords]:
    """The vocabulary's aspects for a subject, highest `Separability.score` first.

    Args:
      clip: a Clip, or a name for `load_clip`. embeddings: unit rows [images, embed].
      vocabulary: from `read_vocabulary`; None: the built-in one.
      progress: wraps the list of aspects, for a progress bar.

    Aspects with fewer than two words that the checkpoint knows are left out.
    """
    clip = load_clip(clip)
    embeddings, names = sample_rows(clip.check_embeddings(embeddings), None, 0, WORD_IMAGES)
    found = [
        find_words(clip, embeddings, aspect.name, subject, source=aspect.words, template=template, names=names)
        for aspect in progress(aspects_to_suggest(clip, subject, vocabulary, template))
    ]
    found = [dataclasses.replace(each, source="vocabulary") for each in found]
    return sorted(found, key=lambda words: (-words.separability.score, -words.separability.structure))
