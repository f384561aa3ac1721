"""Errors that a user can fix, each with the parameter it is about."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


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

    def __str__(self) -> str:
        return f"{self.message}{hint(f'{self.parameter}=', self.value and repr(self.value)) if self.parameter else ''}"


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


def hint(parameter: str, value: str = "") -> str:
    """The end of a message, with the parameter to change: "words=" in Python, "--words" in the command."""
    return f" (use {parameter}{value})" if value else f" (see {parameter})"


@contextlib.contextmanager
def errors_about(parameter: str) -> Iterator[None]:
    """A context or decorator that gives this parameter to errors without one; types and messages do not change."""
    try:
        yield
    except (ValueError, OSError) as error:
        error.parameter = getattr(error, "parameter", "") or parameter  # type: ignore[union-attr]  # any error takes it
        raise
