"""`multimap apply`: new images into the groups of a finished run, nothing learnt of them but proxies where needed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from multimap_jax.proxies.recipes import ProxyConfig
from multimap_jax.runs.distributed.process_group import ALONE, ProcessGroup
from multimap_jax.runs.edit import regrouped
from multimap_jax.runs.evaluation import read_labels
from multimap_jax.runs.finished import aspects_of, load_checkpoint, read_groups, read_model, read_run
from multimap_jax.runs.group import Clock, check_any_embedded, embed, evaluated, notes_on, write_results
from multimap_jax.runs.messages import print_end, print_result
from multimap_jax.runs.results import check_own, covered, whole
from multimap_jax.runtime.progress import with_bar
from multimap_jax.settings import Settings
from multimap_jax.sources.detect import open_source
from multimap_jax.storage.filenames import name_of_path
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import prepare_folder, sweep
from multimap_jax.storage.paths import is_same_file


@dataclasses.dataclass(frozen=True)
class Apply:
    """What to do. `clip`: instead of the checkpoint that the run names."""

    run: Path
    images: Path
    out: Path
    clip: str | None
    labels: Path | None
    # For run.json: the settings of the run that is followed.
    settings: Settings = Settings()
    config: ProxyConfig = ProxyConfig()
    line: str = ""  # that was typed


def run_apply(job: Apply, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Writes the results for the new images, in the same groups.

    Raises ValueError, FileNotFoundError or OSError, each with one sentence, before anything is computed wherever that
    is possible.
    """
    clock, content = Clock(), read_run(job.run)
    source = open_source(job.images)
    aspects = [aspect["name"] for aspect in content["aspects"]]
    truth = None if job.labels is None else read_labels(job.labels, aspects, source.images, job.images)
    check_out(job)
    prepare_folder(job.out)
    check_own(job.out, job.labels)
    clip = load_checkpoint(job.run, content, job.clip)
    models = [read_model(job.run, aspect, clip) for aspect in content["aspects"]]
    edited = read_groups(job.run, content, models)
    config = ProxyConfig(**content["config"])
    job = dataclasses.replace(job, settings=Settings(**content["settings"]), config=config)
    clock.lap("load")
    with locked(job.out):
        check_out(job)  # once more: another command may have finished meanwhile
        sweep(job.out)
        found = embed(source, clip, job.out, ProcessGroup(ALONE), progress)
        clock.lap("embed")
        notes = [f"New images in the groups of {name_of_path(f'{job.run}')}: nothing was grouped anew.", *source.notes]
        notes += covered(source, aspects)
        check_any_embedded(source, found)
        notes += notes_on(found)
        results = []
        for model in with_bar(models, "grouping", progress):
            begin = time.perf_counter()
            model.progress = progress
            assigned, rows = model.assign_with_rows(found.rows)
            now = edited.get(model.aspect.name)
            if now:
                results.append(regrouped(model, now, assigned, rows, found, truth, begin))
            else:
                result = evaluated(model, assigned, truth, found, begin)
                results.append(dataclasses.replace(result, rows=rows))
            print_result(results[-1], say)
        clock.lap("group")
        more = {"applied": whole(job.run), "embeddings": whole(job.out)}
        written = write_results(job, clip, source, found, results, notes, clock, (), progress, more)
    print_end(job.out, written, found.failures, say)


def check_out(job: Apply) -> None:
    """ValueError where results of a run would be lost."""
    if is_same_file(job.out, job.run):
        raise ValueError(f"--out={job.out} is the run itself, whose results would be lost: give another folder")
    if any("model" in aspect for aspect in aspects_of(job.out)):
        raise ValueError(f"--out={job.out} is another finished run, whose results would be lost: give another folder")
