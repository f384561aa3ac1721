"""Writes the results of a run as one set: labels.csv, labels.parquet, metrics.json, report.html and run.json."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multimap_jax import __version__
from multimap_jax.clustering.result import AspectResult
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError
from multimap_jax.proxies.recipes import ProxyConfig
from multimap_jax.report.page import Page
from multimap_jax.report.write import make_report
from multimap_jax.runs import finished
from multimap_jax.runs.evaluation import BASELINES
from multimap_jax.runs.messages import answers_text, merge_texts, selection_text, verdict_text, words_text
from multimap_jax.runs.run_embeddings import LABELS_ROWS, RunEmbeddings
from multimap_jax.runtime.machine import machine
from multimap_jax.runtime.progress import stage
from multimap_jax.settings import Settings, flag_of
from multimap_jax.sources.source import Source
from multimap_jax.storage import output
from multimap_jax.storage.encoding import as_csv, bare
from multimap_jax.storage.filenames import name_of_path, path_of_name, safe_path, safe_word, without_secrets
from multimap_jax.storage.local import Content
from multimap_jax.storage.paths import exists, is_same_file, storage_of

# Packages whose versions are in run.json.
PACKAGES = ("jax", "flax", "optax", "transformers", "scikit-learn", "numpy", "pillow")
# Columns of each aspect in labels.parquet, besides the one with its name.
COLUMNS = ("group", "distance", "confidence", "outlier", "answer")
# Most images without an answer in run.json.
LEFT_OUT_LISTED = 10_000
# Rows of labels.parquet written at once.
TABLE_ROWS = 2**18


class Clock:
    """Seconds of each lap, and since the start under "total"."""

    def __init__(self) -> None:
        self.begin = self.last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds |= {name: now - self.last, "total": now - self.begin}
        self.last = now


class AnyJob(Protocol):
    """The part of any verb's job that results need. line: the typed command."""

    @property
    def out(self) -> Path: ...

    @property
    def labels(self) -> Path | None: ...

    @property
    def line(self) -> str: ...


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """The record of a command, from which its results are written.

    Attributes:
      images: the given images or embeddings.
      settings, config: of the run that found the clusters.
      models: the entry of each aspect's model in run.json; empty if no models are kept.
      content: further entries of run.json. warnings: by aspect name, for the aspect's tab of the page.
      groups: the text of groups.json, "" if no groups were edited.
      editable: whether the page offers edits.
    """

    job: AnyJob
    images: Path
    clip: Clip
    source: Source
    embedded: RunEmbeddings
    results: Sequence[AspectResult]
    notes: Sequence[str]
    settings: Settings
    config: ProxyConfig
    models: Sequence[dict] = ()
    content: dict = dataclasses.field(default_factory=dict)
    warnings: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    groups: str = ""
    editable: bool = True


def write_results(record: RunRecord, clock: Clock, progress: bool) -> list[str]:
    """Replaces the results of an earlier command; returns the names of the new ones.

    Nothing is deleted before everything new is on the disk. Then the old files are deleted, run.json is replaced, and
    the new files are moved into place: new and old files never exist side by side.
    """
    job, names, results = record.job, record.embedded.names, record.results
    texts = {output.LABELS: labels_text(names, results)} if len(names) <= LABELS_ROWS else {}
    if job.labels is not None:
        metrics = {result.aspect.name: result.metrics for result in results if result.metrics}
        texts[output.METRICS] = json.dumps(metrics, indent=1) + "\n"
    texts |= {output.GROUPS: record.groups} if record.groups else {}
    report = make_report(
        f"{name_of_path(record.images.resolve().name)} by {', '.join(result.aspect.name for result in results)}",
        record.source.images,
        names,
        [page_of(result, record.warnings.get(result.aspect.name, ())) for result in results],
        record.notes,
        run_settings(record),
        job.line,
        f"{job.out}/" if record.editable else "",
        originals_address(record.source, record.images, job.out),
        progress,
        f"{edited_folder(job.out)}/",
        record.embedded.thumbnails,
    )
    texts[output.REPORT] = report.html
    if report.folder:
        with stage("writing thumbnails"):
            put_thumbnails(job.out, report.folder, report.pictures)
    clock.lap("report")
    with stage("writing results"):
        files = [*texts, output.LABELS_TABLE]
        content = run_content(record, clock.seconds) | {"files": files} | record.content
        contents: dict[str, Content] = {output.RUN: json.dumps(content, indent=1) + "\n", **texts}
        contents[output.LABELS_TABLE] = lambda file: write_labels(file, names, results, record.source)
        with output.staging(job.out) as stage_:
            for name in (name for name in (output.RUN, *output.RESULTS) if name in contents):
                stage_.add(name, contents[name])
            stage_.commit(instead_of=output.RESULTS)
        output.prune(job.out, "thumbnails-", report.folder)
    return [*files, *([report.folder] if report.folder else []), output.RUN]


