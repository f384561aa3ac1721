"""Words below a noun in WordNet, from its files in the format of the manual page wndb(5WN)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from multimap_jax.prompts.normalize import normal_form
from multimap_jax.storage.paths import open_file

FOLDER = "/usr/share/wordnet"  # of Debian's package
FILE_BYTES, LINE_BYTES, SYNSETS, DEPTH, LONGEST = 2**26, 2**17, 2**18, 40, 200  # over twice those of WordNet 3.0
ADVICE = "install wordnet-base anew or give another folder with --wordnet=DIR"


def hyponyms(noun: str, folder: Path | None = None, most: int = 5000) -> tuple[str, ...]:
    """At most `most` words below all senses of a noun, the nearest first, each once without regard to case.

    folder: of index.noun and data.noun, else WNSEARCHDIR of the environment, else /usr/share/wordnet. Raises
    FileNotFoundError where they are not there, ValueError for a noun that WordNet lacks and for damaged files.
    """
    folder = Path(os.environ.get("WNSEARCHDIR") or FOLDER) if folder is None else folder
    name, found = normal_form(noun), {}
    try:
        with open_file(folder / "index.noun", FILE_BYTES) as index, open_file(folder / "data.noun", FILE_BYTES) as data:
            for word in _below(data, _senses(index, name)):
                if len(found) >= most:
                    break
                if normal_form(word) != name:
                    found.setdefault(normal_form(word), word)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"found no WordNet in {folder}: install wordnet-base or give --wordnet=DIR") from None
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
            raise ValueError(f"index.noun of WordNet is damaged at {name[:100]!r}: {ADVICE}")
    raise ValueError(f"WordNet has no noun {name[:100]!r}: give another one, in the singular")


def _below(data: BinaryIO, level: list[bytes]) -> Iterator[str]:
    """The words of the synsets below those of a level, level by level, each synset once."""
    seen: set[bytes] = set()
    for _ in range(DEPTH):
        below: dict[bytes, None] = {}
        for offset in level:
            below |= dict.fromkeys(each for each in _synset(data, offset)[1] if each not in seen)
            if len(seen) + len(below) > SYNSETS:
                raise ValueError(f"data.noun of WordNet is damaged, over {SYNSETS:,} synsets: {ADVICE}")
        level = list(below)
        seen.update(level)
        for offset in level:
            yield from _synset(data, offset)[0]
    if level:
        raise ValueError(f"data.noun of WordNet is damaged, over {DEPTH} levels below one another: {ADVICE}")


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
        below = [each[1] for each in pointers if each[0] in (b"~", b"~i") and each[2] == b"n"]
        whole = begins and fields[0] == offset and line.endswith(b"\n")
        if whole and words and all(0 < len(word) <= LONGEST and word.isprintable() for word in words):
            return words, below
    except (ValueError, IndexError, OverflowError):
        pass
    raise ValueError(f"data.noun of WordNet is damaged at {ascii(offset[:20])[1:]}: {ADVICE}")
