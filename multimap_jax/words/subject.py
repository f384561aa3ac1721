"""Chooses the subject of a prompt: the given one, or the vocabulary's subject that fits the images best."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from multimap_jax.arrays.rows import StoredRows, mean_row, walk
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError
from multimap_jax.prompts.aspect import Aspect, has_room_for
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.prompts.separability import Separability, compared, diagnose
from multimap_jax.words.choose import Choice, choose_words
from multimap_jax.words.find import seen_words
from multimap_jax.words.vocabulary import Vocabulary, subjects_of, vocabulary_words

# The share of images that a subject which the user did not give must fit best of all; a folder of mixed content has no
# such subject.
SHARE = 0.7


@dataclasses.dataclass(frozen=True)
class SubjectChoice:
    """aspect: with the chosen subject and words. choice: of words among candidates; None for given words.
    separability: of these words with this subject."""

    aspect: Aspect
    choice: Choice | None
    separability: Separability


def choose_subject(
    clip: Clip,
    rows: np.ndarray | StoredRows,
    aspect: Aspect,
    vocabulary: Vocabulary,
    find: bool,
    names: Sequence | None = None,
    seed: int = 0,
) -> SubjectChoice:
    """The aspect with the given subject if the encoder separates its words well; otherwise with the given subject or
    the vocabulary's nearest one, whichever separates the words better.

    Args:
      rows: unit rows [images, embed]. names: of the images, see `choose_words`.
      find: whether to choose words for the images, among the vocabulary's words for the aspect of the subject. If it
        has none for the given subject, the words for the nearest one are the candidates with both subjects.

    Raises InputError if the checkpoint knows fewer than two of the words.
    """

    def words_of(subject: str) -> tuple[str, ...]:
        return vocabulary_words(vocabulary, aspect.name, subject) if find else tuple(aspect.words)

    def options() -> Iterator[tuple[str, tuple[str, ...]]]:
        given, own = aspect.subject, words_of(aspect.subject)
        if own:
            yield given, own
        is_general = not find or vocabulary_words(vocabulary, aspect.name, "")
        subjects = subjects_of(vocabulary, "" if is_general else aspect.name)
        nearest = nearest_subject(clip, rows, given, subjects, SHARE if own else 0.0)
        others = words_of(nearest)
        if not own:
            yield given, others
        if nearest != given:
            yield nearest, others

    found = []
    for subject, words in options():  # the nearest subject is looked for only where the given one does not serve
        asked = dataclasses.replace(aspect, subject=subject, words=words)
        asked = seen_words(clip, asked) if find else asked
        if len(asked.words) < 2 or subject != aspect.subject and not _has_room(clip, asked):
            continue
        choice = choose_words(clip, rows, asked, names, seed) if find else None
        asked = dataclasses.replace(asked, words=choice.words) if choice else asked
        found.append(SubjectChoice(asked, choice, diagnose(clip, rows, asked, names=names, seed=seed)))
        if found[-1].separability.verdict == "well":
            break
    if not found:
        raise InputError(
            f"the encoder {clip.name!r} knows fewer than two words for {aspect.name!r}: give words, or another encoder",
            "words",
        )
    return max(found, key=lambda each: each.separability.score)


def _has_room(clip: Clip, aspect: Aspect) -> bool:
    """Whether all prompts fit the context: a subject that the user did not give must not end a run."""
    return all(
        has_room_for(asked, word, clip.tokenizer) for asked in (aspect, *compared(aspect)) for word in asked.words
    )


def nearest_subject(
    clip: Clip, rows: np.ndarray | StoredRows, given: str, subjects: dict[str, tuple[str, ...]], share: float = 0.0
) -> str:
    """The subject whose prompt, "a fruit", is most similar to images, unit rows [images, embed].

    subjects: see `subjects_of`. Returns the given subject if there are no others, if it shares a line of the vocabulary
    with the nearest one, or if the nearest one is the best of all for less than this share of the images.
    """
    if not subjects:
        return given
    texts = clip.embed_texts([f"a {subject}" for subject in subjects])
    best = int((texts @ mean_row(rows)).argmax())
    nearest = list(subjects)[best]
    if subjects[nearest] is subjects.get(normal_form(given)):
        return given
    fitting = sum(int(((images @ texts.T).argmax(1) == best).sum()) for _, images in walk(rows)) if share else 0
    return given if fitting < share * len(rows) else nearest
