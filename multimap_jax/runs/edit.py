"""`multimap edit`: merges, splits and renames groups of a finished run, and moves images. It learns nothing again."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from multimap_jax.arrays.rows import Rows
from multimap_jax.clustering.result import AspectResult
from multimap_jax.editing.editor import Editor, Regrouping, as_content, begun
from multimap_jax.editing.edits_file import Edit, edits_hash, read_edits
from multimap_jax.errors import InputError
from multimap_jax.estimator import MultiMaP
from multimap_jax.runs import finished
from multimap_jax.runs.evaluation import evaluated, read_labels
from multimap_jax.runs.export import read_label_columns
from multimap_jax.runs.messages import count, print_end, print_result
from multimap_jax.runs.models import prune_models, put_model
from multimap_jax.runs.results import Clock, RunRecord, check_own, whole, write_results
from multimap_jax.runtime.progress import with_bar
from multimap_jax.storage.filenames import name_of_path
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import RUN, prepare_folder, staging, sweep
from multimap_jax.storage.paths import is_same_file, local_folder_copy
from multimap_jax.storage.reading import read_json
from multimap_jax.words.look import Look

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class RunJob:
    """What to do with a finished run. images, embeddings, clip: where these are now; None: where the run says. line:
    the typed command. look, allowed: as of a `runs.job.Job`."""

    run: Path
    out: Path
    edits: Path | None = None
    clip: str | None = None
    labels: Path | None = None
    images: Path | None = None
    embeddings: Path | None = None
    line: str = ""
    look: Look | None = None
    allowed: bool = False


def run_edit(job: RunJob, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Writes the run again with edited groups and the same models.

    Raises ValueError or OSError, each with one sentence, before anything is written.
    """
    if job.edits is None:
        raise InputError("the edits are missing: give their file", "edits")
    clock, content = Clock(), finished.read_run(job.run)
    aspects = [aspect.name for aspect in content.aspects]
    edits = read_edits(job.edits, aspects)
    check_out(job.run, job.out, edits)
    (names,), images = read_label_columns(job.run, ("image",)), finished.images_of(job.run, content, job.images)
    truth = None if job.labels is None else read_labels(job.labels, aspects, dict.fromkeys(names), job.run)
    clip = finished.load_checkpoint(job.run, content, job.clip)
    models = [finished.read_model(job.run, aspect, clip) for aspect in content.aspects]
    before = finished.read_groups(job.run, content, models)
    embedded = finished.embeddings_of(job.run, content, names, job.embeddings)
    clock.lap("load")
    results, after = [], {}
    for model, aspect in with_bar(list(zip(models, content.aspects)), "editing groups", progress):
        begin, rows = time.perf_counter(), model.fitted_rows(embedded.rows)
        finished.check_fitted_rows(model, rows, f"{job.run}")
        chosen = [edit for edit in edits if edit.aspect == aspect.name]
        regrouping = before.get(aspect.name) or begun(model.cluster_names_)
        after[aspect.name] = edited(model, regrouping, chosen, names, rows)
        result = dataclasses.replace(
            model.result(model.fitted(), model.answers_), rows=rows, words_from=aspect.words_from
        )
        result = regrouped(result, model, after[aspect.name], names)
        results.append(evaluated(result, model, truth, embedded, begin))
    for result in results:
        print_result(result, say)
    clock.lap("group")
    prepare_folder(job.out)
    check_own(job.out, job.labels)
    groups = json.dumps({"format": FORMAT, "aspects": {name: as_content(now) for name, now in after.items()}}) + "\n"
    notes = [f"The groups of {name_of_path(f'{job.run}')} after {count(len(edits), 'edit')}."]
    notes += [images.note] if images.note else []
    warnings = {aspect.name: [aspect.warning()] for aspect in content.aspects if aspect.warning()}
    more = edited_content(job, content, edits, groups)
    if images.note:  # the images are not here: keep the place that the run names, for those who have them
        more["images"] = content.images
    with locked(job.out):
        check_out(job.run, job.out, edits)  # again: another command may have finished in the meantime
        sweep(job.out)
        kept = [copy_model(job.run, aspect, job.out) for aspect in content.aspects]
        settings = content.settings, content.config
        place = job.images or images.source.path
        record = RunRecord(
            job, place, clip, images.source, embedded, results, notes, *settings, kept, more, warnings, groups
        )
        written = write_results(record, clock, progress)
        prune_models(job.out, kept)
    print_end(job.out, written, [], say)
    say(f"to put new images into these groups: multimap apply --run={job.out} --images=NEW --out=MORE")


