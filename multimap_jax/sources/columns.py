"""Chooses the column of a table that names or holds its images, by name first, then by type. Lists, tables of images
and tables beside embeddings all use the same choice."""

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

# What a column may hold: values that start like image files, bytes that may be images, nothing, and paths.
SEEN, HELD, BARE, PATH = "seen", "images", "bare", "paths"
# Names of columns of paths, the most likely first.
PATHS: tuple[str, ...] = ("image", "path", "image_path", "file", "filename", "file_name")
PATHS += ("file_path", "image_file", "images", "img", "picture", "photo", "src")
# Names of columns that hold images. "image" is in PATHS because it may hold paths or images.
IMAGE_COLUMNS = ("img", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "img_bytes")
DERIVED = re.compile("mask|annotation|depth|seg|matte|label|thumb")  # in names of columns derived from the images
SMALLEST_BYTES = 32  # bytes of the smallest image
# How much is inspected to find images: columns, row groups, rows of a column, non-empty values.
SAMPLE_COLUMNS, SAMPLE_GROUPS, SAMPLE_ROWS, SAMPLE_VALUES = 32, 4, 1024, 4
PAGE_BYTES = 2**16  # bytes read at once
# Larger row groups are not inspected, because Arrow may have to unpack a whole group at once.
GROUP_BYTES = 2**30


def normal(name: str) -> str:
    """A column name in lower case, without spaces, "_" and "-", which programs write differently."""
    return re.sub(r"[\s_-]+", "", name).casefold()


normals = functools.cache(lambda names: tuple(map(normal, names)))


def is_known(name: str, names: tuple[str, ...] = PATHS) -> bool:
    return normal(name) in normals(names)


def choose_column(file: Path, kinds: Mapping[str, str], notes: Notes) -> str | None:
    """The column to read, or None.

    A column whose values are known to be images wins over a matching name. Columns derived from the images, such as
    masks, come last.

    Args:
      kinds: what each readable column holds.
      notes: receives a note if another column could have been meant.
    """
    seen, held, bare = ([name for name, kind in kinds.items() if kind == wanted] for wanted in (SEEN, HELD, BARE))

    def called(names: tuple[str, ...], *wanted: str) -> list[str]:
        """Columns with these names, in the order of `names`; exact spellings first."""
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
        notes.add(f"reading column {column} of ", file.name, f", not {', '.join(rest)[:200]}")
    return column


def path_position(file: Path, columns: list[str], notes: Notes) -> int:
    """The position of the column of a csv file that holds paths; notes as in `choose_column`. InputError if there is
    none."""
    column = choose_column(file, dict.fromkeys(columns, PATH), notes)
    if column is None:
        raise no_column(file, columns)
    return columns.index(column)


def no_column(file: Path, columns: Iterable[str], types: Sequence = ()) -> InputError:
    """The error for a table without a column of images. types: the types of its columns, if it has any."""
    known = PATHS + IMAGE_COLUMNS
    held = [f"; {name} holds {kind}"[:102] for name, kind in zip(columns, types) if is_known(name, known)]
    return InputError(
        f"{file} has the columns {', '.join(dict.fromkeys(columns))[:200] or '(none)'}{''.join(held[:3])}; expected a "
        f"column of paths{' or of images' if types else ''}: rename it to {', '.join(PATHS[:-1])} or {PATHS[-1]}"
    )


def kinds_of(schema: Any) -> dict[str, str]:
    """How each column of a parquet file can be read: HELD or PATH. Other columns are left out. ValueError if a readable
    column appears twice."""
    usable = [field.name for field in schema if may_name(field.type) or is_kept(field.type)]
    if repeated := [name for name in dict.fromkeys(usable) if schema.names.count(name) > 1]:
        raise ValueError(f"column {repeated[0][:100]} appears twice")
    found = {field.name: HELD if holds_images(field.type) else PATH for field in schema if may_name(field.type)}
    structured = {name: kind for name, kind in found.items() if fields_of(schema.field(name).type)}
    return structured | found  # a struct of bytes and a path is an image; plain bytes may be other data


def looked_at(file: Path, schema: Any, kinds: Mapping[str, str]) -> dict[str, str]:
    """`kinds`, refined by the first values of each column if there is a choice: SEEN or BARE instead of HELD."""
    import pyarrow.parquet as pq

    held = [name for name, kind in kinds.items() if kind == HELD]
    if len(held) + sum(kind == PATH and is_known(name) for name, kind in kinds.items()) < 2:
        return dict(kinds)
    with open_file(file) as content:
        stored = pq.ParquetFile(content, buffer_size=PAGE_BYTES)
        seen = {name: kind_of_values(stored, name, schema.field(name).type) for name in held[:SAMPLE_COLUMNS]}
    return {name: seen.get(name, kind) for name, kind in kinds.items()}


def kind_of_values(stored: Any, column: str, kind: Any) -> str:
    """The kind of a column of images, judged by its first values."""
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
    """The first non-empty values of a column, or of one of its fields; None if too much would have to be read.

    Reads one row at a time, because Arrow unpacks a value as often as the file repeats it.
    """
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
    """The types of a struct's fields, by name; {} for any other type."""
    import pyarrow.types as types

    return {field.name: field.type for field in kind} if types.is_struct(kind) else {}


def plain_type(kind: Any) -> Any:
    """The type of the values, also for dictionary-encoded columns."""
    import pyarrow.types as types

    return kind.value_type if kind is not None and types.is_dictionary(kind) else kind


def is_any(kind: Any, tests: Sequence[str]) -> bool:
    """Whether a column has one of these types, named as in pyarrow.types: "date" stands for is_date."""
    import pyarrow.types as types

    kind = plain_type(kind)
    return kind is not None and any(getattr(types, f"is_{test}")(kind) for test in tests)


is_bytes = functools.partial(is_any, tests=("binary", "large_binary", "binary_view"))
is_text = functools.partial(is_any, tests=("string", "large_string", "string_view"))
is_written_as_text = functools.partial(is_any, tests=("date", "timestamp", "time", "decimal"))


def is_kept(kind: Any) -> bool:
    """Whether a column is kept with the images: texts, numbers, and types that are written as text."""
    return is_text(kind) or is_written_as_text(kind) or is_any(kind, ("integer", "floating", "boolean", "null"))


def holds_images(kind: Any) -> bool:
    """Whether a type is bytes, or a struct of bytes and a path, either of which may be missing."""
    fields = fields_of(kind)
    return is_bytes(fields.get("bytes")) or is_text(fields.get("path")) or is_bytes(kind)


def may_name(kind: Any) -> bool:
    return holds_images(kind) or is_text(kind)
