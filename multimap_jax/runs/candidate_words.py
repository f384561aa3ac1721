"""Words that a run finds itself: candidates before it embeds the images, a choice among them afterwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.prompts.separability import Separability
from multimap_jax.runs.distributed.process_group import ProcessGroup
from multimap_jax.runs.job import Job
from multimap_jax.runs.messages import count
from multimap_jax.words.choose import choose_words
from multimap_jax.words.find import seen_words
from multimap_jax.words.subject import choose_subject
from multimap_jax.words.word_sources import candidates

# Most words listed on one line.
SHOWN = 12


def with_candidates(job: Job, clip: Clip, process_group: ProcessGroup, say: Callable[[str], None]) -> Job:
    """The job with candidate words for the aspects of `job.find`: the words that the checkpoint may know. All processes
    use the words of process 0. InputError or OSError with one sentence if there are fewer than two."""
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
                    f"the encoder {clip.name!r} knows fewer than two of the words for {aspect.name!r} "
                    f"({', '.join(words[:SHOWN])} …): give words, or another encoder",
                    "words",
                )
        aspects.append(aspect)
    return dataclasses.replace(job, aspects=tuple(aspects))


def with_chosen(
    job: Job, clip: Clip, sample: Callable[[], tuple], process_group: ProcessGroup, say: Callable[[str], None]
) -> tuple[Job, dict, dict[str, Separability | None]]:
    """The job with the subjects and candidate words that fit the images; aspect -> the source of its words, for
    run.json; aspect -> the verdict on its words, None if it was not needed for the choice.

    sample: gives unit rows [n, embed] of some images, and their names.
    """

    def choose() -> dict:
        return {aspect.name: chosen_aspect(job, clip, aspect, *sample()) for aspect in job.aspects}

    chosen, origins, verdicts, aspects = process_group.broadcast("words", choose), {}, {}, []
    for aspect in job.aspects:
        found = chosen[aspect.name]
        subject, words, verdict = found.pop("subject"), tuple(found.pop("words")), found.pop("separability")
        verdicts[aspect.name] = Separability(**verdict) if verdict else None
        if "candidates" in found:
            say(choice_text(aspect.name, found | {"words": words}))
        if subject != aspect.subject:
            found["subject"] = aspect.subject
            say(
                f"{aspect.name}: using the subject {subject!r}, which separates these words better than "
                f"{aspect.subject!r}; --subject=exactly:{aspect.subject} keeps yours"
            )
        origins[aspect.name] = found
        aspects.append(dataclasses.replace(aspect, subject=subject, words=words))
    return dataclasses.replace(job, aspects=tuple(aspects)), origins, verdicts


def chosen_aspect(job: Job, clip: Clip, aspect: Aspect, rows: np.ndarray, names: Sequence) -> dict:
    """The subject, words and source of words of an aspect, chosen on unit rows [n, embed] of images; JSON."""
    source, seed = job.find.get(aspect.name), job.settings.random_state
    choice = separability = None
    tries = not job.exact_subject and len(aspect.words) > 1 and job.kind(aspect) == "span"
    if tries and source in (None, "vocabulary"):
        found = choose_subject(clip, rows, aspect, job.sources.vocabulary(), source is not None, names, seed)
        aspect, choice, separability = found.aspect, found.choice, dataclasses.asdict(found.separability)
    elif source:
        choice = choose_words(clip, rows, aspect, names, seed)
        aspect = dataclasses.replace(aspect, words=choice.words)
    origin: dict[str, object] = {"source": source or ("given" if aspect.words else "none")}
    if choice:
        shares = [round(float(share), 4) for share in choice.shares]
        origin |= {"candidates": choice.candidates, "shares": shares, "merged": choice.merged}
    return origin | {"subject": aspect.subject, "words": aspect.words, "separability": separability}


def choice_text(name: str, found: dict) -> str:
    """A sentence about the words that match the images."""
    words = [f"{word} {share:.0%}" for word, share in zip(found["words"], found["shares"])]
    more = f" … and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    candidates = f"{count(found['candidates'], 'word')} from {found['source']}"
    text = f"{name}: {len(words)} of {candidates} are closest to the images: {', '.join(words[:SHOWN])}{more}"
    if not found["merged"]:
        return text
    word, (into, _) = next(iter(found["merged"].items()))
    number = len(found["merged"])
    more, them, end = ("words are", "them", ", …") if number > 1 else ("word is", "it", "")
    reason = f"because the encoder hardly tells {them} from these here: {word} from {into}{end}"
    return f"{text}. {number} more {more} not counted, {reason}"