def edited_folder(out: Path) -> Path:
    """A folder next to `out` for the edited run: the first of edited, edited-2, edited-3 … that does not exist, counted
    from the name of `out`."""
    own = re.fullmatch(r"edited(?:-(\d{1,9}))?", out.name)
    numbers = itertools.count(int(own[1] or 1) + 1 if own else 1)
    folders = (out.parent / (f"edited-{number}" if number > 1 else "edited") for number in numbers)
    return next(folder for folder in folders if not exists(folder))


def check_own(out: Path, labels: Path | None) -> None:
    """InputError if writing results into `out` would destroy a user's file: one that multimap did not write, one that
    changed since, a link, or the given labels."""
    for name in (*output.RESULTS, output.RUN):
        path = output.inside(out, name)
        if labels is not None and is_same_file(path, labels):
            raise InputError(f"the results would overwrite {labels}: choose another folder", "out")
        if not output.is_ours(out, name):
            raise InputError(output.changed_text(path))


def replaced_note(out: Path, aspects: Sequence[str]) -> str:
    """A sentence about the results in `out` that those by `aspects` will replace; "" if nothing is lost."""
    earlier = []
    with contextlib.suppress(OSError, ValueError):
        earlier = [aspect.name for aspect in finished.read_results(out).aspects]
    if not set(earlier) <= set(aspects):
        results = f"the results of an earlier run by {', '.join(earlier)[:200]}"
        return f"This run replaces {results} in {out}. To keep both, give all aspects in one command, or another --out."
    if earlier and exists(out / output.GROUPS):
        return f"This run replaces the edited groups in {out}. To keep both, give another --out."
    return ""


def originals_address(source: Source, images: Path, out: Path) -> str:
    """Where the page finds the originals: the address of the images' folder, relative to the results.

    "" if the images are not files of one folder on this machine, or if the address would reveal more of this machine
    than `images`, which the page shows.
    """
    first = next(iter(source.images), None)
    if first is None or not (storage_of(out).local and storage_of(images).local):
        return ""
    relative = Path(os.path.relpath(os.path.abspath(images), os.path.abspath(out)))
    named = tuple(part for part in relative.parts if part != "..")
    if images.parts[len(images.parts) - len(named) :] != named or source.images[first] != images / path_of_name(first):
        return ""
    return quote(os.fsencode(relative))


def put_thumbnails(out: Path, folder: str, pictures: dict[str, bytes]) -> None:
    """Writes a folder of thumbnails into `out`, unless it is already complete. Its name depends on its content, so an
    existing page keeps its own thumbnails."""
    there = storage_of(out).sizes(out / folder)
    if not there and not exists(out / folder):
        return output.write_folder(out, folder, pictures)
    names = {f"{folder}/{name}": picture for name, picture in pictures.items()}
    complete = all(there.get(name) == len(picture) for name, picture in pictures.items())
    if not complete or set(names) != set(output.recorded(out, folder)):
        output.write_all(out, names, sync=False)


