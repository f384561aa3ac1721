"""Image embeddings that are there already: ours or clip-retrieval's, or one array with a list of names beside it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from multimap_jax.arrays.rows import StoredRows, walk
from multimap_jax.runtime.progress import stage
from multimap_jax.sources.columns import (
    PATH,
    Notes,
    choice_said,
    choose_column,
    fields_of,
    is_text,
    kinds_of,
    no_column,
)
from multimap_jax.sources.names import SortedPaths, Texts, concatenated, names_of, ordered, replaced
from multimap_jax.sources.source import Source, version
from multimap_jax.sources.tables import LONGEST, opened_csv
from multimap_jax.storage.filenames import path_of_name
from multimap_jax.storage.paths import error_text, exists, reaching, remote_version
from multimap_jax.storage.reading import MemoryBudget, column_parts, is_transient, mapped_array, open_table, read_json

TINY = 1e-6
LISTED = 5
TABLES = (".csv", ".parquet", ".tsv", ".CSV", ".PARQUET", ".TSV")  # beside one array; the first that is there
AGAIN = "make it again"


@dataclasses.dataclass(frozen=True)
class ReadyEmbeddings:
    """`rows` [images, embed], unit rows, in the order of `source.names`, which is theirs; `given`: these names before
    they were made unique; `versions` gives those of the images; `hash`: the encoder's, "" unknown."""

    source: Source
    rows: StoredRows
    given: Texts
    versions: Callable[[], list[str]]
    hash: str


@dataclasses.dataclass(frozen=True)
class EmbeddingShard:
    """One array, and the file that says what its rows are called."""

    array: Path
    table: Path


@stage("looking for embeddings")
def read_embeddings(place: Path) -> ReadyEmbeddings:
    """Embeddings in the layout of clip-retrieval (img_emb/img_emb_*.npy and metadata/metadata_*.parquet, numbers of any
    width), in a run's --out, or as one .npy with a .csv, .tsv or .parquet of the same name that has a column of paths.

    Rows of float16 or float32 are made unit when they are read. Rows that are zero or not finite are left out, and said
    in the notes. Raises FileNotFoundError or ValueError, each with a sentence, for anything else.
    """
    notes: list[str] = []
    shards, ours = find_pieces(place, notes), encoder_hash(place)
    arrays, found, said, room = [], [], Notes(), MemoryBudget(f"names of {place}")
    for shard in shards:
        rows = read_rows(shard)
        given = read_names(shard.table, said, room, len(rows), f"{shards[0].array.name}#0")
        given = given if ours else without_blanks(given)
        if len(rows) != len(given):
            raise ValueError(f"{shard.array} has {len(rows):,} rows, {shard.table} {len(given):,}: {AGAIN}")
        if arrays and rows.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"{shard.array} has rows of {rows.shape[1]} numbers, those before it of {arrays[0].shape[1]}: they are "
                "of two encoders"
            )
        arrays.append(rows)
        found.append(good_rows(shard, rows, given))
    notes += said.sentences()
    left = [f"{shard.array.name} row {row}" for shard, one in zip(shards, found) for row in one.left]
    if left:
        some = ", ".join(left[:LISTED])
        notes.append(f"{len(left):,} embeddings that are zero or no numbers were left out: {some}")
    if not any(len(one.rows) for one in found):
        raise ValueError(f"there is no row in {place}" + "".join(f"; {note}" for note in notes))
    begins = np.cumsum([0, *map(len, arrays)])
    paths = concatenated([one.given for one in found])
    given = paths if ours else names_of(paths)  # a run's own are names, written as they are inside
    order, names = ordered(given)
    where = np.concatenate([begin + one.rows for begin, one in zip(begins, found)])[order]
    lengths = np.concatenate([one.lengths for one in found])[order]

    def versions() -> list[str]:
        own = [remote_version(shard.array) or version(str(shard.array)) for shard in shards]
        places = np.searchsorted(begins, where, side="right") - 1
        return [f"{own[shard]}-{row}" for shard, row in zip(places, where - begins[places])]

    source = Source(place, SortedPaths(names, paths.take(order), path_of_name if ours else str), tuple(notes))
    return ReadyEmbeddings(source, StoredRows(arrays, where, lengths), given.take(order), versions, ours)


