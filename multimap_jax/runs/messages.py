"""What a run says in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from multimap_jax.choices import UNASSIGNED_NAME, UNNAMED
from multimap_jax.clustering.result import AspectResult
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.images.decoding import Unreadable
from multimap_jax.prompts.aspect import make_prompt
from multimap_jax.proxies.solver import default_block_size
from multimap_jax.runs.estimate import embedding_seconds, operations_per_second, padded, proxy_seconds
from multimap_jax.runtime.machine import machine
from multimap_jax.runtime.progress import duration
from multimap_jax.storage.filenames import printable, quoted

DRAWINGS = (
    "The embedded encoder knows drawings only. For photographs, give a CLIP that was trained on them: --clip=DIRECTORY "
    "or --clip=openai/clip-vit-base-patch32."
)
LOOKING = "A model that looks at each image may tell them apart (--look)."
# Unreadable images that are listed; outliers, unstable groups and words that a warning names; letters of the source of
# words.
LISTED = 20
OUTLIERS_LISTED = 3
UNSTABLE_LISTED = 5
UNFIT_LISTED = 12
# The confidence of a name below which it is a guess, as in report/state.js.
GUESS = 0.3
# The share of new images that are outliers, from which on it is said.
MANY_OUTLIERS = 0.2
SOURCE_LETTERS = 40
# Letters of a question, or of a reason why an image has no answer.
SHOWN_REASON = 200
# The stability that a group should have (Hennig, 2007).
STABLE = 0.6


def count(number: int, noun: str) -> str:
    """ "1 image", "2,000 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listing(texts: Sequence[str], most: int) -> str:
    """The first texts, and "…" if there are more."""
    return ", ".join(texts[:most]) + " …" * (len(texts) > most)


def print_estimate(job: Any, clip: Clip, images: int, missing: int, say: Callable[[str], None]) -> None:
    """How long it will take: the images, then proxies for those aspects that need them.

    job: a `runs.job.Job`, whose file imports this one. missing: images without an embedding.
    """
    width, devices = clip.token_width, jax.local_device_count()
    processes = job.processes.count
    names = ", ".join(aspect.name for aspect in job.aspects)
    say(f"grouping {count(images, 'image')} by {names} with the encoder {clip.name}, on {machine()}:")
    if missing:
        listed = "the images" if processes == 1 else "the images of each process"
        listed = listed if missing == images else f"{missing:,} of {count(images, 'image')}"
        own = padded(missing, clip.image_block, devices, processes)
        seconds = embedding_seconds(clip, own, operations_per_second(width, "float32"))
        text = f"about {duration(seconds)} to embed {listed}"
    else:
        text = "the embeddings are given" if job.ready else f"all {count(images, 'image')} are embedded already"
    proxies = padded(images, job.config.block_size or default_block_size(clip.shares_prompt), devices, processes)
    wanted = [(aspect, proxies) for aspect in job.aspects if job.needs_proxies(aspect)]
    wanted += [(aspect, job.clusters[aspect.name]) for aspect in job.aspects if job.needs_group_proxies(aspect)]
    if wanted:
        prompts = [(make_prompt(aspect, clip.tokenizer), number) for aspect, number in wanted]
        steps, rate = int(job.config.steps), operations_per_second(width, job.config.precision)
        seconds = proxy_seconds(clip, prompts, steps, rate)
        aspects = count(len({aspect.name for aspect, _ in wanted}), "aspect")
        text += f", then {duration(seconds)} for {count(steps, 'step')} of {aspects}"
        text += " (this encoder computes the whole prompt for every image)" * (not clip.shares_prompt)
    say(text)


