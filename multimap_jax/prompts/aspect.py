"""Aspects, their prompts with a slot, and reference words (paper, section 3.2)."""

from __future__ import annotations

import collections
import dataclasses
import string
import unicodedata
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from multimap_jax.arrays.rows import Rows, walk
from multimap_jax.choices import SUBJECT, TEMPLATE
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.tokenizer import Tokenizer
from multimap_jax.errors import InputError, InputTypeError, errors_about, found_text, warn
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.filenames import CONTROLS, is_plain_name


@dataclasses.dataclass(frozen=True)
class Aspect:
    """One way to group images: by the `name` ("color") of a `subject` ("fruit"), with or without `words` ("red", …).

    `template` must contain "{word}" once and may contain "{subject}" and "{name}". Raises InputError for a template
    without the slot and for empty or repeated words (compared by `normal_form`).
    """

    name: str
    subject: str = SUBJECT
    words: Sequence[str] = ()  # kept as a tuple
    template: str = TEMPLATE

    def __post_init__(self) -> None:
        if isinstance(self.words, str):
            raise InputTypeError(
                f"words of {self.name!r}: expected a sequence of words, found the string {self.words!r}", "words"
            )
        for name in ("name", "subject", "template"):
            if not isinstance(getattr(self, name), str):
                raise InputTypeError(f"{name} of an aspect: expected a string, {found_text(getattr(self, name))}", name)
        if not isinstance(self.words, Iterable):
            raise InputTypeError(
                f"words of {self.name!r}: expected a sequence of words, {found_text(self.words)}", "words"
            )
        object.__setattr__(self, "words", tuple(self.words))
        for text in (self.name, *self.words):
            check_text(text)
        for text in (self.subject, self.template):  # only the tokenizer reads these, and it accepts any text
            check_text(text, ("Cs",))
        if not self.name.strip():
            raise InputError("an aspect needs a name, found an empty one", "name")
        forms = [normal_form(word) for word in self.words]
        if "" in forms:
            raise InputError(f"word {forms.index('') + 1} of aspect {self.name!r} is empty", "words")
        for text in (self.name, *self.words):
            if not is_plain_name(text):
                raise InputError(f"{ascii(text)} has invisible characters: remove them")
        repeated = sorted(word for word, count in collections.Counter(forms).items() if count > 1)
        if repeated:
            raise InputError(f"aspect {self.name!r} has repeated words: {', '.join(repeated)}", "words")
        self.sides()

    def sides(self) -> tuple[str, str]:
        """The filled template left and right of the slot."""
        values, sides, problem = {"subject": self.subject, "name": self.name}, [""], ""
        try:
            pieces = list(string.Formatter().parse(self.template))
        except ValueError as error:
            pieces, problem = [], f"cannot be read: {error}"
        for literal, field, spec, conversion in pieces:
            sides[-1] += literal
            if spec or conversion:
                problem = problem or f"has a format or conversion for {{{field}}}: remove it"
            elif field == "word":
                sides.append("")
            elif field in values:
                sides[-1] += values[field]
            elif field is not None:
                problem = problem or f"has {{{field}}}; known: {{subject}}, {{name}}, {{word}}"
        if problem or len(sides) != 2:
            problem = problem or f"has {{word}} {len(sides) - 1} times, expected once"
            raise InputError(f"template {self.template!r} {problem}", "template")
        return sides[0], sides[1]

    def fill(self, word: str) -> str:
        """The prompt with `word` in the slot."""
        left, right = self.sides()
        return left + word + right


def check_text(text: str, refused: Sequence[str] = CONTROLS) -> None:
    """InputTypeError if `text` is not a string, InputError if it has control characters or invalid UTF-8."""
    if not isinstance(text, str):
        raise InputTypeError(f"expected words as strings, {found_text(text)}", "words")
    wrong = [letter for letter in text if unicodedata.category(letter) in refused]
    if wrong:
        raise InputError(f"{ascii(text)} has {ascii(wrong[0])}: expected UTF-8 text without control characters")


@dataclasses.dataclass(frozen=True)
class Prompt:
    """`ids` [tokens] from the start token to the end token; `slot`, where the proxy goes; `end`, where it is read."""

    ids: tuple[int, ...]
    slot: int

    @property
    def end(self) -> int:
        return len(self.ids) - 1


