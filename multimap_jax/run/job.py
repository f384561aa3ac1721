"""The main job: a folder of images and aspects -> labels.csv, run.json, metrics.json and report.html."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from multimap_jax import __version__
from multimap_jax.clip.images import Unreadable
from multimap_jax.clip.model import Clip, EmbeddedImages, load_clip
from multimap_jax.clustering import SAMPLE
from multimap_jax.estimator import MultiMaP
from multimap_jax.inputs.folder import readable
from multimap_jax.prompts import Aspect
from multimap_jax.proxies import ProxyFit, fit_proxies
from multimap_jax.report import Page, make_report
from multimap_jax.run.exchange import Exchange
from multimap_jax.run.files import write_json, write_labels, write_run, write_whole
from multimap_jax.run.measure import RIVALS, measure
from multimap_jax.run.plan import Job, Plan, Result, make_models, make_plan
from multimap_jax.run.processes import join, leave
from multimap_jax.run.say import DRAWINGS, count, say_end, say_estimate, say_result


def run_job(job: Job, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Runs a job and writes its files: labels.csv after every aspect, run.json before the report.

    Raises ValueError, TypeError, FileNotFoundError, OSError or ConnectionError, each with one sentence, before anything
    is computed wherever that is possible.
    """
    clock = Clock()
    plan = make_plan(job)
    if job.processes is not None:
        join(job.processes)
    clip = load_clip(job.clip)
    models = make_models(job, clip, progress)
    notes = [DRAWINGS] * clip.embedded + list(plan.folder.notes)
    for note in notes:
        say(note)
    clock.lap("load")
    say_estimate(job, clip, len(plan.folder.files), say)
    clock.lap("estimate")
    exchange = None
    if job.processes is not None:
        exchange = Exchange.of(job.out, job.processes, settings(plan, clip))
        compute_part(plan, clip, exchange, progress)
        if job.processes.index:
            say(f"process {job.processes.index} of {job.processes.count} is done; process 0 writes the results")
            leave()
            return
    embedded = gather_embeddings(exchange) if exchange else clip.embed_readable(plan.folder.files, progress=progress)
    clock.lap("embed")
    names, skipped = tell_apart(plan, embedded, notes)
    results = []
    for model in models:
        fit = gather_proxies(exchange, model.aspect) if exchange and job.needs_proxies(model.aspect) else None
        results.append(group(plan, clip, model, embedded.embeddings, names, fit))
        write_labels(job.out / "labels.csv", names, results)
        say_result(results[-1], say)
    clock.lap("group")
    written = write_results(plan, clip, embedded, names, skipped, results, notes, clock)
    if exchange is not None:
        leave()
        exchange.remove()
    say_end(job.out, written, skipped, say)


def tell_apart(plan: Plan, embedded: EmbeddedImages, notes: list[str]) -> tuple[list[str], list[Unreadable]]:
    """(names of the images that were embedded, the others under their names); `notes` get what is to be known of it.

    Raises ValueError where no image could be read.
    """
    everyone = plan.folder.names
    names = [everyone[i] for i in embedded.kept]
    skipped = [dataclasses.replace(failure, name=everyone[failure.index]) for failure in embedded.failures]
    if not names:
        total = count(len(skipped), "image")
        raise ValueError(f"none of {total} in {plan.job.images} can be read; the first is {skipped[0]}")
    if skipped:
        notes.append(f"{len(skipped):,} of {count(len(everyone), 'image')} could not be read and were left out.")
    if len(names) > SAMPLE:
        notes.append(
            f"Groups were found on {SAMPLE:,} images, drawn at random; every image then went to the nearest one."
        )
    return names, skipped


def group(plan: Plan, clip: Clip, model: MultiMaP, embeddings: np.ndarray, names: Sequence[str], fit) -> Result:
    """Fits the model of one aspect, measured where there are true labels. fit: proxies learnt before, or None."""
    begin = time.perf_counter()
    model.fit(embeddings, proxies=fit)
    metrics = plan.truth and measure(plan.truth, names, model, clip, embeddings, plan.job.seed)
    return Result(model.aspect, model, metrics, time.perf_counter() - begin)


