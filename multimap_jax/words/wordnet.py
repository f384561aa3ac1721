"""Reads hyponyms of a noun from WordNet's files, whose format is in the manual page wndb(5WN)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from multimap_jax.errors import InputError, MissingError, errors_about
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.paths import open_file

FOLDER = "/usr/share/wordnet"  # of Debian's package
# Limits for damaged files, each over twice what WordNet 3.0 has.
FILE_BYTES = 2**26
LINE_BYTES = 2**17
SYNSETS = 2**18  # below one noun
DEPTH = 40  # levels below one noun
WORD_LENGTH = 200  # characters of a word


@errors_about("wordnet")
def hyponyms(noun: str, folder: Path | None = None, most: int = 5000) -> tuple[str, ...]:
    """At most `most` hyponyms of all senses of a noun, the nearest first, unique without regard to case.

    folder: with index.noun and data.noun; None: the environment variable WNSEARCHDIR, else /usr/share/wordnet. Raises
    MissingError for missing files, InputError for a noun that WordNet lacks and for damaged files.
    """
    folder = Path(os.environ.get("WNSEARCHDIR") or FOLDER) if folder is None else folder
    name = normal_form(noun)
    found: dict[str, str] = {}
    try:
        with open_file(folder / "index.noun", FILE_BYTES) as index, open_file(folder / "data.noun", FILE_BYTES) as data:
            for word in _below(data, _senses(index, name)):
                if len(found) >= most:
                    break
                if normal_form(word) != name:
                    found.setdefault(normal_form(word), word)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingError(
            f"there is no WordNet in {folder}: on Debian or Ubuntu, apt install wordnet-base; elsewhere download "
            "WordNet 3 and give its folder"
        ) from None
    return tuple(found.values())


def _senses(index: BinaryIO, name: str) -> list[bytes]:
    """The offsets of a noun's synsets in data.noun, in order."""
    begin = name.replace(" ", "_").encode("utf-8", "replace") + b" "
    while line := index.readline(LINE_BYTES):
        if name and line.startswith(begin):
            try:
                fields = line.split()
                senses = fields[6 + int(fields[3]) :]
                if fields[1] == b"n" and line.endswith(b"\n") and len(senses) == int(fields[2]) > 0:
                    return senses
            except (ValueError, IndexError):
                pass
            raise _damaged(f"index.noun of WordNet is damaged at {name[:100]!r}")
    raise InputError(f"WordNet has no noun {name[:100]!r}: give another noun, in the singular", "words")


def _below(data: BinaryIO, level: list[bytes]) -> Iterator[str]:
    """The words of the synsets below those of a level, level by level, each synset once."""
    seen: set[bytes] = set()
    for _ in range(DEPTH):
        below: dict[bytes, None] = {}
        for offset in level:
            below |= dict.fromkeys(target for target in _synset(data, offset)[1] if target not in seen)
            if len(seen) + len(below) > SYNSETS:
                raise _damaged(f"data.noun of WordNet is damaged (over {SYNSETS:,} synsets)")
        level = list(below)
        seen.update(level)
        for offset in level:
            yield from _synset(data, offset)[0]
    if level:
        raise _damaged(f"data.noun of WordNet is damaged (over {DEPTH} levels)")


def _synset(data: BinaryIO, offset: bytes) -> tuple[list[str], list[bytes]]:
    """The words of a synset and the offsets of those right below it."""
    try:
        data.seek(max(int(offset) - 1, 0))
        begins = int(offset) == 0 or data.read(1) == b"\n"
        line = data.readline(LINE_BYTES)
        fields = line.split()
        end = 4 + 2 * int(fields[3], 16)
        words = [" ".join(field.decode().replace("_", " ").split()) for field in fields[4:end:2]]
        pointers = (fields[i : i + 4] for i in range(end + 1, end + 1 + 4 * int(fields[end]), 4))
        below = [target for kind, target, word_class, *_ in pointers if kind in (b"~", b"~i") and word_class == b"n"]
        intact = begins and fields[0] == offset and line.endswith(b"\n")
        if intact and words and all(0 < len(word) <= WORD_LENGTH and word.isprintable() for word in words):
            return words, below
    except (ValueError, IndexError, OverflowError):
        pass
    raise _damaged(f"data.noun of WordNet is damaged at {ascii(offset[:20])[1:]}")


def _damaged(message: str) -> InputError:
    return InputError(f"{message}: reinstall wordnet-base, or give another folder")
