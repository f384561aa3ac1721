"""Which column of a table says what its images are: one choice for images, lists and tables beside embeddings, by name
first, then by type."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from multimap_jax.sources.formats import BEGINNING, begins_as_image
from multimap_jax.storage.filenames import name_of_path
from multimap_jax.storage.paths import open_file

# What a column may hold: what begins as images do, images perhaps, nothing that can be one, and paths.
SEEN, HELD, BARE, PATH = "seen", "images", "bare", "paths"
PATHS = ("image", "path", "image_path", "file", "filename", "file_name")
PATHS += ("file_path", "image_file", "images", "img", "picture", "photo", "src")
# Names of columns that hold images, after "image", which may hold either.
IMAGES = ("img", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "img_bytes")
OF_IMAGES = re.compile("mask|annotation|depth|seg|matte|label|thumb")  # in names of columns that are made of the images
SMALLEST = 32  # bytes of an image
LOOKS, ROWS, VALUES, PAGE = 32, 1024, 4, 2**16  # columns, their rows and values that are looked at; bytes read at once
GROUPS = 4  # groups of rows that are looked at
SHARED = 2**30  # bytes of values that rows share, which are unpacked at once: of more the first are not looked at


def normal(name: str) -> str:
    """A name of a column without what programs write differently: capitals, blanks, "_" and "-"."""
    return re.sub(r"[\s_-]+", "", name).casefold()


@functools.cache
def normals(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(normal, names))


def known(name: str, names: tuple[str, ...] = PATHS) -> bool:
    return normal(name) in normals(names)


def choose_column(kinds: Mapping[str, str]) -> str | None:
    """The column to read, None where there is none. kinds: of each column that may be read, one of those above.

    What is seen to be images goes before names, and what is made of the images (masks) behind them.
    """

    def called(names: tuple[str, ...], *wanted: str) -> list[str]:
        found = [name for name, kind in kinds.items() if kind in wanted and known(name, names)]
        return sorted(found, key=lambda name: row_position(name, names))

    seen = [name for name, kind in kinds.items() if kind == SEEN]
    held = [name for name, kind in kinds.items() if kind == HELD]
    order = [
        *called(PATHS[:1], SEEN, HELD),
        *called(IMAGES, SEEN),
        *(name for name in seen if not OF_IMAGES.search(normal(name))),
        *(name for name in PATHS[:1] if name in kinds and kinds[name] == PATH),
        *called(IMAGES, HELD),
        *called(PATHS, PATH),
        *seen,
        *held,
        *(name for name, kind in kinds.items() if kind == BARE),
    ]
    return next(iter(order), None)


def row_position(name: str, names: Sequence[str]) -> int:
    """Where a column stands among names: those that are written so go before those that are written otherwise."""
    return names.index(name) if name in names else len(names) + [normal(each) for each in names].index(normal(name))


def choice_said(column: str, kinds: Mapping[str, str]) -> tuple[str, str] | None:
    """Which column is read, as a `Notes` note; None where there was no other that may be meant."""
    others = [name for name, kind in kinds.items() if name != column and (kind != PATH or known(name))]
    return (f"reading column {column} of ", f" (not {', '.join(others)[:200]})") if others else None


class Notes(dict):
    """What is said of files, each thing once: (what stands before the name of a file, what behind it) -> files."""

    def add(self, said: tuple[str, str] | None, file: Path) -> None:
        if said:
            self.setdefault(tuple(map(name_of_path, said)), []).append(name_of_path(file.name))

    def sentences(self) -> list[str]:
        more = {said: f" and {len(files) - 1:,} more files" if len(files) > 1 else "" for said, files in self.items()}
        return [f"{said[0]}{files[0]}{more[said]}{said[1]}" for said, files in self.items()]


def no_column(file: Path, columns: Sequence[str], types: Mapping[str, str] | None = None) -> ValueError:
    """The error for a table without such a column. types: what its columns hold, where that is known."""
    other = [f"{name} holds {kind}" for name, kind in (types or {}).items() if known(name, (*PATHS, *IMAGES))]
    return ValueError(
        f"{file} has the columns {', '.join(columns)[:200] or '(none)'}; expected one of paths, called "
        f"{', '.join(PATHS)}{', or one of images' if types else ''}{''.join(f'; {each[:100]}' for each in other[:3])}"
    )


def kinds_of(schema) -> dict[str, str]:
    """What the columns of a parquet file may be read as, HELD or PATH; others are not in it. ValueError where one that
    could be read is there twice."""
    usable = [field.name for field in schema if may_name(field.type) or comes_along(field.type)]
    if twice := [name for name in dict.fromkeys(usable) if schema.names.count(name) > 1]:
        raise ValueError(f"it has the column {twice[0][:100]} twice")
    found = {field.name: HELD if holds_images(field.type) else PATH for field in schema if may_name(field.type)}
    structured = {name: kind for name, kind in found.items() if fields_of(schema.field(name).type)}
    return structured | found  # a structure of bytes and a path is an image, mere bytes may be anything


def looked_at(file: Path, schema, kinds: Mapping[str, str]) -> dict[str, str]:
    """`kinds` with what the first values of columns show, where there is a choice: SEEN and BARE instead of HELD."""
    import pyarrow.parquet as pq

    some = [name for name, kind in kinds.items() if kind == HELD]
    if len(some) + sum(kind == PATH and known(name) for name, kind in kinds.items()) < 2:
        return dict(kinds)
    with open_file(file) as content:
        stored = pq.ParquetFile(content, buffer_size=PAGE)
        seen = {name: kind_of_values(stored, name, schema.field(name).type) for name in some[:LOOKS]}
    return {name: seen.get(name, kind) for name, kind in kinds.items()}


def kind_of_values(stored, column: str, kind) -> str:
    """What the first values of a column of images show."""
    fields = fields_of(kind)
    if is_bytes(fields.get("bytes")) or not fields:
        values = first_values(stored, column, "bytes" if fields else "")
        if any(begins_as_image(value[:BEGINNING]) for value in values or ()):
            return SEEN
        if values is None or any(len(value) >= SMALLEST for value in values):
            return HELD
    named = is_text(fields.get("path")) and first_values(stored, column, "path") != []
    return HELD if named else BARE


def first_values(stored, column: str, field: str = "") -> list | None:
    """The first values of a column, or a field of it, that are there; None where too much would have to be read to say.
    One row at a time, for Arrow gives a value as often as a file repeats it."""
    leaf, found, cut = f"{column}.{field}" if field else column, [], False
    most = ROWS // min(max(stored.num_row_groups, 1), GROUPS)
    for group in range(stored.num_row_groups):
        rows = stored.metadata.row_group(group)
        if group == GROUPS or rows.total_byte_size > SHARED:
            return found or None
        cut |= rows.num_rows > most
        parts = stored.iter_batches(1, row_groups=[group], columns=[leaf], use_threads=False)
        for part in itertools.islice(parts, most):
            value = part.column(column)[0].as_py()
            value = value.get(field) if isinstance(value, dict) else value
            found = [*found, value] if value else found
            if len(found) == VALUES:
                return found
    return found or (None if cut else [])


def may_name(kind) -> bool:
    return holds_images(kind) or is_text(kind)


def holds_images(kind) -> bool:
    """Bytes, or a structure of bytes and a path, either of which may be missing."""
    fields = fields_of(kind)
    return is_bytes(fields.get("bytes")) or is_text(fields.get("path")) or is_bytes(kind)


def fields_of(kind) -> dict:
    """The types of a structure's fields, by name; of anything else none."""
    import pyarrow.types as types

    return {field.name: field.type for field in kind} if types.is_struct(kind) else {}


def plain_type(kind):
    """The type of the values, for columns that hold each value once and refer to it."""
    import pyarrow.types as types

    return kind.value_type if kind is not None and types.is_dictionary(kind) else kind


def is_bytes(kind) -> bool:
    import pyarrow.types as types

    kind = plain_type(kind)
    return kind is not None and (types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def is_text(kind) -> bool:
    import pyarrow.types as types

    kind = plain_type(kind)
    return kind is not None and (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def comes_along(kind) -> bool:
    """Whether a column is kept beside the images: texts, numbers, and what is written as text (dates, decimals)."""
    import pyarrow.types as types

    kind = plain_type(kind)
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_null)
    return is_text(kind) or written_as_text(kind) or any(test(kind) for test in tests)


def written_as_text(kind) -> bool:
    import pyarrow.types as types

    tests = (types.is_date, types.is_timestamp, types.is_time, types.is_decimal)
    return any(test(plain_type(kind)) for test in tests)