@dataclasses.dataclass(frozen=True)
class UsableRows:
    """Of one array the rows that can be used, int [good], what they are called and how long they are, float32 [good];
    and the others."""

    rows: np.ndarray
    given: Texts
    lengths: np.ndarray
    left: np.ndarray


def good_rows(shard: EmbeddingShard, rows: np.ndarray, given: Texts) -> UsableRows:
    lengths = np.empty(len(rows))
    with np.errstate(all="ignore"):  # whatever is no number is left out
        for whole, part in walk(rows):
            part = np.asarray(part, np.float32)
            lengths[whole] = np.sqrt(np.einsum("ie,ie->i", part, part, dtype=np.float64))
        good = np.isfinite(lengths) & (lengths > TINY)
    unnamed = np.flatnonzero(empty(given))
    if len(unnamed):
        given = replaced(given, unnamed, [f"{shard.array.name}#{row}" for row in unnamed])
    picked = np.flatnonzero(good)
    named = given if good.all() else given.take(picked)
    return UsableRows(picked, named, lengths[picked].astype(np.float32), np.flatnonzero(~good))


def empty(texts: Texts) -> np.ndarray:
    import pyarrow.compute as pc

    return pc.equal(texts.arrow, "").to_numpy(zero_copy_only=False)


def find_pieces(place: Path, notes: list[str]) -> list[EmbeddingShard]:
    """The arrays of `place`, by number, with what names their rows."""
    if place.suffix.lower() == ".npy" and exists(place):
        beside = [table for table in map(place.with_suffix, TABLES) if exists(table)]
        if not beside:
            raise FileNotFoundError(f"{place} has no list of names beside it: give {place.stem}.csv or .parquet")
        return [EmbeddingShard(place, beside[0])]
    folder = base(place)
    if folder is None:
        raise FileNotFoundError(
            f"there are no embeddings in {place}: expected img_emb/img_emb_*.npy and metadata/metadata_*.parquet, as "
            "multimap and clip-retrieval write them, or one .npy with a .csv or .parquet of the same name"
        )
    arrays, tables = (numbered(folder / kind, ending) for kind, ending in (("img_emb", "npy"), ("metadata", "parquet")))
    check_complete(folder.parent, set(arrays))
    if arrays.keys() != tables.keys():
        alone = sorted(arrays.keys() ^ tables.keys())[0]
        found, other = (arrays, "metadata") if alone in arrays else (tables, "img_emb")
        raise ValueError(f"{found[alone]} has no file of its number in {folder / other}: {AGAIN}")
    missing = sorted(set(range(max(arrays) + 1)) - set(arrays))
    if missing and not exists(folder / "encoder.json"):
        notes.append(f"{len(missing):,} numbers are missing in {folder / 'img_emb'}, the first is {missing[0]}")
    return [EmbeddingShard(arrays[number], tables[number]) for number in sorted(arrays)]


def base(place: Path) -> Path | None:
    """The folder that holds img_emb: `place`, or embeddings/ in it."""
    return next((each for each in (place, place / "embeddings") if numbered(each / "img_emb", "npy")), None)


def numbered(folder: Path, ending: str) -> dict[int, Path]:
    """Files called …_NUMBER.ending, by number."""
    with reaching(folder):
        found = {path.stem.rpartition("_")[2]: path for path in folder.glob(f"*_*.{ending}")}
    return {int(number): path for number, path in found.items() if number.isdecimal()}


def check_complete(out: Path, done: set[int]) -> None:
    """ValueError where a plan beside the embeddings names shards that are not done."""
    from multimap_jax.sources.plan import ShardPlan, is_sound, read_plan

    plan = ShardPlan(out, "plan")
    files = plan.files()
    if not files or not all(is_sound(read_plan, file) for file in files):
        return
    planned = set(plan.read().values())
    if planned - done:
        raise ValueError(
            f"{len(planned - done):,} of {len(planned):,} shards of {out} are not embedded yet: run multimap embed "
            "again with the flags that it was begun with"
        )


