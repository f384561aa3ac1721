"""The command's output: lines on standard output, notes, error messages, progress and logs."""

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
print_failures: list[str] = []  # why printing failed since `start`


def start(argv: Sequence[str]) -> None:
    """Prepares the standard streams for one command.

    A process that was started without them (by a service, or with 2>&-) gets /dev/null. Each opened file takes the
    lowest free descriptor, the one of the missing stream, so libraries that write to it do not write into another file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a name must not stop the run
            stream.reconfigure(errors="replace")
    _typed_addresses[:] = [value for _, _, value in (word.partition("=") for word in argv) if "://" in value]
    print_failures.clear()


def write_line(name: str, text: str) -> OSError | None:
    """Writes to sys.stdout or sys.stderr. Returns the error if that failed; later output is then discarded."""
    try:
        print(_safe(text), file=getattr(sys, name), flush=True)
    except OSError as error:
        setattr(sys, name, open(os.devnull, "w"))
        return error
    return None


def say(text: str) -> None:
    """Prints a line. If that fails, the run continues. A closed pipe (`multimap … | head`) is not a failure."""
    error = write_line("stdout", text)
    if error and not isinstance(error, BrokenPipeError):
        print_failures.append(f"cannot write to standard output ({error.strerror}): write to a disk with free space")


def note(text: str) -> None:
    write_line("stderr", f"multimap: note: {text}")


def fail(message: str, status: int = 2) -> int:
    """Prints why the command ends; returns the exit status."""
    write_line("stderr", f"multimap: {message}")
    return status


def _safe(text: str) -> str:
    """Text that is safe for a terminal or a log: no control characters, and no secrets of addresses. Typed addresses
    are replaced first: their ends are known, whatever their passwords contain."""
    for address in _typed_addresses:
        text = text.replace(address, without_secrets(address))
    return printable(without_secrets(text))


def sentence(error: Exception, values: flags.FlagValues) -> str:
    """The message of an error, with the flag to change if the verb has one for the error's parameter. Errors of the
    operating system name their file and reason."""
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"there is no file or folder {error.filename}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot read or write {error.filename} ({error.strerror}): fix that, then run the same command again"
    message, parameter = getattr(error, "message", str(error)), getattr(error, "parameter", "")
    flag = RENAMED.get(parameter, parameter)
    if flag not in values or f"--{flag}" in message:
        return message
    value = getattr(error, "value", "")
    return message + (hint(f"--{flag}=", value) if value else hint(f"--{flag}"))


@contextlib.contextmanager
def warnings_as_notes() -> Iterator[None]:
    """A context that shows each warning once, as a note. Warnings for programmers are hidden."""
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
    """Starts JAX, and sets up logs and traces as the flags say. Yields the arguments `say` and `progress` of a run.

    Args:
      process: the number of this process, None if there is only one.
      distributed: whether this process has joined others. jax: whether the verb needs JAX.
    """
    from multimap_jax.runtime.compilation import start_jax
    from multimap_jax.runtime.profiling import traces_in
    from multimap_jax.runtime.progress import lines_of_json, waiting_shown

    if jax:
        start_jax(distributed)
    progress = values.progress and sys.stderr.isatty()
    if not progress or values.log == "json":
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when the hub's client is imported
    with contextlib.ExitStack() as stack:
        stack.enter_context(waiting_shown(progress))
        if values.profile:
            folder = parse_path(values.profile)
            stack.enter_context(traces_in(folder if process is None else folder / f"process-{process}", note))
        if values.log == "json":
            stack.enter_context(lines_of_json(process))
        yield {"say": say, "progress": progress}
