"""`multimap apply`: assigns new images to the groups of a finished run. It learns only proxies, if these are needed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

from multimap_jax.errors import InputError
from multimap_jax.estimator import MultiMaP
from multimap_jax.features.table import FEATURE_KINDS
from multimap_jax.prompts.answers import Answers
from multimap_jax.runs.answers import look_at
from multimap_jax.runs.distributed.process_group import ALONE, ProcessGroup
from multimap_jax.runs.edit import RunJob, check_out, regrouped
from multimap_jax.runs.evaluation import evaluated, read_labels
from multimap_jax.runs.finished import load_checkpoint, read_groups, read_model, read_run
from multimap_jax.runs.messages import MANY_OUTLIERS, outliers_text, print_end, print_result
from multimap_jax.runs.results import Clock, RunRecord, check_own, columns_left_out, whole, write_results
from multimap_jax.runs.run_embeddings import embed_source
from multimap_jax.runtime.progress import with_bar
from multimap_jax.sources.detect import open_source
from multimap_jax.storage.filenames import name_of_path
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import prepare_folder, sweep
from multimap_jax.words.look import check_allowed


def run_apply(job: RunJob, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Assigns the new images `job.images` to the same groups and writes the results.

    Raises ValueError or OSError, each with one sentence and, where possible, before anything is computed.
    """
    if job.images is None:
        raise InputError("the new images are missing: give their folder", "images")
    clock, content = Clock(), read_run(job.run)
    source = open_source(job.images)
    aspects = [aspect.name for aspect in content.aspects]
    truth = None if job.labels is None else read_labels(job.labels, aspects, source.images, job.images)
    check_out(job.run, job.out)
    prepare_folder(job.out)
    check_own(job.out, job.labels)
    for note in source.notes:
        say(note)
    clip = load_checkpoint(job.run, content, job.clip)
    models = [read_model(job.run, aspect, clip) for aspect in content.aspects]
    edited = read_groups(job.run, content, models)
    check_look(job, models, len(source.images))
    clock.lap("load")
    with locked(job.out):
        check_out(job.run, job.out)  # again: another command may have finished in the meantime
        sweep(job.out)
        alone = ProcessGroup(ALONE)
        embedded = embed_source(source, clip, job.out, alone, progress)
        clock.lap("embed")
        notes = [f"New images, assigned to the existing groups of {name_of_path(f'{job.run}')}.", *source.notes]
        notes += columns_left_out(source, aspects) + embedded.notes()
        results = []
        for model, aspect in with_bar(list(zip(models, content.aspects)), "grouping", progress):
            begin = time.perf_counter()
            model.progress = progress
            answers: Answers | None = None
            if job.look and FEATURE_KINDS[model.features_].answers:
                answers = look_at(job.out, model.aspect, job.look, source, embedded, alone, progress, say)
            assignment, rows = model.assign_with_rows(embedded.rows, answers)
            result = dataclasses.replace(model.result(assignment, answers), rows=rows, words_from=aspect.words_from)
            if regrouping := edited.get(model.aspect.name):
                result = regrouped(result, model, regrouping, embedded.names)
            results.append(evaluated(result, model, truth, embedded, begin))
            print_result(results[-1], say)
        outliers = results[0].assignment.outliers
        if text := outliers_text(outliers, embedded.names):
            say(f"\n{text}")
        text = text if outliers.mean() >= MANY_OUTLIERS else ""
        warnings = {aspect.name: [said for said in (aspect.warning(), text) if said] for aspect in content.aspects}
        clock.lap("group")
        more = {"applied": whole(job.run), "embeddings": whole(job.out)}
        settings = content.settings, content.config
        record = RunRecord(
            job,
            job.images,
            clip,
            source,
            embedded,
            results,
            notes,
            *settings,
            content=more,
            warnings=warnings,
            editable=False,
        )
        written = write_results(record, clock, progress)
    print_end(job.out, written, embedded.failures, say)


def check_look(job: RunJob, models: Sequence[MultiMaP], images: int) -> None:
    """InputError if the groups need answers about the new images and no model may be asked. Its address is never taken
    from the run, which may come from a stranger."""
    looked = [model.aspect.name for model in models if FEATURE_KINDS[model.features_].answers]
    if looked and job.look is None:
        raise InputError(
            f"the groups of {', '.join(looked)[:200]} come from a model's answers: give the address of one to ask "
            "about the new images",
            "look",
        )
    if looked:
        check_allowed(job.look, images, job.allowed)
