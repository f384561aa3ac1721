"""Lists of images: a csv or parquet file with a column of paths, or parquet files that hold the images themselves."""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import functools
import io
import itertools
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from multimap_jax.sources.columns import (
    PATH,
    Notes,
    choice_said,
    choose_column,
    comes_along,
    fields_of,
    is_bytes,
    is_text,
    kinds_of,
    known,
    looked_at,
    no_column,
    plain_type,
    written_as_text,
)
from multimap_jax.sources.remote import remote_images
from multimap_jax.sources.source import PackedImage, Source
from multimap_jax.storage import paths as places
from multimap_jax.storage.filenames import free_name, name_of_path
from multimap_jax.storage.paths import error_text, open_file, remote_version, size_of
from multimap_jax.storage.reading import (
    COLUMNS,
    AddressError,
    MemoryBudget,
    column_parts,
    explained,
    open_table,
    read_columns,
)

WINDOW_ROWS, WINDOW_BYTES = 32, 2**27  # of images that are held: threads ask for them in nearly their order
LONGEST = 4096  # of a path, as systems have it
ROW_BYTES = 300  # that the name and the path of an image take in memory
LOOKED_AT, FIRST = 2**26, 16  # bytes of a group of rows that is looked through for missing images; of larger ones, rows
SEPARATORS, LINE, BEFORE = ",;\t", 2**20, 32  # characters of a line, lines before the columns that may be these
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's first line
AGAIN, AS_UTF8 = "write it again", "save it as UTF-8"


@contextlib.contextmanager
def opened_csv(
    path: Path, room: MemoryBudget | None = None
) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """(columns, rows with their lines) of a csv file in UTF-8 whose columns stand apart by commas, semicolons or tabs,
    of a .tsv by tabs if by these one is known. Lines that begin with "#" are passed over, and before the columns also
    those that are empty and Excel's "sep=;", which says what they stand apart by.

    ValueError where it is none.
    """
    try:
        with open_file(path) as content, io.TextIOWrapper(content, "utf-8-sig", newline="") as file:
            if room:
                room.read += size_of(content)
            head = heading(bounded_lines(file), "\t" if path.suffix.lower() == ".tsv" else "")
            if "\0" in head.columns:
                raise ValueError(f"{path} is not a csv file in UTF-8 (null bytes): {AS_UTF8}")
            reader = csv.reader(itertools.chain([head.columns], head.lines), delimiter=head.separator)
            columns = [column.strip() for column in next(reader, [])]
            if len(columns) > COLUMNS:
                raise ValueError(f"{path} has {len(columns):,} columns, expected {COLUMNS:,} at most: {AGAIN}")
            rows = ((head.before + reader.line_num, row) for row in reader)
            yield columns, (row for row in rows if len(columns) == 1 or not is_comment(path, row[1]))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a csv file in UTF-8 ({error_text(error)}): {AS_UTF8}") from None
    except csv.Error as error:
        raise ValueError(f"{path} is not a csv file in UTF-8 ({error_text(error)}): {AGAIN}") from None


def is_comment(path: Path, row: list[str]) -> bool:
    """Whether a row of a csv of several columns is a line of its own that begins with "#", and no file."""
    if len(row) != 1 or not row[0].lstrip().startswith("#"):
        return False
    return places.is_remote(path) or not any(os.path.lexists(path.parent / name) for name in (row[0], row[0].strip()))


@dataclasses.dataclass(frozen=True)
class Heading:
    """The line of a csv file's columns, how many lines stand before it, what columns stand apart by, and the lines
    behind it."""

    columns: str
    before: int
    separator: str
    lines: Iterator[str]


