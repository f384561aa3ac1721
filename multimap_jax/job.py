"""The main job: a folder of images and aspects -> labels.csv, run.json, metrics.json and report.html."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from multimap_jax.blocks import default_block_size
from multimap_jax.clip.images import Unreadable, list_images
from multimap_jax.clip.model import Clip, EmbeddedImages, load_clip
from multimap_jax.clustering import SAMPLE, build_features, check_clusters, check_features, cluster
from multimap_jax.cost import estimate_seconds, image_operations, machine, operations_per_second
from multimap_jax.estimator import MultiMaP, features_for
from multimap_jax.metrics import evaluate
from multimap_jax.prompts import Aspect, check_words, make_prompt, reference_words
from multimap_jax.proxies import ProxyFit, fit_proxies
from multimap_jax.recipes import ProxyConfig
from multimap_jax.report import Page, write_report
from multimap_jax.shares import Processes, Shares, join, leave
from multimap_jax.span import check_span

PACKAGES = ("jax", "flax", "optax", "transformers", "scikit-learn", "numpy", "pillow")
DRAWINGS = (
    "The embedded encoder was trained on drawings made by this package. Groups of photographs mean little with it: "
    "give a CLIP trained on photographs with --clip=DIRECTORY or --clip=openai/clip-vit-base-patch32."
)


@dataclasses.dataclass(frozen=True)
class Job:
    """What to do. `clusters` and `contrast` by aspect name."""

    images: Path
    aspects: tuple[Aspect, ...]
    clusters: dict[str, int]
    contrast: dict[str, tuple[str, ...]]
    config: ProxyConfig
    features: str | None
    clip: str
    labels: Path | None
    out: Path
    seed: int
    processes: Processes | None = None


def run_job(job: Job, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Runs a job and writes its files, labels.csv after every aspect.

    Raises ValueError, FileNotFoundError, OSError or ConnectionError, each with one sentence, before anything is
    computed wherever that is possible.
    """
    begin = time.perf_counter()
    paths = list_images(job.images)
    names = [_relative(path, job.images) for path in paths]
    truth = None if job.labels is None else read_labels(job.labels, [aspect.name for aspect in job.aspects])
    check_features(job.features)
    for aspect in job.aspects:
        check_clusters(job.clusters[aspect.name], len(paths))
        if job.features == "span":
            check_span(aspect, job.config)
    make_writable(job.out)
    if job.processes is not None:
        join(job.processes)
    clip = load_clip(job.clip)
    prompts = _check_prompts(job, clip)
    notes = [DRAWINGS] if clip.embedded else []
    for note in notes:
        say(note)
    _say_estimate(job, clip, prompts, len(paths), say)
    shares = None if job.processes is None else Shares.of(job.out, job.processes, _settings(job, clip, paths))
    if shares is not None:
        fit_share(job, clip, shares, paths, progress)
        if job.processes.index:
            say(f"process {job.processes.index} of {job.processes.count} is done; process 0 writes the results")
            leave()
            return
    embedded = gather_embeddings(shares) if shares else clip.embed_readable(paths, progress=progress)
    if not len(embedded.kept):
        first = embedded.failures[0]
        raise ValueError(f"none of the {len(paths)} images in {job.images} can be read; the first one is {first}")
    paths, names = [paths[i] for i in embedded.kept], [names[i] for i in embedded.kept]
    timings = {"load_and_embed_seconds": time.perf_counter() - begin}
    skipped = [dataclasses.replace(failure, name=_relative(failure.name, job.images)) for failure in embedded.failures]
    if skipped:
        notes.append(f"{len(skipped)} of {len(paths) + len(skipped)} images could not be read and were left out.")
    if len(paths) > SAMPLE:
        notes.append(
            f"Groups were found on {SAMPLE:,} images, drawn at random; every image then went to the nearest one."
        )
    results: list[Result] = []
    for aspect in job.aspects:
        fit = gather_proxies(shares, aspect) if shares else None
        results.append(group_by(job, clip, aspect, embedded.embeddings, names, truth, progress, fit))
        _write_labels(job.out / "labels.csv", names, results)
        _say_result(results[-1], say)
    timings |= {f"{result.aspect.name}_seconds": result.seconds for result in results}
    if truth is not None:
        metrics = {result.aspect.name: result.metrics for result in results if result.metrics}
        (job.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    write_report(job.out / "report.html", _title(job), paths, names, [result.page() for result in results], notes)
    timings["total_seconds"] = time.perf_counter() - begin
    _write_run(job, clip, names, results, skipped, timings)
    if shares is not None:
        leave()
        shares.remove()
    _say_end(job, skipped, truth is not None, say)


def fit_share(job: Job, clip: Clip, shares: Shares, paths: Sequence[Path], progress: bool) -> None:
    """Embeds this process's images and learns their proxies for every aspect, into its files."""
    own = job.processes.own(len(paths))

    def embed():
        embedded = clip.embed_readable([paths[i] for i in own], progress=progress)
        return {
            "embeddings": embedded.embeddings,
            "kept": embedded.kept + own.start,
            "failed": np.array([failure.index + own.start for failure in embedded.failures], int),
            "names": np.array([failure.name for failure in embedded.failures], str),
            "reasons": np.array([failure.reason for failure in embedded.failures], str),
        }

    embeddings = shares.compute("images", embed)["embeddings"]
    for aspect in job.aspects:

        def fit(aspect=aspect):
            if not len(embeddings):
                return {}
            found = fit_proxies(
                clip, embeddings, aspect, job.contrast[aspect.name], job.config, None, job.seed, progress
            )
            return dataclasses.asdict(found)

        shares.compute(_step(aspect), fit)


def gather_embeddings(shares: Shares) -> EmbeddedImages:
    parts = shares.gather("images")
    failures = [
        Unreadable(int(index), str(name), str(reason))
        for part in parts
        for index, name, reason in zip(part["failed"], part["names"], part["reasons"])
    ]
    embeddings, kept = (np.concatenate([part[name] for part in parts]) for name in ("embeddings", "kept"))
    return EmbeddedImages(embeddings, kept, tuple(failures))


def gather_proxies(shares: Shares, aspect: Aspect) -> ProxyFit:
    """The fits of all processes as one; losses are means over all images."""
    parts = [part for part in shares.gather(_step(aspect)) if part]
    rows = ("proxies", "prompt_embeddings", "reference", "loss")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in rows}
    weights = [len(part["loss"]) for part in parts]
    losses = np.average([part["losses"] for part in parts], axis=0, weights=weights).astype(np.float32)
    image_steps = sum(int(part["image_steps"]) for part in parts)
    return ProxyFit(**whole, losses=losses, block_size=int(parts[0]["block_size"]), image_steps=image_steps)


