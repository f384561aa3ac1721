"""Tables, arrays, JSON and csv as the bytes of a file."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multimap_jax.storage.filenames import without_secrets


def as_table(table: dict[str, list]) -> Callable[[BinaryIO], None]:
    """Columns, to be written as a parquet file."""
    # Columns of no rows have no type of their own.
    fields = {name: pa.array(values, None if values else pa.string()) for name, values in table.items()}
    return lambda file: pq.write_table(pa.table(fields), file)


def as_array(array: np.ndarray) -> bytes:
    """An array as an npy file. In memory: NumPy's own writing to a file does not say why a full disk fails it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def as_arrays(arrays: dict) -> Callable[[BinaryIO], None]:
    return lambda file: np.savez(file, allow_pickle=False, **arrays)


def as_json(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"


def slug(name: str) -> str:
    """Part of a folder's name, for the eye."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32] or "aspect"


def as_csv(rows: Iterable[Iterable]) -> str:
    """Rows as csv. Whatever some program might take for two cells is quoted: with semicolons or tabs a formula could
    begin in the middle of a name."""
    return "".join(",".join(map(_cell, row)) + "\n" for row in rows)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',";\t\r\n') else text


def bare(values: list) -> list:
    """Values beside images, addresses without their secrets."""
    return [without_secrets(value) if isinstance(value, str) else value for value in values]
