"""What images are called in tables and on the page, and what may go to a terminal. Imports nothing heavy."""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Container, Iterable

# Marks that turn the direction of text, and that end a line though they are no line break.
TURNING = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# What a spreadsheet takes for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
CONTROLS = ("Cc", "Cs")  # control characters, and bytes that are no UTF-8, as Python holds them
# Categories that nobody sees or that end a line, letters that are drawn as nothing, and what joins letters.
HIDDEN = (*CONTROLS, "Cf", "Cn", "Zl", "Zp")
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
JOINERS = frozenset("\u200c\u200d")
ADDRESS = re.compile(r"[A-Za-z][\w+.:-]*://")
INNER_ADDRESS = re.compile(r"(?<![\w+.:-])([\w+.:-]+)://(\S*)")  # begun at each word once


def name_of_path(path: str) -> str:
    """The name of a file: its path as one line of text that every table takes, with nothing lost.

    A backslash is written twice; control characters and bytes that are no UTF-8 are written \\xNN, byte by byte. An
    address loses its secrets, which have no way back.
    """
    path = without_secrets(path) if "://" in path else path
    if path.isprintable() and "\\" not in path:
        return path
    return "".join(map(_written, path))


def path_of_name(name: str) -> str:
    """The way back: `name_of_path(path_of_name(name)) == name`, but for secrets of addresses."""
    pattern = re.compile(rb"\\(\\|x[0-9a-f]{2})")
    back = pattern.sub(lambda found: b"\\" if found[1] == b"\\" else bytes([int(found[1][1:], 16)]), name.encode())
    return os.fsdecode(back)


def safe_path(name: str) -> str:
    """The name of an image as a path that no spreadsheet takes for a formula. `known_name`, and whoever joins it to a
    folder, undo it."""
    return f"./{name}" if name.startswith(FORMULA) else name


def safe_word(word: str) -> str:
    """A word that no spreadsheet takes for a formula."""
    return f"'{word}" if word.startswith(FORMULA) else word


def known_name(given: str, known: Container[str]) -> str:
    """The name of an image that a table or a person calls `given`, one of `known` if it is any of them."""
    written = name_of_path(given)
    bare = written.removeprefix("./")
    return given if given in known else bare if bare.startswith(FORMULA) and bare in known else written


def free_name(name: str, known: Container[str]) -> str:
    """`name`, with a number behind it where it is known."""
    numbered = (f"{name}#{i}" for i in itertools.count(2))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in known)


def _written(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) not in CONTROLS:
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def without_secrets(text: str) -> str:
    """`text` with addresses cut down to what may be shown and kept: user, password, query and fragment become "…".

    A text that is an address is taken whole, blanks included; in any other one an address ends at a blank.
    """
    if "://" not in text:
        return text
    if ADDRESS.match(text):
        scheme, _, rest = text.partition("://")
        return f"{scheme}://{_bare(scheme, rest)}"
    return INNER_ADDRESS.sub(lambda found: f"{found[1]}://{_bare(found[1], found[2])}", text)


def error_text(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """An error in one line, of 200 letters at most and without secrets; its kind where it says nothing else.

    secrets: what else must go, longest first. A server may say its address again, in pieces.
    """
    text = str(error)[:2000]
    for secret in secrets:
        text = text.replace(secret, "…")
    return without_secrets(" ".join(text.split()) or type(error).__name__)[:200]


def reason_text(error: OSError) -> str:
    """Why the system or a store refused something, in its words and one line."""
    text = error.strerror or " ".join(str(error).split())
    return without_secrets(text) or type(error).__name__


def _bare(scheme: str, rest: str) -> str:
    """What follows "://", without secrets. In doubt too much goes: a password may hold "/", "@", "?" and "#"."""
    first = re.split("[/?#]", rest, maxsplit=1)[0]
    if ":" in first and not re.fullmatch(r"[^:@]*:\d*", first):  # user:password
        end = rest.rfind("@")
    elif ":" in first:  # host:port, or a password that begins with digits
        end = re.split("[?#]", rest, maxsplit=1)[0].rfind("@")
    else:
        end = first.rfind("@")
    kept = rest[end + 1 :]
    # In stores "?" is a wildcard and "#" a letter, unless a query as in "?versionId=1" follows.
    cut = re.search("[?#]" if scheme.lower().endswith(("http", "https")) else r"[?#](?=[^/]*=)", kept)
    return ("…@" if end >= 0 else "") + (f"{kept[: cut.end()]}…" if cut else kept)


def is_plain_name(text: object) -> bool:
    """Whether this is a text that can be read as it is: with something to see in it, and nothing that is invisible,
    ends a line or turns text around. Joiners stay, which emoji and several scripts need."""
    letters = [letter for letter in text if letter not in JOINERS] if isinstance(text, str) else []
    hidden = any(letter in INVISIBLE or unicodedata.category(letter) in HIDDEN for letter in letters)
    return not hidden and any(unicodedata.category(letter)[0] in "LNPS" for letter in letters)


def printable(text: str) -> str:
    """`text` for a terminal: what would steer it, or turn what is read, is written out. Lines stay lines."""
    steering = TURNING | {letter for letter in set(text) - set("\n\t") if unicodedata.category(letter) in CONTROLS}
    return "".join(ascii(letter)[1:-1] if letter in steering else letter for letter in text)
