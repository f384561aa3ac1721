"""Encodes tables, arrays, JSON and csv as the bytes of a file."""

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
    """A function that writes columns as a parquet file."""
    # Without rows, pyarrow cannot infer the type of a column.
    fields = {name: pa.array(values, None if values else pa.string()) for name, values in table.items()}
    return lambda file: pq.write_table(pa.table(fields), file)


def as_array(array: np.ndarray) -> bytes:
    """An array as the bytes of an npy file. In memory, because NumPy's own errors do not say that a disk is full."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def as_arrays(arrays: dict) -> Callable[[BinaryIO], None]:
    return lambda file: np.savez(file, allow_pickle=False, **arrays)


def as_json(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"


def slug(name: str) -> str:
    """A short, readable part of a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32] or "aspect"


def as_csv(rows: Iterable[Iterable]) -> str:
    """Rows as csv. Cells with semicolons or tabs are quoted too: a program that splits there could find a formula in
    the middle of a name."""
    return "".join(",".join(map(_cell, row)) + "\n" for row in rows)


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',";\t\r\n') else text


def bare(values: list) -> list:
    """Values of other columns, with the secrets removed from addresses."""
    return [without_secrets(value) if isinstance(value, str) else value for value in values]
