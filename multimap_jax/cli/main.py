"""The command `multimap`: dispatch to its verbs, help and exit status. Verbs import heavy modules only after the flags
are checked."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence

from absl import flags

from multimap_jax.cli import apply, console, edit, embed, export, group, suggest
from multimap_jax.cli.console import fail, say
from multimap_jax.cli.flags import REPEATABLE, check_values, make_flags, names_by_heading, value_problem
from multimap_jax.cli.processes import given_processes, killed_message
from multimap_jax.cli.signals import CHILD, begin_child, run_child, until_stopped
from multimap_jax.cli.suggestions import see_help, unknown_argument, unknown_flag
from multimap_jax.storage.objects import remove_fetched
from multimap_jax.storage.paths import parse_path

# A verb is a module with PURPOSE, USAGE, FLAGS for `make_flags`, and run(FlagValues).
VERBS = {
    "group": group,
    "suggest": suggest,
    "edit": edit,
    "apply": apply,
    "export": export,
    "embed": embed,
}
UNNAMED = "group"  # the verb if the command names none
MISTAKE, STOPPED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    words = list(sys.argv if argv is None else argv)[1:]
    console.start(words)
    status = dispatch(words)
    return fail(console.print_failures[0]) if console.print_failures and not status else status


def dispatch(words: Sequence[str]) -> int:
    """Finds the verb, reads its flags, and shows help or runs it."""
    if list(words) == ["help"]:
        say(usage(UNNAMED))
        return 0
    if words[:1] == ["help"]:
        words = [*[word for word in words if word != "help"][:1], "--help"]
    verb, words = (words[0], words[1:]) if words and words[0] in VERBS else (UNNAMED, words)
    values = make_flags(VERBS[verb].FLAGS)
    try:
        parse_flags(values, words, verb)
    except flags.Error as error:
        return fail(f"{error}")
    if values.help or values.version:
        from multimap_jax import __version__

        say(help_text(values, verb) if values.help else f"multimap {__version__}")
        return 0
    if not words:
        say(usage(verb))
        return MISTAKE
    return until_stopped(lambda: run_verb(values, words, verb), lambda: leave(fail(ended("stopped", values), STOPPED)))


def parse_flags(values: flags.FlagValues, words: Sequence[str], verb: str) -> None:
    """Sets `values`. flags.Error, with the help to read, for anything that cannot be parsed."""
    check_values(values)
    if any(word.lstrip("-").startswith("flagfile") for word in words if word.startswith("-")):
        raise flags.Error(f"--flagfile is not supported: give the flags themselves{see_help(verb)}")
    try:
        arguments = values(["multimap", *words])[1:]
    except flags.UnrecognizedFlagError as error:
        raise flags.Error(unknown_flag(error.flagname, verb, VERBS)) from None
    except flags.Error as error:
        raise flags.Error(f"{value_problem(error)}{see_help(verb)}") from None
    if arguments:
        raise flags.Error(unknown_argument(arguments[0], VERBS))


def usage(verb: str) -> str:
    """The usage of a verb, with examples."""
    lines = [f"  {module.PURPOSE:<40}multimap {name}" for name, module in VERBS.items()]
    return VERBS[verb].USAGE.replace("{verbs}", "\n".join(lines))


def help_text(values: flags.FlagValues, verb: str) -> str:
    """The usage of a verb and all of its flags."""
    lines = [usage(verb).rstrip()]
    for heading, names in names_by_heading(VERBS[verb].FLAGS).items():
        lines += ["", f"{heading}:"]
        for text in (flag_help(values[name]) for name in names):
            lines += textwrap.wrap(text, 100, initial_indent="  ", subsequent_indent=" " * 6, break_on_hyphens=False)
    return "\n".join(lines)


def flag_help(flag: flags.Flag) -> str:
    """A flag with its help text, choices and default."""
    default = ",".join(flag.default) if isinstance(flag.default, list) else flag.default
    default = f"on; --no{flag.name} turns it off" if default is True else default
    # absl adds a sentence after a line break to repeatable flags, and "<a|b>: " before choices.
    text = f"--{flag.name}: " + flag.help.split(";\n")[0]
    if isinstance(flag, flags.EnumFlag):
        text = f"--{flag.name}: {flag.help.partition('>: ')[2]}: {', '.join(flag.parser.enum_values)}"
    text += " (repeatable)" if flag.name in REPEATABLE else ""
    return text if default is None or default is False or default == "" else f"{text} (default: {default})"


def run_verb(values: flags.FlagValues, words: Sequence[str], verb: str) -> int:
    """Runs a verb and prints its errors. With several processes the verb runs in a child, since JAX's runtime may end
    that process."""
    try:
        os.getcwd()  # libraries need it, whatever the flags say
    except FileNotFoundError:
        return fail("the current folder was deleted: change to another one")
    try:
        processes = given_processes(values)
        if CHILD in os.environ:
            begin_child()
        elif processes is None or processes.coordinator:
            status = run_child([sys.executable, "-m", "multimap_jax", verb, *words])
            return status if status >= 0 else fail(killed_message(-status, parse_path(values.out), values.heartbeat), 1)
        with console.warnings_as_notes():
            VERBS[verb].run(values)
        return 0
    except MemoryError:
        return leave(fail(ended("out of memory", values)))
    except (ValueError, TypeError, OSError) as error:
        return leave(fail(console.sentence(error, values)))


def ended(reason: str, values: flags.FlagValues) -> str:
    """The message of a run that ended early: the reason, and how to continue if the verb writes to --out."""
    if "out" not in values or not values.out:
        return reason
    return f"{reason}. Finished work is kept in {values.out}; run the same command to continue."


def leave(status: int) -> int:
    """Returns the exit status. One process of several exits at once: otherwise JAX would wait for the others, and they
    for this one. The others notice its silence."""
    if CHILD in os.environ:
        sys.stdout.flush()
        remove_fetched()
        os._exit(status)
    return status
