"""Edits of groups, as a page saves them or a person writes them: a JSON file, looked at before anything is done.

    {"edits": [
      {"aspect": "color", "merge": ["red", "pink"], "into": "red"},
      {"aspect": "color", "rename": "red", "to": "warm"},
      {"aspect": "color", "split": "green", "into": 2},
      {"aspect": "color", "move": ["a.png", "b.png"], "to": "warm"},
      {"aspect": "color", "leftover": ["c.png"]}
    ]}

One goes after the other, and each calls groups what they are called by then.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path

from multimap_jax.choices import LEFT_OVER
from multimap_jax.storage.filenames import is_plain_name
from multimap_jax.storage.reading import read_json

EDITS_BYTES = 10 * 2**20
LONGEST, PARTS = 200, 100
EDITS, SPLITS = 10_000, 200  # of a file: each split is a clustering of its own
ADVICE = "save it again from the page, or write it as README.md says"
# Kind -> the key that stands beside it.
KINDS = {"merge": "into", "rename": "to", "split": "into", "move": "to", "leftover": ""}


@dataclasses.dataclass(frozen=True)
class Edit:
    """One edit. kind: a key of KINDS. groups: those that it is of. to: the name that comes of it, or the group that
    images go to. parts: how many groups are asked for. images: by name. where: of the file and in it, for sentences."""

    aspect: str
    kind: str
    groups: tuple[str, ...] = ()
    to: str = ""
    parts: int = 0
    images: tuple[str, ...] = ()
    where: str = ""


def read_edits(path: Path, aspects: Sequence[str]) -> list[Edit]:
    """The edits of a file. ValueError or OSError, each with one sentence, for anything else."""
    content = read_json(path, advice=ADVICE, most=EDITS_BYTES)
    edits = content.get("edits")
    if not isinstance(edits, list) or set(content) - {"edits"}:
        raise ValueError(f'{path} has {_keys(content)}, expected "edits" with a list: {ADVICE}')
    if not edits:
        raise ValueError(f"{path} holds no edit: there is nothing to do")
    splits = sum(isinstance(edit, dict) and "split" in edit for edit in edits)
    for number, most, kind in ((len(edits), EDITS, "edits"), (splits, SPLITS, "splits")):
        if number > most:
            raise ValueError(f"{path} holds {number:,} {kind}, expected {most:,} at most: make them in several files")
    return [read_edit(edit, f"edit {i} of {path}", aspects) for i, edit in enumerate(edits, 1)]


def read_edit(edit, where: str, aspects: Sequence[str]) -> Edit:
    """One edit as JSON has it. ValueError for anything else. `aspect` may be left out where there is one alone."""
    kinds = [kind for kind in KINDS if kind in edit] if isinstance(edit, dict) else []
    if len(kinds) != 1:
        said = _keys(edit) if isinstance(edit, dict) else str(edit)[:40]
        raise ValueError(f"{where} has {said}, expected one of {', '.join(KINDS)}")
    kind = kinds[0]
    others = set(edit) - {"aspect", kind, KINDS[kind]}
    if others:
        raise ValueError(f"{where} has {_keys(others)} beside {kind}, expected aspect and {KINDS[kind] or 'no more'}")
    aspect = edit.get("aspect", aspects[0] if len(aspects) == 1 else None)
    if aspect not in aspects:
        said = "names no aspect" if aspect is None else f"is of the aspect {str(aspect)[:80]!r}"
        raise ValueError(f"{where} {said}, the run has {', '.join(aspects)}")
    given, beside = edit[kind], edit.get(KINDS[kind])
    if kind == "merge":
        return Edit(aspect, kind, merged(given, where), new_name(beside, f"{where}: into"), where=where)
    if kind == "rename":
        return Edit(aspect, kind, (text(given, where, kind),), new_name(beside, f"{where}: to"), where=where)
    if kind == "split":
        return Edit(aspect, kind, (text(given, where, kind),), parts=parts(beside, where), where=where)
    to = text(beside, where, "to") if kind == "move" else ""
    return Edit(aspect, kind, images=texts(given, where, kind), to=to, where=where)


def text(value, where: str, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: {key} is {str(value)[:40]}, expected a text")
    return value


def texts(value, where: str, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{where}: {key} is {str(value)[:40]}, expected a list of texts")
    return tuple(value)


def merged(value, where: str) -> tuple[str, ...]:
    groups = texts(value, where, "merge")
    if len(set(groups)) != len(groups) or len(groups) < 2:
        raise ValueError(f"{where}: merge names {', '.join(groups)[:80]}, expected two different groups or more")
    return groups


def parts(value, where: str) -> int:
    if type(value) is not int or not 2 <= value <= PARTS:
        raise ValueError(f"{where}: into is {str(value)[:40]}, expected a whole number of 2 to {PARTS}")
    return value


def new_name(value, where: str) -> str:
    """A name that a group may have: one line of text that nothing else is called by."""
    name = value.strip() if isinstance(value, str) else None
    if not name or len(name) > LONGEST or not is_plain_name(name) or name == LEFT_OVER:
        raise ValueError(
            f"{where} is {ascii(str(value)[:40])}, expected a name of one line that can be read, of at most {LONGEST} "
            f"letters without invisible ones, and another one than {LEFT_OVER}"
        )
    return name


def check_cycle(edit: Edit, later: Sequence[Edit]) -> None:
    """ValueError where a rename to a name that is taken goes round in a circle with renames that come later."""
    ways = {each.groups[0]: each.to for each in later if each.kind == "rename" and each.aspect == edit.aspect}
    way = [edit.groups[0], edit.to]
    while way[-1] in ways and way[-1] != way[0] and len(way) <= len(ways) + 1:
        way.append(ways[way[-1]])
    if way[-1] == way[0]:
        raise ValueError(
            f"{edit.where}: the renames {' → '.join(way)[:200]} go round in a circle: give one of these groups another "
            "name first"
        )


def like(name: str, names: Sequence[str]) -> str:
    """What there is instead of a name, as the end of a sentence."""
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)[:200]}"


def _keys(keys) -> str:
    return ", ".join(sorted(map(str, keys)))[:80] or "nothing in it"