def labels_text(names: Sequence[str], results: Sequence[AspectResult]) -> str:
    """labels.csv: a row for each image, and a column for each aspect with the name of its group or "(unassigned)".
    Spreadsheets see no formulas in it."""
    columns = [np.array([*map(safe_word, result.group_names)], object)[result.groups] for result in results]
    heading = ["image", *(safe_word(result.aspect.name) for result in results)]
    return as_csv([heading, *zip(map(safe_path, names), *columns)])


def columns_left_out(source: Source, aspects: Sequence[str]) -> list[str]:
    """In a sentence which columns of a source labels.parquet does not take, since its own are called so."""
    taken = {"image", *aspects, *(f"{aspect}: {column}" for aspect in aspects for column in COLUMNS)}
    lost = [name for name in source.columns if name in taken]
    why = f"have names that {output.LABELS_TABLE} uses itself, and are left out"
    return [f"columns of {source.path} {why}: {', '.join(map(name_of_path, lost))[:200]}."] if lost else []


def write_labels(file: BinaryIO, names: Sequence[str], results: Sequence[AspectResult], source: Source) -> None:
    """labels.parquet: labels.csv with the number of each group (-1 for unassigned images), the distance to its
    centroid, the confidence (null for images moved by hand), whether the image is an outlier and, if a model was
    asked, its answer; and what the source says of the images, where no column is called so."""
    columns: dict[str, pa.Array] = {"image": pa.array(names, pa.string())}
    columns |= {name: pa.array(bare(values)) for name, values in source.columns_of(names).items() if name != "image"}
    for result in results:
        name, assignment = result.aspect.name, result.assignment
        groups, last = result.groups, len(result.group_names) - 1
        # Numbers until they are written: a text for each image would fill the memory.
        groups_or_last = np.where(groups < 0, last, groups)
        columns[name] = pa.DictionaryArray.from_arrays(groups_or_last, pa.array(result.group_names))
        nowhere, answers = assignment.labels < 0, result.answers
        values: list = [groups]
        values += [np.where(nowhere, np.nan, array) for array in (assignment.distances, assignment.confidences)]
        values += [assignment.outliers, *([[text or None for text in answers.texts]] if answers else [])]
        columns |= {f"{name}: {column}": pa.array(array, from_pandas=True) for column, array in zip(COLUMNS, values)}
    coded = pa.types.is_dictionary
    types = {name: array.type.value_type if coded(array.type) else array.type for name, array in columns.items()}
    with pq.ParquetWriter(file, pa.schema(types.items())) as writer:
        for begin in range(0, len(names), TABLE_ROWS):
            rows = {name: array.slice(begin, TABLE_ROWS).cast(types[name]) for name, array in columns.items()}
            writer.write_table(pa.table(rows))


def run_content(record: RunRecord, timings: dict[str, float]) -> dict:
    """run.json: every setting, version, timing, group and skipped file."""
    job, clip, names = record.job, record.clip, record.embedded.names
    aspects = [aspect_content(result, names) for result in record.results]
    models = record.models or [{}] * len(aspects)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "clip": {
            "name": without_secrets(clip.place),
            "hash": clip.hash,
            **dataclasses.asdict(clip.image_settings),
        },
        "command": job.line,
        "images": {"folder": f"{record.images}", "place": whole(record.images), "read": len(names)},
        "skipped": [{"image": failure.name, "reason": failure.reason} for failure in record.embedded.failures],
        "settings": dataclasses.asdict(record.settings),
        "config": dataclasses.asdict(record.config),
        "image_block_size": clip.image_block,
        "devices": jax.local_device_count(),
        "aspects": [aspect | model for aspect, model in zip(aspects, models)],
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
    }


