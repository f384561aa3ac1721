"""Errors that a user can mend, with the parameter that each is about."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class InputError(ValueError):
    """Something that was given is wrong, or does not go with the rest.

    The message names neither flags nor arguments, so that it reads the same everywhere: in Python the parameter follows
    as "(see words=)", and the command shows its flag instead, "(see --words)".

    Args:
      message: what was expected, what was found, what to do.
      parameter: what to change, as the argument is called in Python; "" where no single one is to blame.
      value: the value that mends it, where there is one.
    """

    def __init__(self, message: str, parameter: str = "", value: str = ""):
        super().__init__(message)
        self.message, self.parameter, self.value = message, parameter, value

    def __str__(self) -> str:
        return f"{self.message}{hint(f'{self.parameter}=', self.value and repr(self.value)) if self.parameter else ''}"


class InputTypeError(InputError, TypeError):
    """A value of another type than is expected."""


class InputOSError(OSError, InputError):
    """A file or folder that was given cannot be read or written."""

    __init__, __str__ = InputError.__init__, InputError.__str__


class MissingError(InputOSError, FileNotFoundError):
    """A file or folder that was given is not there."""


class InputExistsError(InputOSError, FileExistsError):
    """A file that would be overwritten."""


class NotFolderError(InputOSError, NotADirectoryError):
    """A file was given where a folder is expected."""


def hint(parameter: str, value: str = "") -> str:
    """What to change, behind a sentence. parameter: "words=" in Python, "--words" in the command."""
    return f" (use {parameter}{value})" if value else f" (see {parameter})"


@contextlib.contextmanager
def errors_about(parameter: str) -> Iterator[None]:
    """Within it, also as a decorator, errors that carry no parameter get this one. Their kind and message stay."""
    try:
        yield
    except (ValueError, OSError) as error:
        error.parameter = getattr(error, "parameter", "") or parameter  # type: ignore[union-attr]  # any error takes it
        raise
