"""Reads csv files as various programs write them, with different separators, comments and headings."""

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
COMMENT_LINES = 32  # leading comment lines, one of which may hold the column names
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's first line
Rows = Iterator[tuple[int, list[str]]]
REWRITE, SAVE_AS_UTF8 = "save it again", "save it as UTF-8"


@contextlib.contextmanager
def opened_csv(path: Path, budget: MemoryBudget | None = None) -> Iterator[tuple[list[str], Rows]]:
    """Opens a csv file in UTF-8: (columns, (line, row) of each row).

    The separator is a comma, a semicolon or a tab; a .tsv uses tabs if that gives a known column. Lines that begin with
    "#" are skipped. Before the columns, empty lines and Excel's "sep=;" (which sets the separator) are skipped too.

    Raises InputError if the file is not such a csv file.
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
                raise InputError(f"{path} has {len(columns):,} columns, expected at most {COLUMNS:,}: delete some")
            rows = ((before + reader.line_num, row) for row in reader)
            yield columns, (row for row in rows if len(columns) == 1 or not is_comment(path, row[1]))
    except (UnicodeDecodeError, csv.Error) as error:
        advice = REWRITE if isinstance(error, csv.Error) else SAVE_AS_UTF8
        raise InputError(f"{path} is not a csv file in UTF-8 ({error_text(error)}): {advice}") from None


def is_comment(path: Path, row: list[str]) -> bool:
    """Whether a row of a csv file with several columns is a single text that begins with "#" and names no file."""
    begins = len(row) == 1 and row[0].lstrip().startswith("#")
    return begins and not any(storage_of(path).has_name(path.parent / name) for name in (row[0], row[0].strip()))


def heading(lines: Iterator[str], usual: str = "") -> tuple[str, int, str, Iterator[str]]:
    """(the line with the column names, the number of lines before it, the separator, the lines after it).

    This is the first line that is not a comment. If it has no known column, it is a comment line that has one, as NumPy
    writes them. usual: the separator to prefer if it gives a known column.
    """
    stated, line, count = "", "", 0
    comments: collections.deque[str] = collections.deque(maxlen=COMMENT_LINES)
    for line in lines:
        line = line if count else line.lstrip("\ufeff")  # some programs write the byte order mark twice
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
    """The separator that gives a known column; if none does, the stated, the usual, or the most frequent one outside
    quotes."""
    bare = re.sub('"[^"]*"', '""', line)
    known = {separator: has_known(line, separator) for separator in stated + SEPARATORS}
    return max(known, key=lambda sign: (known[sign], sign == stated, sign == usual, bare.count(sign)))


def has_known(line: str, separator: str) -> bool:
    return any(is_known(name.strip('"\r\n ')) for name in line.split(separator, COLUMNS)[:COLUMNS])


def bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines of a file; csv.Error if one has LINE_CHARACTERS or more."""
    while line := file.readline(LINE_CHARACTERS):
        if len(line) == LINE_CHARACTERS:
            raise csv.Error(f"a line of {LINE_CHARACTERS:,} characters or more")
        yield line