def make_prompt(aspect: Aspect, tokenizer: Tokenizer) -> Prompt:
    """The aspect's prompt with "*" at the slot.

    The text left and right of the slot is tokenised separately: CLIP has a single token "*.", so a template that ends
    in "{word}." would lose its slot. Where a token has the space before it in itself, so has the one at the slot.
    InputError for a prompt longer than the context.
    """
    sides = aspect.sides()
    left, right = tokenizer.encode_sides(*sides) if tokenizer.encode_sides else map(tokenizer.encode, sides)
    ids = tokenizer.whole([*left, *tokenizer.placeholder(), *right])
    if len(ids) > tokenizer.context:
        raise InputError(
            f"the prompt of aspect {aspect.name[:80]!r} has {len(ids)} tokens, the context holds {tokenizer.context}: "
            "shorten its template",
            "template",
        )
    return Prompt(ids, slot=tokenizer.before + len(left))


def check_aspect(aspect: object) -> None:
    """InputTypeError for anything but an Aspect."""
    if not isinstance(aspect, Aspect):
        raise InputTypeError(f'expected an Aspect, such as mm.Aspect("color"), {found_text(aspect)}', "aspect")


def check_words(aspect: Aspect, clip: Clip, contrast: Sequence[str] = ()) -> None:
    """InputError for words that the tokenizer cannot represent or that make the prompt longer than the context, and for
    a contrast that contains the aspect. InputTypeError for a contrast that is not a sequence of names. Warns of words
    that the checkpoint was not trained on."""
    check_aspect(aspect)
    names = isinstance(contrast, Collection) and not isinstance(contrast, str)
    if not (names and all(isinstance(name, str) for name in contrast)):
        raise InputTypeError(
            f'contrast: expected a sequence of aspect names, such as ("species",), {found_text(contrast)}', "contrast"
        )
    if aspect.name in contrast:
        raise InputError(f"contrast of aspect {aspect.name!r} contains the aspect itself: remove it", "contrast")
    for word in (*aspect.words, aspect.name, *contrast):
        check_text(word)
        if not clip.tokenizer.is_representable(word):
            raise InputError(
                f"the tokenizer of {clip.name} cannot represent the word {word!r}: use another one", "words"
            )
    if aspect.words:
        with errors_about("words"):
            clip.tokenizer.pad([aspect.fill(word) for word in aspect.words])
    if clip.known_words is not None:
        texts = (aspect.subject, aspect.name, *aspect.words)
        unseen = [text for text in texts if not clip.known_words.issuperset(normal_form(text).split())]
        if unseen:
            words, them = ("word", "it") if len(unseen) == 1 else ("words", "them")
            listed = f"{words} {', '.join(unseen)}"
            warn(f'The encoder "{clip.name}" was not trained on the {listed}, so groups by {them} mean little.')


def has_room_for(aspect: Aspect, word: str, tokenizer: Tokenizer) -> bool:
    """Whether the aspect's prompt with a word fits into the context."""
    whole = tokenizer.whole(tokenizer.encode(aspect.fill(word)))
    return len(whole) <= tokenizer.context and tokenizer.is_representable(word)


def word_embeddings(clip: Clip, aspect: Aspect, bare: bool = False) -> np.ndarray:
    """Unit embeddings of the prompt with each word, float32 [words, embed]; `bare`: of the words without a prompt."""
    return clip.embed_texts(list(aspect.words) if bare else [aspect.fill(word) for word in aspect.words])


def word_similarities(clip: Clip, embeddings: np.ndarray, aspect: Aspect, bare: bool = False) -> np.ndarray:
    """Cosines of every image with the prompt of every word, [images, words]; `bare`: with the words only."""
    return embeddings @ word_embeddings(clip, aspect, bare).T


def reference_words(clip: Clip, embeddings: Rows, aspect: Aspect, bare: bool = False) -> np.ndarray:
    """Index of the best word for every image, int [images] (paper, eq. 4); -1 if the aspect has no words.

    `bare`: compares with the words only, like the released program.
    """
    if not aspect.words:
        return np.full(len(embeddings), -1)
    texts = word_embeddings(clip, aspect, bare).T
    return np.concatenate([(rows @ texts).argmax(1) for _, rows in walk(embeddings)])
