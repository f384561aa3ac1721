"""Reads edits of groups from a JSON file that the page saved or a person wrote. It is checked before any edit applies.

`multimap help edit` shows such a file. Edits apply in order; each uses the current names of the groups.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from multimap_jax.choices import UNASSIGNED_NAME
from multimap_jax.errors import InputError, MissingError
from multimap_jax.storage.filenames import is_plain_name, quoted
from multimap_jax.storage.reading import read_json

EDITS_BYTES = 10 * 2**20  # of a file
MAX_EDITS = 10_000  # in a file
MAX_SPLITS = 200  # in a file: each split runs k-means
MAX_NAME = 200  # characters of a group's name; LONGEST in state.js
MAX_PARTS = 100  # parts of a split; MOST_PARTS in state.js
DOWNLOADED = "~/Downloads/edits.json"  # where browsers save the edits of the page; also in edits.js
ADVICE = "save it again from the page, or write it as shown by multimap help edit"


class NewName(str):
    """A valid name for a group: one line of text, and not the name of unassigned images."""


Group = Annotated[str, Meta(description="the name of a group as a string")]
Images = Annotated[tuple[str, ...], Meta(min_length=1, description="a list of image names, as strings")]
Name = Annotated[
    NewName,
    Meta(
        description=f"a name of one line, with at most {MAX_NAME} characters and no invisible ones, other than "
        f"{UNASSIGNED_NAME}"
    ),
]


class Edit(msgspec.Struct, kw_only=True):
    """One edit of an aspect's groups. where: its position and file, for messages."""

    where: str
    aspect: str


class Merge(Edit, kw_only=True):
    merge: Annotated[tuple[str, ...], Meta(min_length=2, description="a list of two or more different groups")]
    into: Name


class Rename(Edit, kw_only=True):
    rename: Group
    to: Name


class Split(Edit, kw_only=True):
    split: Group
    into: Annotated[int, Meta(ge=2, le=MAX_PARTS, description=f"a whole number from 2 to {MAX_PARTS}")]


class Move(Edit, kw_only=True):
    move: Images
    to: Group


class Leftover(Edit, kw_only=True):
    leftover: Images


# The key that determines the kind of an edit -> its class.
KINDS = {"merge": Merge, "rename": Rename, "split": Split, "move": Move, "leftover": Leftover}


def read_edits(path: Path, aspects: Sequence[str]) -> list[Edit]:
    """Reads the edits of a file. aspects: the run's.

    Raises InputError, ValueError or OSError, each with one sentence, if the file is invalid or unreadable.
    """
    try:
        content = read_json(path, advice=ADVICE, limit=EDITS_BYTES)
    except FileNotFoundError:
        message = f"there is no file {path}: save the edits on the page, and give the path of your browser's download"
        raise MissingError(message, "edits", DOWNLOADED) from None
    edits = content.get("edits")
    if not isinstance(edits, list) or set(content) != {"edits"}:
        raise InputError(f'{path} has {_keys(content)}, expected "edits" with a list: {ADVICE}', "edits")
    if not edits:
        raise InputError(f"{path} has no edits: make some on the page and save them", "edits")
    splits = sum(isinstance(edit, dict) and "split" in edit for edit in edits)
    for number, limit, noun in ((len(edits), MAX_EDITS, "edits"), (splits, MAX_SPLITS, "splits")):
        if number > limit:
            raise InputError(
                f"{path} has {number:,} {noun}, expected at most {limit:,}: split it into several files", "edits"
            )
    return [_read_edit(edit, f"edit {i} of {path}", aspects) for i, edit in enumerate(edits, 1)]


def _read_edit(content: Any, where: str, aspects: Sequence[str]) -> Edit:
    """One edit from its JSON. `aspect` is optional if the run has only one."""
    kinds = [kind for kind in KINDS if kind in content] if isinstance(content, dict) else []
    if len(kinds) != 1:
        found = _keys(content) if isinstance(content, dict) else str(content)[:40]
        raise InputError(f"{where} has {found}, expected one of {', '.join(KINDS)}", "edits")
    form = KINDS[kinds[0]]
    keys = form.__struct_fields__[1:]  # without `where`
    if unknown := set(content) - set(keys):
        raise InputError(f"{where} has {_keys(unknown)} with {kinds[0]}, expected {', '.join(keys)}", "edits")
    aspect = content.get("aspect", aspects[0] if len(aspects) == 1 else None)
    if aspect not in aspects:
        found = "names no aspect" if aspect is None else f"names the aspect {str(aspect)[:80]!r}"
        raise InputError(f"{where} {found}: the run has {', '.join(aspects)}", "edits")
    try:
        return msgspec.convert(content | {"where": where, "aspect": aspect}, form, dec_hook=_new_name)
    except msgspec.ValidationError as error:
        # It ends with the key: "… - at `$.into`", or "… missing required field `into`".
        key = next(key for key in keys if f"`$.{key}" in str(error) or f"field `{key}`" in str(error))
        expected = get_type_hints(form, include_extras=True)[key].__metadata__[0].description
        found = ascii(content.get(key))[:40]
        raise InputError(f"{where}: {key} is {found}, expected {expected}", "edits") from None


def edits_hash(edits: Sequence[Edit]) -> str:
    """SHA-256 of edits in their order, independent of their file."""
    fields = [msgspec.structs.asdict(edit) | {"where": ""} for edit in edits]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def _new_name(_: type, value: object) -> NewName:
    name = value.strip() if isinstance(value, str) else ""
    if len(name) > MAX_NAME or not is_plain_name(name) or name == UNASSIGNED_NAME:
        raise ValueError
    return NewName(name)


def check_cycle(edit: Rename, later: Sequence[Edit]) -> None:
    """Raises InputError if a rename to an existing name forms a cycle with later renames."""
    next_name = {other.rename: other.to for other in later if isinstance(other, Rename) and other.aspect == edit.aspect}
    names = [edit.rename, edit.to]
    while names[-1] in next_name and names[-1] != names[0] and len(names) <= len(next_name) + 1:
        names.append(next_name[names[-1]])
    if names[-1] == names[0]:
        raise InputError(
            f"{edit.where}: the renames {' → '.join(names)[:200]} form a cycle: first give one of these groups "
            "another name",
            "edits",
        )


def suggestion(name: str, names: Sequence[str]) -> str:
    """The closest existing name, or all names, as the end of a sentence."""
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]}?" if close else f"the groups are {', '.join(map(quoted, names))[:200]}"


def _keys(keys: Iterable) -> str:
    return ", ".join(sorted(map(str, keys)))[:80] or "nothing in it"