def print_result(result: AspectResult, say: Callable[[str], None]) -> None:
    names, leftover = result.cluster_names, int(result.assignment.leftover.sum())
    say(f"\n{result.aspect.name}: {count(len(names), 'group')}")
    wide = max(map(len, result.group_names if leftover else names))
    for name, size, confidence, of_name in zip(names, result.sizes, result.mean_confidences, result.name_confidences):
        noun = "image " if size == 1 else "images"
        known = f"  confidence {confidence:.2f}" * bool(confidence) + f"  name confidence {of_name:.2f}" * bool(of_name)
        known += " (a guess)" * bool(0 < of_name < GUESS)
        say(f"  {name:<{wide}}  {size:>6} {noun}{known}".rstrip())
    if leftover:
        say(f"  {UNASSIGNED_NAME:<{wide}}  {leftover:>6} {'image' if leftover == 1 else 'images'}")
    if text := answers_text(result):
        say(f"  {text}")
    if result.candidates:
        say(f"  {selection_text(result)}")
    if text := verdict_text(result):
        say(f"  {text}")
    for warning in result_warnings(result):
        say(f"  Warning: {warning}")
    if metrics := result.metrics:
        say(f"  compared with your labels ({metrics['images']:,} of {count(metrics['of'], 'image')}):")
        for name, values in ({"groups": metrics} | metrics["beside"]).items():
            say(f"  {name:<14}" + "  ".join(f"{key} {values[key]:.3f}" for key in ("nmi", "ri", "ari", "accuracy")))


def outliers_text(outliers: np.ndarray, names: Sequence[str]) -> str:
    """Which of the new images `names` are outliers, bool [images]; "" where there are none."""
    if not outliers.any():
        return ""
    number, are = int(outliers.sum()), "is" if outliers.sum() == 1 else "are"
    listed = ", ".join(names[i] for i in np.flatnonzero(outliers)[:OUTLIERS_LISTED].tolist())
    most = f"{are} unlike most images of the run (tab Outliers)"
    return f"{number:,} of {count(len(outliers), 'image')} {most}: {listed}{', …' * (number > OUTLIERS_LISTED)}"


def selection_text(result: AspectResult) -> str:
    """Why there are so many groups, in a sentence or two; "" where the number was given."""
    if not result.candidates:
        return ""
    best, *others = result.candidates
    text = f"Chose {best.groups} groups (stability {best.strength:.2f})."
    if best.groups == 1:
        advice = "Try other words (--words)" if is_given(result) else f"Give words (--words={result.aspect.name}=A,B,C)"
        text = f"No split was stable, so everything is in one group. {advice}, or try another model (--clip)."
    if others := [other for other in others if other.groups > 1]:  # one group is always stable
        alternatives = ", ".join(f"{other.groups} ({other.strength:.2f})" for other in others[:2])
        text += (
            f" Next best: {alternatives}; for another number use --clusters={result.aspect.name}={others[0].groups}."
        )
        if best.groups > 1 and best.strength < max(other.strength for other in others[:2]):
            text += " They are ranked by a score that also counts the words, not by stability alone."
    if result.merge_order:
        text += f" Most similar groups: {' and '.join(merged_names(result, 0))}."
    return text


def verdict_text(result: AspectResult) -> str:
    """Whether the encoder separates the words; "" if that is a warning, with one group, or if no word fits any."""
    separability, groups = result.separability, len(result.cluster_names)
    if separability is None or separability.verdict == "hardly" or groups in (1, len(unnamed_groups(result))):
        return ""
    return str(separability)


def is_given(result: AspectResult) -> bool:
    """Whether the user gave the words."""
    return result.words_from.get("source", "given") == "given" and bool(result.aspect.words)


def unused_text(result: AspectResult) -> str:
    """Which of the words that the user gave name no group, "" where there are none."""
    if not is_given(result) or len(result.cluster_names) < len(result.aspect.words):
        return ""
    names = result.cluster_names
    unused = [
        word
        for word in result.aspect.words
        if not any(f"{name},".startswith((f"{word},", f"{word} ")) for name in names)
    ]
    if not unused or len(unused) == len(result.aspect.words):
        return ""
    return f"No group fits {'the word' if len(unused) == 1 else 'these words'}: {listing(unused, UNFIT_LISTED)}."


def unnamed_groups(result: AspectResult) -> list[str]:
    """The names of the groups that no word fits."""
    return [name for name in result.cluster_names if name.startswith(f"{UNNAMED} ")]