def edited_content(job: RunJob, content: finished.RunContent, edits: Sequence[Edit], groups: str) -> dict:
    """The origin of the groups, for run.json. groups: the text of groups.json."""
    if job.embeddings:
        embeddings = whole(job.embeddings)
    else:
        embeddings = whole(job.run) if finished.embeddings_folder(job.run) else content.embeddings or whole(job.run)
    digest = hashlib.sha256(groups.encode()).hexdigest()
    edited = {"run": whole(job.run), "edits": len(edits), "edits_hash": edits_hash(edits), "groups": digest}
    return {"edited": edited, "embeddings": embeddings}


def check_out(run: Path, out: Path, edits: Sequence[Edit] = ()) -> None:
    """InputError if writing into `out` would lose the results of a run, or edits. edits: of `run`, for `out`; they may
    be the edits that `out` has already, with more after them."""
    if is_same_file(out, run):
        raise InputError(f"this would overwrite the run in {out}: choose another folder", "out")
    there: dict = {}
    with contextlib.suppress(OSError, ValueError):
        there = read_json(out / RUN)
    aspects, edited = there.get("aspects"), there.get("edited") or {}
    another = isinstance(aspects, list) and any(isinstance(aspect, dict) and "model" in aspect for aspect in aspects)
    if another and not (edits and isinstance(edited, dict) and edited.get("run") == whole(run)):
        raise InputError(f"this would overwrite another finished run in {out}: choose another folder", "out")
    number = edited.get("edits") if another else None
    if another and not (isinstance(number, int) and edits_hash(edits[:number]) == edited.get("edits_hash")):
        raise InputError(
            f"this would overwrite other edits of {run} in {out}: choose another folder, or continue from those edits "
            f"with --run={out}",
            "out",
        )


def edited(model: MultiMaP, before: Regrouping, edits: Sequence[Edit], names: Sequence[str], rows: Rows) -> Regrouping:
    """The regrouping of one aspect after its edits. rows: the features that k-means ran on, [images, d]."""
    editor = Editor(
        before, model.labels_, model.distances_, model.leftover_, functools.cache(lambda: rows), model.cluster_centers_,
        list(names), model.seed_,
    )  # fmt: skip
    for number, edit in enumerate(edits):
        editor.make(edit, edits[number + 1 :])
    return editor.now


def regrouped(result: AspectResult, model: MultiMaP, regrouping: Regrouping, names: Sequence[str]) -> AspectResult:
    """A model's result for the images `names` [images], with the edited groups.

    A group that is still one cluster under its name keeps its name's confidence and its stability; for other groups
    these are unknown. Images moved by hand have no confidence.
    """
    by_model = result.assignment
    labels, distances, leftover, by_hand = regrouping.assign(
        by_model.labels, by_model.distances, by_model.leftover, result.rows, names, model.cluster_centers_
    )
    confidences = np.where(by_hand, np.nan, by_model.confidences)
    clusters = {name: i for i, name in enumerate(model.cluster_names_)}
    kept = [clusters.get(name) if regrouping.to.count(i) == 1 else None for i, name in enumerate(regrouping.groups)]
    return dataclasses.replace(
        result,
        assignment=dataclasses.replace(
            by_model, labels=labels, distances=distances, confidences=confidences, leftover=leftover
        ),
        cluster_names=list(regrouping.groups),
        name_confidences=np.array([0.0 if i is None else model.cluster_confidences_[i] for i in kept]),
        stability=np.array([np.nan if i is None else model.cluster_stability_[i] for i in kept]),
        candidates=[],
        merge_order=[],
    )


def copy_model(run: Path, aspect: finished.AspectContent, out: Path) -> dict:
    """Copies a model of the run into `out`, byte for byte; returns its entry for run.json."""
    folder = run / "models" / aspect.model
    with staging(out) as stage:
        here = local_folder_copy(folder, [folder / name for name in aspect.files])
        for name in aspect.files:
            shutil.copyfile(here / name, stage.folder / name)
        put_model(stage, aspect.model, aspect.files)
    return {"model": aspect.model, "files": aspect.files}
