"""Names of folders and files that every file system takes, and that stay below the folder they are put into."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

LONGEST = 120  # bytes of one name: file systems take 255, some less
DEEPEST = 32  # folders of one path, of which systems take 4,096 bytes
# What Windows takes for a device, whatever comes after a dot, and with blanks before it; as NFKC writes it.
DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9]|lpt[0-9])\s*(\..*)?")
FORBIDDEN = re.compile(r'[<>:"/\\|?*]')


def portable_name(text: str) -> str:
    """One name for a folder or a file. Never empty, "." or ".."; no separators, control characters, names of devices,
    nor dots or spaces at its end; cut where it is too long, with a mark of what it was."""
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
    """A path below a folder, with "/", for an image called `name`: its folders stay, the first of very many as one."""
    names = [folder_or_file for folder_or_file in name.split("/") if folder_or_file not in ("", ".")]
    if len(names) > DEEPEST:
        names = ["/".join(names[:-DEEPEST]), *names[-DEEPEST:]]
    return "/".join(map(portable_name, names)) or "_"


def make_distinct(paths: Iterable[str]) -> list[str]:
    """Paths of which no two are one file, nor one the folder of another, where capitals do not count: the later one
    gets a number."""
    paths = list(paths)
    split = [path.casefold().split("/") for path in paths]
    taken = {"/".join(names[:i]) for names in split for i in range(1, len(names))}
    found: list[str] = []
    tried: dict[str, int] = {}  # path -> the last number that was tried for it
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
