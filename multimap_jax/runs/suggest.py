"""`multimap suggest`: the aspects that this encoder separates on these images, and the command to run next."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path

from multimap_jax.encoders.clip.model import load_clip
from multimap_jax.errors import InputError
from multimap_jax.prompts.separability import check_random_prompts
from multimap_jax.runs.distributed.process_group import ALONE, ProcessGroup
from multimap_jax.runs.embeddings import embed_source, matching_embeddings
from multimap_jax.runs.messages import DRAWINGS, count
from multimap_jax.runtime.progress import with_bar
from multimap_jax.sources.detect import open_source
from multimap_jax.sources.embeddings import read_embeddings
from multimap_jax.storage.filenames import printable
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import prepare_folder, sweep
from multimap_jax.words.find import FoundWords, aspects_to_suggest, suggest_aspects
from multimap_jax.words.sources import Sources

# Aspects that are listed, and words of each.
SHOWN = 12
SHOWN_WORDS = 6


@dataclasses.dataclass(frozen=True)
class Suggest:
    """What to do. images: or embeddings, if `ready`. out: for the embeddings."""

    images: Path
    out: Path
    subject: str
    clip: str
    sources: Sources = Sources()
    ready: bool = False


def run_suggest(job: Suggest, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Embeds the images, or takes what is cached in `out`, and prints the aspects, best first.

    Raises ValueError or OSError with one sentence before anything is computed.
    """
    vocabulary = job.sources.vocabulary()
    embedded = read_embeddings(job.images) if job.ready else None
    source = embedded.source if embedded else open_source(job.images)
    prepare_folder(job.out)
    with locked(job.out):
        sweep(job.out)
        clip = load_clip(job.clip)
        asked = aspects_to_suggest(clip, job.subject, vocabulary)
        if not asked:
            raise InputError(f"{clip.name} has seen two words of no aspect of {job.subject!r}: give more", "vocabulary")
        for aspect in asked:
            check_random_prompts(clip, aspect)
        for note in [DRAWINGS] * clip.embedded + list(source.notes):
            say(note)
        found = (
            matching_embeddings(embedded, clip)
            if embedded
            else embed_source(source, clip, job.out, ProcessGroup(ALONE), progress)
        )
        for note in found.notes():
            say(note)
        aspects = suggest_aspects(
            clip, found.rows, job.subject, vocabulary, progress=lambda all_of: with_bar(all_of, "looking for aspects")
        )
    for line in table(aspects, clip.name, len(found.names)):
        say(line)
    say("\n" + advice(job, aspects))


def table(aspects: list[FoundWords], encoder: str, images: int) -> list[str]:
    """The best aspects, a line each."""
    lines = [f"\nAspects that {encoder} separates on {count(images, 'image')}, best first; 1.0 or more is clear:"]
    width = max(len(found.aspect.name) for found in aspects[:SHOWN])
    for found in aspects[:SHOWN]:
        aspect, separability = found.aspect, found.separability
        words = ", ".join(aspect.words[:SHOWN_WORDS]) + (" …" if len(aspect.words) > SHOWN_WORDS else "")
        lines.append(
            f"  {aspect.name:<{width}}  {max(separability.score, 0):>4.1f}  {separability.verdict:<6}  {words}"
        )
    if len(aspects) > SHOWN:
        lines.append(f"  … and {len(aspects) - SHOWN} more")
    return lines


def advice(job: Suggest, aspects: list[FoundWords]) -> str:
    """The command to run next."""
    clear = [found.aspect.name for found in aspects if found.separability.verdict == "clear"]
    if not clear:
        return "None is clear. Try another encoder with --clip, or give words that fit these images with --words."
    flags = [f"--embeddings={job.images}" if job.ready else f"--images={job.images}", f"--subject={job.subject}"]
    flags += [*(f"--aspect={name}" for name in clear), f"--clip={job.clip}"]
    flags += ["--out=groups" if job.ready else f"--out={job.out}"]
    return "next: multimap " + " ".join(shlex.quote(printable(flag)) for flag in flags)
