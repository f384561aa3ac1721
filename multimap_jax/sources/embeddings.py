"""Reads ready image embeddings: from a run, from clip-retrieval, or one array with a list of names next to it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from multimap_jax.arrays.rows import StoredRows, walk
from multimap_jax.errors import InputError, MissingError, errors_about
from multimap_jax.runtime.progress import stage
from multimap_jax.sources.columns import choose_column, fields_of, is_text, kinds_of, path_position
from multimap_jax.sources.csv_files import opened_csv
from multimap_jax.sources.names import PATH_CHARACTERS, Notes, SortedPaths, Texts, names_of_paths, sorted_unique
from multimap_jax.sources.plan import ShardPlan, is_sound, read_plan
from multimap_jax.sources.source import Source, file_version
from multimap_jax.storage.filenames import path_of_name
from multimap_jax.storage.packed import PackedItems
from multimap_jax.storage.paths import exists, reaching, remote_version
from multimap_jax.storage.reading import MemoryBudget, column_parts, explained, mapped_array, open_table, read_json

TINY = 1e-6  # rows with a norm of at most this count as zero
# Extensions of the list of names next to an array; the first that exists is read.
TABLES = (".csv", ".parquet", ".tsv", ".CSV", ".PARQUET", ".TSV")
AGAIN = "create it again"


@dataclasses.dataclass(frozen=True)
class ReadyEmbeddings:
    """Embeddings that were computed earlier.

    Attributes:
      source: the images, in the order of the rows.
      rows: [images, embed], unit rows.
      given: the names as written in the files; they may repeat.
      versions: returns the versions of the images.
      hash: of the encoder, "" if unknown.
      thumbnails: of the images; None if these embeddings are not from a run.
    """

    source: Source
    rows: StoredRows
    given: Texts
    versions: Callable[[], list[str]]
    hash: str
    thumbnails: PackedItems | None = None


@errors_about("embeddings")
@stage("looking for embeddings")
def read_embeddings(path: Path) -> ReadyEmbeddings:
    """Reads embeddings in one of three layouts: clip-retrieval's (img_emb/img_emb_*.npy and
    metadata/metadata_*.parquet, file numbers with any number of digits), a run's --out, or one .npy with a .csv, .tsv
    or .parquet of the same name that has a column of paths.

    Rows of float16 or float32 become unit rows when they are read. Rows that are zero or not finite are left out, with
    a note. Raises InputError for anything else, MissingError if nothing is there.
    """
    notes, budget = Notes(), MemoryBudget(f"names of {path}")
    shards, ours = find_shards(path, notes)
    arrays: list[np.ndarray] = []
    good, lengths, texts = [], [], []
    for file, table in shards:
        array = read_array(file)
        names = read_names(table, notes, budget, len(array), f"{shards[0][0].name}#0")
        names = names if ours else without_blanks(names)
        if len(array) != len(names):
            raise InputError(f"{file} has {len(array):,} rows, but {table} has {len(names):,}: create both again")
        if arrays and array.shape[1] != arrays[0].shape[1]:
            numbers = f"{array.shape[1]} numbers, the files before it have rows of {arrays[0].shape[1]}"
            raise InputError(f"{file} has rows of {numbers}: embed all images with the same encoder")
        unnamed = np.flatnonzero(names.equal(""))
        names = names.replace(unnamed, [f"{file.name}#{row}" for row in unnamed])
        norms = row_lengths(array)
        usable = np.isfinite(norms) & (norms > TINY)
        arrays.append(array)
        good.append(np.flatnonzero(usable))
        lengths.append(norms[usable].astype(np.float32))
        texts.append(names if usable.all() else names.take(good[-1]))
        for row in np.flatnonzero(~usable):
            sentence = "embeddings left out because they are zero or not finite: "
            notes.add(sentence, f"{file.name} row {row}", counted=True)
    if not any(map(len, good)):
        raise InputError("; ".join([f"{path} has no usable rows", *notes.sentences()]))
    begins = np.cumsum([0, *map(len, arrays)])
    paths = Texts.concatenated(texts)
    given = paths if ours else names_of_paths(paths)  # the tables of a run hold names, not paths
    order, names = sorted_unique(given)
    rows = np.concatenate([begin + indices for begin, indices in zip(begins, good)])[order]

    def versions() -> list[str]:
        of_arrays = [remote_version(file) or file_version(str(file)) for file, _ in shards]
        numbers = np.searchsorted(begins, rows, side="right") - 1
        return [f"{of_arrays[number]}-{row}" for number, row in zip(numbers, rows - begins[numbers])]

    images = SortedPaths(names, paths.take(order), path_of_name if ours else str)
    source = Source(path, images, tuple(notes.sentences()))
    stored = StoredRows(arrays, rows, np.concatenate(lengths)[order])
    thumbnails = PackedItems([thumbnails_of(file) for file, _ in shards], begins[1:], rows) if ours else None
    return ReadyEmbeddings(source, stored, given.take(order), versions, ours, thumbnails)


def find_shards(path: Path, notes: Notes) -> tuple[list[tuple[Path, Path]], str]:
    """(the arrays of `path` by number, each with the file that names its rows; the hash of the encoder, "" if they are
    not from a run). notes: receives a note about missing numbers."""
    if path.suffix.lower() == ".npy" and exists(path):
        beside = [table for table in map(path.with_suffix, TABLES) if exists(table)]
        if not beside:
            raise MissingError(f"{path} has no list of image names next to it: add {path.stem}.csv or .parquet")
        return [(path, beside[0])], ""
    folder = embeddings_folder(path)
    if folder is None:
        raise MissingError(
            f"there are no embeddings in {path}: expected img_emb/img_emb_*.npy and metadata/metadata_*.parquet, as "
            "written by multimap and clip-retrieval, or one .npy with a .csv or .parquet of the same name"
        )
    arrays, tables = numbered(folder / "img_emb", "npy"), numbered(folder / "metadata", "parquet")
    check_complete(folder.parent, set(arrays))
    if arrays.keys() != tables.keys():
        number = min(arrays.keys() ^ tables.keys())
        found, other = (arrays, "metadata") if number in arrays else (tables, "img_emb")
        raise InputError(f"{found[number]} has no file with the same number in {folder / other}: {AGAIN}")
    missing, encoder = sorted(set(range(max(arrays) + 1)) - set(arrays)), folder / "encoder.json"
    ours = read_json(encoder, advice=AGAIN) if exists(encoder) else None
    if missing and ours is None:
        shown = ", ".join(map(str, missing[:3]))
        notes.add("missing file numbers in ", f"{folder / 'img_emb'}", f": {len(missing):,} (first: {shown})")
    return [(arrays[number], tables[number]) for number in sorted(arrays)], str((ours or {}).get("hash", ""))


def embeddings_folder(path: Path) -> Path | None:
    """The folder that holds img_emb: `path`, or embeddings/ in it."""
    return next((folder for folder in (path, path / "embeddings") if numbered(folder / "img_emb", "npy")), None)


def thumbnails_of(array: Path) -> Path:
    """The file of the thumbnails of a run's shard, by its img_emb file."""
    return array.parent.parent / "thumbnails" / f"thumbnails_{array.stem.rpartition('_')[2]}.npz"


