"""How the command speaks: lines on standard output, notes, sentences for errors, progress and logs."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

from absl import flags

from multimap_jax.cli.flags import RENAMED
from multimap_jax.errors import hint
from multimap_jax.storage.filenames import printable, without_secrets
from multimap_jax.storage.paths import parse_path

_typed_addresses: list[str] = []
print_failures: list[str] = []  # why lines could not be printed since `start`


def start(argv: Sequence[str]) -> None:
    """Prepares the standard streams for one command.

    A process that was begun without them, as services and 2>&- begin it, gets /dev/null. Each takes the lowest free
    number, that of the missing stream: what libraries write to it reaches no other file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot write a name is no reason to stop
            stream.reconfigure(errors="replace")
    _typed_addresses[:] = [value for _, _, value in (word.partition("=") for word in argv) if "://" in value]
    print_failures.clear()


def write_line(name: str, text: str) -> OSError | None:
    """Writes to sys.stdout or sys.stderr. Returns why that failed; what comes after it then goes nowhere."""
    try:
        print(_safe(text), file=getattr(sys, name), flush=True)
    except OSError as error:
        setattr(sys, name, open(os.devnull, "w"))
        return error
    return None


def say(text: str) -> None:
    """Prints. Where that fails the run goes on; a reader that went away (`multimap … | head`) is no failure at all."""
    error = write_line("stdout", text)
    if error and not isinstance(error, BrokenPipeError):
        print_failures.append(f"cannot write to standard output ({error.strerror}): redirect it to a disk with room")


def note(text: str) -> None:
    write_line("stderr", f"multimap: note: {text}")


def fail(message: str, status: int = 2) -> int:
    """Says why the command ends; returns the exit status."""
    write_line("stderr", f"multimap: {message}")
    return status


def _safe(text: str) -> str:
    """What may go to a terminal or a log: nothing that steers it, and no secret of an address. Where one that was typed
    ends is known, whatever its password holds."""
    for address in _typed_addresses:
        text = text.replace(address, without_secrets(address))
    return printable(without_secrets(text))


def sentence(error: Exception, values: flags.FlagValues) -> str:
    """An error for a person: with the flag to change, where the error has a parameter and the verb that flag. Errors of
    the system name their file and reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot read or write {error.filename} ({error.strerror}); the same command goes on from what is kept"
    message, parameter = getattr(error, "message", str(error)), getattr(error, "parameter", "")
    flag = RENAMED.get(parameter, parameter)
    if flag not in values or f"--{flag}" in message:
        return message
    value = getattr(error, "value", "")
    return message + (hint(f"--{flag}=", value) if value else hint(f"--{flag}"))


@contextlib.contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Within it each warning is shown once, as a note; those meant for programmers are not."""
    shown = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            note(str(message))

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # a damaged image is reported once, by its name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def running(
    values: flags.FlagValues, process: int | None = None, distributed: bool = False, jax: bool = True
) -> Iterator[dict]:
    """Starts JAX, and logs and traces what runs within as the flags ask. Yields a run's arguments say and progress.

    Args:
      process: the number of this process, None where there is only one.
      distributed: this process has joined others. jax: what runs within needs JAX.
    """
    from multimap_jax.runtime.compilation import start_jax
    from multimap_jax.runtime.profiling import traces_in
    from multimap_jax.runtime.progress import lines_of_json, waiting_shown

    if jax:
        start_jax(distributed)
    progress = values.progress and sys.stderr.isatty()
    with contextlib.ExitStack() as stack:
        stack.enter_context(waiting_shown(progress))
        if values.profile:
            folder = parse_path(values.profile)
            stack.enter_context(traces_in(folder if process is None else folder / f"process-{process}", note))
        if values.log == "json":
            stack.enter_context(lines_of_json(process))
        yield {"say": say, "progress": progress}
