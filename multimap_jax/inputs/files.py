"""Files that somebody else wrote, looked at before they are read: none is waited for, fills the memory or is half taken
for what it is not."""

from __future__ import annotations

import errno
import json
import math
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from multimap_jax.inputs.places import local, opened, plain, size_of

# Of one that a run writes, which lists what it skipped; those of checkpoints are smaller.
JSON_BYTES = 2**28
# Of names and what stands beside them in a parquet file, whole; rows of it that are taken at once.
COLUMN_BYTES, ROWS = 2**30, 64
HEADER_BYTES = 2**16  # of an npy file
KINDS = {dict: "an object", list: "a list"}


def read_json(path: Path, kind: type = dict, advice: str = "fetch or save it again", most: int = JSON_BYTES):
    """What a JSON file of `most` bytes holds, an object or a list (`kind`). ValueError for anything else, with what to
    do."""
    with opened(path, most) as file:
        text = file.read()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path} is not JSON ({plain(error)}): {advice}") from None
    if not isinstance(content, kind):
        raise ValueError(f"{path} holds {json.dumps(content)[:40]}, expected {KINDS[kind]}: {advice}")
    return content


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name, those of `names` that are there; as NumPy's `savez` writes them, uncompressed.

    Raises ValueError, OSError or zipfile.BadZipFile for anything else.
    """
    with opened(path) as file, zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > size_of(file):
            raise ValueError("compressed, expected arrays as they are")
        file.seek(0)
        arrays = np.load(file, allow_pickle=False)
        return {name: arrays[name] for name in (arrays.files if names is None else names) if name in arrays.files}


def mapped_array(path: Path) -> np.ndarray:
    """The array of an npy file, read when its rows are asked for. ValueError or EOFError for anything else."""
    path = local(path)
    with opened(path) as file:
        head = file.read(12)
    if head[6:7] >= b"\x02" and int.from_bytes(head[8:12], "little") > HEADER_BYTES:
        raise ValueError("a header without end")  # NumPy would ask for as much memory
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("several arrays, expected one")
    return array


def mapped_member(path: Path, name: str) -> np.ndarray:
    """One array of an npz file as `read_arrays` takes them, read when its rows are asked for. Errors as there; KeyError
    where there is no such array."""
    path = local(path)
    with opened(path) as file, zipfile.ZipFile(file) as archive:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError("compressed, expected arrays as they are")
        with archive.open(info) as member:
            read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = read[np.lib.format.read_magic(member)[0]](member)
            header = member.tell()
        file.seek(info.header_offset + 26)  # lengths of the name and of what else stands before the content
        before = 30 + sum(int.from_bytes(file.read(2), "little") for _ in range(2))
        offset, size = info.header_offset + before + header, size_of(file)
    if fortran or dtype.hasobject or offset + dtype.itemsize * math.prod(shape) > size:
        raise ValueError(f"{dtype} {shape}")
    return np.memmap(path, dtype, "r", offset, shape) if math.prod(shape) else np.empty(shape, dtype)


def read_table(path: Path, columns: Sequence[str]) -> dict[str, list]:
    """Columns of a parquet file whose rows differ. ValueError, OSError or an error of pyarrow for anything else."""
    import pyarrow.parquet as pq

    with opened(path) as file:
        stored = pq.ParquetFile(file)
        check_rows(stored, size_of(file))
        return read_columns(stored, columns)


def check_rows(stored, size: int) -> None:
    """ValueError for more rows than a parquet file has bytes: rows that differ take one at least, and those that do not
    may fill the memory."""
    if stored.metadata.num_rows > size:
        raise ValueError(f"{stored.metadata.num_rows:,} rows in a file of {size:,} bytes")


def read_columns(stored, columns: Sequence[str]) -> dict[str, list]:
    """Columns of an opened parquet file, some rows at a time. ValueError where they are over COLUMN_BYTES.

    Without Arrow's threads, which abort a process that ends while they begin.
    """
    found: dict[str, list] = {column: [] for column in columns}
    whole = 0
    for part in stored.iter_batches(ROWS, columns=list(columns), use_threads=False):
        for column in columns:
            values = part.column(column)
            values = values.dictionary_decode() if hasattr(values, "dictionary_decode") else values
            whole += values.nbytes
            if whole > COLUMN_BYTES:
                raise ValueError(f"{', '.join(columns)} of more than {COLUMN_BYTES:,} bytes")
            found[column] += values.to_pylist()
    return found


@contextmanager
def said_of(what: str, advice: str) -> Iterator[None]:
    """Within this context any error that will come again becomes a ValueError that says `what` cannot be read, why, and
    what to do: for readers of others, which raise whatever they like for a damaged file."""
    try:
        yield
    except Exception as error:
        if passing(error):
            raise
        raise ValueError(f"{what} cannot be read ({plain(error)}): {advice}") from error


def passing(error: BaseException) -> bool:
    """Whether what failed may go well another time though no file is changed: a disk that did not answer, too many open
    files, no memory. A damaged file makes readers seek where there is nothing, which is EINVAL."""
    if isinstance(error, OSError):  # the system's errors have a number, those that libraries raise have none
        return error.errno not in (None, errno.EINVAL)
    return isinstance(error, MemoryError)
