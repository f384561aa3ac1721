"""Lists of images: a csv or parquet file with a column of paths, or parquet files that hold the images themselves."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from multimap_jax.inputs import places
from multimap_jax.inputs.files import ROWS, check_rows, read_columns, said_of
from multimap_jax.inputs.names import name_of_path
from multimap_jax.inputs.places import opened, plain, remote_version, size_of
from multimap_jax.inputs.remote import remote_images
from multimap_jax.inputs.source import Packed, Source

IMAGE_ROWS = 16
LONGEST = 4096  # of a path, as systems have it
PATHS = ("image", "path", "image_path", "file", "filename", "file_name")
SEPARATORS, LINE = ",;\t", 2**20
AGAIN = "write it again"


@contextlib.contextmanager
def opened_csv(path: Path) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """(columns, rows with their lines) of a csv file in UTF-8 whose columns stand apart by commas, semicolons or tabs.

    ValueError where it is none.
    """
    try:
        with io.TextIOWrapper(opened(path), "utf-8-sig", newline="") as file:
            first = file.readline(LINE)
            file.seek(0)
            reader = csv.reader(bounded_lines(file), delimiter=max(SEPARATORS, key=first.count))
            columns = [column.strip() for column in next(reader, [])]
            yield columns, ((reader.line_num, row) for row in reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a csv file in UTF-8 ({plain(error)})") from None


def bounded_lines(file: TextIO) -> Iterator[str]:
    """The lines of a file; csv.Error for one without an end."""
    while line := file.readline(LINE):
        if len(line) == LINE:
            raise csv.Error(f"a line of {LINE:,} characters or more")
        yield line


def read_list(place: Path, files: Sequence[Path], addresses: bool = True) -> Source:
    """Images whose paths, relative to the list, stand in the column image, path, image_path, file or filename of csv
    files; other columns come along. ValueError where there is no such column, or no row."""
    names: list[str] = []
    paths: list[Path] = []
    columns: dict[str, list] = {}
    for file in files:
        with opened_csv(file) as (found, rows):
            column = path_column(file, found)
            others = {name: found.index(name) for name in found if name and name != column}
            begin = len(paths)
            for _, row in rows:
                given = row[found.index(column)] if found.index(column) < len(row) else ""
                if given:
                    names.append(given)
                    paths.append(beside(file, given, addresses))
                    for name, index in others.items():
                        own = columns.setdefault(name, [""] * (len(paths) - 1))
                        own.append(row[index] if index < len(row) else "")
            for own in columns.values():
                own += [""] * (len(paths) - len(own))
            if len(paths) == begin:
                raise ValueError(f"{file} names no image: its column {column} is empty")
    return listed(place, names, reachable(paths), columns, files)


class AddressError(ValueError):
    """A list that nobody has typed holds addresses, which nobody has asked to reach."""


def beside(file: Path, given: str, addresses: bool = True) -> Path:
    """What a list calls an image by: a path relative to the list, or an address, if these are to be followed."""
    if "://" not in given:
        return file.parent / given
    if not addresses:
        raise AddressError(f"{file} names {name_of_path(given)[:200]}, say --images={file} to have that asked for")
    return places.place(given)


def reachable(images: list) -> list:
    """Paths of stores as images that are fetched; others as they are."""
    remote = [i for i, image in enumerate(images) if places.is_remote(image)]
    for i, image in zip(remote, remote_images(images[i] for i in remote)):
        images[i] = image
    return images


def path_column(file: Path, columns: Sequence[str]) -> str:
    known = [name for name in PATHS if name in columns]
    if not known:
        raise ValueError(
            f"{file} has the columns {', '.join(columns)[:200] or '(none)'}; expected one of paths, called "
            f"{', '.join(PATHS)}"
        )
    return known[0]


def listed(place: Path, given: Sequence[str], images: Sequence, columns: dict, files: Sequence[Path]) -> Source:
    """The source of images by the names given; a name that is there already is the file's with the row."""
    found: dict = {}
    for row, (name, image) in enumerate(zip(given, images)):
        name = name_of_path(name) if name and len(name) <= LONGEST else ""
        if not name or name in found:
            name = f"{name_of_path(files[0].name)}#{row}"
        found[name] = image
    return Source(place, found, (), columns)


