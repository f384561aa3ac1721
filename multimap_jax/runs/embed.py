"""`multimap embed`: only embeds the images, with one worker or many independent ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from multimap_jax import __version__
from multimap_jax.encoders.load import load_clip
from multimap_jax.runs.cache import EmbeddingCache
from multimap_jax.runs.distributed.process_group import ALONE, Processes, join_group
from multimap_jax.runs.messages import count
from multimap_jax.runtime.mesh import image_mesh
from multimap_jax.settings import ImageSettings
from multimap_jax.sources.detect import open_source
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import prepare_folder, sweep


def run_embed(
    images: Path,
    out: Path,
    clip: str,
    image_settings: ImageSettings,
    part: tuple[int, int],
    processes: Processes,
    say: Callable,
    progress: bool,
    thumbnails: bool = True,
) -> None:
    """Embeds the unfinished shards of worker part[0] (from 1) of part[1]. processes: of workers that know of and wait
    for each other. thumbnails: whether to keep thumbnails too.

    Workers agree on the shards without communication: each makes the same plan from the same list of images, or reads
    the existing plan.

    Raises ValueError or OSError with one sentence before anything is computed.
    """
    number, workers = part
    source = open_source(images)
    prepare_folder(out)
    worker = ALONE if workers == 1 else Processes("", workers, number - 1)
    with locked(out, worker.index, worker.count):
        if processes.coordinator and number == 1:
            sweep(out)
        settings = {"images": f"{len(source.images)} images", "version": __version__}
        process_group = join_group(processes, settings, out)
        encoder = load_clip(clip, **dataclasses.asdict(image_settings))
        for note in source.notes:
            say(note)
        cache = EmbeddingCache(out, encoder.embedding_width)
        cache.check_encoder(encoder)
        listed = list(zip(source.names, source.versions()))
        if workers > 1:
            cache.check_listing(listed)
        shards = cache.cut(listed, encoder.image_block * image_mesh().size, alone=workers == 1)
        numbers = set(shards.values())
        mine = worker.share(numbers)
        missing = set(mine).difference(cache.done())
        remaining = sum(shard in missing for shard in shards.values())
        say(f"{count(remaining, 'image')} of {len(listed):,} to embed, in {len(missing):,} of {len(numbers):,} shards")
        cache.compute(encoder, shards, mine, source, progress, thumbnails)
        failed = [reason for shard in mine for reason in cache.read("skipped", shard)["reason"]]
        process_group.barrier(numbers, cache.done)
        process_group.leave()
    say(f"done; {count(len(failed), 'image')} could not be read. Next: multimap --embeddings={out}")
