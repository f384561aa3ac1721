"""`multimap edit`: groups of a finished run merged, split, renamed; single images moved. Nothing is learnt again."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from multimap_jax.editing.editor import Editor, Regrouping, as_content, begun
from multimap_jax.editing.edits import Edit, read_edits
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.estimator import Assigned, MultiMaP
from multimap_jax.proxies.recipes import ProxyConfig
from multimap_jax.runs import finished
from multimap_jax.runs.evaluation import Truth, read_labels
from multimap_jax.runs.group import Clock, Found, evaluated, prune_models, put_model, write_results
from multimap_jax.runs.job import AspectResult
from multimap_jax.runs.messages import count, print_end, print_result
from multimap_jax.runs.results import check_own, whole
from multimap_jax.runtime.progress import with_bar
from multimap_jax.settings import Settings
from multimap_jax.storage.filenames import name_of_path, printable
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import prepare_folder, staging, sweep
from multimap_jax.storage.paths import is_same_file, local_folder_copy

FORMAT = 1
SAID = 1000  # letters of what a run said


@dataclasses.dataclass(frozen=True)
class EditJob:
    """What to do. images, embeddings, clip: where these lie now, None as the run says."""

    run: Path
    edits: Path
    out: Path
    clip: str | None = None
    labels: Path | None = None
    images: Path | None = None
    embeddings: Path | None = None
    line: str = ""
    # For run.json: the settings of the run that is edited.
    settings: Settings = Settings()
    config: ProxyConfig = ProxyConfig()


def run_edit(job: EditJob, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Writes the run again with its groups edited, and models that are the same.

    Raises ValueError, FileNotFoundError or OSError, each with one sentence, before anything is written.
    """
    clock, there = Clock(), read_inputs(job)
    content, images, found = there.content, there.images, there.found
    clock.lap("load")
    results, after = [], {}
    for model, aspect in zip(there.models, with_bar(content["aspects"], "editing groups", progress)):
        own = [edit for edit in there.edits if edit.aspect == model.aspect.name]
        before = there.known.get(model.aspect.name) or begun(model.cluster_names_)
        result, after[model.aspect.name] = edited(model, before, own, found, there.truth, f"{job.run}")
        results.append(dataclasses.replace(result, words=words_from(aspect)))
    for result in results:
        print_result(result, say)
    clock.lap("group")
    prepare_folder(job.out)
    check_own(job.out, job.labels)
    number, config = len(there.edits), ProxyConfig(**content["config"])
    groups = json.dumps({"format": FORMAT, "aspects": {name: as_content(now) for name, now in after.items()}}) + "\n"
    notes = [f"Groups of {name_of_path(f'{job.run}')} after {count(number, 'edit')}."]
    notes += [*filter(None, [images.note]), *filter(None, map(earlier_note, content["aspects"]))]
    job = dataclasses.replace(
        job, settings=Settings(**content["settings"]), config=config, images=job.images or images.source.place
    )  # fmt: skip
    with locked(job.out):
        check_out(job)  # once more: another command may have finished meanwhile
        sweep(job.out)
        saved = [keep_copy(job.run, aspect, job.out) for aspect in content["aspects"]]
        more = said_of_edits(job, content, number, groups)
        more |= {"images": content["images"]} if images.note else {}  # as the run says, for whoever has them
        clip, source = there.clip, images.source
        written = write_results(job, clip, source, found, results, notes, clock, saved, progress, more, groups)
        prune_models(job.out, saved)
    print_end(job.out, written, [], say)
    say(f"new images into these groups: multimap apply --run={job.out} --images=NEW --out=MORE")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A run and what is to be done with it. known: how its groups were edited before, by aspect."""

    content: dict
    edits: list[Edit]
    images: finished.RunImages
    truth: Truth | None
    clip: Clip
    models: list[MultiMaP]
    known: dict[str, Regrouping]
    found: Found


def read_inputs(job: EditJob) -> Inputs:
    """Reads everything. Errors as `run_edit`."""
    content = finished.read_run(job.run)
    aspects = [aspect["name"] for aspect in content["aspects"]]
    edits = read_edits(job.edits, aspects)
    check_out(job)
    names, images = finished.image_names(job.run), finished.images_of(job.run, content, job.images)
    truth = None if job.labels is None else read_labels(job.labels, aspects, dict.fromkeys(names), job.run)
    clip = finished.load_checkpoint(job.run, content, job.clip)
    models = [finished.read_model(job.run, aspect, clip) for aspect in content["aspects"]]
    known = finished.read_groups(job.run, content, models)
    found = Found(finished.rows_of(job.run, content, names, job.embeddings), names, lambda: [])
    return Inputs(content, edits, images, truth, clip, models, known, found)


def said_of_edits(job: EditJob, content: dict, edits: int, groups: str) -> dict:
    """What run.json says of where the groups come from. groups: the text of groups.json."""
    place = whole(job.embeddings) if job.embeddings else embeddings_place(job.run, content)
    digest = hashlib.sha256(groups.encode()).hexdigest()
    return {"edited": {"run": whole(job.run), "edits": edits, "groups": digest}, "embeddings": place}


def words_from(aspect: dict) -> dict:
    found = aspect.get("words_from")
    return found if isinstance(found, dict) else {}


def earlier_note(aspect: dict) -> str:
    """What the run said of an aspect that its encoder does not see, "" where it does."""
    separability = aspect.get("separability")
    return (
        printable(str(separability.get("said", "")))[:SAID]
        if isinstance(separability, dict) and separability.get("verdict") != "clear"
        else ""
    )


def check_out(job: EditJob) -> None:
    """ValueError where results of another run would be lost. The same edits, mended, may be made again."""
    if is_same_file(job.out, job.run):
        raise ValueError(f"--out={job.out} is the run itself, whose results would be lost: give another folder")
    another = any("model" in aspect for aspect in finished.aspects_of(job.out))
    if another and finished.edited_from(job.out) != whole(job.run):
        raise ValueError(f"--out={job.out} is another finished run, whose results would be lost: give another folder")


def embeddings_place(run: Path, content: dict) -> str:
    return whole(run) if finished.base(run) else str(content.get("embeddings", whole(run)))


def edited(
    model: MultiMaP, before: Regrouping, edits: Sequence[Edit], found: Found, truth, said: str
) -> tuple[AspectResult, Regrouping]:
    """One aspect after its edits, and how its groups come about now. said: what the run is called in sentences."""
    begin = time.perf_counter()
    rows = model.fitted_rows(found.rows)
    finished.check_fitted_rows(model, rows, said)
    editor = Editor(
        before, model.labels_, model.distances_, model.leftover_, functools.cache(lambda: rows), model.cluster_centers_,
        list(found.names), model.seed_,
    )  # fmt: skip
    for number, edit in enumerate(edits):
        editor.make(edit, edits[number + 1 :])
    return regrouped(model, editor.now, model.fitted(), rows, found, truth, begin), editor.now


def regrouped(model, now: Regrouping, by_model: Assigned, rows, found: Found, truth, begin: float) -> AspectResult:
    """What a model says of images, as the edited groups have it. by_model: what it says itself."""
    labels, distances, left = now.assign(
        by_model.labels, by_model.distances, by_model.leftover, rows, found.names, model.cluster_centers_
    )
    assigned = dataclasses.replace(by_model, labels=labels, distances=distances, leftover=left)
    return dataclasses.replace(evaluated(renamed(model, now), assigned, truth, found, begin), rows=rows)


def renamed(model: MultiMaP, now: Regrouping) -> MultiMaP:
    """A model as results show it: with the groups after edits. Its centroids are as they were.

    A name is as sure, and a group as steady, as it was where the group is still that of one centre; else nothing is
    said of it.
    """
    view, before = copy.copy(model), {name: i for i, name in enumerate(model.cluster_names_)}
    same = [before.get(name) if now.to.count(i) == 1 else None for i, name in enumerate(now.groups)]
    view.cluster_names_, view.n_clusters_ = list(now.groups), len(now.groups)
    view.cluster_confidences_ = np.array([0.0 if i is None else model.cluster_confidences_[i] for i in same])
    view.cluster_stability_ = np.array([np.nan if i is None else model.cluster_stability_[i] for i in same])
    view.n_clusters_table_, view.merge_order_ = [], []  # of other groups than these
    del view.exemplars_
    return view


def keep_copy(run: Path, aspect: dict, out: Path) -> dict:
    """Puts a model of the run into `out`, byte by byte; returns what run.json says of it."""
    folder, files = finished.model_folder(run, aspect), aspect["files"]
    with staging(out) as stage:
        here = local_folder_copy(folder, [folder / name for name in files])
        for name in files:
            shutil.copyfile(here / name, stage.folder / name)
        put_model(stage, aspect["model"], files)
    return {"model": aspect["model"], "files": files}