def heading(lines: Iterator[str], usual: str = "") -> Heading:
    """The first line that is no comment; or, where no column in it is known, a comment that has one, as NumPy writes
    its columns. usual: what columns stand apart by if that leaves one that is known."""
    said, head, count = "", "", 0
    comments: collections.deque[str] = collections.deque(maxlen=BEFORE)
    for line in lines:
        line = line if count else line.lstrip("\ufeff")  # programs may put a mark before one that is there
        excel = SEPARATOR_LINE.fullmatch(line)
        said = excel[1] if excel else said
        if not excel and line.strip() and not line.lstrip('" ').startswith("#"):
            head = line
            break
        comments.append(line)
        count += 1
    separator = likely_separator(head, said, usual)
    for i, line in enumerate([] if has_known(head, separator) else comments):
        bare = re.sub(r'\s*("?)[\s#]+', r"\1", line, count=1)
        other = likely_separator(bare, said, usual)
        if line.lstrip('" ').startswith("#") and has_known(bare, other):
            before = count - len(comments) + i
            return Heading(bare, before, other, itertools.chain(list(comments)[i + 1 :], [head], lines))
    return Heading(head, count, separator, lines)


def likely_separator(head: str, said: str = "", usual: str = "") -> str:
    """What the columns stand apart by: what leaves one that is known, is said or usual, and is there most often outside
    of quotes."""
    bare = re.sub('"[^"]*"', '""', head)

    def likely(separator: str) -> tuple:
        return has_known(head, separator), separator == said, separator == usual, bare.count(separator)

    return max(dict.fromkeys(said + SEPARATORS), key=likely)


def has_known(head: str, separator: str) -> bool:
    return any(known(name.strip('"\r\n ')) for name in head.split(separator, COLUMNS)[:COLUMNS])


def bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines of a file; csv.Error for one without an end."""
    while line := file.readline(LINE):
        if len(line) == LINE:
            raise csv.Error(f"a line of {LINE:,} characters or more")
        yield line


@dataclasses.dataclass
class Listing:
    """What lists say of images: what they are called by, where each is, and other columns in their order."""

    given: list[str] = dataclasses.field(default_factory=list)
    images: list = dataclasses.field(default_factory=list)
    columns: dict[str, list] = dataclasses.field(default_factory=dict)
    notes: Notes = dataclasses.field(default_factory=Notes)

    def source(self, place: Path, files: Sequence[Path]) -> Source:
        """The source of these images. A name that is there already is the file's with the row."""
        found: dict = {}
        for row, (name, image) in enumerate(zip(self.given, reachable(self.images))):
            name = name_of_path(name) if name and len(name) <= LONGEST else ""
            if not name or name in found:
                name = free_name(f"{name_of_path(files[0].name)}#{row}", found)
            found[name] = image
        columns = {name: as_column(values) for name, values in self.columns.items()}
        return Source(place, found, tuple(self.notes.sentences()), columns)


def read_list(place: Path, files: Sequence[Path], addresses: bool = True) -> Source:
    """Images whose paths, relative to the list, stand in a column of csv files that is called image, path or otherwise
    as `sources.columns.PATHS`; other columns come along. ValueError where there is no such column, or no row."""
    listing, room = Listing(), MemoryBudget(f"what stands beside the images of {place}")
    for file in files:
        with opened_csv(file, room) as (found, rows):
            kinds = dict.fromkeys(found, PATH)
            column = choose_column(kinds)
            if column is None:
                raise no_column(file, found)
            listing.notes.add(choice_said(column, kinds), file)
            where = {name: len(found) - 1 - i for i, name in enumerate(reversed(found))}  # the first of each name
            others = {name: where[name] for name in found if name and name != column}
            begin, unnamed = len(listing.images), 0
            for _, row in rows:
                given = row[where[column]] if where[column] < len(row) else ""
                if not given.strip():
                    unnamed += any(row)
                    continue
                room.take(ROW_BYTES + sum(map(len, row)) + 8 * (len(others) + len(listing.columns)))
                given, image = beside(file, given, addresses)
                listing.given.append(given)
                listing.images.append(image)
                for name, index in others.items():
                    own = listing.columns.setdefault(name, [""] * (len(listing.images) - 1))
                    own.append(row[index] if index < len(row) else "")
            for own in listing.columns.values():
                own += [""] * (len(listing.images) - len(own))
            if len(listing.images) == begin:
                raise ValueError(f"{file} names no image: its column {column} is empty")
            listing.notes.add(unnamed_said(unnamed), file)
    return listing.source(place, files)


