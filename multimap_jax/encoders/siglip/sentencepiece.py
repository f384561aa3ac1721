"""Unigram vocabularies of SentencePiece (Kudo and Richardson 2018), from a tokenizer.json or from a model of
SentencePiece, without that library: its C++ trusts what it reads."""

from __future__ import annotations

import dataclasses
import struct
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimap_jax.storage.paths import open_file

MODEL_BYTES = 2**26  # of a spiece.model; one of 250,000 pieces has 4 MB
# Numbers of fields in sentencepiece_model.proto, and of the types of pieces and models.
PIECES, TRAINER, NORMALIZER = 1, 2, 3  # of the model
PIECE, SCORE, TYPE = 1, 2, 3  # of a piece
MODEL_TYPE, BYTE_FALLBACK, UNKNOWN_ID = 3, 35, 40  # of the trainer's settings
CHARSMAP = 2  # of the normalizer's
NORMAL, UNKNOWN, CONTROL, UNUSED, UNIGRAM = 1, 2, 3, 5, 1
SPECIAL = {"<pad>", "<s>", "</s>", "<unk>"}


@dataclasses.dataclass(frozen=True)
class Unigram:
    """A vocabulary; the id of a piece is its index.

    Attributes:
      pieces: (text, log probability) of each piece.
      unknown: the id of what has no piece.
      hidden: pieces that are never found in a text.
      charsmap: the letters that are replaced before a text is split, as in SentencePiece's files.
      byte_fallback: whether the bytes of unknown letters have pieces.
    """

    pieces: list[tuple[str, float]]
    unknown: int
    hidden: set[str]
    charsmap: bytes
    byte_fallback: bool


def saved_vocabulary(content: dict) -> Unigram:
    """The vocabulary in the content of a tokenizer.json."""
    model, normalizer = content["model"], content.get("normalizer") or {}
    charsmaps = [
        rule["precompiled_charsmap"]
        for rule in (normalizer, *normalizer.get("normalizers", ()))
        if rule.get("type") == "Precompiled"
    ]
    pieces = [(piece, float(score)) for piece, score in model["vocab"]]
    hidden = SPECIAL | {token["content"] for token in content.get("added_tokens") or () if token.get("special")}
    charsmap = b64decode(charsmaps[0] or "") if charsmaps else b""
    with_bytes = any(piece == "<0x00>" for piece, _ in pieces)  # converters lose the setting
    return Unigram(pieces, model["unk_id"], hidden, charsmap, with_bytes)


def read_vocabulary(path: Path) -> Unigram:
    """The vocabulary in a model of SentencePiece. Anything else raises an error of any kind: see `explained`."""
    with open_file(path, MODEL_BYTES) as file:
        content = file.read()
    pieces: list[tuple[str, float]] = []
    hidden: set[str] = set()
    settings: dict[int, dict[int, Any]] = {}
    for field, value in fields(content):
        if field == PIECES:
            found: dict[int, Any] = {SCORE: bytes(4), TYPE: NORMAL} | dict(fields(value))
            piece = found[PIECE].decode()
            pieces.append((piece, struct.unpack("<f", found[SCORE])[0]))
            if found[TYPE] in (UNKNOWN, CONTROL, UNUSED):
                hidden.add(piece)
        elif field in (TRAINER, NORMALIZER):
            settings[field] = dict(fields(value))
    if set(settings) != {TRAINER, NORMALIZER} or settings[TRAINER].get(MODEL_TYPE, UNIGRAM) != UNIGRAM:
        raise ValueError("it is no whole Unigram model of SentencePiece")
    trainer, charsmap = settings[TRAINER], settings[NORMALIZER].get(CHARSMAP, b"")
    return Unigram(pieces, trainer.get(UNKNOWN_ID, 0), hidden, charsmap, bool(trainer.get(BYTE_FALLBACK)))


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of the fields of a message in protobuf's format: whole numbers, and bytes for anything else."""
    position = 0
    while position < len(message):
        key, position = variable_int(message, position)
        kind = key & 7
        if kind == 0:
            value, position = variable_int(message, position)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"a field of the type {kind}")
        size, position = variable_int(message, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
        if position + size > len(message):
            raise ValueError("it is cut off")
        yield key >> 3, message[position : position + size]
        position += size


def variable_int(message: bytes, position: int) -> tuple[int, int]:
    """(a number in protobuf's format, the position after it)."""
    number = 0
    for shift in range(0, 70, 7):
        byte = message[position + shift // 7]
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position + shift // 7 + 1
    raise ValueError("a number of more than ten bytes")


class Charsmap:
    """Replaces letters as SentencePiece does, the longest match first.

    `tokenizers` has this as `normalizers.Precompiled`, which loses marks that are combined with a replaced letter and
    ends the process on a damaged map.

    Args:
      content: the bytes of a trie (a double array of Darts, little-endian), as many as its first four bytes say, then
        the replacements, each with a zero at its end; b"" for none.
    """

    def __init__(self, content: bytes):
        size = int.from_bytes(content[:4], "little")
        if size % 4 or content and 4 + size > len(content):
            raise ValueError("its map of letters is cut off")
        self.units = struct.unpack(f"<{size // 4}I", content[4 : 4 + size])
        self.replacements = content[4 + size :]

    def replace(self, text: str) -> str:
        if not self.units:
            return text
        content, position, parts = text.encode(), 0, []
        while position < len(content):
            value, size = self.longest(content, position)
            if value is None:
                size = letter_bytes(content[position])
                parts.append(content[position : position + size])
            else:
                parts.append(self.replacements[value:].partition(b"\0")[0])
            position += size
        return b"".join(parts).decode(errors="replace")

    def longest(self, content: bytes, begin: int) -> tuple[int | None, int]:
        """(where its replacement begins, number of bytes) of the longest match at a place; (None, 0) if there is none.

        The bits of a unit: 0 to 7 its byte, 8 whether a match ends here, 9 whether the offset is in units of 256, from
        10 the offset of the next units. Without an end, 31 bits of value.
        """
        units = self.units
        found: tuple[int | None, int] = (None, 0)
        node = offset(units[0])
        for position in range(begin, len(content)):
            node ^= content[position]
            if node >= len(units) or units[node] & 0x800000FF != content[position]:
                break
            ends = units[node] >> 8 & 1
            node ^= offset(units[node])
            if ends and node < len(units):
                found = units[node] & 0x7FFFFFFF, position + 1 - begin
        return found


def offset(unit: int) -> int:
    return unit >> 10 << ((unit & 512) >> 6)


def letter_bytes(first: int) -> int:
    """The bytes of a letter in UTF-8 by the first of them."""
    return 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
