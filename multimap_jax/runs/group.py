"""The main verb: groups images by aspects and writes the results. The same code serves one process and many."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable

import numpy as np

from multimap_jax import __version__
from multimap_jax.arrays.sampling import sample_rows
from multimap_jax.clustering.result import AspectResult
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.load import load_clip
from multimap_jax.estimator import MultiMaP
from multimap_jax.prompts.aspect import Aspect, make_prompt
from multimap_jax.prompts.separability import Separability, diagnose
from multimap_jax.proxies.fit import ProxyFit, fit_proxies
from multimap_jax.proxies.solver import default_block_size
from multimap_jax.runs import messages
from multimap_jax.runs.answers import look_at
from multimap_jax.runs.cache import ProxyCache, clear_cache
from multimap_jax.runs.candidate_words import with_candidates, with_chosen
from multimap_jax.runs.distributed.process_group import ProcessGroup, join_group
from multimap_jax.runs.estimate import operations_per_second, proxy_seconds
from multimap_jax.runs.evaluation import evaluated
from multimap_jax.runs.job import CheckedJob, Job, check_job, make_models
from multimap_jax.runs.models import keep_model, prune_models
from multimap_jax.runs.results import Clock, RunRecord, columns_left_out, replaced_note, whole, write_results
from multimap_jax.runs.run_embeddings import RunEmbeddings, embed_source, matching_embeddings
from multimap_jax.runtime.mesh import image_mesh
from multimap_jax.runtime.progress import open_bar, with_bar
from multimap_jax.storage.filenames import printable
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import REPORT, sweep
from multimap_jax.words.choose import WORD_IMAGES

# Target duration of a shard of proxies, which is the most that an interruption loses.
SHARD_SECONDS = 60
# Most characters of an aspect's name in a progress bar.
BAR_LETTERS = 40


def run_group(job: Job, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Runs a job, reusing the cache in its folder, and writes its results.

    Raises ValueError, TypeError, OSError or ConnectionError, each with one sentence and, where possible, before
    anything is computed.
    """
    clock, checked, first = Clock(), check_job(job), job.processes.index == 0
    with locked(job.out, job.processes.index, job.processes.count):
        if first:
            sweep(job.out)
            if note := replaced_note(job.out, [aspect.name for aspect in job.aspects]):
                say(note)
        process_group = join_group(job.processes, shared_settings(checked), job.out)
        clip = load_clip(job.clip, **dataclasses.asdict(job.image_settings))
        job = with_candidates(job, clip, process_group, say)
        checked = dataclasses.replace(checked, job=job)
        models = make_models(checked, clip, progress)
        if job.fresh and first:
            clear_cache(job.out)
        notes = [messages.DRAWINGS] * clip.embedded + list(checked.source.notes)
        notes += columns_left_out(checked.source, [aspect.name for aspect in job.aspects])
        for note in notes:
            say(note)
        clock.lap("load")

        def estimate(missing: int) -> None:
            messages.print_estimate(job, clip, len(checked.source.images), missing, say)
            clock.lap("estimate")

        if checked.ready is None:
            embedded = embed_source(checked.source, clip, job.out, process_group, progress, estimate)
        else:
            estimate(0)
            embedded = matching_embeddings(checked.ready, clip)
        clock.lap("embed")
        notes += embedded.notes()
        seed = job.settings.random_state
        sample = functools.cache(lambda: sample_rows(embedded.rows, embedded.names, seed, WORD_IMAGES))
        job, words, verdicts = with_chosen(job, clip, sample, process_group, say)
        checked = dataclasses.replace(checked, job=job)
        models = make_models(checked, clip, progress)
        clock.lap("words")
        answers = {
            aspect.name: look_at(job.out, aspect, job.look, checked.source, embedded, process_group, progress, say)
            for aspect in job.aspects
            if job.look and job.looks_at(aspect)
        }
        if answers:
            clock.lap("look")
        fits = {
            aspect.name: learn_proxies(job, clip, aspect, embedded, process_group, progress)
            for aspect in job.aspects
            if job.needs_proxies(aspect)
        }
        clock.lap("proxies")
        if not first:
            say(f"process {job.processes.index} of {job.processes.count} is done; process 0 writes the results")
            process_group.leave()
            return
        results, kept = [], []
        for model in with_bar(models, "grouping", progress):
            name = model.aspect.name
            learnt = {"proxies": fits.get(name), "answers": answers.get(name)}
            result = fit_aspect(checked, model, embedded, learnt, words[name], verdicts[name], sample())
            results.append(result)
            kept.append(keep_model(job.out, model))
            messages.print_result(result, say)
        clock.lap("group")
        record = RunRecord(
            job, job.images, clip, checked.source, embedded, results, notes, job.settings, job.config, kept,
            {"flags": job.flags, "embeddings": whole(job.images if job.ready else job.out)},
            {result.aspect.name: messages.result_warnings(result) for result in results},
        )  # fmt: skip
        written = write_results(record, clock, progress)
        prune_models(job.out, kept)
        process_group.leave()
    messages.print_end(job.out, written, embedded.failures, say)
    say(f"open {job.out / REPORT} to see, merge, split and rename the groups")


