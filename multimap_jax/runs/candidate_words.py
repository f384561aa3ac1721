"""Words that a run finds itself: candidates before the images are embedded, a choice of them afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError
from multimap_jax.runs.distributed.process_group import ProcessGroup
from multimap_jax.runs.job import Job
from multimap_jax.runs.messages import count
from multimap_jax.words.choose import choose_words
from multimap_jax.words.find import seen_words
from multimap_jax.words.word_sources import candidates

# Words that are listed on one line.
SHOWN = 12


def with_candidates(job: Job, clip: Clip, process_group: ProcessGroup, say: Callable[[str], None]) -> Job:
    """The job with candidate words for the aspects of `job.find`: those that the checkpoint may know. All processes use
    those of process 0. InputError or OSError with one sentence where there are fewer than two."""
    if not job.find:
        return job

    def find() -> dict:
        searched = [aspect for aspect in job.aspects if aspect.name in job.find]
        return {a.name: candidates(a.name, a.subject, job.find[a.name], job.sources, say) for a in searched}

    found, aspects = process_group.broadcast("candidates", find), []
    for aspect in job.aspects:
        if aspect.name in found:
            words = tuple(found[aspect.name])
            aspect = seen_words(clip, dataclasses.replace(aspect, words=words))
            if len(aspect.words) < 2:
                raise InputError(
                    f"of the words for {aspect.name!r} ({', '.join(words[:SHOWN])} …) the checkpoint {clip.name!r} has "
                    "seen fewer than two: give words, or another checkpoint",
                    "words",
                )
        aspects.append(aspect)
    return dataclasses.replace(job, aspects=tuple(aspects))


def with_chosen(
    job: Job, clip: Clip, sample: Callable[[], tuple], process_group: ProcessGroup, say: Callable[[str], None]
) -> tuple[Job, dict]:
    """The job with the candidates that match the images, and aspect -> where its words come from, for run.json.

    sample: gives unit rows [n, embed] of some images, and their names.
    """

    def choose() -> dict:
        found = {}
        for aspect in job.aspects:
            if aspect.name in job.find:
                rows, names = sample()
                choice = choose_words(clip, rows, aspect, names, job.settings.random_state)
                shares = [round(float(share), 4) for share in choice.shares]
                found[aspect.name] = {"source": job.find[aspect.name], "candidates": choice.candidates}
                found[aspect.name] |= {"words": choice.words, "shares": shares, "merged": choice.merged}
        return found

    chosen = process_group.broadcast("words", choose) if job.find else {}
    origins, aspects = {}, []
    for aspect in job.aspects:
        origins[aspect.name] = {"source": "given" if aspect.words else "none"}
        if aspect.name in chosen:
            say(choice_text(aspect.name, chosen[aspect.name]))
            words = tuple(chosen[aspect.name].pop("words"))
            origins[aspect.name], aspect = chosen[aspect.name], dataclasses.replace(aspect, words=words)
        aspects.append(aspect)
    return dataclasses.replace(job, aspects=tuple(aspects)), origins


def choice_text(name: str, found: dict) -> str:
    """Which words match the images, in a sentence or two."""
    words = [f"{word} {share:.0%}" for word, share in zip(found["words"], found["shares"])]
    more = f" … and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    merged = ", ".join(f"{word} {share:.0%} as {into}" for word, (into, share) in list(found["merged"].items())[:SHOWN])
    text = f"{name}: {len(words)} of {count(found['candidates'], 'word')} from {found['source']} match these images: "
    return text + ", ".join(words[:SHOWN]) + more + (f" (taken together: {merged})" if merged else "")
