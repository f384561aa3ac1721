"""Errors that a user can fix, each with the parameter it is about."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
# Parameter of an error -> the arguments that hold it in functions without such an argument.
HOLDERS = {
    "words": ("source", "aspect"),
    "template": ("aspect",),
    "subject": ("aspect",),
    "embeddings": ("X",),
    "images": ("X",),
    "clip": ("name",),
    "vocabulary": ("sources",),
    "wordnet": ("sources",),
    "llm": ("sources",),
    "llm_model": ("sources",),
    "look": ("url",),
    "look_model": ("model",),
    "look_size": ("size",),
    "look_most": ("most",),
    "look_requests": ("requests",),
    "run": ("folder",),
    "out": ("directory",),
}


class InputError(ValueError):
    """An input is wrong, or contradicts another one.

    The message names neither flags nor arguments, so it reads the same in Python and in the command. Python adds the
    parameter, "(see words=)", and the command adds its flag, "(see --words)".

    Args:
      message: what was expected, what was found, what to do.
      parameter: the argument to change, by its name in Python; "" if there is no single one.
      value: a value that fixes the error, if there is one.
    """

    def __init__(self, message: str, parameter: str = "", value: str = ""):
        super().__init__(message)
        self.message, self.parameter, self.value = message, parameter, value
        self.argument: str | None = None  # see `names_arguments`

    def __str__(self) -> str:
        name = self.parameter if self.argument is None else self.argument
        value = self.value if name == self.parameter else ""
        return f"{self.message}{hint(f'{name}=', value and repr(value)) if name else ''}"


class InputTypeError(InputError, TypeError):
    """A value has the wrong type."""


class InputOSError(OSError, InputError):
    """A given file or folder cannot be read or written."""

    __init__, __str__ = InputError.__init__, InputError.__str__


class MissingError(InputOSError, FileNotFoundError):
    """A given file or folder does not exist."""


class InputExistsError(InputOSError, FileExistsError):
    """A file exists and would be overwritten."""


class NotFolderError(InputOSError, NotADirectoryError):
    """A file was given instead of a folder."""


def found_text(value: object) -> str:
    """A wrong value for the end of a message, in one short line."""
    if hasattr(value, "shape"):
        return f"found an array of shape {list(value.shape)}"
    text = " ".join(repr(value).split())
    return f"found {text[:80]}{'…' if len(text) > 80 else ''}"


def hint(parameter: str, value: str = "") -> str:
    """The end of a message, with the parameter to change: "words=" in Python, "--words" in the command."""
    return f" (use {parameter}{value})" if value else f" (see {parameter})"


def warn(message: str) -> None:
    """Warns at the line that called this package, however deep in it the problem is noticed."""
    frame, level = sys._getframe(), 1
    # contextlib's frames are those of this package's decorators.
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("multimap_jax.", "contextlib")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)  # from Python 3.12 on skip_file_prefixes does the same


def names_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a public function: the text of an InputError names one of its arguments (for a method, also of the
    object's constructor), or none. The command still finds the error's parameter."""
    known = set(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            fields = dataclasses.fields(args[0]) if "self" in known and dataclasses.is_dataclass(args[0]) else ()
            names = known | {field.name for field in fields}
            holders = (error.parameter, *HOLDERS.get(error.parameter, ()))
            error.argument = next((name for name in holders if name in names), "")
            raise

    return call


@contextlib.contextmanager
def errors_about(parameter: str) -> Iterator[None]:
    """A context or decorator that gives this parameter to errors without one; types and messages do not change."""
    try:
        yield
    except (ValueError, OSError) as error:
        error.parameter = getattr(error, "parameter", "") or parameter  # type: ignore[union-attr]  # any error takes it
        raise