def shared_settings(checked: CheckedJob) -> dict:
    """Parameter -> the value that all processes of a run must share."""
    job, names = checked.job, hashlib.sha256()
    for name in checked.source.images:
        names.update(f"{name}\n".encode())
    return {
        "images": f"{len(checked.source.images)} images {names.hexdigest()[:16]}",
        "aspect": ", ".join(aspect.name for aspect in job.aspects),
        "words": json.dumps([job.find, [aspect.words for aspect in job.aspects]]),
        "template": json.dumps([[aspect.template, aspect.subject] for aspect in job.aspects]),
        "n_clusters": json.dumps(job.clusters),
        "contrast": json.dumps(job.contrast),
        **dataclasses.asdict(job.settings),
        "look": json.dumps([job.look.origin(aspect) for aspect in job.aspects if job.look and job.looks_at(aspect)]),
        "recipe": json.dumps(dataclasses.asdict(job.config)),
        "version": __version__,
    }


def learn_proxies(
    job: Job, clip: Clip, aspect: Aspect, embedded: RunEmbeddings, process_group: ProcessGroup, progress: bool
) -> ProxyFit:
    """Proxies of all embedded images. Cached ones are read; every process learns its shards of the rest."""
    embeddings, images = embedded.rows, list(zip(embedded.names, embedded.versions()))
    config, contrast = job.config, job.contrast[aspect.name]
    block = config.block_size or default_block_size(clip.shares_prompt)
    key = {
        "clip": clip.hash,
        "aspect": dataclasses.asdict(aspect),
        "contrast": list(contrast),
        "config": dataclasses.asdict(config) | {"block_size": block},
        "seed": job.settings.random_state if config.traits.batches else None,
        # Batches span all images, so other images give other proxies.
        "images": hashlib.sha256(json.dumps(images).encode()).hexdigest() if config.traits.batches else None,
    }
    cache = ProxyCache.of(job.out, aspect.name, key, (clip.token_width, clip.embedding_width))

    def size() -> int:
        rate = operations_per_second(clip.token_width, config.precision)
        whole = block * image_mesh().size
        seconds = proxy_seconds(clip, [(make_prompt(aspect, clip.tokenizer), whole)], int(config.steps), rate)
        return whole * max(1, int(SHARD_SECONDS / seconds))

    step, make = f"proxies-{cache.plan.folder.name}", lambda: {"shards": list(cache.cut(images, key, size).values())}
    numbers = process_group.broadcast(step, make)["shards"]
    shards = dict(zip(images, numbers))

    def fit(rows: np.ndarray) -> ProxyFit:
        some = {"embeddings": embeddings, "only": rows} if config.traits.batches else {"embeddings": embeddings[rows]}
        seed = job.settings.random_state
        return fit_proxies(clip, aspect=aspect, contrast=contrast, config=config, seed=seed, progress=bar, **some)

    own = process_group.processes.share(numbers)
    missing = set(own).difference(cache.done())
    steps = int(config.steps) * sum(shard in missing for shard in numbers)
    desc = f"optimising proxies of {printable(aspect.name)[:BAR_LETTERS]}"
    with open_bar(steps, desc, "step", shown=progress) as bar:
        cache.compute(shards, own, fit)
    process_group.barrier(set(numbers), cache.done)
    return cache.gather(shards)


def fit_aspect(
    checked: CheckedJob,
    model: MultiMaP,
    embedded: RunEmbeddings,
    learnt: dict,
    words_from: dict,
    separability: Separability | None,
    sample: tuple,
) -> AspectResult:
    """Fits the model of one aspect, and measures whether the encoder separates its words.

    learnt: proxies and answers as `MultiMaP.fit` takes them. words_from: the source of its words. separability: as it
    was measured when the words were chosen, or None. sample: rows and names of the images that it is measured on.
    """
    begin = time.perf_counter()
    model.fit(embedded.rows, names=embedded.names, vocabulary=checked.vocabulary, **learnt)
    result = evaluated(model.result(model.fitted(), model.answers_), model, checked.truth, embedded, begin)
    if separability is None and len(model.aspect.words) > 1 and model.answers_ is None:
        (rows, names), seed = sample, checked.job.settings.random_state
        separability = diagnose(load_clip(model.clip), rows, model.aspect, names=names, seed=seed)
    return dataclasses.replace(
        result,
        words_from=words_from,
        separability=separability,
        exemplars=model.exemplars_,
        rows=model.fitted_rows(embedded.rows),
    )
