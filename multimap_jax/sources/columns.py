"""Which column of a table says what its images are: one choice for images, lists and tables beside embeddings, by name
first, then by type."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from multimap_jax.errors import InputError
from multimap_jax.sources.formats import BEGINNING, begins_as_image
from multimap_jax.sources.names import Notes
from multimap_jax.storage.paths import open_file

# What a column may hold: values that begin as images do, bytes that may be images, nothing, and paths.
SEEN, HELD, BARE, PATH = "seen", "images", "bare", "paths"
# Names of columns of paths, the likeliest first.
PATHS: tuple[str, ...] = ("image", "path", "image_path", "file", "filename", "file_name")
PATHS += ("file_path", "image_file", "images", "img", "picture", "photo", "src")
# Names of columns that hold images, after "image", which may hold either.
IMAGE_COLUMNS = ("img", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "img_bytes")
DERIVED = re.compile("mask|annotation|depth|seg|matte|label|thumb")  # in names of columns that are made of the images
SMALLEST_BYTES = 32  # bytes of the smallest image
# What is looked at to see images: columns, groups of rows, rows of a column, values that are there.
SAMPLE_COLUMNS, SAMPLE_GROUPS, SAMPLE_ROWS, SAMPLE_VALUES = 32, 4, 1024, 4
PAGE_BYTES = 2**16  # bytes that are read at once
# Bytes of a group of rows that may be unpacked at once, as values that rows share are; larger ones are not looked at.
GROUP_BYTES = 2**30


def normal(name: str) -> str:
    """A name of a column without what programs write differently: capitals, blanks, "_" and "-"."""
    return re.sub(r"[\s_-]+", "", name).casefold()


normals = functools.cache(lambda names: tuple(map(normal, names)))


def is_known(name: str, names: tuple[str, ...] = PATHS) -> bool:
    return normal(name) in normals(names)


def choose_column(file: Path, kinds: Mapping[str, str], notes: Notes) -> str | None:
    """The column to read, None where there is none. kinds: what each column that may be read holds. notes: get a
    sentence where another column may be meant.

    Columns that are seen to hold images precede the names of columns; what is made of the images (masks) follows them.
    """
    seen, held, bare = ([name for name, kind in kinds.items() if kind == wanted] for wanted in (SEEN, HELD, BARE))

    def called(names: tuple[str, ...], *wanted: str) -> list[str]:
        """Columns of these names, in their order; those that are written exactly so come first."""
        found = [name for name, kind in kinds.items() if kind in wanted and is_known(name, names)]
        order = (*names, *normals(names))
        return sorted(found, key=lambda name: order.index(name if name in names else normal(name)))

    order = [
        *called(PATHS[:1], SEEN, HELD),
        *called(IMAGE_COLUMNS, SEEN),
        *(name for name in seen if not DERIVED.search(normal(name))),
        *(name for name in PATHS[:1] if kinds.get(name) == PATH),
        *called(IMAGE_COLUMNS, HELD),
        *called(PATHS, PATH),
        *seen,
        *held,
        *bare,
    ]
    column = next(iter(order), None)
    rest = [name for name, kind in kinds.items() if name != column and (kind != PATH or is_known(name))]
    if column is not None and rest:
        notes.add(f"reading column {column} of ", file.name, f" (not {', '.join(rest)[:200]})")
    return column


def path_position(file: Path, columns: list[str], notes: Notes) -> int:
    """Which of the columns of a csv file holds paths, with a note as `choose_column` has it. InputError for none."""
    column = choose_column(file, dict.fromkeys(columns, PATH), notes)
    if column is None:
        raise no_column(file, columns)
    return columns.index(column)


def no_column(file: Path, columns: Iterable[str], types: Sequence = ()) -> InputError:
    """That a table has no column of images. types: of its columns, where it has any."""
    known = PATHS + IMAGE_COLUMNS
    held = [f"; {name} holds {kind}"[:102] for name, kind in zip(columns, types) if is_known(name, known)]
    return InputError(
        f"{file} has the columns {', '.join(dict.fromkeys(columns))[:200] or '(none)'}; expected one of paths, called "
        f"{', '.join(PATHS)}{', or one of images' if types else ''}{''.join(held[:3])}"
    )


def kinds_of(schema: Any) -> dict[str, str]:
    """What the columns of a parquet file may be read as, HELD or PATH; others are left out. ValueError where one that
    could be read is there twice."""
    usable = [field.name for field in schema if may_name(field.type) or is_kept(field.type)]
    if repeated := [name for name in dict.fromkeys(usable) if schema.names.count(name) > 1]:
        raise ValueError(f"it has the column {repeated[0][:100]} twice")
    found = {field.name: HELD if holds_images(field.type) else PATH for field in schema if may_name(field.type)}
    structured = {name: kind for name, kind in found.items() if fields_of(schema.field(name).type)}
    return structured | found  # a structure of bytes and a path is an image, mere bytes may be anything


def looked_at(file: Path, schema: Any, kinds: Mapping[str, str]) -> dict[str, str]:
    """`kinds` with what the first values of columns show, where there is a choice: SEEN and BARE instead of HELD."""
    import pyarrow.parquet as pq

    held = [name for name, kind in kinds.items() if kind == HELD]
    if len(held) + sum(kind == PATH and is_known(name) for name, kind in kinds.items()) < 2:
        return dict(kinds)
    with open_file(file) as content:
        stored = pq.ParquetFile(content, buffer_size=PAGE_BYTES)
        seen = {name: kind_of_values(stored, name, schema.field(name).type) for name in held[:SAMPLE_COLUMNS]}
    return {name: seen.get(name, kind) for name, kind in kinds.items()}


def kind_of_values(stored: Any, column: str, kind: Any) -> str:
    """What the first values of a column of images show."""
    fields = fields_of(kind)
    if is_bytes(fields.get("bytes")) or not fields:
        values = first_values(stored, column, "bytes" if fields else "")
        if any(begins_as_image(value[:BEGINNING]) for value in values or ()):
            return SEEN
        if values is None or any(len(value) >= SMALLEST_BYTES for value in values):
            return HELD
    named = is_text(fields.get("path")) and first_values(stored, column, "path") != []
    return HELD if named else BARE


def first_values(stored: Any, column: str, field: str = "") -> list | None:
    """The first values of a column, or a field of it, that are there; None where too much would have to be read to say.
    One row at a time, for Arrow gives a value as often as a file repeats it."""
    leaf, cut = f"{column}.{field}" if field else column, False
    found: list = []
    most = SAMPLE_ROWS // min(max(stored.num_row_groups, 1), SAMPLE_GROUPS)
    for group in range(stored.num_row_groups):
        rows = stored.metadata.row_group(group)
        if group == SAMPLE_GROUPS or rows.total_byte_size > GROUP_BYTES:
            return found or None
        cut |= rows.num_rows > most
        batches = stored.iter_batches(1, row_groups=[group], columns=[leaf], use_threads=False)
        for batch in itertools.islice(batches, most):
            value = batch.column(column)[0].as_py()
            value = value.get(field) if isinstance(value, dict) else value
            found += [value] if value else []
            if len(found) == SAMPLE_VALUES:
                return found
    return found or (None if cut else [])


def fields_of(kind: Any) -> dict:
    """The types of a structure's fields, by name; of anything else none."""
    import pyarrow.types as types

    return {field.name: field.type for field in kind} if types.is_struct(kind) else {}


