"""Which column of a table says what its images are: one choice for images, lists and tables beside embeddings, by name
first, then by type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from multimap_jax.inputs.names import name_of_path

HELD, PATH = "images", "paths"  # what a column may hold
PATHS = ("image", "path", "image_path", "file", "filename", "file_name")
# Names of columns that hold images, after "image", which may hold either.
IMAGES = ("img", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "img_bytes")


def choose_column(kinds: Mapping[str, str]) -> str | None:
    """The column to read, None where there is none. kinds: of each column that may be read, HELD or PATH."""
    held = [name for name, kind in kinds.items() if kind == HELD]
    names = [name for name in PATHS[:1] if name in kinds] + [name for name in IMAGES if name in held]
    return next(iter([*names, *(name for name in PATHS if name in kinds), *held]), None)


def choice_said(column: str, kinds: Mapping[str, str]) -> tuple[str, str] | None:
    """Which column is read, as a `Notes` note; None where there was no other that may be meant."""
    others = [name for name, kind in kinds.items() if name != column and (kind == HELD or name in PATHS)]
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
    other = [f"{name} holds {kind}" for name, kind in (types or {}).items() if name in (*PATHS, *IMAGES)]
    return ValueError(
        f"{file} has the columns {', '.join(columns)[:200] or '(none)'}; expected one of paths, called "
        f"{', '.join(PATHS)}{', or one of images' if types else ''}{''.join(f'; {each[:100]}' for each in other[:3])}"
    )


def kinds_of(schema) -> dict[str, str]:
    """What the columns of a parquet file may be read as, HELD or PATH; others are not in it."""
    found = {field.name: HELD if holds_images(field.type) else PATH for field in schema if may_name(field.type)}
    structured = {name: kind for name, kind in found.items() if fields_of(schema.field(name).type)}
    return structured | found  # a structure of bytes and a path is an image, mere bytes may be anything


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
