"""The embeddings of a run's images: computed shard by shard, or read where they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from multimap_jax.arrays.rows import StoredRows
from multimap_jax.arrays.sampling import SAMPLE_ROWS
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError, MissingError
from multimap_jax.images.decoding import Unreadable
from multimap_jax.runs.cache import EmbeddingCache
from multimap_jax.runs.distributed.process_group import ProcessGroup
from multimap_jax.runs.messages import count
from multimap_jax.runtime.mesh import image_mesh
from multimap_jax.sources.embeddings import ReadyEmbeddings
from multimap_jax.sources.names import Texts
from multimap_jax.sources.source import Source
from multimap_jax.storage.output import GO_ON, LABELS, LABELS_TABLE

# Images that labels.csv is written for: spreadsheets read about as many rows.
LABELS_ROWS = 1_000_000


@dataclasses.dataclass(frozen=True)
class RunEmbeddings:
    """The embeddings of a run.

    Attributes:
      rows: [images, embed], unit rows in the order of `names` [images], with those images left out that could not be
        read: `failures`.
      versions: gives the version of each image.
    """

    rows: StoredRows
    names: Sequence[str]
    versions: Callable[[], list[str]]
    failures: Sequence[Unreadable] = ()

    def notes(self) -> list[str]:
        """What is to be known of the images, in sentences."""
        kept, failed, notes = len(self.names), len(self.failures), []
        if failed:
            notes.append(f"{failed:,} of {count(kept + failed, 'image')} could not be read and were left out.")
        if kept > SAMPLE_ROWS:
            notes.append(
                f"Groups were found on {SAMPLE_ROWS:,} of the images; every image then went to the nearest one."
            )
        if kept > LABELS_ROWS:
            notes.append(f"{LABELS} is written for {LABELS_ROWS:,} images at most; {LABELS_TABLE} holds all of them.")
        return notes


def embed_source(source: Source, clip: Clip, out: Path, process_group: ProcessGroup, progress: bool) -> RunEmbeddings:
    """Embeds all images of a source: what is cached is read, every process computes its shards of the rest.

    Raises InputError where no image can be read, or another process has another checkpoint.
    """
    cache, processes = EmbeddingCache(out, clip.embedding_width), process_group.processes

    def assign_shards() -> dict:
        cache.check_encoder(clip)
        images = list(zip(source.names, source.versions()))
        shards = cache.cut(images, clip.image_block * image_mesh().size)
        images, shards = sorted(images), dict(sorted(shards.items()))
        return {"images": images, "shards": list(shards.values()), "encoder": clip.hash}

    agreed = process_group.broadcast("images", assign_shards)
    if agreed["encoder"] != clip.hash:
        raise InputError(
            f"{clip.place} is another checkpoint than that of process 0: give all processes the same", "clip"
        )
    images = [tuple(image) for image in agreed["images"]]
    shards = dict(zip(images, agreed["shards"]))
    cache.compute(clip, shards, processes.share(agreed["shards"]), source, progress)
    process_group.barrier(set(agreed["shards"]), cache.done)
    if not source.is_there():
        raise MissingError(f"{source.path} was taken away while it was read; {GO_ON}")
    rows, kept, failures = cache.gather(shards)
    if not len(kept):
        total = count(len(failures), "image")
        raise InputError(f"none of {total} in {source.path} can be read; the first is {failures[0]}", "images")
    return RunEmbeddings(rows, Texts(images[i][0] for i in kept), lambda: [images[i][1] for i in kept], failures)


def matching_embeddings(ready: ReadyEmbeddings, clip: Clip) -> RunEmbeddings:
    """Embeddings that are there already. Raises InputError where they are another encoder's."""
    width, found = clip.embedding_width, ready.rows.shape[1]
    if found != width or ready.hash not in ("", clip.hash):
        same = "" if found != width else ", or this one with other files beside its weights"
        raise InputError(
            f"the embeddings in {ready.source.path} have {found} numbers each, {clip.name} makes {width}: they are by "
            f"another encoder{same}; give theirs",
            "clip",
        )
    return RunEmbeddings(ready.rows, ready.source.names, ready.versions)
