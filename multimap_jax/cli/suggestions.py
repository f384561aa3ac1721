"""Messages for a flag, verb or argument that does not exist, with the closest one that does."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from multimap_jax.cli.flags import make_flags


def unknown_flag(name: str, verb: str, verbs: Mapping) -> str:
    """The message for a flag that `verb` does not have. verbs: name -> module of the verb."""
    message = f"unknown flag --{name}"
    similar = difflib.get_close_matches(name, list(make_flags(*verbs[verb].FLAGS)), 1)
    if similar:
        return f"{message}: did you mean --{similar[0]}?"
    owners = [other for other in verbs if name in make_flags(*verbs[other].FLAGS)]
    return f"{message}: it is a flag of multimap {max(owners)}" if owners else message


def unknown_argument(word: str, verbs: Mapping) -> str:
    """The message for an argument that is not a flag."""
    similar = difflib.get_close_matches(word, list(verbs), 1)
    advice = f"did you mean multimap {similar[0]}?" if similar else "give everything as flags, such as --images=FOLDER"
    return f"unexpected argument {word!r}: {advice}"