def unnamed_text(result: AspectResult) -> str:
    """Which groups no word fits, "" where there are none."""
    unnamed = unnamed_groups(result)
    if not unnamed:
        return ""
    if len(unnamed) == len(result.cluster_names) and len(result.aspect.words) > 1:
        words = listing(result.aspect.words, UNFIT_LISTED)
        return f"None of these words fits the images: {words}. Give others with --words."
    listed = ", ".join(map(quoted, unnamed))
    groups = f"the group {listed}" if len(unnamed) == 1 else f"these {len(unnamed)} groups: {listed}"
    return f"No word fits {groups}. Give more words with --words."


def merged_names(result: AspectResult, merge: int) -> list[str]:
    """The names of the groups on both sides of a merge."""
    sides = ([quoted(result.cluster_names[i]) for i in side] for side in result.merge_order[merge][:2])
    return [" and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) for names in sides]


def merge_texts(result: AspectResult) -> list[str]:
    """Which groups would merge, the most similar first, with the share of what lies between the groups that is lost."""
    texts = []
    for i, (*_, lost) in enumerate(result.merge_order):
        one, other = merged_names(result, i)
        if i == 0:
            texts.append(f"If you merge {one} and {other}, {lost:.0%} of the separation between the groups is lost.")
        else:
            texts.append(f"If you then merge {one} with {other}, another {lost:.0%} is lost.")
    return texts


def result_warnings(result: AspectResult) -> list[str]:
    """Warnings where the encoder does not separate the words, and where groups are not found again in half of the
    images."""
    separability, found = result.separability, zip(result.cluster_names, result.stability)
    warnings = [f"{separability} {LOOKING}"] if separability and separability.verdict == "hardly" else []
    warnings += [text for text in (unnamed_text(result), unused_text(result)) if text]
    if names := [f"{quoted(name)} ({stability:.2f})" for name, stability in found if stability < STABLE]:
        unstable = f"These {result.aspect.name} groups do not come back well when only half of the images are grouped"
        warnings.append(f"{unstable} (stability, at best 1): {listing(names, UNSTABLE_LISTED)}.")
    return warnings


def answers_text(result: AspectResult) -> str:
    """Who was asked, and how many images are in no group and why; "" if no model was asked."""
    if result.answers is None:
        return ""
    origin, missing, images = result.answers.origin, result.answers.missing, len(result.answers)
    model, asked = (printable(str(origin.get(name, "")))[:SHOWN_REASON] for name in ("model", "question"))
    text = (
        f"Grouped by the answers of {f'the model {model}' if model else 'a model'}{f' to: {asked}' if asked else '.'}"
    )
    if len(missing):
        reason = printable(result.answers.reasons[int(missing[0])])[:SHOWN_REASON]
        are = "is" if len(missing) == 1 else "are"
        text += f" {len(missing):,} of {count(images, 'image')} {are} in no group, for example: {reason.rstrip('.')}."
    return f"{text} Confidences say how clear an answer is, not whether it is right."


def words_text(result: AspectResult) -> str:
    """Which words there are, and where they come from."""
    if not result.aspect.words:
        return "There are no words for this aspect." if result.answers is None else ""
    source = printable(str(result.words_from.get("source", "given")))[:SOURCE_LETTERS]
    return f"Words ({'given' if source == 'given' else f'from {source}'}): {', '.join(result.aspect.words)}."


def print_skipped(skipped: Sequence[Unreadable], say: Callable[[str], None], record: Path | None = None) -> None:
    """Lists the images that could not be read. record: the file that lists all of them."""
    if skipped:
        say(f"\n{count(len(skipped), 'image')} could not be read:")
        for failure in skipped[:LISTED]:
            say(f"  {failure}")
        if len(skipped) > LISTED:
            say(f"  … and {len(skipped) - LISTED:,} more" + (f", listed in {record}" if record else ""))


def print_end(out: Path, written: Sequence[str], skipped: Sequence[Unreadable], say: Callable[[str], None]) -> None:
    print_skipped(skipped, say, out / "run.json")
    say("\nwritten: " + ", ".join(str(out / name) for name in written))
