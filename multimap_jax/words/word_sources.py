"""Sources of candidate words: a vocabulary, WordNet or a language model. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Callable
from pathlib import Path

from multimap_jax.choices import WORD_SOURCES
from multimap_jax.errors import InputError
from multimap_jax.prompts.normalize import normal_form, unique_words
from multimap_jax.words.language_model import Endpoint, ask_words
from multimap_jax.words.vocabulary import Vocabulary, aspects_for, read_vocabulary, subjects_of, vocabulary_words
from multimap_jax.words.wordnet import hyponyms

# Aspects whose words are kinds of the subject, whose hyponyms WordNet is asked for.
KINDS = ("species", "kind", "type", "breed", "race", "variety")


@dataclasses.dataclass(frozen=True)
class WordSources:
    """Where candidate words come from.

    vocabularies: files in the form of words/vocabulary.txt, None for that one; later files override earlier ones.
    wordnet: folder of WordNet's files, None for the default. endpoint: of a language model, or None. folder: keeps its
    answers, or None.
    """

    vocabularies: tuple[Path | None, ...] = (None,)
    wordnet: Path | None = None
    endpoint: Endpoint | None = None
    folder: Path | None = None

    def vocabulary(self) -> Vocabulary:
        return read_vocabulary(*self.vocabularies)


def source_of(text: str) -> str | None:
    """The source that `text` names in any capitals: "vocabulary", "wordnet", "wordnet:NOUN", "llm"; None for others."""
    name, colon, noun = text.partition(":")
    kind = normal_form(name)
    return kind + colon + noun if kind in WORD_SOURCES and (not colon or kind == "wordnet") else None


def candidates(
    name: str, subject: str, source: str, sources: WordSources | None = None, say: Callable[[str], None] = print
) -> tuple[str, ...]:
    """Candidate words for an aspect by its name, from a `source` as `source_of` gives it.

    Raises InputError or OSError with one sentence where it has fewer than two.
    """
    sources, given = sources or WordSources(), f"{name}=A,B,…"
    kind, _, noun = source.partition(":")
    if kind == "wordnet":
        words = hyponyms(noun or (subject if name in KINDS else name), sources.wordnet)
    elif kind == "llm":
        if sources.endpoint is None:
            raise InputError(f"words of {name!r} by a language model need its address and its name: give both", "llm")
        words = ask_words(name, subject, sources.endpoint, say, sources.folder)
    elif kind == "vocabulary":
        vocabulary = sources.vocabulary()
        words = vocabulary_words(vocabulary, name, subject)
        if not words:  # the images choose among its subjects: see `words.subject`
            words = tuple(unique_words(itertools.chain(*subjects_of(vocabulary, name).values())))
        if not words:
            close = difflib.get_close_matches(name, list(aspects_for(vocabulary, subject)), 3)
            known = f" (it knows {', '.join(close)})" if close else ""
            raise InputError(
                f"the vocabulary has no words for {name!r} of {subject!r}{known}: give them, or a number of groups to "
                "group without words",
                "words",
                given,
            )
    else:
        raise InputError(f"words from {source!r}: expected one of {', '.join(WORD_SOURCES)}, or wordnet:NOUN", "words")
    if len(words) < 2:
        raise InputError(f"{source} has fewer than two words for {name!r}: give them", "words", given)
    return words