def write_results(plan: Plan, clip: Clip, embedded, names, skipped, results, notes, clock) -> list[str]:
    """metrics.json, run.json and report.html; returns the names of all files of results."""
    job, written = plan.job, ["labels.csv", "run.json"]
    if plan.truth is not None:
        found = {result.aspect.name: result.metrics for result in results if result.metrics}
        write_json(job.out / "metrics.json", found)
        written.append("metrics.json")
    # Twice: first of all, so that nothing is lost with the report; then with the time that the report took.
    write_run(job.out / "run.json", job, clip, names, results, skipped, clock.seconds)
    images, pages = [plan.folder.files[i] for i in embedded.kept], [page(result) for result in results]
    write_whole(job.out / "report.html", make_report(title(job), images, names, pages, notes))
    clock.lap("report")
    write_run(job.out / "run.json", job, clip, names, results, skipped, clock.seconds)
    return [*written, "report.html"]


class Clock:
    """Seconds of each lap, and since the beginning under "total"."""

    def __init__(self):
        self.begin = self.last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds |= {name: now - self.last, "total": now - self.begin}
        self.last = now


def page(result: Result) -> Page:
    model, metrics = result.model, result.metrics
    if metrics:
        metrics = metrics | {"beside": {RIVALS[name]: values for name, values in metrics["beside"].items()}}
    return Page(
        result.aspect.name,
        model.labels_,
        model.cluster_names_,
        model.cluster_confidences_,
        model.outliers_,
        np.argsort(model.distances_),
        metrics,
    )


def title(job: Job) -> str:
    return f"{readable(job.images.resolve().name)} by {', '.join(aspect.name for aspect in job.aspects)}"


def compute_part(plan: Plan, clip: Clip, exchange: Exchange, progress: bool) -> None:
    """Embeds this process's images and learns the proxies that any aspect needs of them, into its files."""
    job = plan.job
    own = job.processes.own(len(plan.folder.files))

    def embed():
        embedded = clip.embed_readable([plan.folder.files[i] for i in own], progress=progress)
        return {
            "embeddings": embedded.embeddings,
            "kept": embedded.kept + own.start,
            "failed": np.array([failure.index + own.start for failure in embedded.failures], int),
            "reasons": np.array([failure.reason for failure in embedded.failures], str),
        }

    embeddings = exchange.compute("images", embed)["embeddings"]
    for aspect in filter(job.needs_proxies, job.aspects):

        def fit(aspect=aspect):
            if not len(embeddings):
                return {}
            contrast = job.contrast[aspect.name]
            found = fit_proxies(clip, embeddings, aspect, contrast, job.config, None, job.seed, progress)
            return dataclasses.asdict(found)

        exchange.compute(file_name(aspect), fit)


def gather_embeddings(exchange: Exchange) -> EmbeddedImages:
    found = exchange.gather("images")
    failures = [
        Unreadable(int(index), f"image {index}", str(reason))
        for one in found
        for index, reason in zip(one["failed"], one["reasons"])
    ]
    embeddings, kept = (np.concatenate([one[name] for one in found]) for name in ("embeddings", "kept"))
    return EmbeddedImages(embeddings, kept, tuple(failures))


def gather_proxies(exchange: Exchange, aspect: Aspect) -> ProxyFit:
    """The fits of all processes as one; losses are means over all images."""
    found = [one for one in exchange.gather(file_name(aspect)) if one]
    rows = ("proxies", "prompt_embeddings", "reference", "loss")
    whole = {name: np.concatenate([one[name] for one in found]) for name in rows}
    weights = [len(one["loss"]) for one in found]
    losses = np.average([one["losses"] for one in found], axis=0, weights=weights).astype(np.float32)
    image_steps = sum(int(one["image_steps"]) for one in found)
    return ProxyFit(**whole, losses=losses, block_size=int(found[0]["block_size"]), image_steps=image_steps)


def file_name(aspect: Aspect) -> str:
    """A file name for an aspect, whatever its name is and however long."""
    return "proxies-" + hashlib.sha256(aspect.name.encode()).hexdigest()[:16]


def settings(plan: Plan, clip: Clip) -> dict:
    """All that embeddings and proxies depend on."""
    job = plan.job
    return {
        "clip": clip.hash,
        "images": [[name, *version(path)] for name, path in zip(plan.folder.names, plan.folder.files)],
        "aspects": [dataclasses.asdict(aspect) for aspect in job.aspects],
        "contrast": job.contrast,
        "config": dataclasses.asdict(job.config),
        "version": __version__,
    }


def version(path: Path) -> tuple[int, int]:
    """Size and time of change of a file; of a link that leads nowhere, nothing."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns
