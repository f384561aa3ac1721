"""The main job: images and aspects -> what a run keeps, and its results. There is one way for one process and many."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from multimap_jax import __version__
from multimap_jax.arrays.rows import StoredRows
from multimap_jax.arrays.sampling import SAMPLE_ROWS, sample_rows
from multimap_jax.encoders.clip.model import Clip, load_clip
from multimap_jax.estimator import Assigned, MultiMaP
from multimap_jax.images.decoding import Unreadable
from multimap_jax.prompts.aspect import Aspect, make_prompt
from multimap_jax.prompts.separability import diagnose
from multimap_jax.proxies.fit import ProxyFit, fit_proxies
from multimap_jax.proxies.solver import default_block_size
from multimap_jax.report import Page, make_report
from multimap_jax.runs.cache import EmbeddingCache, ProxyCache, clear_cache
from multimap_jax.runs.distributed.process_group import ProcessGroup, join_group
from multimap_jax.runs.estimate import operations_per_second, proxy_seconds
from multimap_jax.runs.evaluation import BASELINES, evaluate_aspect
from multimap_jax.runs.job import AspectResult, CheckedJob, Job, check_job, make_models
from multimap_jax.runs.messages import (
    DRAWINGS,
    count,
    merge_texts,
    print_end,
    print_estimate,
    print_result,
    selection_text,
)
from multimap_jax.runs.results import (
    LABELS_ROWS,
    covered,
    file_hashes,
    labels_text,
    model_name,
    put_thumbnails,
    replace_results,
    run_content,
    run_settings,
    whole,
    write_labels,
)
from multimap_jax.runs.words import with_candidates, with_chosen
from multimap_jax.runtime.mesh import image_mesh
from multimap_jax.runtime.progress import open_bar, stage, with_bar
from multimap_jax.sources.embeddings import ReadyEmbeddings
from multimap_jax.sources.names import Texts
from multimap_jax.sources.source import Source
from multimap_jax.storage.filenames import name_of_path, printable
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import (
    GO_ON,
    GROUPS,
    LABELS,
    METRICS,
    REPORT,
    RUN,
    TABLE,
    Staging,
    prune,
    staging,
    sweep,
)
from multimap_jax.storage.paths import is_remote
from multimap_jax.words.choose import IMAGES

MINUTE = 60
LEFT = "shares"
NAMED = 40  # letters of an aspect in a bar
STABLE, SHOWN = 0.6, 5  # what a group's stability should be; groups that are named in a warning


def run_job(job: Job, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Runs a job, beginning with what an earlier run in the same folder has kept, and writes its results.

    Raises ValueError, TypeError, FileNotFoundError, OSError or ConnectionError, each with one sentence, before anything
    is computed wherever that is possible.
    """
    clock = Clock()
    plan = check_job(job)
    with locked(job.out, job.processes.index, job.processes.count):
        if job.processes.index == 0:
            sweep(job.out)
        process_group = join_group(job.processes, shared_settings(plan), job.out)
        clip = load_clip(job.clip)
        job = with_candidates(job, clip, process_group, say)
        plan = dataclasses.replace(plan, job=job)
        models = make_models(plan, clip, progress)
        if job.fresh and job.processes.index == 0:
            clear_cache(job.out)
        notes = [DRAWINGS] * clip.embedded + list(plan.source.notes)
        notes += covered(plan.source, [aspect.name for aspect in job.aspects])
        if (job.out / LEFT).is_dir():
            notes.append(f"{job.out / LEFT} was left by an earlier version and is not used.")
        for note in notes:
            say(note)
        clock.lap("load")
        print_estimate(job, clip, len(plan.source.images), say)
        clock.lap("estimate")
        if plan.embedded is None:
            found = embed(plan.source, clip, job.out, process_group, progress)
        else:
            found = matching_embeddings(plan.embedded, clip)
        clock.lap("embed")
        check_any_embedded(plan.source, found)
        notes += notes_on(found)
        sample = functools.cache(
            functools.partial(sample_rows, found.rows, found.names, job.settings.random_state, IMAGES)
        )
        job, words = with_chosen(job, clip, sample, process_group, say)
        if job.find:
            plan = dataclasses.replace(plan, job=job)
            models = make_models(plan, clip, progress)
        clock.lap("words")
        fits = {
            aspect.name: learn_proxies(job, clip, aspect, found, process_group, progress)
            for aspect in job.aspects
            if job.needs_proxies(aspect)
        }
        clock.lap("proxies")
        if job.processes.index:
            say(f"process {job.processes.index} of {job.processes.count} is done; process 0 writes the results")
            process_group.leave()
            return
        results, saved = [], []
        for model in with_bar(models, "grouping", progress):
            name = model.aspect.name
            results.append(fit_aspect(plan, model, found, fits.get(name), words[name], sample()))
            notes += [*separability_note(results[-1]), *unstable_note(results[-1])]
            saved.append(keep_model(job.out, model))
            print_result(results[-1], say)
        clock.lap("group")
        more = {"embeddings": whole(job.images if job.ready else job.out)}
        written = write_results(job, clip, plan.source, found, results, notes, clock, saved, progress, more)
        prune_models(job.out, saved)
        process_group.leave()
    print_end(job.out, written, found.failures, say)
    say(f"open {job.out / REPORT} to look at the groups, and to merge, split and rename them")


def shared_settings(plan: CheckedJob) -> dict:
    """What all processes of a run must have been started with, by the flag that says it."""
    job = plan.job
    names = hashlib.sha256()
    for name in plan.source.images:
        names.update(f"{name}\n".encode())
    return {
        "--images": f"{len(plan.source.images)} images {names.hexdigest()[:16]}",
        "--aspect, --words or --template": json.dumps([dataclasses.asdict(aspect) for aspect in job.aspects]),
        "--clusters": json.dumps(job.clusters),
        "--words": json.dumps(job.find),
        "--contrast": json.dumps(job.contrast),
        **{f"--{name}": value for name, value in dataclasses.asdict(job.settings).items()},
        "recipe": json.dumps(dataclasses.asdict(job.config)),
        "version": __version__,
    }


@dataclasses.dataclass(frozen=True)
class Found:
    """What was embedded: `rows` [kept, embed], unit rows in the order of `names` [kept]; `versions` gives those of
    these images; `failures`, the others."""

    rows: StoredRows
    names: Sequence[str]
    versions: Callable[[], list[str]]
    failures: Sequence[Unreadable] = ()


def embed(source: Source, clip: Clip, out: Path, process_group: ProcessGroup, progress: bool) -> Found:
    """All images: from what is kept, the rest computed, every process its shards."""
    cache, who = EmbeddingCache(out), process_group.processes

    def cut() -> dict:
        cache.check_encoder(clip)
        images = list(zip(source.names, source.versions()))
        shards = cache.cut(images, clip.image_block * image_mesh().size, clip.config.image.embed)
        images, shards = sorted(images), dict(sorted(shards.items()))
        return {"images": images, "shards": list(shards.values()), "encoder": clip.hash}

    told = process_group.broadcast("images", cut)
    if told["encoder"] != clip.hash:
        raise ValueError(
            f"{clip.name} is another checkpoint than that of process 0: give all processes the same --clip"
        )
    images = [tuple(image) for image in told["images"]]
    shards = dict(zip(images, told["shards"]))
    cache.compute(clip, shards, who.own(told["shards"]), source, progress)
    process_group.barrier(set(told["shards"]), cache.done)
    if not source.is_there():
        raise FileNotFoundError(f"{source.place} was taken away while it was read; {GO_ON}")
    rows, kept, failures = cache.gather(shards)
    return Found(rows, Texts(images[i][0] for i in kept), lambda: [images[i][1] for i in kept], failures)


def matching_embeddings(there: ReadyEmbeddings, clip: Clip) -> Found:
    """As `embed`, from embeddings that are there. ValueError where they are another encoder's."""
    width, own = clip.config.image.embed, there.rows.shape[1]
    if own != width or there.hash not in ("", clip.hash):
        same = "" if own != width else ", or these with other files beside the weights"
        raise ValueError(
            f"the embeddings in {there.source.place} have {own} numbers each, {clip.name} makes {width}: they are by "
            f"another encoder{same}; give theirs with --clip"
        )
    return Found(there.rows, there.source.names, there.versions)


def learn_proxies(
    job: Job, clip: Clip, aspect: Aspect, found: Found, process_group: ProcessGroup, progress: bool
) -> ProxyFit:
    """Proxies of all embedded images: from what is kept, the rest learnt, every process its shards."""
    embeddings, images = found.rows, list(zip(found.names, found.versions()))
    config, contrast = job.config, job.contrast[aspect.name]
    block = config.block_size or default_block_size()
    key = {
        "clip": clip.hash,
        "aspect": dataclasses.asdict(aspect),
        "contrast": list(contrast),
        "config": dataclasses.asdict(config) | {"block_size": block},
        "seed": job.settings.random_state if config.traits.batches else None,
        # Batches span all images: with others in them the proxies are others.
        "images": hashlib.sha256(json.dumps(images).encode()).hexdigest() if config.traits.batches else None,
    }
    cache, widths = ProxyCache.of(job.out, aspect.name, key), (clip.config.text.width, clip.config.image.embed)

    def size() -> int:
        rate = operations_per_second(clip.config.text.width, config.precision)
        whole = block * image_mesh().size
        seconds = proxy_seconds(clip.config, [(make_prompt(aspect, clip.tokenizer), whole)], int(config.steps), rate)
        return whole * max(1, int(MINUTE / seconds))

    def cut() -> dict:
        return {"shards": list(cache.cut(images, key, size, widths).values())}

    numbers = process_group.broadcast(f"proxies-{cache.folder.name}", cut)["shards"]
    shards = dict(zip(images, numbers))

    def fit(rows: np.ndarray) -> ProxyFit:
        some = {"embeddings": embeddings, "only": rows} if config.traits.batches else {"embeddings": embeddings[rows]}
        seed = job.settings.random_state
        return fit_proxies(clip, aspect=aspect, contrast=contrast, config=config, seed=seed, progress=bar, **some)

    own = process_group.processes.own(numbers)
    missing = set(own).difference(cache.done())
    steps = int(config.steps) * sum(shard in missing for shard in numbers)
    desc = f"optimising proxies of {printable(aspect.name)[:NAMED]}"
    with open_bar(steps, desc, "step", shown=progress) as bar:
        cache.compute(shards, own, fit)
    process_group.barrier(set(numbers), cache.done)
    return cache.gather(shards)


def check_any_embedded(source: Source, found: Found) -> None:
    """ValueError where no image could be read."""
    if not len(found.names):
        total = count(len(found.failures), "image")
        raise ValueError(f"none of {total} in {source.place} can be read; the first is {found.failures[0]}")


def notes_on(found: Found) -> list[str]:
    """What is to be known of the images, in sentences."""
    kept, failed, notes = len(found.names), len(found.failures), []
    if failed:
        notes.append(f"{failed:,} of {count(kept + failed, 'image')} could not be read and were left out.")
    if kept > SAMPLE_ROWS:
        notes.append(f"Groups were found on {SAMPLE_ROWS:,} of the images; every image then went to the nearest one.")
    if kept > LABELS_ROWS:
        notes.append(f"{LABELS} is written for {LABELS_ROWS:,} images at most: {TABLE} holds the groups of all.")
    return notes


def fit_aspect(
    plan: CheckedJob, model: MultiMaP, found: Found, fit: ProxyFit | None, words: dict, sample: tuple
) -> AspectResult:
    """Fits the model of one aspect, and looks whether the encoder sees it. fit: proxies learnt before, or None. words:
    where its words come from. sample: rows and names of the images that are looked at for that."""
    begin = time.perf_counter()
    model.fit(found.rows, proxies=fit, names=found.names, vocabulary=plan.vocabulary)
    result = evaluated(model, model.fitted(), plan.truth, found, begin)
    seen, (rows, names) = len(model.aspect.words) > 1, sample
    separability = diagnose(model.clip, rows, model.aspect, names, plan.job.settings.random_state) if seen else None
    return dataclasses.replace(
        result, words=words, separability=separability, exemplars=model.exemplars_, rows=model.fitted_rows(found.rows)
    )


def unstable_note(result: AspectResult) -> list[str]:
    """A warning where groups are not found again in half of the images."""
    steady = zip(result.model.cluster_names_, result.model.cluster_stability_)
    names = [f"{name} ({found:.0%})" for name, found in steady if found < STABLE]
    if not names:
        return []
    return [
        f"{result.aspect.name}: these groups are not steady, half of the images would give others: "
        f"{', '.join(names[:SHOWN])}{' …' * (len(names) > SHOWN)}."
    ]


def separability_note(result: AspectResult) -> list[str]:
    """A warning where the encoder does not see the aspect."""
    return [str(result.separability)] if result.separability and result.separability.verdict != "clear" else []


def evaluated(model: MultiMaP, assigned: Assigned, truth, found: Found, begin: float) -> AspectResult:
    """The result of one aspect, with metrics where there are true labels. begin: when work on the aspect began."""
    metrics = truth and evaluate_aspect(truth, found.names, model, assigned, found.rows)
    return AspectResult(model.aspect, model, assigned, metrics, time.perf_counter() - begin)


def keep_model(out: Path, model: MultiMaP) -> dict:
    """Puts a model beside those that are there, and returns what run.json says of it: its folder, and SHA-256 of its
    files. A folder is named for the eye, for the aspect and for what is in it."""
    with staging(out) as stage:
        try:
            model.save(stage.folder)
        except OSError as error:
            raise OSError(f"cannot write into {out / 'models'} ({error.strerror or error}); {GO_ON}") from None
        files = file_hashes(stage.folder)
        folder = model_name(model.aspect.name, files)
        put_model(stage, folder, files)
    return {"model": folder, "files": files}


def put_model(stage: Staging, folder: str, files: dict[str, str]) -> None:
    """Puts the files of a model, which lie aside, in place; nothing is to be done where they are there already."""
    if file_hashes(stage.out / "models" / folder) != files:
        for name in files:
            stage.take(f"models/{folder}/{name}", stage.folder / name)
        stage.place()


def prune_models(out: Path, kept: Sequence[dict]) -> None:
    """Takes away earlier models of the aspects that run.json now names others for."""
    for one in kept:
        prefix = one["model"].rpartition("-")[0]
        prune(out, f"models+{prefix}-", f"models+{one['model']}")


def write_results(
    job, clip: Clip, source: Source, found: Found, results, notes, clock, saved=(), progress=False, more=None, groups=""
) -> list[str]:
    """labels.csv, labels.parquet, metrics.json, report.html and run.json, one set; returns their names.

    saved: what run.json says of each aspect's model, where models are kept. more: what else it says. groups: the text
    of groups.json, where groups were edited.
    """
    names = found.names
    texts = {LABELS: labels_text(names, results)} if len(names) <= LABELS_ROWS else {}
    if job.labels is not None:
        metrics = {result.aspect.name: result.metrics for result in results if result.metrics}
        texts[METRICS] = json.dumps(metrics, indent=1) + "\n"
    texts |= {GROUPS: groups} if groups else {}
    settings = run_settings(job, clip, len(names))
    pages = [page_of(result) for result in results]
    run = "" if more and "applied" in more else f"{job.out}/"  # groups are edited where they were found
    report = make_report(
        title(job.images, results), source.images, names, pages, notes, settings, job.line, run, progress
    )
    texts[REPORT] = report.html
    clock.lap("report")
    with stage("writing results"):
        files = [*texts, TABLE]
        content = run_content(job, clip, names, results, found.failures, clock.seconds) | {"files": files}
        for aspect, one in zip(content["aspects"], saved):
            aspect |= one
        texts[RUN] = json.dumps(content | (more or {}), indent=1) + "\n"
        put_thumbnails(job.out, report.folder, report.pictures)
        replace_results(job.out, texts, {TABLE: lambda file: write_labels(file, names, results, source)})
        prune(job.out, "thumbnails-", report.folder)
    return [*files, *([report.folder] if report.folder else []), RUN]


class Clock:
    """Seconds of each lap, and since the beginning under "total"."""

    def __init__(self):
        self.begin = self.last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds |= {name: now - self.last, "total": now - self.begin}
        self.last = now


def page_of(result: AspectResult) -> Page:
    model, metrics = result.model, result.metrics
    if metrics:
        metrics = metrics | {"beside": {BASELINES[name]: values for name, values in metrics["beside"].items()}}
    return Page(
        result.aspect.name,
        result.assigned.labels,
        model.cluster_names_,
        model.cluster_confidences_,
        result.assigned.outliers,
        result.assigned.distances,
        metrics=metrics,
        separability=str(result.separability)
        if result.separability and result.separability.verdict == "clear"
        else "",  # else it stands on top
        words=words_said(result),
        sure=result.assigned.confidences,
        leftover=result.assigned.leftover,
        exemplars=result.exemplars,
        rows=result.rows,
        number=selection_text(result),
        evidence=model.n_clusters_table_,
        merges=merge_texts(model),
    )


def words_said(result: AspectResult) -> str:
    """Which words were asked of, and where they come from."""
    if not result.aspect.words:
        return "There are no words for this aspect."
    source = printable(str(result.words.get("source", "given")))[:NAMED]
    return f"Words ({'given' if source == 'given' else f'from {source}'}): {', '.join(result.aspect.words)}."


def title(images: Path, results: Sequence[AspectResult]) -> str:
    name = images.name if is_remote(images) else images.resolve().name
    return f"{name_of_path(name)} by {', '.join(result.aspect.name for result in results)}"
