"""Candidate words of common aspects: a built-in list, and a user's own lists in the same format."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path

from multimap_jax.errors import InputError, InputTypeError, MissingError, errors_about, found_text, names_arguments
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.filenames import CONTROLS, TURNING, is_plain_name
from multimap_jax.storage.paths import open_file

BUILT_IN = Path(__file__).with_name("vocabulary.txt")
FILE_BYTES = 10**6  # of a file
MAX_ASPECTS = 5000  # names of aspects in a file
MAX_WORDS = 5000  # in a line
MAX_LENGTH = 100  # characters of a word or of an aspect's name
OF = " of "  # between an aspect and its subject

Vocabulary = dict[str, tuple[str, ...]]


@names_arguments
def read_vocabulary(*paths: Path | None) -> Vocabulary:
    """Reads words by aspect, "color" or "species of dog", from files in the format that vocabulary.txt explains. None
    stands for that file.

    Names on one line share one tuple. Later files override earlier ones: an aspect replaces the earlier one under all
    names that its line has for the same subject. Raises MissingError for a missing file and InputError, with the line,
    for a file in another format.
    """
    known: Vocabulary = {}
    for path in paths:
        new = _read(BUILT_IN if path is None else path)
        instead = {(id(known[key]), _split(key)[1]): words for key, words in new.items() if key in known}
        kept = {key: instead.get((id(words), _split(key)[1]), words) for key, words in known.items() if key not in new}
        known = new | kept
    return known


def known_vocabulary(vocabulary: Vocabulary | None) -> Vocabulary:
    """The given vocabulary, the built-in one for None. InputTypeError for anything else."""
    if vocabulary is None:
        return read_vocabulary(None)
    if not isinstance(vocabulary, Mapping):
        raise InputTypeError(f"expected a dictionary, aspect -> words, {found_text(vocabulary)}", "vocabulary")
    return vocabulary


def vocabulary_words(vocabulary: Vocabulary, aspect: str, subject: str) -> tuple[str, ...]:
    """Words for the aspect of the subject, else for the aspect of anything; () if there are none.

    Case, spaces and a final "s" do not matter. To get words of another subject, name it in the aspect: "species of
    dog".
    """
    names = _forms(aspect)
    keys = [f"{name}{OF}{form}" for form in _forms(subject) for name in names] + names
    return next((vocabulary[key] for key in keys if key in vocabulary), ())


def subjects_of(vocabulary: Vocabulary, aspect: str = "") -> dict[str, tuple[str, ...]]:
    """Subject -> its words for the aspect, or for any aspect if that is "". In the order of the vocabulary."""
    names = _forms(aspect)
    found: dict[str, tuple[str, ...]] = {}
    for key, words in vocabulary.items():
        name, subject = _split(key)
        if subject and (not names or name in names):
            found.setdefault(subject, words)
    return found


def aspects_for(vocabulary: Vocabulary, subject: str) -> Vocabulary:
    """Aspect (without subject) -> its words, for every aspect that applies to the subject; its own aspects come first.

    Each line of a file appears once, under its first name. An aspect of the subject replaces the general line with the
    same name.
    """
    lines = [(*_split(key), words) for key, words in vocabulary.items()]
    specific: Vocabulary = {}
    for form in _forms(subject):
        specific |= {name: words for name, of, words in lines if of == form and name not in specific}
    general = {name: words for name, of, words in lines if not of}
    replaced = {id(general[name]) for name in specific if name in general}
    found = specific | {name: words for name, words in general.items() if id(words) not in replaced}
    first = {id(words): name for name, words in reversed(found.items())}
    return {name: words for name, words in found.items() if first[id(words)] == name}


@errors_about("vocabulary")
def _read(path: Path) -> Vocabulary:
    try:
        with open_file(path, FILE_BYTES) as file:
            text = file.read().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise MissingError(f"there is no vocabulary {path}: give a file with lines like color: red, green") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    found: Vocabulary = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            names, words = _parse(line)
            for key in _keys(names):
                _require(key not in found, f"expected each aspect once, found {key!r} again: remove one")
                _require(
                    len(found) < MAX_ASPECTS, f"expected at most {MAX_ASPECTS:,} aspects, found more: split the file"
                )
                found[key] = words
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
    return found


def _parse(line: str) -> tuple[list[str], tuple[str, ...]]:
    """Names and words of one line. Raises ValueError for a line in another format."""
    controls = [letter for letter in line if letter in TURNING or unicodedata.category(letter) in CONTROLS]
    control = next((ascii(letter) for letter in controls if letter != "\t"), "")
    _require(not control, f"expected text without control characters, found {control}: remove it")
    before, colon, after = line.partition(":")
    _require(colon, f"expected a colon after the aspect, found {_short(line)}: write it as color: red, green")
    names = [normal_form(name) for name in before.split(",")]
    words = [" ".join(word.split()) for word in after.split(",")]
    _require(all(names), "expected the name of an aspect before the colon, found an empty one: write color: red, green")
    _require(words != [""], "expected words after the colon, found none: write color: red, green")
    _require(all(words), "expected a word between commas, found an empty one: remove a comma")
    for noun, texts in (("aspects", names), ("words", words)):
        longest, hidden = max(texts, key=len), next((text for text in texts if not is_plain_name(text)), None)
        _require(
            len(longest) <= MAX_LENGTH,
            f"expected {noun} of at most {MAX_LENGTH} characters, found {_short(longest)}: shorten it",
        )
        _require(
            hidden is None,
            f"expected text without invisible characters, found {ascii(hidden)[:40]}: remove them",
        )
    _require(len(words) <= MAX_WORDS, f"expected at most {MAX_WORDS:,} words, found {len(words):,}: remove some")
    seen: set[str] = set()
    for word in words:
        _require(normal_form(word) not in seen, f"expected each word once, found {word!r} again: remove one")
        seen.add(normal_form(word))
    return names, tuple(words)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _keys(names: list[str]) -> list[str]:
    """The names, each with the next subject that follows on the line: "species", "breed of dog" are both of dog."""
    keys, subject = [], ""
    for name in reversed(names):
        subject = _split(name)[1] or subject
        keys.append(name if _split(name)[1] or not subject else f"{name}{OF}{subject}")
    return keys[::-1]


def _split(key: str) -> tuple[str, str]:
    """An aspect and its subject: "species", "dog"; the subject is "" in an aspect of anything."""
    name, of, subject = key.rpartition(OF)
    return (name, subject) if of else (key, "")


def _forms(text: str) -> list[str]:
    """The normal form of a name, with and without a final "s"."""
    name = normal_form(text)
    return [name, f"{name}s", name.removesuffix("s")] if name else []


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