def _step(aspect: Aspect) -> str:
    """A file name for an aspect, whatever its name is."""
    return "proxies-" + aspect.name.encode().hex()


def _settings(job: Job, clip: Clip, paths: Sequence[Path]) -> dict:
    """All that embeddings and proxies depend on."""
    return {
        "clip": clip.hash,
        "images": [[_relative(p, job.images), os.stat(p).st_size, os.stat(p).st_mtime_ns] for p in paths],
        "aspects": [dataclasses.asdict(aspect) for aspect in job.aspects],
        "contrast": job.contrast,
        "config": dataclasses.asdict(job.config),
        "version": _own_version(),
    }


@dataclasses.dataclass(frozen=True)
class Result:
    """One aspect's fitted model, its distance order, metrics (None without labels) and time."""

    aspect: Aspect
    model: MultiMaP
    order: np.ndarray
    metrics: dict | None
    seconds: float

    def page(self) -> Page:
        model = self.model
        names, sure = model.cluster_names_, model.cluster_confidences_
        return Page(self.aspect.name, model.labels_, names, sure, model.outliers_, self.order, self.metrics)


def group_by(
    job: Job, clip: Clip, aspect: Aspect, embeddings, names, truth, progress: bool, fit: ProxyFit | None = None
) -> Result:
    """Groups by one aspect and, where labels are given, measures it beside the two cheap rivals."""
    begin, k = time.perf_counter(), job.clusters[aspect.name]
    model = MultiMaP(
        aspect,
        clip,
        n_clusters=k,
        contrast=job.contrast[aspect.name],
        config=job.config,
        features=job.features,
        random_state=job.seed,
        progress=progress,
    ).fit(embeddings, proxies=fit)
    metrics = None
    if truth is not None and aspect.name in truth:
        metrics = _measure(truth[aspect.name], names, model, job, clip, embeddings)
    return Result(aspect, model, np.argsort(model.distances_), metrics, time.perf_counter() - begin)


def _measure(truth: dict[str, str], names, model: MultiMaP, job: Job, clip: Clip, embeddings) -> dict | None:
    """Metrics over the images that have a label, with k-means on image embeddings and zero-shot beside them."""
    known = [i for i, name in enumerate(names) if name in truth]
    if not known:
        raise ValueError(
            f"no image of {job.images} is in {job.labels}: its column image holds paths relative to --images, such as "
            f"{names[0]}, found {next(iter(truth))}"
        )
    true = [truth[names[i]] for i in known]
    images = build_features("image", None, None, None, embeddings)
    rivals = {"image_kmeans": cluster(images, model.n_clusters_, job.seed).labels}
    if model.aspect.words:
        rivals["zero_shot"] = reference_words(clip, embeddings, model.aspect)
    beside = {name: evaluate(true, labels[known]) for name, labels in rivals.items()}
    return evaluate(true, model.labels_[known]) | {"images": len(known), "beside": beside}