def unnamed_said(rows: int) -> tuple[str, str] | None:
    said = "1 row without an image was" if rows == 1 else f"{rows:,} rows without an image were"
    return (f"{said} passed over, in ", "") if rows else None


def beside(file: Path, given: str, addresses: bool) -> tuple[str, Path]:
    """What a list calls an image by, and where that is: a path relative to the list, or an address, if these are to be
    followed. Blanks around it are a spreadsheet's, unless there is a file with them."""
    bare = given.strip()
    if "://" in given and not addresses:
        raise AddressError(f"{file} names {name_of_path(bare)[:200]}, say --images={file} to have that asked for")
    if "://" in given:
        return bare, places.parse_path(bare)
    given, bare = given[: LONGEST + 1], bare[: LONGEST + 1]  # too long all the same
    if bare != given and not places.is_remote(file) and not os.path.lexists(file.parent / given):
        given = bare
    return given, file.parent / given


def reachable(images: list) -> list:
    """Paths of stores as images that are fetched; others as they are."""
    remote = [i for i, image in enumerate(images) if places.is_remote(image)]
    for i, image in zip(remote, remote_images(images[i] for i in remote)):
        images[i] = image
    return images


def as_column(values: list) -> list:
    """Values that make one column of a table; as text where they are of several kinds, or too large for numbers."""
    import pyarrow as pa

    try:
        pa.array(values)
    except (pa.ArrowException, OverflowError):
        return [None if value is None else str(value) for value in values]
    return values


def read_parquet(place: Path, files: Sequence[Path], addresses: bool = True) -> Source:
    """Images of parquet files: those that a column holds (bytes, or bytes and path, as Hugging Face data sets have
    them), or those that a column of paths names. Other columns of texts and numbers come along.

    ValueError for files that are no parquet or have neither column.
    """
    listing, room = Listing(), MemoryBudget(f"what stands beside the images of {place}")
    for file in files:
        with explained(f"{file}", AGAIN), open_table(file, room) as table:
            schema = table.schema_arrow
            kinds = looked_at(file, schema, kinds_of(schema))
            column = choose_column(kinds)
            if column is None:
                raise no_column(file, schema.names, {field.name: field.type for field in schema})
            listing.notes.add(choice_said(column, kinds), file)
            listing.notes.add(left_said(schema, column), file)
            rows = (named_rows if kinds[column] == PATH else held_rows)(file, table, column, addresses)
            kept = [i for i, row in enumerate(rows) if row]
            listing.notes.add(unnamed_said(len(rows) - len(kept)), file)
            others = [field.name for field in schema if field.name != column and comes_along(field.type)]
            found = {name: values_beside(table, name, room) for name in others}
            for name in dict.fromkeys([*listing.columns, *found]):
                own = listing.columns.setdefault(name, [None] * len(listing.images))
                room.take(8 * len(kept))
                own += [found[name][i] for i in kept] if name in found else [None] * len(kept)
            listing.given += [rows[i][0] for i in kept]
            listing.images += [rows[i][1] for i in kept]
    if not listing.images:
        raise ValueError(f"there is no row in {place}")
    return listing.source(place, files)


def left_said(schema, column: str) -> tuple[str, str] | None:
    """Which columns are neither read nor come along."""
    left = [field for field in schema if field.name != column and not comes_along(field.type)]
    said = ", ".join(f"{field.name} ({str(plain_type(field.type))[:40]})" for field in left)
    return ("columns of ", f" that do not come along: {said[:200]}") if left else None


def values_beside(table, name: str, room: MemoryBudget) -> list:
    """A column that comes along; dates and decimals as text."""
    import pyarrow as pa

    if not written_as_text(table.schema_arrow.field(name).type):
        return read_columns(table, [name], room)[name]
    found = []
    for part in column_parts(table, name, room):
        zone = getattr(part.type, "tz", None)
        part = part.cast(pa.timestamp(part.type.unit)) if zone else part  # in UTC: a file may name any zone
        texts = part.cast(pa.large_string())
        room.take(texts.nbytes)
        found += [f"{text}Z" if zone and text else text for text in texts.to_pylist()]
    return found


