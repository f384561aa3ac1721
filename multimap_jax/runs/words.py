"""Words that a run finds itself: candidates before the images are embedded, those that stay after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from multimap_jax.encoders.clip.model import Clip
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.runs.distributed.process_group import ProcessGroup
from multimap_jax.runs.job import Job
from multimap_jax.runs.messages import count
from multimap_jax.words.choose import choose_words
from multimap_jax.words.find import seen_words
from multimap_jax.words.sources import candidates

SHOWN = 12


def with_candidates(job: Job, clip: Clip, process_group: ProcessGroup, say: Callable[[str], None]) -> Job:
    """The job with candidate words where nobody gave any, those that the checkpoint may know; all processes use those
    of process 0. ValueError, FileNotFoundError or OSError with one sentence where there are fewer than two."""
    if not job.find:
        return job

    def found() -> dict:
        return {
            aspect.name: candidates(aspect.name, aspect.subject, job.find[aspect.name], job.sources, say)
            for aspect in job.aspects
            if aspect.name in job.find
        }

    told = process_group.broadcast("candidates", found)

    def with_seen(aspect: Aspect) -> Aspect:
        if aspect.name not in told:
            return aspect
        words = tuple(told[aspect.name])
        known = seen_words(clip, dataclasses.replace(aspect, words=words))
        if len(known.words) < 2:
            raise ValueError(
                f"of the words for {aspect.name!r} ({', '.join(words[:SHOWN])} …) the checkpoint {clip.name!r} has "
                f"seen fewer than two: give --words={aspect.name}=A,B,…, or another --clip"
            )
        return known

    return dataclasses.replace(job, aspects=tuple(map(with_seen, job.aspects)))


def with_chosen(
    job: Job, clip: Clip, sample: Callable[[], tuple], process_group: ProcessGroup, say: Callable[[str], None]
) -> tuple[Job, dict]:
    """The job with those candidates that the images pick, and what run.json says of each aspect's words. sample: gives
    unit rows [n, embed] of some images and their names."""

    def chosen() -> dict:
        found = {}
        for aspect in job.aspects:
            if aspect.name in job.find:
                rows, names = sample()
                choice = choose_words(clip, rows, aspect, names, job.settings.random_state)
                shares = [round(float(share), 4) for share in choice.shares]
                found[aspect.name] = {"source": job.find[aspect.name], "candidates": choice.candidates}
                found[aspect.name] |= {"words": choice.words, "shares": shares, "merged": choice.merged}
        return found

    told = process_group.broadcast("words", chosen) if job.find else {}
    for name, found in told.items():
        say(said(name, found))
    aspects = tuple(
        dataclasses.replace(aspect, words=tuple(told[aspect.name]["words"])) if aspect.name in told else aspect
        for aspect in job.aspects
    )
    about = {aspect.name: words_of(aspect, told) for aspect in aspects}
    return dataclasses.replace(job, aspects=aspects), about


def words_of(aspect: Aspect, told: dict) -> dict:
    """Where an aspect's words come from, for run.json."""
    found = told.get(aspect.name, {"source": "given" if aspect.words else "none"})
    return {key: value for key, value in found.items() if key != "words"}


def said(name: str, found: dict) -> str:
    """What the images chose, in a sentence or two."""
    words = [f"{word} {share:.0%}" for word, share in zip(found["words"], found["shares"])]
    more = f" … and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    merged = ", ".join(f"{word} {share:.0%} as {into}" for word, (into, share) in list(found["merged"].items())[:SHOWN])
    text = f"{name}: of {count(found['candidates'], 'word')} from {found['source']} the images pick {len(words)}: "
    return text + ", ".join(words[:SHOWN]) + more + (f" (taken together: {merged})" if merged else "")
