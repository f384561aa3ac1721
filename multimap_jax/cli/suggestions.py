"""Messages for a flag, verb or argument that does not exist, with the closest one that does."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from multimap_jax.cli.flags import make_flags


def unknown_flag(name: str, verb: str, verbs: Mapping) -> str:
    """The message for a flag that `verb` does not have. verbs: name -> module of the verb."""
    message = f"unknown flag --{name}"
    owners = [other for other in verbs if name in make_flags(verbs[other].FLAGS)]
    if owners:
        return f"{message}: it is a flag of multimap {', '.join(owners)}{see_help(owners[0])}"
    similar = difflib.get_close_matches(name, list(make_flags(verbs[verb].FLAGS)), 1)
    return f"{message}{f': did you mean --{similar[0]}?' if similar else ''}{see_help(verb)}"


def unknown_argument(word: str, verbs: Mapping) -> str:
    """The message for an argument that is not a flag."""
    similar = difflib.get_close_matches(word, list(verbs), 1, 0.7)
    advice = f"the commands are {', '.join(verbs)}; give everything else as flags, such as --images=FOLDER"
    advice = f"did you mean multimap {similar[0]}?" if similar else advice
    return f"unexpected argument {word!r}: {advice}{see_help()}"


def see_help(verb: str = "") -> str:
    """The end of a message: the help of a verb, or the help that lists the verbs."""
    return f" (see multimap help {verb})" if verb else " (see multimap help)"