def numbered(folder: Path, ending: str) -> dict[int, Path]:
    """The files named …_NUMBER.ending, by number."""
    with reaching(folder):
        found = {path.stem.rpartition("_")[2]: path for path in folder.glob(f"*_*.{ending}")}
    return {int(number): path for number, path in found.items() if number.isdecimal()}


def check_complete(out: Path, done: set[int]) -> None:
    """InputError if a plan next to the embeddings lists shards that are not done."""
    plan = ShardPlan(out, "plan")
    sound = all(is_sound(read_plan, file) for file in plan.files())
    planned = set(plan.read().values()) if sound else set()
    if planned - done:
        raise InputError(
            f"{len(planned - done):,} of {len(planned):,} shards of {out} are not embedded yet: run multimap embed "
            "again with the same settings"
        )


def read_array(file: Path) -> np.ndarray:
    """[rows, embed], loaded lazily; ValueError if the file is not such an array."""
    with explained(f"{file}", AGAIN):
        array = mapped_array(file)
        if array.dtype.kind != "f" or array.ndim != 2:
            raise ValueError(f"{array.dtype} {list(array.shape)}, expected floating-point numbers [rows, embed]")
        return array


def row_lengths(array: np.ndarray) -> np.ndarray:
    """The norms of the rows, float64 [rows]; not finite if the row is not."""
    lengths = np.empty(len(array))
    with np.errstate(all="ignore"):
        for indices, rows in walk(array):
            rows = np.asarray(rows, np.float32)
            lengths[indices] = np.sqrt(np.einsum("ie,ie->i", rows, rows, dtype=np.float64))
    return lengths


def read_names(table: Path, notes: Notes, budget: MemoryBudget, count: int, example: str) -> Texts:
    """The names of the `count` rows of an array, "" for rows without one. Notes say which column was chosen, or that
    there is no column of names, with an `example` of the names that rows get instead."""
    if table.suffix.lower() != ".parquet":
        return read_listed_names(table, notes, budget, count)
    with explained(f"{table}", AGAIN), open_table(table, budget) as stored:
        schema = stored.schema_arrow
        kinds, fields = kinds_of(schema), {}  # names, or the path next to the bytes of each image
        for name in kinds:
            if is_text(schema.field(name).type):
                fields[name] = name
            elif is_text(fields_of(schema.field(name).type).get("path")):
                fields[name] = f"{name}.path"
        column = choose_column(table, {name: kinds[name] for name in fields}, notes)
        if column is None:
            notes.add("no column of names in ", table.name, f": images are named {example}, …")
            return Texts([""] * stored.metadata.num_rows)
        return Texts.concatenated([Texts([]), *map(texts_of, column_parts(stored, fields[column], budget))])


def read_listed_names(table: Path, notes: Notes, budget: MemoryBudget, count: int) -> Texts:
    """`read_names` for a csv file. Blank lines at its end count as rows only if the array has that many rows."""
    with opened_csv(table, budget) as (columns, rows):
        position, names, end = path_position(table, columns, notes), [], 0
        for _, row in rows:
            names.append(row[position] if position < len(row) and len(row[position]) <= PATH_CHARACTERS else "")
            end = len(names) if "".join(row).strip() else end
        return Texts(names[: max(end, count)])


def without_blanks(names: Texts) -> Texts:
    """Names without leading and trailing spaces, which spreadsheets add, unless a file has exactly that name."""
    import pyarrow.compute as pc

    bare = Texts(pc.utf8_trim_whitespace(names.arrow))
    changed = np.flatnonzero(~names.equal(bare.arrow))
    files = [int(row) for row in changed if os.path.lexists(names[int(row)])]
    return bare.replace(np.array(files, int), [names[row] for row in files])


def texts_of(values: Any) -> Texts:
    """Names as texts; "" if a name is missing or too long for a path."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = values if isinstance(values, pa.DictionaryArray) else values.dictionary_encode()
    known = pc.fill_null(values.dictionary.cast(pa.large_string()), "")
    known = pc.if_else(pc.greater(pc.utf8_length(known), PATH_CHARACTERS), "", known)
    return Texts(pc.fill_null(known.take(values.indices), ""))
