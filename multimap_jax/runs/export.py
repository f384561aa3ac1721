"""`multimap export`: writes the groups of a finished run as folders of images, or as a table for other tools."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multimap_jax.arrays.rows import StoredRows
from multimap_jax.clustering.axes import coordinates
from multimap_jax.errors import InputError, InputExistsError
from multimap_jax.estimator import MultiMaP
from multimap_jax.features.table import FEATURE_KINDS
from multimap_jax.prompts.answers import Answers
from multimap_jax.runs import finished
from multimap_jax.runs.export_folders import export_folders
from multimap_jax.runs.messages import count
from multimap_jax.runs.results import COLUMNS
from multimap_jax.runtime.progress import open_bar
from multimap_jax.storage.encoding import as_csv
from multimap_jax.storage.filenames import is_plain_name, name_of_path, path_of_name, safe_path, safe_word
from multimap_jax.storage.output import LABELS_TABLE, explained_writing
from multimap_jax.storage.paths import exists, write_file
from multimap_jax.storage.reading import explained, read_table

# Extensions of tables that export writes, and of other tables that users may ask for.
TABLES = (".parquet", ".csv")
OTHER_TABLES = (".xlsx", ".xls", ".ods", ".tsv", ".json", ".jsonl", ".feather", ".arrow", ".txt", ".zip")
# Name endings of columns of answers, and of numeric columns.
TEXTUAL = ": answer"
NUMERIC = tuple(f": {column}" for column in COLUMNS if f": {column}" != TEXTUAL)
# Rows written at once.
BATCH = 2**14


@dataclasses.dataclass(frozen=True)
class Export:
    """What to export. aspects: () for all. how: "copy" or "link". images, embeddings, clip: where these are now; None:
    where the run says."""

    run: Path
    to: Path
    aspects: tuple[str, ...] = ()
    how: str = "copy"
    dry_run: bool = False
    images: Path | None = None
    embeddings: Path | None = None
    clip: str | None = None


def run_export(job: Export, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Writes folders or a table. Does not change the run or its images, and overwrites nothing.

    Raises InputError or OSError with one sentence before anything is written.
    """
    content = finished.read_results(job.run)
    known = [aspect.name for aspect in content.aspects]
    for name in job.aspects:
        if name not in known:
            raise InputError(f"the run in {job.run} has no aspect {name!r}: it has {', '.join(known)}", "aspect")
    if job.to.suffix.lower() in TABLES:
        return export_table(job, content, list(job.aspects) or known, say, progress)
    if job.to.suffix.lower() in OTHER_TABLES:
        raise InputError(f"cannot write a table {job.to}: give a .parquet or .csv file, or a folder", "to")
    aspects = job.aspects or tuple(known)
    if len(aspects) != 1:
        raise InputError(f"folders show one aspect: give one of {', '.join(known)}", "aspect", known[0])
    names, groups = read_label_columns(job.run, ("image", aspects[0]))
    export_folders(job, names, groups, finished.images_of(job.run, content, job.images), say, progress)


def read_label_columns(run: Path, columns: Sequence[str]) -> list[list]:
    """Reads columns of labels.parquet. ValueError with a sentence if they are missing, or contain anything but names
    and numbers."""
    with explained(f"{run / LABELS_TABLE}, which holds the groups,", finished.AGAIN):
        found = read_table(run / LABELS_TABLE, columns)
        for column, values in found.items():
            check_column(column, values)
        return [found[column] for column in columns]


def write_whole(path: Path, write: Callable[[BinaryIO], None] | str) -> None:
    """`write_file` that never overwrites; OSError with a sentence."""
    with explained_writing(path):
        try:
            write_file(path, write, new=True)
        except FileExistsError:
            raise FileExistsError(f"{path} already exists. Export overwrites nothing: give another name") from None


def check_column(column: str, values: Sequence) -> None:
    """ValueError for unreadable names, and for numeric columns with other values. Confidences may be missing, and of
    images without an answer distances and answers."""
    if column.endswith(TEXTUAL):
        values = [value for value in values if value is not None]
    if column.endswith(NUMERIC):
        number = int | float | None if column.endswith((": confidence", ": distance")) else int | float
        if not all(isinstance(value, number) for value in values):
            raise ValueError(f"{column} has {next(v for v in values if not isinstance(v, number))!r:.40}")
    elif column == "image":
        if not all(map(is_image_name, values)):
            raise ValueError("image has values that are not names")
    else:
        wrong = [value for value in dict.fromkeys(map(str, values)) if not is_plain_name(value)]
        if wrong or not all(isinstance(value, str) for value in values):
            raise ValueError(f"{column} has values that are not readable names")