def read_labels(path: Path, aspects: Sequence[str]) -> dict[str, dict[str, str]]:
    """True labels by aspect and image, from a csv with a column image and one column an aspect (others are ignored)."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no labels file {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a csv file in UTF-8 ({error})") from None
    known = [aspect for aspect in aspects if aspect in columns]
    if "image" not in columns or not known:
        raise ValueError(
            f"{path} has the columns {', '.join(columns) or '(none)'}; expected image and at least one of the aspects "
            f"{', '.join(aspects)}"
        )
    return {aspect: {row["image"]: row[aspect] for row in rows if row["image"] and row[aspect]} for aspect in known}


def make_writable(out: Path) -> None:
    """Creates the folder `out` and tries it; OSError says that it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()  # a name of its own: several processes may try at once
    except OSError as error:
        raise OSError(f"cannot write into {out} ({error.strerror}): give another folder with --out") from None


def _check_prompts(job: Job, clip: Clip):
    for aspect in job.aspects:
        check_words(aspect, clip, job.contrast[aspect.name])
    return [make_prompt(aspect, clip.tokenizer) for aspect in job.aspects]


def _say_estimate(job: Job, clip: Clip, prompts, images: int, say) -> None:
    rate = operations_per_second(clip.config.text.width)
    block = (job.config.block_size or default_block_size()) * jax.local_device_count()
    embedding = 2 * images * image_operations(clip.config.image) / rate
    proxies = estimate_seconds(clip.config, prompts, images, int(job.config.steps), block, rate)
    aspects = ", ".join(aspect.name for aspect in job.aspects)
    say(f"{images} images by {aspects} with {clip.name}: about {_duration(embedding)} to embed the images,")
    say(f"then {_duration(proxies)} for {int(job.config.steps)} steps of each aspect on {machine()}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _relative(path: str | Path, folder: Path) -> str:
    name = Path(path).relative_to(folder).as_posix()
    # File names that are not UTF-8 come with surrogates, which no text file takes.
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _title(job: Job) -> str:
    return f"{job.images.resolve().name} by {', '.join(aspect.name for aspect in job.aspects)}"


def _say_result(result: Result, say) -> None:
    model = result.model
    say(f"\n{result.aspect.name}: {model.n_clusters_} groups")
    wide = max(len(name) for name in model.cluster_names_)
    sizes = np.bincount(model.labels_, minlength=model.n_clusters_)
    for name, size, sure in zip(model.cluster_names_, sizes, model.cluster_confidences_):
        say(f"  {name:<{wide}}  {size:>6} images" + (f"  {sure:>4.0%} sure of the name" if sure else ""))
    if result.metrics:
        rows = {"groups": result.metrics} | result.metrics["beside"]
        for name, values in rows.items():
            say(f"  {name:<14}" + "  ".join(f"{key} {values[key]:.3f}" for key in ("nmi", "ri", "ari", "accuracy")))


def _say_end(job: Job, skipped, measured: bool, say) -> None:
    if skipped:
        say(f"\n{len(skipped)} images could not be read and were left out:")
        for failure in skipped[:20]:
            say(f"  {failure}")
        if len(skipped) > 20:
            say(f"  … and {len(skipped) - 20} more, listed in {job.out / 'run.json'}")
    written = ["labels.csv", "run.json", *(["metrics.json"] if measured else []), "report.html"]
    say("\nwritten: " + ", ".join(str(job.out / name) for name in written))


def _write_labels(path: Path, names: Sequence[str], results: Sequence[Result]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(result.aspect.name for result in results)])
        for i, name in enumerate(names):
            writer.writerow([name, *(result.model.cluster_names_[result.model.labels_[i]] for result in results)])


def _write_run(job: Job, clip: Clip, names, results: Sequence[Result], skipped, timings: dict) -> None:
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"multimap_jax": _own_version(), "python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "clip": {"name": clip.name, "hash": clip.hash},
        "images": {"folder": str(job.images), "read": len(names)},
        "skipped": [{"image": failure.name, "reason": failure.reason} for failure in skipped],
        "seed": job.seed,
        "config": dataclasses.asdict(job.config),
        "block_size": results[0].model.block_size_,
        "image_block_size": clip.image_block,
        "devices": jax.local_device_count(),
        "aspects": [_result_content(job, result) for result in results],
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
    }
    (job.out / "run.json").write_text(json.dumps(content, indent=1) + "\n")


def _result_content(job: Job, result: Result) -> dict:
    model = result.model
    sizes = np.bincount(model.labels_, minlength=model.n_clusters_).tolist()
    groups = zip(model.cluster_names_, sizes, model.cluster_confidences_.tolist())
    return dataclasses.asdict(result.aspect) | {
        "contrast": list(job.contrast[result.aspect.name]),
        "features": features_for(job.features, result.aspect, job.config),
        "groups": [{"id": i, "name": n, "images": s, "confidence": c} for i, (n, s, c) in enumerate(groups)],
        "outliers": int(model.outliers_.sum()),
        "image_steps": model.image_steps_,
        "final_loss": float(model.loss_.mean()),
    }


def _own_version() -> str:
    from multimap_jax import __version__

    return __version__
