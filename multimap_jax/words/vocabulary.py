"""Candidate words of common aspects: a built-in list, and lists of a user's own in the same form."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.filenames import CONTROLS, TURNING, is_plain_name
from multimap_jax.storage.paths import open_file

BUILT_IN = Path(__file__).with_name("vocabulary.txt")
FILE_BYTES = 10**6
ASPECTS = 5000  # names of aspects in a file
WORDS, LONGEST = 5000, 100  # words of a line, characters of a word or of an aspect's name
OF = " of "

Vocabulary = dict[str, tuple[str, ...]]


def read_vocabulary(*paths: Path | None) -> Vocabulary:
    """Words by aspect, "color" or "species of dog", from files in the form that vocabulary.txt explains; None stands
    for that one.

    Names of one line share one tuple. Later files go before earlier ones: an aspect takes the place of the same one
    there, under all names that its line has for the same subject. Raises FileNotFoundError where there is no such file
    and ValueError for one that is not in that form, with the line.
    """
    known: Vocabulary = {}
    for path in paths:
        new = _read(BUILT_IN if path is None else path)
        instead = {(id(known[key]), _parted(key)[1]): words for key, words in new.items() if key in known}
        kept = {key: instead.get((id(words), _parted(key)[1]), words) for key, words in known.items() if key not in new}
        known = new | kept
    return known


def vocabulary_words(vocabulary: Vocabulary, aspect: str, subject: str) -> tuple[str, ...]:
    """Words for the aspect of the subject, else for the aspect of anything; () where there are none.

    Case, spaces and a final "s" of both do not matter. Words of another subject come only by an aspect that names it:
    "species of dog".
    """
    names = _forms(aspect)
    keys = [f"{name}{OF}{form}" for form in _forms(subject) for name in names] + names
    return next((vocabulary[key] for key in keys if key in vocabulary), ())


def aspects_for(vocabulary: Vocabulary, subject: str) -> Vocabulary:
    """Words of every aspect that applies to the subject, by the aspect's name alone, the subject's own first.

    Each line of a file is there once, by its first name. An aspect of the subject takes the place of the line of the
    same name that holds for anything.
    """
    own: Vocabulary = {}
    for form in _forms(subject):
        for key, words in vocabulary.items():
            name, of = _parted(key)
            if of == form:
                own.setdefault(name, words)
    common = {key: words for key, words in vocabulary.items() if not _parted(key)[1]}
    replaced = {id(common[name]) for name in own if name in common}
    first: dict[int, tuple[str, tuple[str, ...]]] = {}
    for name, words in own.items():
        first.setdefault(id(words), (name, words))
    for name, words in common.items():
        if id(words) not in replaced:
            first.setdefault(id(words), (name, words))
    return dict(first.values())


def _read(path: Path) -> Vocabulary:
    try:
        with open_file(path, FILE_BYTES) as file:
            text = file.read().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no vocabulary {path}: give a file of lines like color: red, green") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not in UTF-8: save it as text in UTF-8") from None
    found: Vocabulary = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            for key, words in _entry(line):
                if key in found:
                    raise ValueError(f"expected each aspect once, found {key!r} again: take one away")
                if len(found) == ASPECTS:
                    raise ValueError(f"expected {ASPECTS:,} aspects at most, found more: make it several files")
                found[key] = words
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return found


def _entry(line: str) -> list[tuple[str, tuple[str, ...]]]:
    """Keys of one line, each with its words; ValueError for what is not in the form."""
    wrong = next((each for each in line if _steers(each) and each != "\t"), "")
    if wrong:
        raise ValueError(f"expected text without control characters, found {ascii(wrong)}: take it away")
    before, colon, after = line.partition(":")
    if not colon:
        raise ValueError(f"expected a colon after the aspect, found {_short(line)}: write it as color: red, green")
    names = [normal_form(name) for name in before.split(",")]
    if not all(names):
        raise ValueError("expected the name of an aspect before the colon, found an empty one: write it as color: red")
    if len(longest := max(names, key=len)) > LONGEST:
        raise ValueError(f"expected aspects of {LONGEST} characters at most, found {_short(longest)}: make it shorter")
    words = [_plain(word) for word in after.split(",")]
    if words == [""]:
        raise ValueError("expected words after the colon, found none: write them as color: red, green")
    if not all(words):
        raise ValueError("expected a word between commas, found an empty one: take a comma away")
    hidden = next((text for text in (*names, *words) if not is_plain_name(text)), None)
    if hidden is not None:
        found = ascii(hidden[:40])
        raise ValueError(f"expected text that can be read, found {found}: write it without invisible letters")
    if len(words) > WORDS:
        raise ValueError(f"expected {WORDS:,} words at most, found {len(words):,}: take some away")
    seen: set[str] = set()
    for word in words:
        if len(word) > LONGEST:
            raise ValueError(f"expected words of {LONGEST} characters at most, found {_short(word)}: make it shorter")
        if normal_form(word) in seen:
            raise ValueError(f"expected each word once, found {word!r} again: take one away")
        seen.add(normal_form(word))
    shared = tuple(words)
    return [(key, shared) for key in _keys(names)]


def _keys(names: list[str]) -> list[str]:
    """Names with the subject that is written next after them: "species", "breed of dog" are both of dog."""
    keys, subject = [], ""
    for name in reversed(names):
        subject = _parted(name)[1] or subject
        keys.append(name if _parted(name)[1] or not subject else f"{name}{OF}{subject}")
    return keys[::-1]


def _parted(key: str) -> tuple[str, str]:
    """An aspect and its subject: "species", "dog"; "" as the subject of one for anything."""
    name, of, subject = key.rpartition(OF)
    return (name, subject) if of else (key, "")


def _forms(text: str) -> list[str]:
    """A name as keys have it, and with a final "s" more or less."""
    name = normal_form(text)
    return [name, f"{name}s", name.removesuffix("s")] if name else []


def _plain(text: str) -> str:
    return " ".join(text.split())


def _steers(character: str) -> bool:
    return character in TURNING or unicodedata.category(character) in CONTROLS


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
