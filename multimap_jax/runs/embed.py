"""`multimap embed`: only the embeddings, by one worker or by many that need not know of each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from multimap_jax import __version__
from multimap_jax.encoders.clip.model import load_clip
from multimap_jax.runs.cache import EmbeddingCache
from multimap_jax.runs.distributed.process_group import ALONE, Processes, join_group
from multimap_jax.runs.messages import count
from multimap_jax.runtime.mesh import image_mesh
from multimap_jax.sources.detect import open_source
from multimap_jax.storage.locks import locked
from multimap_jax.storage.output import prepare_folder, sweep


@dataclasses.dataclass(frozen=True)
class Embed:
    """What to do. part: this worker's number, from 1, and how many there are. processes: if the workers know of each
    other, and wait."""

    images: Path
    out: Path
    clip: str
    part: tuple[int, int] = (1, 1)
    processes: Processes = ALONE


def run_embed(job: Embed, say: Callable[[str], None] = print, progress: bool = True) -> None:
    """Embeds this worker's shards that are not done yet.

    Workers agree on the shards without communication: each makes the same plan of the same listing, or finds it.

    Raises ValueError or OSError with one sentence before anything is computed.
    """
    number, workers = job.part
    source = open_source(job.images)
    prepare_folder(job.out)
    worker = ALONE if workers == 1 else Processes("", workers, number - 1)
    with locked(job.out, worker.index, worker.count):
        if job.processes.coordinator and number == 1:
            sweep(job.out)
        settings = {"images": f"{len(source.images)} images", "version": __version__}
        process_group = join_group(job.processes, settings, job.out)
        clip = load_clip(job.clip)
        for note in source.notes:
            say(note)
        cache = EmbeddingCache(job.out, clip.config.image.embed)
        cache.check_encoder(clip)
        images = list(zip(source.names, source.versions()))
        if workers > 1:
            cache.check_listing(images)
        shards = cache.cut(images, clip.image_block * image_mesh().size, alone=workers == 1)
        numbers = set(shards.values())
        mine = worker.share(numbers)
        missing = set(mine).difference(cache.done())
        remaining = sum(shard in missing for shard in shards.values())
        say(f"{count(remaining, 'image')} of {len(images):,} to embed, in {len(missing):,} of {len(numbers):,} shards")
        cache.compute(clip, shards, mine, source, progress)
        failed = [reason for shard in mine for reason in cache.read("skipped", shard)["reason"]]
        process_group.barrier(numbers, cache.done)
        process_group.leave()
    say(f"done; {count(len(failed), 'image')} could not be read. Group them with multimap --embeddings={job.out}")
