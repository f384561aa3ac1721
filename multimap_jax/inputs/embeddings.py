"""Image embeddings that are there already: ours or clip-retrieval's, or one array with a list of names beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multimap_jax.inputs.files import check_regular, check_rows, mapped_array, passing, plain, read_json
from multimap_jax.inputs.lists import PATHS, opened_csv, path_column
from multimap_jax.inputs.names import name_of_path
from multimap_jax.inputs.source import Source, version
from multimap_jax.progress import stage

TINY = 1e-6
LISTED = 5
AGAIN = "make it again"


@dataclasses.dataclass(frozen=True)
class Embedded:
    """`rows` float32 [images, embed], unit rows, in the order of `source.names`; `hash`: the encoder's, "" unknown."""

    source: Source
    rows: np.ndarray
    versions: list[str]
    hash: str


@dataclasses.dataclass(frozen=True)
class Piece:
    """One array, and the file that says what its rows are called."""

    array: Path
    table: Path


@stage("looking for embeddings")
def read_embeddings(place: Path) -> Embedded:
    """Embeddings in the layout of clip-retrieval (img_emb/img_emb_*.npy and metadata/metadata_*.parquet, numbers of any
    width), in a run's --out, or as one .npy with a .csv or .parquet of the same name that has a column of paths.

    Rows of float16 or float32 are made unit. Rows that are zero or not finite are left out, and said in the notes.
    Raises FileNotFoundError or ValueError, each with a sentence, for anything else.
    """
    names: list[str] = []
    versions: list[str] = []
    parts, notes, left = [], [], []
    pieces = find_pieces(place, notes)
    for piece in pieces:
        rows, given = read_rows(piece), read_names(piece.table)
        if len(rows) != len(given):
            raise ValueError(f"{piece.array} has {len(rows):,} rows, {piece.table} {len(given):,}: {AGAIN}")
        if parts and rows.shape[1] != parts[0].shape[1]:
            raise ValueError(
                f"{piece.array} has rows of {rows.shape[1]} numbers, those before it of {parts[0].shape[1]}: they are "
                "of two encoders"
            )
        lengths = np.sqrt(np.einsum("ie,ie->i", rows, rows, dtype=np.float64))
        good = np.isfinite(lengths) & (lengths > TINY)
        left += [f"{piece.array.name} row {row}" for row in np.flatnonzero(~good)]
        parts.append(rows[good] / lengths[good, None].astype(np.float32))
        own = version(str(piece.array))
        for row in np.flatnonzero(good):
            names.append(given[row] or f"{piece.array.name}#{row}")
            versions.append(f"{own}-{row}")
    if left:
        some = ", ".join(left[:LISTED])
        notes.append(f"{len(left):,} embeddings that are zero or no numbers were left out: {some}")
    images: dict[str, Path] = {}
    for i, name in enumerate(names):
        known = name_of_path(name)
        images[known if known not in images else f"{known}#{i}"] = Path(name)
    if not images:
        raise ValueError(f"there is no row in {place}" + "".join(f"; {note}" for note in notes))
    return Embedded(Source(place, images, tuple(notes)), np.concatenate(parts), versions, encoder_hash(place))


def find_pieces(place: Path, notes: list[str]) -> list[Piece]:
    """The arrays of `place`, by number, with what names their rows."""
    if place.is_file() and place.suffix == ".npy":
        beside = [place.with_suffix(ending) for ending in (".csv", ".parquet") if place.with_suffix(ending).exists()]
        if not beside:
            raise FileNotFoundError(f"{place} has no list of names beside it: give {place.stem}.csv or .parquet")
        return [Piece(place, beside[0])]
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
    if missing and not (folder / "encoder.json").exists():
        notes.append(f"{len(missing):,} numbers are missing in {folder / 'img_emb'}, the first is {missing[0]}")
    return [Piece(arrays[number], tables[number]) for number in sorted(arrays)]


def base(place: Path) -> Path | None:
    """The folder that holds img_emb: `place`, or embeddings/ in it."""
    return next((each for each in (place, place / "embeddings") if numbered(each / "img_emb", "npy")), None)


def numbered(folder: Path, ending: str) -> dict[int, Path]:
    """Files called …_NUMBER.ending, by number."""
    found = {path.stem.rpartition("_")[2]: path for path in folder.glob(f"*_*.{ending}")}
    return {int(number): path for number, path in found.items() if number.isdecimal()}


def check_complete(out: Path, done: set[int]) -> None:
    """ValueError where a plan beside the embeddings names pieces that are not done."""
    from multimap_jax.run.store import Plan, read_plan, sound

    plan = Plan(out / "plan")
    files = plan.files()
    if not files or not all(sound(read_plan, file) for file in files):
        return
    planned = set(plan.read().values())
    if planned - done:
        raise ValueError(
            f"{len(planned - done):,} of {len(planned):,} pieces of {out} are not embedded yet: run multimap embed "
            "again with the flags that it was begun with"
        )


def read_rows(piece: Piece) -> np.ndarray:
    """float32 [rows, embed]; ValueError where a file is no such array."""
    try:
        rows = mapped_array(piece.array)
        if rows.dtype.kind != "f" or rows.ndim != 2:
            raise ValueError(f"{rows.dtype} {list(rows.shape)}, expected numbers with a fraction [rows, embed]")
        return np.asarray(rows, np.float32)
    except Exception as error:  # NumPy raises whatever it likes for a damaged file
        if passing(error):
            raise
        raise ValueError(f"{piece.array} cannot be read ({plain(error)}): {AGAIN}") from None


def read_names(table: Path) -> Sequence[str]:
    """What the rows of an array are called, "" for those without a name."""
    if table.suffix == ".csv":
        with opened_csv(table) as (columns, rows):
            place = columns.index(path_column(table, columns))
            return [row[place] if place < len(row) else "" for _, row in rows]
    import pyarrow.parquet as pq

    check_regular(table)
    try:
        with table.open("rb") as file, pq.ParquetFile(file) as stored:
            check_rows(stored, table.stat().st_size)
            known = [name for name in PATHS if name in stored.schema_arrow.names]
            if not known:
                return [""] * stored.metadata.num_rows
            return [
                str(name or "") for name in stored.read(columns=[known[0]], use_threads=False)[known[0]].to_pylist()
            ]
    except Exception as error:
        if passing(error):
            raise
        raise ValueError(f"{table} cannot be read ({plain(error)}): {AGAIN}") from None


def encoder_hash(place: Path) -> str:
    folder = base(place)
    if folder is None or not (folder / "encoder.json").exists():
        return ""
    return str(read_json(folder / "encoder.json", advice=AGAIN).get("hash", ""))
