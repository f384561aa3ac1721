"""What a run says in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from multimap_jax.choices import LEFT_OVER
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.images.decoding import Unreadable
from multimap_jax.prompts.aspect import make_prompt
from multimap_jax.proxies.solver import default_block_size
from multimap_jax.runs.estimate import embedding_seconds, operations_per_second, padded, proxy_seconds
from multimap_jax.runtime.machine import machine

DRAWINGS = (
    "The embedded encoder was trained on drawings made by this package. Groups of photographs mean little with it: "
    "give a CLIP trained on photographs with --clip=DIRECTORY or --clip=openai/clip-vit-base-patch32."
)
LISTED = 20


def count(number: int, noun: str) -> str:
    """ "1 image", "2,000 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_estimate(job, clip: Clip, images: int, say: Callable[[str], None]) -> None:
    """How long it will take: the images, then proxies for those aspects that need them."""
    width, devices = clip.config.text.width, jax.local_device_count()
    processes = job.processes.count
    own = padded(images, clip.image_block, devices, processes)
    embedding = embedding_seconds(clip.config.image, own, operations_per_second(width, "float32"))
    names = ", ".join(aspect.name for aspect in job.aspects)
    say(f"{count(images, 'image')} by {names} with {clip.name}, on {machine()}:")
    text = f"about {duration(embedding)} to embed {'the images' if processes == 1 else 'the images of each process'}"
    text = "no image is opened" if job.ready else text
    proxies = padded(images, job.config.block_size or default_block_size(), devices, processes)
    wanted = [(aspect, proxies) for aspect in job.aspects if job.needs_proxies(aspect)]
    wanted += [(aspect, job.clusters[aspect.name]) for aspect in job.aspects if job.needs_group_proxies(aspect)]
    if wanted:
        prompts = [(make_prompt(aspect, clip.tokenizer), number) for aspect, number in wanted]
        steps, rate = int(job.config.steps), operations_per_second(width, job.config.precision)
        seconds = proxy_seconds(clip.config, prompts, steps, rate)
        aspects = count(len({aspect.name for aspect, _ in wanted}), "aspect")
        text += f", then {duration(seconds)} for {count(steps, 'step')} of {aspects}"
    say(text)


def print_result(result, say: Callable[[str], None]) -> None:
    model = result.model
    say(f"\n{result.aspect.name}: {count(model.n_clusters_, 'group')}")
    left = int(result.assigned.leftover.sum())
    wide = max(len(name) for name in (result.names if left else model.cluster_names_))
    for name, size, sure, named in zip(
        model.cluster_names_, result.sizes, result.mean_confidences, model.cluster_confidences_
    ):
        noun = "image " if size == 1 else "images"
        sure = f"  {sure:>4.0%} sure" + (f", {named:>4.0%} of the name" if named else "")
        say(f"  {name:<{wide}}  {size:>6} {noun}{sure}")
    if left:
        say(f"  {LEFT_OVER:<{wide}}  {left:>6} {'image' if left == 1 else 'images'}")
    if model.n_clusters_table_:
        say(f"  {selection_text(result)}")
    if result.separability:
        say(f"  {'' if result.separability.verdict == 'clear' else 'WARNING: '}{result.separability}")
    if result.metrics:
        say(f"  agreement with the labels of {result.metrics['images']:,} of {count(result.metrics['of'], 'image')}:")
        rows = {"groups": result.metrics} | result.metrics["beside"]
        for name, values in rows.items():
            say(f"  {name:<14}" + "  ".join(f"{key} {values[key]:.3f}" for key in ("nmi", "ri", "ari", "accuracy")))


def selection_text(result) -> str:
    """The evidence for the number of groups, in a sentence or two; "" where it was asked for."""
    model, name = result.model, result.aspect.name
    if not model.n_clusters_table_:
        return ""
    own, *others = model.n_clusters_table_
    text = "The number was found: "
    if own.groups == 1:
        text += "of more groups than one too little is found again in other images"
    else:
        text += f"of {own.groups} groups even the weakest is found again in other images, by {own.strength:.0%}"
    others = [f"{other.groups} ({other.strength:.0%} so, --clusters={name}={other.groups})" for other in others[:2]]
    text += f". Next best: {', '.join(others)}." if others else "."
    return text + (f" The first to become one would be {merge_texts(model)[0]}." if model.merge_order_ else "")


def merge_texts(model) -> list[str]:
    """Which groups would become one, the first first, and what part of what lies between the groups that gives up."""
    named = [[" with ".join(model.cluster_names_[i] for i in each) for each in pair] for *pair, _ in model.merge_order_]
    return [f"{one} and {other} ({each[2]:.0%})" for (one, other), each in zip(named, model.merge_order_)]


def print_end(out: Path, written: Sequence[str], skipped: Sequence[Unreadable], say: Callable[[str], None]) -> None:
    if skipped:
        say(f"\n{count(len(skipped), 'image')} could not be read:")
        for failure in skipped[:LISTED]:
            say(f"  {failure}")
        if len(skipped) > LISTED:
            say(f"  … and {len(skipped) - LISTED:,} more, listed in {out / 'run.json'}")
    say("\nwritten: " + ", ".join(str(out / name) for name in written))
