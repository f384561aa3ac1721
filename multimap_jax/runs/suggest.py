"""`multimap suggest`: the aspects that this encoder separates on these images, and the command to run next."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Callable
from pathlib import Path

from multimap_jax.encoders.load import load_clip
from multimap_jax.errors import InputError
from multimap_jax.prompts.separability import check_compared_prompts
from multimap_jax.runs.distributed.process_group import ALONE, ProcessGroup
from multimap_jax.runs.messages import DRAWINGS, count, listing, print_skipped
from multimap_jax.runs.run_embeddings import embed_source, matching_embeddings
from multimap_jax.runtime.progress import with_bar
from multimap_jax.settings import ImageSettings
from multimap_jax.sources.detect import open_source
from multimap_jax.sources.embeddings import read_embeddings
from multimap_jax.storage.filenames import printable
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import prepare_folder, sweep
from multimap_jax.words.find import FoundWords, aspects_to_suggest, suggest_aspects
from multimap_jax.words.word_sources import WordSources

# Most aspects that are listed, and most words of each.
SHOWN = 12
SHOWN_WORDS = 6
# Levels of aspects that the next command asks for: those of the first that has any.
SEPARATED = ("well", "partly")


def run_suggest(
    images: Path,
    ready: bool,
    out: Path,
    subject: str,
    clip: str,
    image_settings: ImageSettings,
    sources: WordSources,
    say: Callable,
    progress: bool,
) -> None:
    """Embeds the images, or reads their embeddings from the cache in `out`, and prints the aspects, best first, and the
    command to run next. images: or embeddings, if `ready`.

    Raises ValueError or OSError with one sentence before anything is computed.
    """
    vocabulary = sources.vocabulary()
    embedded = read_embeddings(images) if ready else None
    source = embedded.source if embedded else open_source(images)
    prepare_folder(out)
    with locked(out):
        sweep(out)
        encoder = load_clip(clip, **dataclasses.asdict(image_settings))
        asked = aspects_to_suggest(encoder, subject, vocabulary)
        if not asked:
            raise InputError(
                f"{encoder.name} knows fewer than two words of every aspect of {subject!r}: give more", "vocabulary"
            )
        for aspect in asked:
            check_compared_prompts(encoder, aspect)
        for note in [DRAWINGS] * encoder.embedded + list(source.notes):
            say(note)
        found = (
            matching_embeddings(embedded, encoder)
            if embedded
            else embed_source(source, encoder, out, ProcessGroup(ALONE), progress)
        )
        for note in found.notes():
            say(note)
        aspects = suggest_aspects(
            encoder,
            found.rows,
            subject,
            vocabulary=vocabulary,
            progress=lambda all_of: with_bar(all_of, "looking for aspects"),
        )
    for line in table(aspects, encoder.name, len(found.names)):
        say(line)
    print_skipped(found.failures, say)
    levels = [[found.aspect.name for found in aspects if found.separability.verdict == level] for level in SEPARATED]
    names = next(filter(None, levels), [])
    if not names:
        advice = "Try another encoder with --clip, or give words that fit these images with --words."
        return say(f"\nThe encoder separates the words of none of these aspects. {advice}")
    flags = [f"--embeddings={images}" if ready else f"--images={images}", f"--subject={subject}"]
    flags += [*(f"--aspect={name}" for name in names), f"--clip={clip}", "--out=groups" if ready else f"--out={out}"]
    flags += [f"--{name}={value}" for name, value in image_settings.changed().items()]
    say("\nA high score says that the words separate these images, not that the aspect makes sense for them.")
    say("next: multimap " + " ".join(shlex.quote(printable(flag)) for flag in flags))


def table(aspects: list[FoundWords], encoder: str, images: int) -> list[str]:
    """The best aspects, one line each."""
    lines = [
        f"\nAspects by how well {encoder} separates their words on {count(images, 'image')}; 1.00 or more is well:"
    ]
    width = max(len(found.aspect.name) for found in aspects[:SHOWN])
    for found in aspects[:SHOWN]:
        aspect, separability = found.aspect, found.separability
        words = listing(aspect.words, SHOWN_WORDS)
        score = math.floor(100 * max(separability.score, 0)) / 100  # rounded down: below 1.00 it is not well
        lines.append(f"  {aspect.name:<{width}}  {score:>5.2f}  {separability.verdict:<6}  {words}")
    if len(aspects) > SHOWN:
        lines.append(f"  … and {len(aspects) - SHOWN} more")
    return lines