def plain_type(kind: Any) -> Any:
    """The type of the values, for columns that hold each value once and refer to it."""
    import pyarrow.types as types

    return kind.value_type if kind is not None and types.is_dictionary(kind) else kind


def is_any(kind: Any, tests: Sequence[str]) -> bool:
    """Whether the values of a column are of one of these types, as pyarrow.types calls its tests: "date" is is_date."""
    import pyarrow.types as types

    kind = plain_type(kind)
    return kind is not None and any(getattr(types, f"is_{test}")(kind) for test in tests)


is_bytes = functools.partial(is_any, tests=("binary", "large_binary", "binary_view"))
is_text = functools.partial(is_any, tests=("string", "large_string", "string_view"))
is_written_as_text = functools.partial(is_any, tests=("date", "timestamp", "time", "decimal"))


def is_kept(kind: Any) -> bool:
    """Whether a column is kept with the images: texts, numbers, and what is written as text."""
    return is_text(kind) or is_written_as_text(kind) or is_any(kind, ("integer", "floating", "boolean", "null"))


def holds_images(kind: Any) -> bool:
    """Bytes, or a structure of bytes and a path, either of which may be missing."""
    fields = fields_of(kind)
    return is_bytes(fields.get("bytes")) or is_text(fields.get("path")) or is_bytes(kind)


def may_name(kind: Any) -> bool:
    return holds_images(kind) or is_text(kind)
