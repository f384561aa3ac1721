"""What images are called in tables and on the page, and what may go to a terminal. Imports nothing heavy."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Container

# Marks that turn the direction of text, and that end a line though they are no line break.
TURNING = frozenset("\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
CONTROLS = ("Cc", "Cs")  # control characters, and bytes that are no UTF-8, as Python holds them


def name_of_path(path: str) -> str:
    """The name of a file: its path as one line of text that every table takes, with nothing lost.

    A backslash is written twice; control characters and bytes that are no UTF-8 are written \\xNN, byte by byte.
    """
    if path.isprintable() and "\\" not in path:
        return path
    return "".join(map(_written, path))


def path_of_name(name: str) -> str:
    """The way back: `name_of_path(path_of_name(name)) == name`."""
    pattern = re.compile(rb"\\(\\|x[0-9a-f]{2})")
    back = pattern.sub(lambda found: b"\\" if found[1] == b"\\" else bytes([int(found[1][1:], 16)]), name.encode())
    return os.fsdecode(back)


def safe_path(name: str) -> str:
    """The name of an image as a path that no spreadsheet takes for a formula. `known_name`, and whoever joins it to a
    folder, undo it."""
    return f"./{name}" if name.startswith(FORMULA) else name


def known_name(given: str, known: Container[str]) -> str:
    """The name of an image that a table or a person calls `given`, one of `known` if it is any of them."""
    written = name_of_path(given)
    bare = written.removeprefix("./")
    return given if given in known else bare if bare.startswith(FORMULA) and bare in known else written


def _written(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) not in CONTROLS:
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def without_secrets(text: str) -> str:
    """Without the names and passwords that an address may hold: pages are sent to others."""
    return re.sub(r"://[^/@\s]*@", "://…@", text)


def printable(text: str) -> str:
    """`text` for a terminal: what would steer it, or turn what is read, is written out. Lines stay lines."""
    return "".join(ascii(each)[1:-1] if _steers(each) else each for each in text)


def _steers(character: str) -> bool:
    return character in TURNING or (unicodedata.category(character) in CONTROLS and character not in "\n\t")
