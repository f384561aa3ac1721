"""Sources of candidate words: a vocabulary, WordNet or a language model. This module imports nothing heavy."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Callable
from pathlib import Path

from multimap_jax.choices import WORD_SOURCES
from multimap_jax.errors import InputError
from multimap_jax.prompts.normalize import normal_form, unique_words
from multimap_jax.words.chat import Endpoint
from multimap_jax.words.language_model import ask_words
from multimap_jax.words.vocabulary import Vocabulary, aspects_for, read_vocabulary, subjects_of, vocabulary_words
from multimap_jax.words.wordnet import hyponyms

# Aspects whose words are kinds of the subject: for these, WordNet gives hyponyms of the subject.
KINDS = ("species", "kind", "type", "breed", "race", "variety")
CLOSE = 0.7  # similarity of names from which one is taken for a misspelling of the other
SHOWN = 10  # aspects that an error lists


@dataclasses.dataclass(frozen=True)
class WordSources:
    """Where candidate words come from.

    vocabularies: files in the format of words/vocabulary.txt, None for that one; later files override earlier ones.
    wordnet: folder of WordNet's files, None for the default. endpoint: of a language model, or None. folder: the cache
    of its answers, or None.
    """

    vocabularies: tuple[Path | None, ...] = (None,)
    wordnet: Path | None = None
    endpoint: Endpoint | None = None
    folder: Path | None = None

    def vocabulary(self) -> Vocabulary:
        return read_vocabulary(*self.vocabularies)


def source_of(text: str) -> str | None:
    """The source that `text` names, in upper or lower case: "vocabulary", "wordnet", "wordnet:NOUN" or "llm"; else
    None."""
    name, colon, noun = text.partition(":")
    kind = normal_form(name)
    return kind + colon + noun if kind in WORD_SOURCES and (not colon or kind == "wordnet") else None


def candidates(
    name: str, subject: str, source: str, sources: WordSources | None = None, say: Callable[[str], None] = print
) -> tuple[str, ...]:
    """Candidate words for an aspect by its name, from a `source` as returned by `source_of`.

    Raises InputError or OSError with one sentence if it has fewer than two.
    """
    sources, given = sources or WordSources(), f"{name}=A,B,…"
    kind, _, noun = source.partition(":")
    if kind == "wordnet":
        words = hyponyms(noun or (subject if name in KINDS else name), sources.wordnet)
    elif kind == "llm":
        if sources.endpoint is None:
            raise InputError(f"no language model for the words of {name!r}: give its address and name", "llm")
        words = ask_words(name, subject, sources.endpoint, say, sources.folder)
    elif kind == "vocabulary":
        vocabulary = sources.vocabulary()
        words = vocabulary_words(vocabulary, name, subject)
        if not words:  # words of all subjects; `words.subject` chooses among them
            words = tuple(unique_words(itertools.chain(*subjects_of(vocabulary, name).values())))
        if not words:
            raise InputError(
                f"the vocabulary has no words for {name!r} of {subject!r}{known_aspects(name, vocabulary, subject)}: "
                "give words, or only a number of groups",
                "words",
                given,
            )
    else:
        raise InputError(f"no word source {source!r}: give one of {', '.join(WORD_SOURCES)}, or wordnet:NOUN", "words")
    if len(words) < 2:
        raise InputError(f"{source} has fewer than two words for {name!r}: give words", "words", given)
    return words


def known_aspects(name: str, vocabulary: Vocabulary, subject: str) -> str:
    """The aspect of the vocabulary with nearly this name, or the first of those for the subject; in brackets."""
    known = list(aspects_for(vocabulary, subject))
    if close := difflib.get_close_matches(name, known, 1, CLOSE):
        return f" (did you mean {close[0]}?)"
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return f" (it has words for {', '.join(known[:SHOWN])}{more})" if known else ""
