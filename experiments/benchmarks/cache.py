"""What keeping costs: the store's own seconds beside those of embedding.

    python -m experiments.benchmarks.cache --out=experiments/results/benchmark_store_cpu.json

A folder of --images names (hard links to drawn pictures). `store_seconds`: everything that a first run does to keep
their embeddings and read them back (versions of all files, plan, shards, order of names), with an encoder that gives
rows at once; the folder is listed beforehand, as it always was. `again_seconds`: what a second run does, which embeds
nothing. `embedding_seconds`: the real encoder on a tenth of the images, times ten. Prints one JSON line. About 1 minute
on two CPU cores.
"""

from __future__ import annotations

import csv
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import print_result
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_integer("images", 100_000, "names", lower_bound=1000)
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


class Instant:
    """A checkpoint that embeds in no time."""

    def __init__(self, clip):
        self.clip = clip

    def __getattr__(self, name):
        return getattr(self.clip, name)

    def embed_readable(self, images, bar=None, thumbnail=None):
        from multimap_jax.encoders.encoder import EmbeddedImages

        rows = np.zeros((len(images), self.clip.config.image.embed), np.float32)
        rows[:, 0] = 1
        return EmbeddedImages(rows, np.arange(len(images)), (), thumbnails=(b"",) * len(images))


def link_pictures(drawn: Path, folder: Path, images: int) -> None:
    """`images` names for the pictures of `drawn`, over and over."""
    with (drawn / "labels.csv").open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    folder.mkdir()
    for i in range(images):
        os.link(drawn / names[i % len(names)], folder / f"{i:08}.png")


def main(_):
    import multimap_jax as mm
    from multimap_jax.runs.distributed.process_group import ALONE, ProcessGroup
    from multimap_jax.runs.run_embeddings import embed_source
    from multimap_jax.scenes import write_scenes
    from multimap_jax.sources.folder import read_folder

    clip = mm.load_clip(FLAGS.clip)
    with tempfile.TemporaryDirectory() as base:
        drawn, folder, out = Path(base) / "drawn", Path(base) / "folder", Path(base) / "out"
        write_scenes(drawn, "flowers", seed=1, count=400)
        link_pictures(drawn, folder, FLAGS.images)
        source, seconds = read_folder(folder), []
        paths = list(source.images.values())[: FLAGS.images // 10]
        for _ in range(2):
            begin = time.perf_counter()
            embed_source(source, Instant(clip), out, ProcessGroup(ALONE), False)
            seconds.append(time.perf_counter() - begin)
        clip.embed_readable(paths[:100])
        begin = time.perf_counter()
        clip.embed_readable(paths)
        embedding = 10 * (time.perf_counter() - begin)
    store, again = seconds
    found = {"machine": machine(), "clip": FLAGS.clip, "images": FLAGS.images, "store_seconds": round(store, 2)}
    found |= {"again_seconds": round(again, 2), "embedding_seconds": round(embedding, 1)}
    print_result(found | {"share": round(store / embedding, 4)}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
