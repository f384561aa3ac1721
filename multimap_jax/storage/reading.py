"""Reads files from untrusted sources. Checks each file first, so that none blocks, fills the memory or is misread."""

from __future__ import annotations

import errno
import json
import math
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from multimap_jax.errors import InputError
from multimap_jax.storage.filenames import error_text
from multimap_jax.storage.paths import local_copy, open_file, size_of

# Limits on the memory that an untrusted file may take; ordinary files stay far below them.
JSON_BYTES = 2**28  # bytes of a JSON file; the longest is a run's, which lists the skipped images
JSON_VALUES = 2**24  # lists, objects and values in a JSON file; each takes about 70 bytes
HEADER_BYTES = 2**16  # bytes of the header of an npy file
COLUMNS = 10_000  # columns of a table
COLUMN_BYTES = 2**30  # bytes of columns in memory, or …
MULTIPLE = 16  # … this many times the bytes that were read, if that is more
BATCH_ROWS = 2**16  # rows of a parquet file that are read at once
NESTED_ROWS = 1024  # the same for fields of a column
Form = TypeVar("Form")
JSON_KINDS: dict[type, str] = {dict: "an object", list: "a list"}


def read_json(path: Path, kind: type = dict, advice: str = "fetch or save it again", limit: int = JSON_BYTES) -> Any:
    """The content of a JSON file of at most `limit` bytes, an object or a list (`kind`). ValueError for anything else,
    with advice."""
    content = parse_json(path, advice, limit)
    if not isinstance(content, kind):
        raise ValueError(f"{path} holds {json.dumps(content)[:40]}, expected {JSON_KINDS[kind]}: {advice}")
    return content


def parse_json(path: Path, advice: str, limit: int, **options: Any) -> Any:
    """The content of a JSON file of at most `limit` bytes and JSON_VALUES values, by json.loads with `options`.

    Raises ValueError for a larger file and for one that is not JSON, with advice.
    """
    with open_file(path, limit) as file:
        text = file.read()
    values = sum(map(text.count, (b",", b"[", b"{")))
    if values > JSON_VALUES:
        raise ValueError(f"{path} holds {values:,} values, expected at most {JSON_VALUES:,}: {advice}")
    try:
        return json.loads(text, **options)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path} is not JSON ({error_text(error)}): {advice}") from None


def read_form(path: Path, form: type[Form], advice: str, limit: int = JSON_BYTES, strict: bool = True) -> Form:
    """The content of a JSON file as an instance of `form`, a msgspec Struct or a dataclass whose annotations declare
    the fields.

    strict: whether unknown fields are an error. Numbers must be finite, as JSON has no others.

    Raises ValueError for anything else, with the place in the file and advice.
    """
    found = parse_json(path, advice, limit, parse_float=finite, parse_constant=finite)
    try:
        content = msgspec.convert(found, form)
    except (msgspec.ValidationError, RecursionError) as error:
        reason = ValueError(error.__cause__.message) if isinstance(error.__cause__, InputError) else error
        raise ValueError(f"{path} cannot be read ({error_text(reason)}): {advice}") from None
    unknown = unknown_fields(found, msgspec.to_builtins(content)) if strict else []
    if unknown:
        raise ValueError(f"{path} cannot be read (unknown field {unknown[0]!r:.100}): {advice}")
    return content


def finite(text: str) -> float:
    """A number in a JSON file. ValueError for infinity and NaN, which JSON does not have."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


def unknown_fields(given: object, known: object) -> list[str]:
    """The keys in the JSON `given`, at any depth, that are missing from `known`, which was converted from it."""
    if isinstance(given, dict) and isinstance(known, dict):
        missing = [key for key in given if key not in known]
        return missing + [name for key in given if key in known for name in unknown_fields(given[key], known[key])]
    if isinstance(given, list) and isinstance(known, list | tuple):
        return [name for one, other in zip(given, known) for name in unknown_fields(one, other)]
    return []


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an uncompressed npz file (NumPy's `savez`) by name; with `names`, those of them that exist.

    Raises ValueError, OSError or zipfile.BadZipFile for anything else.
    """
    with open_file(path) as file, zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > size_of(file):
            raise ValueError("compressed, expected uncompressed arrays")
        file.seek(0)
        arrays = np.load(file, allow_pickle=False)
        return {name: arrays[name] for name in (arrays.files if names is None else names) if name in arrays.files}