def is_image_name(value: object) -> bool:
    """Whether this is a name as `name_of_path` writes it."""
    plain = isinstance(value, str) and value.isprintable() and "\\" not in value
    return plain or (isinstance(value, str) and name_of_path(path_of_name(value)) == value)


def export_table(
    job: Export, content: finished.ResultsContent, aspects: Sequence[str], say: Callable, progress: bool
) -> None:
    """Writes a row for each image: its name and, for each aspect, group, confidence, distance and two coordinates; in
    parquet also its embedding."""
    if exists(job.to) or job.to.is_symlink():
        raise InputExistsError(f"{job.to} already exists. Export overwrites nothing: give another name", "to")
    (names,) = read_label_columns(job.run, ("image",))
    table: dict[str, Sequence | np.ndarray] = {"image": names}
    rows = finished.embeddings_of(job.run, content, names, job.embeddings).rows
    points = coordinates_of(job, content, rows, aspects)
    for aspect in aspects:
        columns = (aspect, f"{aspect}: confidence", f"{aspect}: distance")
        table |= zip(columns, read_label_columns(job.run, columns))
        if aspect in points:
            table |= zip((f"{aspect}: x", f"{aspect}: y"), points[aspect].T)
    is_parquet = job.to.suffix.lower() == ".parquet"
    say(f"{count(len(names), 'row')} into {job.to}: {', '.join(table)}{', embedding' if is_parquet else ''}")
    if job.dry_run:
        return say("nothing was written (--dry_run)")
    as_parquet = functools.partial(write_parquet, table=table, rows=rows, progress=progress)
    write_whole(job.to, as_parquet if is_parquet else csv_text(table, aspects))
    say(f"written: {job.to}")


def coordinates_of(
    job: Export, content: finished.ResultsContent, rows: StoredRows, aspects: Sequence[str]
) -> dict[str, np.ndarray]:
    """Aspect -> coordinates [images, 2]: the first two principal axes of the features that k-means ran on.

    For new images in the groups of a run, the axes are those of the new images.
    """
    applied = content.applied
    run = finished.readable_path(job.run, applied, "run") if applied else job.run
    followed = finished.read_run(run)
    clip, found = finished.load_checkpoint(run, followed, job.clip), {}
    for aspect in followed.aspects:
        if aspect.name in aspects:
            model = finished.read_model(run, aspect, clip)
            if applied:
                features = model.assign_with_rows(rows, answers_in(job.run, model))[1]
            else:
                features = model.fitted_rows(rows)
                finished.check_fitted_rows(model, features, str(run))
            found[aspect.name] = coordinates(features)
    return found


def answers_in(run: Path, model: MultiMaP) -> Answers | None:
    """The answers in the results of a run; None if the model's features need none."""
    if not FEATURE_KINDS[model.features_].answers:
        return None
    (texts,) = read_label_columns(run, (f"{model.aspect.name}{TEXTUAL}",))
    return Answers([text or "" for text in texts])


def write_parquet(file: BinaryIO, table: dict[str, Sequence | np.ndarray], rows: StoredRows, progress: bool) -> None:
    columns = {name: pa.array(values) for name, values in table.items()}
    unknown = [name for name, column in columns.items() if pa.types.is_null(column.type)]  # confidences, all missing
    columns |= {name: columns[name].cast(pa.float64()) for name in unknown}
    embedding = "embedding" if "embedding" not in columns else "image embedding"
    kinds = [(name, column.type) for name, column in columns.items()] + [(embedding, pa.list_(pa.float32()))]
    bar = open_bar(len(rows), "writing the table", "row", shown=progress)
    with pq.ParquetWriter(file, pa.schema(kinds)) as writer, bar:
        for begin in range(0, len(rows), BATCH):
            batch = {name: column.slice(begin, BATCH) for name, column in columns.items()}
            vectors = np.asarray(rows[begin : begin + BATCH], np.float32)
            ends = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
            batch[embedding] = pa.ListArray.from_arrays(pa.array(ends), pa.array(vectors.reshape(-1)))
            writer.write_table(pa.table(batch, schema=pa.schema(kinds)))
            bar.update(len(vectors))


def csv_text(table: dict[str, Sequence | np.ndarray], aspects: Sequence[str]) -> str:
    """A csv without formulas for spreadsheets: paths that look like one get ./ in front, groups and headings get an
    apostrophe."""
    safe = {"image": safe_path} | {aspect: safe_word for aspect in aspects}
    columns = [map(safe[name], values) if name in safe else values for name, values in table.items()]
    return as_csv([map(safe_word, table), *zip(*columns)])