def aspect_content(result: AspectResult, names: Sequence[str]) -> dict:
    """The entry of one aspect in run.json; it mentions proxies only if proxies of images were learnt."""
    content = dataclasses.asdict(result.aspect) | {
        "contrast": list(result.contrast),
        "features": result.features,
        "words_from": result.words_from,
        "separability": result.separability and result.separability.content(),
        "model_selection": selection_content(result),
        "groups": group_content(result, names),
        "outliers": int(result.assignment.outliers.sum()),
        "leftover": int(result.assignment.leftover.sum()),
        "seconds": round(result.seconds, 3),
    }
    return content | (result.proxies or {}) | answers_content(result, names)


def answers_content(result: AspectResult, names: Sequence[str]) -> dict:
    """What a model was asked for run.json, and the first images in no group with the reasons; {} if none was asked."""
    if result.answers is None:
        return {}
    left_out = [{"image": names[i], "reason": result.answers.reasons[i]} for i in result.answers.missing.tolist()]
    return {
        "answers": {**result.answers.origin, "images": len(names) - len(left_out), "left_out": len(left_out)},
        "left_out": left_out[:LEFT_OUT_LISTED],
    }


def group_content(result: AspectResult, names: Sequence[str]) -> list[dict]:
    """The groups of one aspect for run.json. Each has its name, the confidence of the name, the number of images, their
    mean confidence (None if unknown), its stability (see `MultiMaP`) and the names of its exemplars."""
    columns = {
        "name": result.cluster_names,
        "images": result.sizes.tolist(),
        "name_confidence": result.name_confidences.tolist(),
        "confidence": [round(value, 4) or None for value in result.mean_confidences.tolist()],
        "stability": [round(value, 4) if np.isfinite(value) else None for value in result.stability.tolist()],
    }
    if result.exemplars is not None:
        columns["exemplars"] = [[names[i] for i in images.tolist()] for images in result.exemplars]
    return [{"id": i} | dict(zip(columns, values)) for i, values in enumerate(zip(*columns.values()))]


def selection_content(result: AspectResult) -> dict:
    """The number of groups for run.json: the requested number; the candidates, best first, if it was chosen; the merge
    order of the groups."""
    names = result.cluster_names
    merges = [
        {"groups": [[names[i] for i in side] for side in sides], "inertia": round(inertia, 4)}
        for *sides, inertia in result.merge_order
    ]
    candidates = [dataclasses.asdict(candidate) for candidate in result.candidates]
    return {"asked": result.asked, "groups": len(names), "candidates": candidates, "merge_order": merges}


def versions() -> dict[str, str]:
    """The versions of this package, Python and the packages that results depend on."""
    ours = {"multimap_jax": __version__, "python": platform.python_version()}
    return ours | {name: version(name) for name in PACKAGES}


def whole(path: Path) -> str:
    """An absolute path, valid from any folder; an address without its secrets."""
    return f"{path.absolute()}"


def run_settings(record: RunRecord) -> list[tuple[str, str]]:
    """The settings of a run for the page: (name, value) pairs."""
    settings = {flag_of(field): getattr(record.settings, field.name) for field in dataclasses.fields(record.settings)}
    settings |= dataclasses.asdict(record.config)
    return [
        ("images", f"{len(record.embedded.names):,} of {record.images}"),
        ("encoder", f"{without_secrets(record.clip.place)} ({record.clip.hash[:12]})"),
        *((name.replace("_", " "), str(value)) for name, value in settings.items() if value is not None),
        *((name.replace("_", " "), value) for name, value in dataclasses.asdict(record.clip.image_settings).items()),
        ("image block size", str(record.clip.image_block)),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions().items())),
        ("date", datetime.now(UTC).isoformat(timespec="seconds")),
        ("machine", machine()),
    ]


def page_of(result: AspectResult, warnings: Sequence[str]) -> Page:
    if metrics := result.metrics:
        metrics = metrics | {"beside": {BASELINES[name]: values for name, values in metrics["beside"].items()}}
    return Page(
        dataclasses.replace(result, metrics=metrics),
        verdict_text(result),
        " ".join(filter(None, (words_text(result), answers_text(result)))),
        selection_text(result),
        merge_texts(result),
        warnings,
    )