def mapped_array(path: Path) -> np.ndarray:
    """The array of an npy file, mapped into memory. ValueError or EOFError for anything else."""
    path = local_copy(path)
    with open_file(path) as file:
        head = file.read(12)
    if head[6:7] >= b"\x02" and int.from_bytes(head[8:12], "little") > HEADER_BYTES:
        raise ValueError("its header is too long")  # NumPy would allocate that much memory
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it holds several arrays, expected one")
    return array


def mapped_member(path: Path, name: str) -> np.ndarray:
    """One array of an uncompressed npz file, mapped into memory. Errors as in `read_arrays`; KeyError if there is no
    such array."""
    path = local_copy(path)
    with open_file(path) as file, zipfile.ZipFile(file) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError("compressed, expected uncompressed arrays")
        with archive.open(info) as member:
            read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = read[np.lib.format.read_magic(member)[0]](member)
            header = member.tell()
        file.seek(info.header_offset + 26)  # lengths of the name and of the extra field before the content
        before = 30 + sum(int.from_bytes(file.read(2), "little") for _ in range(2))
        offset, size = info.header_offset + before + header, size_of(file)
    if fortran or dtype.hasobject or offset + dtype.itemsize * math.prod(shape) > size:
        raise ValueError(f"{dtype} {shape}")
    return np.memmap(path, dtype, "r", offset, shape) if math.prod(shape) else np.empty(shape, dtype)


class MemoryBudget:
    """Limits the memory for what is read: COLUMN_BYTES, or MULTIPLE times the bytes read if that is more. A text that a
    file stores once may be the value of millions of rows."""

    def __init__(self, what: str):
        self.what, self.read, self.made = what, 0, 0

    def take(self, size: int) -> None:
        """Takes `size` more bytes; ValueError if they exceed the limit."""
        self.made += size
        if self.made > max(COLUMN_BYTES, MULTIPLE * self.read):
            raise ValueError(f"{self.what} would take more than {COLUMN_BYTES:,} bytes of memory")


def read_table(path: Path, columns: Sequence[str]) -> dict[str, list]:
    """Reads columns of a parquet file with distinct rows. ValueError, OSError or a pyarrow error for anything else."""
    room = MemoryBudget(", ".join(columns))
    with open_table(path, room) as stored:
        return read_columns(stored, columns, room)


@contextmanager
def open_table(path: Path, room: MemoryBudget | None = None) -> Iterator:
    """Opens a parquet file with no more rows than bytes, because distinct rows take at least one byte each. Texts are
    read dictionary-encoded. ValueError, OSError or a pyarrow error for anything else."""
    import pyarrow.parquet as pq

    with open_file(path) as file:
        size = size_of(file)
        if room:
            room.read += size
        found = pq.ParquetFile(file)
        if found.metadata.num_rows > size:
            raise ValueError(f"{found.metadata.num_rows:,} rows in a file of {size:,} bytes")
        leaves, names = [found.schema.column(i) for i in range(len(found.schema))], set(found.schema_arrow.names)
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and leaf.path in names]
        if len(leaves) > COLUMNS:
            raise ValueError(f"{len(leaves):,} columns, expected at most {COLUMNS:,}")
        largest = check_row_groups(found.metadata, size)
        stored = pq.ParquetFile(file, metadata=found.metadata, read_dictionary=texts)
        stored.largest = largest
        yield stored


