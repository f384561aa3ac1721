"""Answers of a model that looked at images: texts, and the forms in which they are compared."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import re
import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from multimap_jax.errors import InputTypeError, found_text
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.filenames import HIDDEN, is_plain_name

LONGEST_ANSWER = 200  # characters
SHORT = 3  # words of a short answer, as the question asks for
OFTEN = 2  # images that give a short answer, for longer ones to be read as one that holds it
NO_ANSWER = "the model gave no answer"
ARTICLES = {"a", "an", "the"}
NEGATIONS = {"not", "no", "never", "without", "isn't", "aren't", "doesn't"}
NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()
    )
}
WORD = re.compile(r"\w+(?:['-]\w+)*")
# Answers that say that there is none. English only; in other languages they are answers like any other.
REFUSAL = re.compile(
    r"(i am|i'm|im) (sorry|afraid|unable|not (able|sure|certain))\b|(sorry|unknown|unclear|uncertain|undetermined"
    r"|indeterminate|n/?a|cannot|can't|can not|unable|impossible|not (visible|sure|known|clear|applicable|determinable"
    r"|possible|available|identifiable|enough))\b|(.*\b)?(i|we) (can ?not|can't|could not|couldn't|will not|won't"
    r"|am unable|am not able|do not know|don't know)\b|.*\bas an ai\b|there is no (image|picture|photo)"
    r"|(no|the) (answer|image|picture) (is|was|cannot|can't)? ?(not )?(given|provided|available|possible)"
)


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a model that looked at images said of one aspect.

    Attributes:
      texts: [images], each at most 200 characters; "" for an image without an answer.
      reasons: index of an image that has no answer, or none that can be used -> why.
      origin: what the answers depend on besides the images, for run.json.

    Raises InputTypeError for anything but texts. Control characters are removed, long texts are cut.
    """

    texts: Sequence[str]
    reasons: Mapping[int, str] = dataclasses.field(default_factory=dict)
    origin: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.texts, str) or not isinstance(self.texts, Sequence):
            raise InputTypeError(f"expected a text for each image, {found_text(self.texts)}", "texts")
        if wrong := [text for text in self.texts if not isinstance(text, str)]:
            raise InputTypeError(f"expected answers as texts, {found_text(wrong[0])}", "texts")
        cleaned = functools.cache(clean)  # most are equal
        texts = tuple(map(cleaned, self.texts))
        reasons = {int(i): clean(str(reason)) or NO_ANSWER for i, reason in self.reasons.items()}
        reasons = {i: NO_ANSWER for i, text in enumerate(texts) if not text} | reasons
        object.__setattr__(self, "texts", texts)
        object.__setattr__(self, "reasons", reasons)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def missing(self) -> np.ndarray:
        """The indices of images in `reasons`, int [n]."""
        return np.array(sorted(self.reasons), np.int64)


def clean(text: str) -> str:
    """A text without invisible characters and repeated blanks, of at most LONGEST_ANSWER characters."""
    text = " ".join(text[: 10 * LONGEST_ANSWER].split())
    text = "".join(letter for letter in text if unicodedata.category(letter) not in HIDDEN)[:LONGEST_ANSWER].strip()
    return text if is_plain_name(text) else ""


def is_refusal(text: str) -> bool:
    """Whether an answer says that there is none."""
    return bool(REFUSAL.match(plain(text)))


def plain(text: str) -> str:
    """`normal_form` with straight apostrophes."""
    return normal_form(text).replace("’", "'")


def common_answers(texts: Iterable[str]) -> list[str]:
    """The short answers that several images give, the commonest spelling of each, the commonest answer first."""
    counts: dict[tuple[str, ...], collections.Counter] = collections.defaultdict(collections.Counter)
    for text, count in collections.Counter(texts).items():
        key = key_of(text)
        if key and len(key) <= SHORT and not is_refusal(text):
            counts[key][" ".join(tokens_of(text)) or normal_form(text)] += count
    common = [spelled for spelled in counts.values() if spelled.total() >= OFTEN]
    return [spelled.most_common(1)[0][0] for spelled in sorted(common, key=lambda spelled: -spelled.total())]


def tokens_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation and without articles at its start."""
    tokens = WORD.findall(plain(text).replace("_", " "))
    return list(itertools.dropwhile(ARTICLES.__contains__, tokens)) or tokens


def key_of(text: str) -> tuple[str, ...]:
    """A form in which answers are compared: words without case, punctuation, articles and plural, numbers as digits."""
    return tuple(singular(NUMBERS.get(token, token)) for token in tokens_of(text)) or (normal_form(text),) * bool(text)


def singular(word: str) -> str:
    """An English word without its plural ending. For comparison alone: some results are no words."""
    if len(word) < 4 or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    return word[:-2] if word.endswith(("sses", "shes", "ches", "xes", "zes")) else word[:-1]


def words_in(key: tuple[str, ...], words: Container[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Which words, as keys, an answer holds: without those inside of a longer one ("red" of "dark red"), and without
    those that it denies ("not red")."""
    parts = ((begin, end) for begin in range(len(key)) for end in range(begin + 1, len(key) + 1))
    spans = [
        (begin, end) for begin, end in parts if key[begin:end] in words and not NEGATIONS & {*key[begin - 1 : begin]}
    ]
    whole = [
        (begin, end)
        for begin, end in spans
        if not any(b <= begin and end <= e and e - b > end - begin for b, e in spans)
    ]
    return list(dict.fromkeys(key[begin:end] for begin, end in whole))
