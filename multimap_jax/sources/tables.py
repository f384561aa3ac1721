"""Reads tables of images: csv or parquet files with a column of paths, or parquet files that contain the images."""

from __future__ import annotations

import collections
import functools
import itertools
import threading
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from multimap_jax.errors import InputError
from multimap_jax.sources import columns as column_types
from multimap_jax.sources.csv_files import REWRITE, opened_csv
from multimap_jax.sources.names import PATH_CHARACTERS, Notes
from multimap_jax.sources.remote import images_at
from multimap_jax.sources.source import PackedImage, Source
from multimap_jax.storage.filenames import free_name, name_of_path
from multimap_jax.storage.paths import open_file, parse_path, remote_version, storage_of
from multimap_jax.storage.reading import AddressError, MemoryBudget, column_parts, explained, open_table, read_columns

# Rows of a parquet file that stay in memory, and their bytes: threads ask for them almost in order.
WINDOW_ROWS, WINDOW_BYTES = 32, 2**27
ROW_BYTES = 300  # bytes of memory for the name and the path of an image
# Row groups up to this many bytes are checked for missing images row by row; in larger ones, this many rows are.
CHECKED_BYTES, CHECKED_ROWS = 2**26, 16

# The name of an image, and where to read it.
Row = tuple[str, Path | PackedImage]


def read_tables(path: Path, files: Sequence[Path], addresses: bool = True) -> Source:
    """Reads csv or parquet files with a column of paths, relative to the file, or parquet files with a column of images
    (bytes, or bytes and path, as in Hugging Face datasets). Other columns are kept.

    Raises InputError if a file has no such column or cannot be read, or if there are no rows.
    """
    is_parquet = files[0].suffix.lower() == ".parquet"
    listing = Listing(path, addresses, None if is_parquet else "")
    for file in files:
        (read_parquet if is_parquet else read_csv)(file, listing)
    return listing.source(files)


class Listing:
    """The content of the tables of a source: the images by row, and the other columns in the same order.

    Args:
      path: the path or pattern that was given.
      addresses: whether to follow addresses.
      blank: the value for a column that a file lacks.
    """

    def __init__(self, path: Path, addresses: bool, blank: str | None):
        self.path, self.addresses, self.blank = path, addresses, blank
        self.names: list[str] = []
        self.images: list[Path | PackedImage] = []
        self.columns: dict[str, list] = {}
        self.notes, self.budget = Notes(), MemoryBudget(f"other columns of {path}")

    def locate(self, file: Path, text: str) -> Row:
        """The image that a table names: a path relative to the table, or an address if these are followed. Strips
        leading and trailing spaces, which spreadsheets add, unless a file has exactly that name."""
        bare = text.strip()
        if "://" in text and not self.addresses:
            what = f"{name_of_path(bare)[:200]}, which is not on this machine"
            raise AddressError(f"{file} names {what}: name the table yourself to download it", "images", str(file))
        if "://" in text:
            return bare, parse_path(bare)
        text, bare = text[: PATH_CHARACTERS + 1], bare[: PATH_CHARACTERS + 1]  # cut, but still too long to be a path
        if bare != text and storage_of(file).has_name(file.parent / text) is False:
            text = bare
        return text, file.parent / text

    def add(self, file: Path, rows: list[Row], columns: Mapping[str, list], unnamed: int) -> None:
        """Adds the rows of a file. unnamed: how many of its rows name no image."""
        if unnamed:
            count = "1 row" if unnamed == 1 else f"{unnamed:,} rows"
            self.notes.add(f"skipped {count} without an image in ", file.name)
        for name in dict.fromkeys([*self.columns, *columns]):
            self.budget.take(8 * len(rows))
            values = self.columns.setdefault(name, [self.blank] * len(self.names))
            values += columns.get(name, [self.blank] * len(rows))
        self.names += [name for name, _ in rows]
        self.images += [image for _, image in rows]

    def source(self, files: Sequence[Path]) -> Source:
        """The source of these images. A name that is missing, too long or already taken is replaced by that of the file
        and the row number."""
        if not self.names:
            raise InputError(f"{self.path} has no rows")
        found: dict = {}
        for row, (name, image) in enumerate(zip(self.names, images_at(self.images))):
            name = name_of_path(name) if name and len(name) <= PATH_CHARACTERS else ""
            if not name or name in found:
                name = free_name(f"{name_of_path(files[0].name)}#{row}", found)
            found[name] = image
        columns = {name: as_column(values) for name, values in self.columns.items()}
        return Source(self.path, found, tuple(self.notes.sentences()), columns)


def as_column(values: list) -> list:
    """Values that can be one column of a table; as text if they have several types or are too large for numbers."""
    import pyarrow as pa

    try:
        pa.array(values)
    except (pa.ArrowException, OverflowError):
        return [None if value is None else str(value) for value in values]
    return values


def read_csv(file: Path, listing: Listing) -> None:
    """Adds the images of a csv file. InputError if it has no column of paths, or no rows."""
    with opened_csv(file, listing.budget) as (columns, lines):
        position = column_types.path_position(file, columns, listing.notes)
        column, last = columns[position], len(columns) - 1
        first = {name: last - i for i, name in enumerate(reversed(columns))}
        positions = {name: first[name] for name in columns if name and name != column}
        values: dict[str, list] = {name: [] for name in positions}
        rows, unnamed = [], 0
        for _, row in lines:
            text = row[position] if position < len(row) else ""
            if not text.strip():
                unnamed += any(row)
                continue
            listing.budget.take(ROW_BYTES + sum(map(len, row)) + 8 * len(positions))
            rows.append(listing.locate(file, text))
            for name, i in positions.items():
                values[name].append(row[i] if i < len(row) else "")
    if not rows:
        raise InputError(f"{file} names no image: its column {column} is empty")
    listing.add(file, rows, values, unnamed)


