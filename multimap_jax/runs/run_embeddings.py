"""The embeddings of a run's images: computed shard by shard, or read from existing files."""

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
from multimap_jax.storage.packed import PackedItems

# Most images in labels.csv: spreadsheets read about as many rows.
LABELS_ROWS = 1_000_000


@dataclasses.dataclass(frozen=True)
class RunEmbeddings:
    """The embeddings of a run.

    Attributes:
      rows: [images, embed], unit rows in the order of `names` [images], without the unreadable images in `failures`.
      versions: gives the version of each image.
      thumbnails: of the images; None if there are none.
    """

    rows: StoredRows
    names: Sequence[str]
    versions: Callable[[], list[str]]
    failures: Sequence[Unreadable] = ()
    thumbnails: PackedItems | None = None

    def notes(self) -> list[str]:
        """Sentences about the images for the user."""
        kept, failed, notes = len(self.names), len(self.failures), []
        if failed:
            notes.append(f"{failed:,} of {count(kept + failed, 'image')} could not be read and were skipped.")
        if kept > SAMPLE_ROWS:
            notes.append(
                f"Groups were found on a sample of {SAMPLE_ROWS:,} images; every image then joined the nearest group."
            )
        if kept > LABELS_ROWS:
            notes.append(f"{LABELS} is only written for up to {LABELS_ROWS:,} images; {LABELS_TABLE} has all of them.")
        return notes


def embed_source(
    source: Source,
    clip: Clip,
    out: Path,
    process_group: ProcessGroup,
    progress: bool,
    estimate: Callable[[int], None] | None = None,
) -> RunEmbeddings:
    """Embeds all images of a source. Cached embeddings are read; every process computes its shards of the rest.

    estimate: called with the number of images that are not cached, before they are embedded.

    Raises InputError if no image can be read, or if another process has another encoder.
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
        raise InputError(f"{clip.name} is not the encoder of process 0: give all processes the same one", "clip")
    images = [tuple(image) for image in agreed["images"]]
    shards = dict(zip(images, agreed["shards"]))
    if estimate:
        done = set(cache.done())
        estimate(sum(shard not in done for shard in agreed["shards"]))
    cache.compute(clip, shards, processes.share(agreed["shards"]), source, progress)
    process_group.barrier(set(agreed["shards"]), cache.done)
    if not source.is_there():
        raise MissingError(f"{source.path} was removed during the run; {GO_ON}")
    rows, kept, failures, thumbnails = cache.gather(shards)
    if not len(kept):
        total = count(len(failures), "image")
        raise InputError(f"cannot read any of {total} in {source.path}, for example {failures[0]}", "images")
    names = Texts(images[i][0] for i in kept)
    return RunEmbeddings(rows, names, lambda: [images[i][1] for i in kept], failures, thumbnails)


def matching_embeddings(ready: ReadyEmbeddings, clip: Clip) -> RunEmbeddings:
    """Existing embeddings. Raises InputError if they are from another encoder."""
    width, found = clip.embedding_width, ready.rows.shape[1]
    if found != width or ready.hash not in ("", clip.hash):
        if found != width:
            problem = f"have {found} dimensions, but {clip.name} has {width}"
        else:
            problem = f"were not made with {clip.name}, or with another configuration, precision or decoding of it"
        raise InputError(f"the embeddings in {ready.source.path} {problem}: give the encoder that made them", "clip")
    return RunEmbeddings(ready.rows, ready.source.names, ready.versions, thumbnails=ready.thumbnails)
