"""How the command speaks with people: what is proposed for a wrong flag, and which flag an error is about."""

from __future__ import annotations

import difflib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping

from absl import flags

# What an error says that names no flag -> the flags to change; and what is looked at where no flag's value is in it.
SURE = {
    "groups asked for": "--clusters",
    "the context holds": "--words or --template",
    "{word}": "--template",
    "{subject}": "--template or --subject",
    "repeated words": "--words",
    "words or more": "--words or --features",
    "cannot be called": "--aspect",
}
ABOUT = {
    "has no words": "--words",
    "vocabulary": "--vocabulary",
    "WordNet": "--wordnet",
    "checkpoint": "--clip",
    "can be read": "--images",
    "is empty for every image": "--labels",
    "column": "--labels",
}


def open_streams() -> None:
    """Opens /dev/null for the standard streams that a process was begun without, as services and 2>&- begin it.

    Each takes the number of what is missing, the lowest that is free: what libraries write to it reaches no other file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def write_line(name: str, text: str) -> OSError | None:
    """Writes to sys.stdout or sys.stderr. Returns why that failed; what comes after it then goes nowhere."""
    try:
        print(text, file=getattr(sys, name), flush=True)
    except OSError as error:
        setattr(sys, name, open(os.devnull, "w"))
        return error
    return None


def check_folder() -> None:
    """FileNotFoundError where the current folder is gone: libraries ask for it, whatever the flags name."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError("the current folder has been deleted: change into another one") from None


def refuse_second_values(values: flags.FlagValues) -> None:
    """Has absl raise an error for a flag that is given twice and differs: it would take the last in silence."""
    for flag in (values[name] for name in values):
        if not isinstance(flag, flags.MultiFlag):
            flag.parse = functools.partial(_parse_once, flag, flag.parse)


def _parse_once(flag: flags.Flag, parse: Callable, argument: str) -> None:
    given, before, typed = flag.present, flag.value, flag.serialize()
    parse(argument)
    if given and flag.value != before:
        raise flags.IllegalFlagValueError(f"{typed} and {flag.serialize()} contradict each other: give one of them")


def unknown_flag(name: str, own: Iterable[str], verb: str, others: Mapping[str, Callable]) -> str:
    """What to say of a flag that there is not. own: the flags that there are. others: verb -> its flags."""
    said = f"unknown flag --{name}"
    near = difflib.get_close_matches(name, list(own), 1, 0.6)
    if near:
        return f"{said}: did you mean --{near[0]}?"
    for other, define in others.items():
        if other != verb and name in define():
            return f"{said}: it belongs to multimap {other}".rstrip()
    return said


def unknown_word(word: str, verbs: Iterable[str]) -> str:
    """What to say of an argument that is no flag."""
    near = difflib.get_close_matches(word, [verb for verb in verbs if verb], 1, 0.6)
    verb = f"did you mean multimap {near[0]}?" if near else "everything is a flag, such as --images=FOLDER"
    return f"unexpected argument {word!r}: {verb}"


def with_flag(said: str, given: Mapping[str, object], known: Iterable[str]) -> str:
    """What an error says, with the flag to change where it names none. given: flag -> its value. known: all flags."""
    known = list(known)
    if re.search(r"--\w", said):
        return said
    values = {name: str(value).rstrip("/") for name, value in given.items() if isinstance(value, str)}
    inside = [name for name, value in values.items() if value and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", said)]
    inside.sort(key=lambda name: -len(values[name]))
    first = re.match(r"(?:the )?(\w+) is ", said)
    about = [f"--{first[1]}"] if first and first[1] in known else []
    about += _named(said, SURE, known) + [f"--{name}" for name in inside] + _named(said, ABOUT, known)
    return f"{said} (see {about[0]})" if about else said


def _named(said: str, table: Mapping[str, str], known: list[str]) -> list[str]:
    return [flags for text, flags in table.items() if text in said and flags.split()[0].lstrip("-") in known]
