"""Names of images and groups in tables and on the page, and text that is safe for a terminal. Imports nothing heavy."""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Container, Iterable

# Characters that change the direction of text, and that end a line although they are not a line break.
TURNING = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Characters that start a formula in a spreadsheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
CONTROLS = ("Cc", "Cs")  # control characters, and Python's surrogates for bytes that are not UTF-8
# Categories that are invisible or end a line, letters that are drawn as nothing, and joiners.
HIDDEN = (*CONTROLS, "Cf", "Cn", "Zl", "Zp")
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
JOINERS = frozenset("\u200c\u200d")
ADDRESS = re.compile(r"[A-Za-z][\w+.:-]*://")
INNER_ADDRESS = re.compile(r"(?<![\w+.:-])([\w+.:-]+)://(\S*)")  # tried only once per word


def name_of_path(path: str) -> str:
    """The name of a file: its path as one line of text that any table can hold, without loss.

    A backslash is doubled; control characters and bytes that are not UTF-8 become \\xNN, byte by byte. Secrets are
    removed from an address for good.
    """
    path = without_secrets(path) if "://" in path else path
    if path.isprintable() and "\\" not in path:
        return path
    return "".join(map(_written, path))


def path_of_name(name: str) -> str:
    """The inverse: `name_of_path(path_of_name(name)) == name`, except for secrets of addresses."""
    pattern = re.compile(rb"\\(\\|x[0-9a-f]{2})")
    back = pattern.sub(lambda found: b"\\" if found[1] == b"\\" else bytes([int(found[1][1:], 16)]), name.encode())
    return os.fsdecode(back)


def safe_path(name: str) -> str:
    """The name of an image as a path that no spreadsheet reads as a formula. `known_name` undoes this, and so does
    joining the path to a folder."""
    return f"./{name}" if name.startswith(FORMULA) else name


def safe_word(word: str) -> str:
    """A word in a form that no spreadsheet reads as a formula."""
    return f"'{word}" if word.startswith(FORMULA) else word


def known_name(given: str, known: Container[str]) -> str:
    """The name of the image that a table or a user calls `given`, one of `known` if possible."""
    written = name_of_path(given)
    bare = written.removeprefix("./")
    return given if given in known else bare if bare.startswith(FORMULA) and bare in known else written


def free_name(name: str, known: Container[str]) -> str:
    """`name`, with a number appended if it is already in `known`."""
    numbered = (f"{name}#{i}" for i in itertools.count(2))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in known)


def _written(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if unicodedata.category(character) not in CONTROLS:
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def without_secrets(text: str) -> str:
    """`text` with user, password, query and fragment of addresses replaced by "…", so that it may be shown and stored.

    If the text starts as an address, all of it is one, spaces included; in other texts an address ends at a space.
    """
    if "://" not in text:
        return text
    if ADDRESS.match(text):
        scheme, _, rest = text.partition("://")
        return f"{scheme}://{_bare(scheme, rest)}"
    return INNER_ADDRESS.sub(lambda found: f"{found[1]}://{_bare(found[1], found[2])}", text)


def error_text(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """An error in one line of at most 200 characters, without secrets; the name of its type if it has no message.

    secrets: more texts to remove, longest first, because a server may repeat parts of its address.
    """
    text = str(error)[:2000]
    for secret in secrets:
        text = text.replace(secret, "…")
    return without_secrets(" ".join(text.split()) or type(error).__name__)[:200]


def reason_text(error: OSError) -> str:
    """Why the system or a store refused something, in its own words and one line."""
    text = error.strerror or " ".join(str(error).split())
    return without_secrets(text) or type(error).__name__


def _bare(scheme: str, rest: str) -> str:
    """The text after "://" without secrets. Removes too much if in doubt: a password may contain "/", "@", "?", "#"."""
    first = re.split("[/?#]", rest, maxsplit=1)[0]
    if ":" in first and not re.fullmatch(r"[^:@]*:\d*", first):  # user:password
        end = rest.rfind("@")
    elif ":" in first:  # host:port, or a password that begins with digits
        end = re.split("[?#]", rest, maxsplit=1)[0].rfind("@")
    else:
        end = first.rfind("@")
    kept = rest[end + 1 :]
    # In a store "?" is a wildcard and "#" an ordinary character, unless a query such as "?versionId=1" follows.
    cut = re.search("[?#]" if scheme.lower().endswith(("http", "https")) else r"[?#](?=[^/]*=)", kept)
    return ("…@" if end >= 0 else "") + (f"{kept[: cut.end()]}…" if cut else kept)


def is_plain_name(text: object) -> bool:
    """Whether this is a readable text: it has visible characters, and none that is invisible, ends a line or changes
    the direction of text. Joiners are allowed, because emoji and several scripts need them."""
    letters = [letter for letter in text if letter not in JOINERS] if isinstance(text, str) else []
    hidden = any(letter in INVISIBLE or unicodedata.category(letter) in HIDDEN for letter in letters)
    return not hidden and any(unicodedata.category(letter)[0] in "LNPS" for letter in letters)


def quoted(name: str) -> str:
    """The name of a group for a list: in quotes if it contains a comma, as "silver, medium" does."""
    return f'"{name}"' if "," in name else name


def printable(text: str) -> str:
    """`text` for a terminal: escapes characters that would control it or change the direction of text. Line breaks
    stay."""
    steering = TURNING | {letter for letter in set(text) - set("\n\t") if unicodedata.category(letter) in CONTROLS}
    return "".join(ascii(letter)[1:-1] if letter in steering else letter for letter in text)
