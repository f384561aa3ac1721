"""Names of folders and files that are valid on every file system and cannot leave the folder they are put into."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

LONGEST = 120  # maximum bytes of one name: many file systems allow 255, some fewer
DEEPEST = 32  # maximum number of folders in one path: systems allow paths of 4,096 bytes
# Windows reads these as devices, with anything after a dot and with spaces before it; in NFKC form.
DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9]|lpt[0-9])\s*(\..*)?")
FORBIDDEN = re.compile(r'[<>:"/\\|?*]')


def portable_name(text: str) -> str:
    """A portable name for a folder or a file. It is never empty, "." or ".."; it has no separators, control characters,
    device names, or dots or spaces at its end. If it is too long, it is cut and a hash of the full name is added."""
    text = unicodedata.normalize("NFC", text)
    plain = "".join("_" if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") else sign for sign in text)
    plain = re.sub(r"(?<![.\s])[.\s]+$", lambda end: "_" * len(end[0]), FORBIDDEN.sub("_", plain).strip())
    device = DEVICES.fullmatch(unicodedata.normalize("NFKC", plain[:LONGEST]))
    name = f"_{plain}" if device or not plain or plain.startswith(".") else plain
    if len(name.encode()) <= LONGEST:
        return name
    stem, dot, ending = name.rpartition(".")
    ending = f".{ending}" if dot and len(ending.encode()) <= 10 else ""
    mark = f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}{ending}"
    begin = (stem if ending else name).encode()[: LONGEST - len(mark.encode())].decode(errors="ignore")
    return begin.rstrip() + mark


def portable_path(name: str) -> str:
    """A relative path, with "/", for an image called `name`. Its folders are kept; beyond DEEPEST, the first ones are
    joined into one."""
    names = [folder_or_file for folder_or_file in name.split("/") if folder_or_file not in ("", ".")]
    if len(names) > DEEPEST:
        names = ["/".join(names[:-DEEPEST]), *names[-DEEPEST:]]
    return "/".join(map(portable_name, names)) or "_"


def make_distinct(paths: Iterable[str]) -> list[str]:
    """Makes paths distinct, ignoring case: no two are the same file, and none is a folder of another. Adds a number to
    the later one."""
    paths = list(paths)
    split = [path.casefold().split("/") for path in paths]
    taken = {"/".join(names[:i]) for names in split for i in range(1, len(names))}
    found: list[str] = []
    tried: dict[str, int] = {}  # path -> the last number tried for it
    for path in paths:
        folder, slash, name = path.rpartition("/")
        stem, dot, ending = name.rpartition(".")
        stem, ending = (stem, dot + ending) if stem else (name, "")
        number, candidate = tried.get(path.casefold(), 1), path
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{folder}{slash}{stem} ({number}){ending}"
        tried[path.casefold()] = number
        taken.add(candidate.casefold())
        found.append(candidate)
    return found