def read_parquet(place: Path, files: Sequence[Path], addresses: bool = True) -> Source:
    """Images of parquet files: those that a column holds (bytes, or bytes and path, as Hugging Face data sets have
    them), or those that a column of paths names. Other columns of texts and numbers come along.

    ValueError for files that are no parquet or have neither column.
    """
    import pyarrow.parquet as pq

    names: list[str] = []
    images: list = []
    columns: dict[str, list] = {}
    for file in files:
        with said_of(str(file), AGAIN), opened(file) as content, pq.ParquetFile(content) as table:
            check_rows(table, size_of(content))
            schema, rows = table.schema_arrow, table.metadata.num_rows
            held = [field.name for field in schema if holds_images(field.type)]
            column = held[0] if held else path_column(file, schema.names)
            others = [field.name for field in schema if field.name != column and is_plain(field.type)]
            found = read_columns(table, others)
            for name in dict.fromkeys([*columns, *found]):
                columns.setdefault(name, [""] * len(images)).extend(found.get(name, [""] * rows))
            if not held:
                given = read_columns(table, [column])[column]
                names += map(str, given)
                images += [beside(file, str(path), addresses) for path in given]
                continue
            structured = schema.field(column).type.num_fields and "path" in names_of(schema.field(column).type)
            given = [None] * rows
            if structured:
                parts = table.iter_batches(ROWS, columns=[f"{column}.path"], use_threads=False)
                given = [row for part in parts for row in part.column(column).to_pylist()]
            mark, reader, row = remote_version(file), RowGroups(file, column), 0
            for group in range(table.num_row_groups):
                for place_in_group in range(table.metadata.row_group(group).num_rows):
                    path = (given[row] or {}).get("path") if structured else None
                    names.append(path or f"{file.name}#{row}")
                    read = functools.partial(reader.read, group, place_in_group)
                    images.append(Packed(f"{file}", f"row {row}", read, mark, mark is not None))
                    row += 1
    if not images:
        raise ValueError(f"there is no row in {place}")
    return listed(place, names, reachable(images), columns, files)


def names_of(kind) -> list[str]:
    return [kind.field(i).name for i in range(kind.num_fields)]


def holds_images(kind) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return "bytes" in names_of(kind) and holds_images(kind.field("bytes").type)
    return types.is_binary(kind) or types.is_large_binary(kind)


def is_plain(kind) -> bool:
    import pyarrow.types as types

    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_floating, types.is_boolean)
    return any(test(kind) for test in tests)


class RowGroups:
    """The images of one parquet file, some rows in memory at once; quick where they are asked for in their order."""

    def __init__(self, file: Path, column: str):
        self.file, self.column = file, column
        self.lock = threading.Lock()
        self.group, self.parts, self.stored = -1, None, None
        self.held: list[tuple[int, object]] = []  # the last two parts, with the row that each begins with

    def read(self, group: int, row: int) -> bytes:
        """The bytes of one image; ValueError where there are none."""
        with self.lock:
            if group != self.group or not self.held or row < self.held[0][0]:
                self._begin(group)
            while row >= self.held[-1][0] + len(self.held[-1][1]):
                begin, part = self.held[-1]
                self.held = [self.held[-1], (begin + len(part), next(self.parts).column(self.column))]
            begin, part = next((begin, part) for begin, part in self.held if begin <= row < begin + len(part))
            found = part[row - begin].as_py()
        content = found.get("bytes") if isinstance(found, dict) else found
        if not content:
            raise ValueError("the row holds no image")
        return content

    def _begin(self, group: int) -> None:
        import pyarrow.parquet as pq

        if self.stored is None:
            self.stored = pq.ParquetFile(opened(self.file))
        # Arrow gives whole rows at once, however often a file repeats one.
        self.parts = self.stored.iter_batches(IMAGE_ROWS, row_groups=[group], columns=[self.column], use_threads=False)
        self.group, self.held = group, [(0, next(self.parts).column(self.column))]

    def __del__(self):
        if self.stored is not None:
            self.stored.close(force=True)