def read_columns(stored: Any, columns: Sequence[str], room: MemoryBudget | None = None) -> dict[str, list]:
    """Reads columns of an `open_table`, "column.field" for a field of one. ValueError if they take too much memory."""
    return {
        column: [value for values in column_parts(stored, column, room) for value in shared_values(values)]
        for column in columns
    }


def column_parts(stored: Any, column: str, room: MemoryBudget | None = None) -> Iterator:
    """Reads a column of an `open_table` in batches, as Arrow arrays. ValueError if it takes too much memory.

    Does not use Arrow's threads, because they abort a process that exits while they start.
    """
    room, nested = room or MemoryBudget(column), column not in stored.schema_arrow.names
    name, rows = column.rpartition(".")[0] if nested else column, BATCH_ROWS
    if nested:  # Arrow unpacks each value as often as it occurs
        rows = max(1, min(NESTED_ROWS, COLUMN_BYTES // 2 // max(stored.largest, 1)))
    for batch in stored.iter_batches(rows, columns=[column], use_threads=False):
        values = batch.column(name)
        values = values.field(column.removeprefix(f"{name}.")) if nested else values
        room.take(value_bytes(values))
        yield values


def check_row_groups(metadata: Any, size: int) -> int:
    """The uncompressed bytes of the largest row group of a parquet file.

    ValueError if the groups and the file differ in their number of rows, or if a group is far larger than the file.
    Does not read the metadata of single columns, because Arrow aborts the process if that is damaged.
    """
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    if sum(group.num_rows for group in groups) != metadata.num_rows:
        raise ValueError("its row groups have another number of rows than the file")
    largest = max((group.total_byte_size for group in groups), default=0)
    if largest > COLUMN_BYTES and largest > MULTIPLE * size:
        raise ValueError(f"a row group unpacks to {largest:,} bytes in a file of {size:,} bytes")
    return largest


def value_bytes(values: Any) -> int:
    """The bytes of the values of all rows, each counted as often as it occurs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(values, pa.DictionaryArray) or pa.types.is_primitive(values.type.value_type):
        return values.nbytes
    lengths = pc.fill_null(pc.binary_length(values.dictionary.cast(pa.large_binary())), 0)
    return 8 * len(values) + int(lengths.to_numpy(zero_copy_only=False)[used_values(values)].sum())


def used_values(values: Any) -> np.ndarray:
    """The dictionary index of each row that has a value."""
    return values.indices.drop_null().to_numpy(zero_copy_only=False)


def shared_values(values: Any) -> list:
    """The values of a column as Python objects; rows with the same value share one object."""
    import pyarrow as pa

    if not isinstance(values, pa.DictionaryArray):
        return values.to_pylist()
    used, positions = np.unique(used_values(values), return_inverse=True)
    known = values.dictionary.take(pa.array(used)).to_pylist()
    found = np.full(len(values), None, object)
    found[values.indices.is_valid().to_numpy(zero_copy_only=False)] = [known[i] for i in positions.tolist()]
    return found.tolist()


class AddressError(InputError):
    """A list that the user did not name contains addresses, which must not be contacted without being asked to."""


@contextmanager
def explained(what: str, advice: str) -> Iterator[None]:
    """A context that turns any lasting error into a ValueError: `what` cannot be read, the reason, and advice. For
    third-party readers, which raise any kind of error for a damaged file."""
    try:
        yield
    except Exception as error:
        if is_transient(error) or isinstance(error, AddressError):
            raise
        raise ValueError(f"{what} cannot be read ({error_text(error)}): {advice}") from error


def is_transient(error: BaseException) -> bool:
    """Whether a retry may succeed with the same file: the disk did not answer, too many open files, no memory. EINVAL
    is not transient: a damaged file makes readers seek to invalid positions."""
    if isinstance(error, OSError):  # the system's errors have a number, those raised by libraries have none
        return error.errno not in (None, errno.EINVAL)
    return isinstance(error, MemoryError)
