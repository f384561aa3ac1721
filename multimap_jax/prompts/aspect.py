"""What to group by, said as a prompt: aspects, slots and reference words (paper, section 3.2)."""

from __future__ import annotations

import collections
import dataclasses
import string
import unicodedata
import warnings
from collections.abc import Collection, Sequence

import numpy as np

from multimap_jax.arrays.rows import Rows, walk
from multimap_jax.choices import SUBJECT, TEMPLATE
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.clip.tokenizer import Tokenizer
from multimap_jax.errors import InputError, InputTypeError, errors_about
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.filenames import CONTROLS, is_plain_name


@dataclasses.dataclass(frozen=True)
class Aspect:
    """One way to group images: by `name` ("color") of a `subject` ("fruit"), with candidate `words` ("red", …) or none.

    `template` must hold "{word}" once and may hold "{subject}" and "{name}". Raises InputError for a template without
    the slot and for empty or repeated words (compared by `normal_form`).
    """

    name: str
    subject: str = SUBJECT
    words: tuple[str, ...] = ()
    template: str = TEMPLATE

    def __post_init__(self) -> None:
        if isinstance(self.words, str):
            raise InputTypeError(
                f"words of {self.name!r}: expected a sequence of words, found the string {self.words!r}", "words"
            )
        for name in ("name", "subject", "template"):
            if not isinstance(getattr(self, name), str):
                parameter = "aspect" if name == "name" else name
                raise InputTypeError(
                    f"{name} of an aspect: expected a string, found {getattr(self, name)!r}", parameter
                )
        object.__setattr__(self, "words", tuple(self.words))
        for text in (self.name, *self.words):
            check_text(text)
        for text in (self.subject, self.template):  # for the tokenizer alone, which takes any text
            check_text(text, ("Cs",))
        if not self.name.strip():
            raise InputError("an aspect needs a name, found an empty one", "aspect")
        forms = [normal_form(word) for word in self.words]
        if "" in forms:
            raise InputError(f"word {forms.index('') + 1} of aspect {self.name!r} is empty", "words")
        for text in (self.name, *self.words):
            if not is_plain_name(text):
                raise InputError(f"{ascii(text)} cannot be read as it is: expected a text without invisible letters")
        repeated = sorted(word for word, count in collections.Counter(forms).items() if count > 1)
        if repeated:
            raise InputError(f"aspect {self.name!r} has repeated words: {', '.join(repeated)}", "words")
        self.sides()

    def sides(self) -> tuple[str, str]:
        """The template filled in, left and right of the slot."""
        values, sides, problem = {"subject": self.subject, "name": self.name}, [""], ""
        try:
            pieces = list(string.Formatter().parse(self.template))
        except ValueError as error:
            pieces, problem = [], f"cannot be read: {error}"
        for literal, field, spec, conversion in pieces:
            sides[-1] += literal
            if spec or conversion:
                problem = problem or f"formats {{{field}}}, which goes in as it is: take that out"
            elif field == "word":
                sides.append("")
            elif field in values:
                sides[-1] += values[field]
            elif field is not None:
                problem = problem or f"has {{{field}}}; known: {{subject}}, {{name}}, {{word}}"
        if problem or len(sides) != 2:
            problem = problem or f"holds {{word}} {len(sides) - 1} times, expected once"
            raise InputError(f"template {self.template!r} {problem}", "template")
        return sides[0], sides[1]

    def fill(self, word: str) -> str:
        """The prompt with `word` in it."""
        left, right = self.sides()
        return left + word + right


def check_text(text: str, refused: Sequence[str] = CONTROLS) -> None:
    """InputTypeError for what is no string, InputError for one with control characters or bytes that are no UTF-8."""
    if not isinstance(text, str):
        raise InputTypeError(f"expected words as strings, found {text!r}", "words")
    wrong = [letter for letter in text if unicodedata.category(letter) in refused]
    if wrong:
        raise InputError(f"{ascii(text)} holds {ascii(wrong[0])}: expected text in UTF-8 without control characters")


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

    Left and right of the slot are tokenised apart and spliced: "*." is a single token of CLIP, so that in a template
    ending in "{word}." the slot would be lost. InputError for a prompt longer than the context.
    """
    left, right = (tokenizer.encode(side) for side in aspect.sides())
    ids = (tokenizer.start, *left, *tokenizer.encode("*")[-1:], *right, tokenizer.end)
    if len(ids) > tokenizer.context:
        raise InputError(
            f"the prompt of aspect {aspect.name[:80]!r} has {len(ids)} tokens, the context holds {tokenizer.context}: "
            "shorten its template",
            "template",
        )
    return Prompt(ids, slot=1 + len(left))


def check_aspect(aspect: object) -> None:
    """InputTypeError for what is no Aspect."""
    if not isinstance(aspect, Aspect):
        raise InputTypeError(f'expected an Aspect, such as mm.Aspect("color"), found {aspect!r}', "aspect")


def check_words(aspect: Aspect, clip: Clip, contrast: Sequence[str] = ()) -> None:
    """InputError for words that the tokenizer cannot represent or that make a prompt too long for the context, and for
    a contrast that holds the aspect or is none; a warning for words that the checkpoint has never seen."""
    check_aspect(aspect)
    names = isinstance(contrast, Collection) and not isinstance(contrast, str)
    if not (names and all(isinstance(name, str) for name in contrast)):
        raise InputTypeError(
            f'contrast: expected a sequence of aspect names, such as ("species",), found {contrast!r}', "contrast"
        )
    if aspect.name in contrast:
        raise InputError(f"contrast of aspect {aspect.name!r} holds the aspect itself: take it out", "contrast")
    for word in (*aspect.words, aspect.name, *contrast):
        check_text(word)
        if not is_representable(clip.tokenizer, word):
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
            warnings.warn(
                f"the checkpoint {clip.name!r} has never seen: {', '.join(unseen)}; "
                "groups by these words mean little with it",
                stacklevel=3,
            )


def is_representable(tokenizer: Tokenizer, word: str) -> bool:
    """Whether a tokenizer has tokens for a word, none of which begins or ends a text."""
    ids = tokenizer.encode(word)
    return bool(ids) and tokenizer.end not in ids and tokenizer.start not in ids


def has_room_for(aspect: Aspect, word: str, tokenizer: Tokenizer) -> bool:
    """Whether the aspect's prompt can be made with a word."""
    tokens = len(tokenizer.encode(aspect.fill(word))) + 2  # with those that begin and end it
    return tokens <= tokenizer.context and is_representable(tokenizer, word)


def word_embeddings(clip: Clip, aspect: Aspect, bare: bool = False) -> np.ndarray:
    """Unit embeddings of the prompt filled with each word, float32 [words, embed]; `bare`: of the words alone."""
    return clip.embed_texts(list(aspect.words) if bare else [aspect.fill(word) for word in aspect.words])


def word_similarities(clip: Clip, embeddings: np.ndarray, aspect: Aspect, bare: bool = False) -> np.ndarray:
    """Cosines of every image with every filled prompt, [images, words]; `bare`: with the words alone."""
    return embeddings @ word_embeddings(clip, aspect, bare).T


def reference_words(clip: Clip, embeddings: Rows, aspect: Aspect, bare: bool = False) -> np.ndarray:
    """Index of the best word for every image, int [images] (paper, eq. 4); -1 where the aspect has no words.

    `bare` as in the released program, which compares with the words alone.
    """
    if not aspect.words:
        return np.full(len(embeddings), -1)
    texts = word_embeddings(clip, aspect, bare).T
    return np.concatenate([(rows @ texts).argmax(1) for _, rows in walk(embeddings)])