def read_parquet(file: Path, listing: Listing) -> None:
    """Adds the images of a parquet file. InputError if it has no column of images or paths, or cannot be read."""
    with explained(f"{file}", REWRITE), open_table(file, listing.budget) as table:
        schema = table.schema_arrow
        kinds = column_types.looked_at(file, schema, column_types.kinds_of(schema))
        column = column_types.choose_column(file, kinds, listing.notes)
        if column is not None:
            if kinds[column] == column_types.PATH:
                paths = read_columns(table, [column])[column]
                images = [listing.locate(file, path) if path and path.strip() else None for path in paths]
            else:
                images = [*held_rows(file, table, column, listing)]
            rows = [i for i, image in enumerate(images) if image]
            rest = [field for field in schema if field.name != column]
            kept = [field.name for field in rest if column_types.is_kept(field.type)]
            values = {name: read_values(table, name, listing.budget) for name in kept}
            columns = {name: [found[i] for i in rows] for name, found in values.items()}
    if column is None:
        raise column_types.no_column(file, schema.names, schema.types)
    others = [field for field in rest if field.name not in columns]
    lost = [f"{field.name} ({str(column_types.plain_type(field.type))[:40]})" for field in others]
    if lost:
        listing.notes.add("columns of ", file.name, f" that are not kept: {', '.join(lost)[:200]}")
    listing.add(file, [image for image in images if image], columns, len(images) - len(rows))


def read_values(table: Any, name: str, budget: MemoryBudget) -> list:
    """The values of another column; dates and decimals as text."""
    import pyarrow as pa

    if not column_types.is_written_as_text(table.schema_arrow.field(name).type):
        return read_columns(table, [name], budget)[name]
    found = []
    for values in column_parts(table, name, budget):
        zone = getattr(values.type, "tz", None)
        values = values.cast(pa.timestamp(values.type.unit)) if zone else values  # in UTC, for any zone of the file
        texts = values.cast(pa.large_string())
        budget.take(texts.nbytes)
        found += [f"{text}Z" if zone and text else text for text in texts.to_pylist()]
    return found


def held_rows(file: Path, table: Any, column: str, listing: Listing) -> list[Row]:
    """The rows of a column of images; a row with a path and no bytes is read from that path."""
    fields = column_types.fields_of(table.schema_arrow.field(column).type)
    reader, version = RowGroups(file, column), remote_version(file)
    paths: Iterator[str | None] = itertools.repeat(None)
    if column_types.is_text(fields.get("path")):
        paths = (path for values in column_parts(table, f"{column}.path") for path in values.to_pylist())
    found: list[Row] = []
    for group in range(table.num_row_groups):
        rows = range(table.metadata.row_group(group).num_rows)
        empty: Container[int] = rows if fields else ()
        if column_types.is_bytes(fields.get("bytes")):
            empty = reader.without_bytes(group)
        for row, path in zip(rows, paths):
            if path and path.strip() and row in empty:
                found.append(listing.locate(file, path))
                continue
            read, number = functools.partial(reader.read, group, row), len(found)
            name = path[: PATH_CHARACTERS + 1] if path else f"{file.name}#{number}"
            found.append((name, PackedImage(f"{file}", f"row {number}", read, version, version is not None)))
    return found


def content_of(row: Any) -> bytes:
    """The bytes of an image in a table of one row, b"" if there are none."""
    found = row[0].as_py()
    return (found.get("bytes") if isinstance(found, dict) else found) or b""


class RowGroups:
    """The images of one parquet file, with a window of rows in memory; fast if they are read in order."""

    def __init__(self, file: Path, column: str):
        self.file, self.column, self.lock = file, column, threading.Lock()
        self.group, self.rows = -1, iter(())
        self.held: collections.deque = collections.deque()  # the bytes of the last rows
        self.next = 0  # the row after these

    @functools.cached_property
    def stored(self) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetFile(open_file(self.file))

    def read(self, group: int, row: int) -> bytes:
        """The bytes of one image; ValueError if there are none."""
        with self.lock:
            if group != self.group or row < self.next - len(self.held):
                self.rows, self.group, self.next = self._rows(group, self.column), group, 0
                self.held.clear()
            while row >= self.next:
                self.held.append(content_of(next(self.rows)))
                self.next += 1
                while len(self.held) > WINDOW_ROWS or len(self.held) > 1 and sum(map(len, self.held)) > WINDOW_BYTES:
                    self.held.popleft()
            content = self.held[row - self.next]
        if not content:
            raise ValueError("the row holds no image")
        return content

    def without_bytes(self, group: int) -> set[int]:
        """The rows of a group without bytes. A large group that begins with images is not searched."""
        rows = self._rows(group, f"{self.column}.bytes")
        if self.stored.metadata.row_group(group).total_byte_size > CHECKED_BYTES:
            first = list(itertools.islice(rows, CHECKED_ROWS))
            if all(map(content_of, first)):  # assume that all others have bytes too; a row without fails when read
                return set()
            rows = itertools.chain(first, rows)
        return {i for i, row in enumerate(rows) if not content_of(row)}

    def _rows(self, group: int, column: str) -> Iterator:
        """The rows of a group, one at a time, because Arrow unpacks a large value as often as the file repeats it."""
        batches = self.stored.iter_batches(1, row_groups=[group], columns=[column], use_threads=False)
        return (batch.column(self.column) for batch in batches)

    def __del__(self) -> None:
        if "stored" in self.__dict__:
            self.stored.close(force=True)