def named_rows(file: Path, table, column: str, addresses: bool) -> list[tuple | None]:
    """(name, path) of each row that a column of paths names."""
    given = read_columns(table, [column])[column]
    return [beside(file, path, addresses) if path and path.strip() else None for path in given]


def held_rows(file: Path, table, column: str, addresses: bool) -> list[tuple]:
    """(name, image) of each row of a column of images; those that have a path and no bytes are read from there."""
    fields = fields_of(table.schema_arrow.field(column).type)
    reader, mark = RowGroups(file, column), remote_version(file)
    paths = itertools.repeat(None)
    if is_text(fields.get("path")):
        paths = (path for part in column_parts(table, f"{column}.path") for path in part.to_pylist())
    found: list[tuple] = []
    for group in range(table.num_row_groups):
        rows = range(table.metadata.row_group(group).num_rows)
        bare = rows if fields and not is_bytes(fields.get("bytes")) else reader.without_bytes(group) if fields else ()
        for place, path in zip(rows, paths):
            if path and path.strip() and place in bare:
                found.append(beside(file, path, addresses))
                continue
            read, row = functools.partial(reader.read, group, place), len(found)
            name = path[: LONGEST + 1] if path else f"{file.name}#{row}"
            found.append((name, PackedImage(f"{file}", f"row {row}", read, mark, mark is not None)))
    return found


def content_of(row) -> bytes:
    """The bytes of a column of one row, b"" for none."""
    found = row[0].as_py()
    return (found.get("bytes") if isinstance(found, dict) else found) or b""


class RowGroups:
    """The images of one parquet file, some rows in memory at once; quick where they are asked for in their order."""

    def __init__(self, file: Path, column: str):
        self.file, self.column = file, column
        self.lock = threading.Lock()
        self.group, self.parts, self.stored = -1, None, None
        self.held: collections.deque = collections.deque()  # the last rows, each by itself
        self.next = 0  # the row after them

    def read(self, group: int, row: int) -> bytes:
        """The bytes of one image; ValueError where there are none."""
        with self.lock:
            if group != self.group or row < self.next - len(self.held):
                self._begin(group)
            while row >= self.next:
                self.held.append(content_of(next(self.parts)))
                self.next += 1
                while len(self.held) > WINDOW_ROWS or len(self.held) > 1 and sum(map(len, self.held)) > WINDOW_BYTES:
                    self.held.popleft()
            content = self.held[row - self.next]
        if not content:
            raise ValueError("the row holds no image")
        return content

    def without_bytes(self, group: int) -> set[int]:
        """Rows of a group that hold no bytes; of a large one that begins with images none are looked for."""
        if self.stored is None:
            self._open()
        rows = self._rows(group, f"{self.column}.bytes")
        if self.stored.metadata.row_group(group).total_byte_size > LOOKED_AT:
            some = list(itertools.islice(rows, FIRST))
            if all(map(content_of, some)):  # so have the others, or they are said to hold no image
                return set()
            rows = itertools.chain(some, rows)
        return {i for i, row in enumerate(rows) if not content_of(row)}

    def _rows(self, group: int, column: str) -> Iterator:
        """The rows of a group, one at a time, for Arrow gives whole rows however often a file repeats a large one."""
        parts = self.stored.iter_batches(1, row_groups=[group], columns=[column], use_threads=False)
        return (part.column(self.column) for part in parts)

    def _open(self) -> None:
        import pyarrow.parquet as pq

        self.stored = pq.ParquetFile(open_file(self.file))

    def _begin(self, group: int) -> None:
        if self.stored is None:
            self._open()
        self.parts, self.group, self.next = self._rows(group, self.column), group, 0
        self.held.clear()

    def __del__(self):
        if self.stored is not None:
            self.stored.close(force=True)
