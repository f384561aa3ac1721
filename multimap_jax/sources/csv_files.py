"""csv files as programs write them: separators, comments and headings of several kinds."""

from __future__ import annotations

import collections
import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from multimap_jax.errors import InputError
from multimap_jax.sources.columns import is_known
from multimap_jax.storage.filenames import error_text
from multimap_jax.storage.paths import open_file, size_of, storage_of
from multimap_jax.storage.reading import COLUMNS, MemoryBudget

SEPARATORS = ",;\t"
LINE_CHARACTERS = 2**20  # characters of the longest line
COMMENT_LINES = 32  # lines before the columns of which one may hold the columns itself
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's first line
Rows = Iterator[tuple[int, list[str]]]
REWRITE, SAVE_AS_UTF8 = "write it again", "save it as UTF-8"


@contextlib.contextmanager
def opened_csv(path: Path, budget: MemoryBudget | None = None) -> Iterator[tuple[list[str], Rows]]:
    """(columns, (line, row) of each row) of a csv file in UTF-8 whose columns are separated by commas, semicolons or
    tabs; those of a .tsv by tabs if one of them is known then. Skipped are lines that begin with "#", and before the
    columns also empty ones and Excel's "sep=;", which names the separator.

    Raises InputError where it is none.
    """
    try:
        with open_file(path) as content, io.TextIOWrapper(content, "utf-8-sig", newline="") as file:
            if budget:
                budget.read += size_of(content)
            usual = "\t" if path.suffix.lower() == ".tsv" else ""
            columns_line, before, separator, lines = heading(bounded_lines(file), usual)
            if "\0" in columns_line:
                raise InputError(f"{path} is not a csv file in UTF-8 (null bytes): {SAVE_AS_UTF8}")
            reader = csv.reader(itertools.chain([columns_line], lines), delimiter=separator)
            columns = [column.strip() for column in next(reader, [])]
            if len(columns) > COLUMNS:
                raise InputError(f"{path} has {len(columns):,} columns, expected {COLUMNS:,} at most: {REWRITE}")
            rows = ((before + reader.line_num, row) for row in reader)
            yield columns, (row for row in rows if len(columns) == 1 or not is_comment(path, row[1]))
    except (UnicodeDecodeError, csv.Error) as error:
        advice = REWRITE if isinstance(error, csv.Error) else SAVE_AS_UTF8
        raise InputError(f"{path} is not a csv file in UTF-8 ({error_text(error)}): {advice}") from None


def is_comment(path: Path, row: list[str]) -> bool:
    """Whether a row of a csv file of several columns is one text that begins with "#", and not the name of a file."""
    begins = len(row) == 1 and row[0].lstrip().startswith("#")
    return begins and not any(storage_of(path).has_name(path.parent / name) for name in (row[0], row[0].strip()))


def heading(lines: Iterator[str], usual: str = "") -> tuple[str, int, str, Iterator[str]]:
    """(the line of the columns, how many lines precede it, the separator, the lines that follow it).

    It is the first line that is no comment; where no column in it is known, a comment that has one, as NumPy writes
    its columns. usual: the separator that is preferred if one of the columns is known then.
    """
    stated, line, count = "", "", 0
    comments: collections.deque[str] = collections.deque(maxlen=COMMENT_LINES)
    for line in lines:
        line = line if count else line.lstrip("\ufeff")  # programs may put a mark before one that is there
        excel = SEPARATOR_LINE.fullmatch(line)
        stated = excel[1] if excel else stated
        if not excel and line.strip() and not starts_comment(line):
            break
        comments.append(line)
        count += 1
    else:
        line = ""
    separator = likely_separator(line, stated, usual)
    for i, comment in enumerate([] if has_known(line, separator) else comments):
        bare = re.sub(r'\s*("?)[\s#]+', r"\1", comment, count=1)
        comment_separator = likely_separator(bare, stated, usual)
        if starts_comment(comment) and has_known(bare, comment_separator):
            rest = itertools.chain(list(comments)[i + 1 :], [line], lines)
            return bare, count - len(comments) + i, comment_separator, rest
    return line, count, separator, lines


def starts_comment(line: str) -> bool:
    return line.lstrip('" ').startswith("#")


def likely_separator(line: str, stated: str = "", usual: str = "") -> str:
    """The separator of columns with which one is known, or that is stated, or usual, or most frequent outside of
    quotes."""
    bare = re.sub('"[^"]*"', '""', line)
    known = {separator: has_known(line, separator) for separator in stated + SEPARATORS}
    return max(known, key=lambda sign: (known[sign], sign == stated, sign == usual, bare.count(sign)))


def has_known(line: str, separator: str) -> bool:
    return any(is_known(name.strip('"\r\n ')) for name in line.split(separator, COLUMNS)[:COLUMNS])


def bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines of a file; csv.Error for one without an end."""
    while line := file.readline(LINE_CHARACTERS):
        if len(line) == LINE_CHARACTERS:
            raise csv.Error(f"a line of {LINE_CHARACTERS:,} characters or more")
        yield line