def read_rows(shard: EmbeddingShard) -> np.ndarray:
    """[rows, embed], read when its rows are asked for; ValueError where a file is no such array."""
    try:
        rows = mapped_array(shard.array)
        if rows.dtype.kind != "f" or rows.ndim != 2:
            raise ValueError(f"{rows.dtype} {list(rows.shape)}, expected numbers with a fraction [rows, embed]")
        return rows
    except Exception as error:  # NumPy raises whatever it likes for a damaged file
        if is_transient(error):
            raise
        raise ValueError(f"{shard.array} cannot be read ({error_text(error)}): {AGAIN}") from None


def read_names(table: Path, notes: Notes, room: MemoryBudget, count: int, example: str) -> Texts:
    """What the `count` rows of an array are called, "" for those without a name. Notes say which column is read, where
    there was a choice, and where there is none, with an example of what rows are called then."""
    if table.suffix.lower() != ".parquet":
        return read_listed_names(table, notes, room, count)
    try:
        with open_table(table, room) as stored:
            schema = stored.schema_arrow
            fields = {name: names_within(schema.field(name).type, name) for name in kinds_of(schema)}
            kinds = {name: kind for name, kind in kinds_of(schema).items() if fields[name]}
            column = choose_column(kinds)
            if column is None:
                notes.add(("no column of names in ", f": rows are called {example}, …"), table)
                return Texts([""] * stored.metadata.num_rows)
            notes.add(choice_said(column, kinds), table)
            return concatenated([texts_of(part) for part in column_parts(stored, fields[column], room)] or [Texts([])])
    except Exception as error:
        if is_transient(error):
            raise
        raise ValueError(f"{table} cannot be read ({error_text(error)}): {AGAIN}") from None


def read_listed_names(table: Path, notes: Notes, room: MemoryBudget, count: int) -> Texts:
    """`read_names` of a csv file. Blank lines at its end are no rows, unless there are as many rows in the array."""
    with opened_csv(table, room) as (columns, rows):
        kinds = dict.fromkeys(columns, PATH)
        column = choose_column(kinds)
        if column is None:
            raise no_column(table, columns)
        notes.add(choice_said(column, kinds), table)
        place, end = columns.index(column), 0

        def names() -> Iterator[str]:
            nonlocal end
            for i, (_, row) in enumerate(rows):
                end = i + 1 if "".join(row).strip() else end
                yield row[place] if place < len(row) and len(row[place]) <= LONGEST else ""

        return Texts(names())[: max(end, count)]


def without_blanks(given: Texts) -> Texts:
    """Names without the blanks that a spreadsheet has put around them, unless there is a file with them."""
    import pyarrow.compute as pc

    bare = pc.utf8_trim_whitespace(given.arrow)
    other = np.flatnonzero(pc.not_equal(bare, given.arrow).to_numpy(zero_copy_only=False))
    kept = [int(i) for i in other if os.path.lexists(given[int(i)])]
    return replaced(Texts(bare), np.array(kept, int), [given[i] for i in kept])


def names_within(kind, column: str) -> str:
    """The part of a column that may name images: itself, or the path beside the bytes of each; "" for none."""
    if is_text(kind):
        return column
    return f"{column}.path" if is_text(fields_of(kind).get("path")) else ""


def texts_of(part) -> Texts:
    """Names as texts: "" where there is none, or one that is too long for a path."""
    import pyarrow as pa
    import pyarrow.compute as pc

    part = part if isinstance(part, pa.DictionaryArray) else part.dictionary_encode()
    known = pc.fill_null(part.dictionary.cast(pa.large_string()), "")
    known = pc.if_else(pc.greater(pc.utf8_length(known), LONGEST), "", known)
    return Texts(pc.fill_null(known.take(part.indices), ""))


def encoder_hash(place: Path) -> str:
    folder = base(place)
    if folder is None or not exists(folder / "encoder.json"):
        return ""
    return str(read_json(folder / "encoder.json", advice=AGAIN).get("hash", ""))
