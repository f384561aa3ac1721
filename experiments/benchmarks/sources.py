"""Images embedded in a second from a folder, from tar shards, from parquet files and from a list, in one run.

    python -m experiments.benchmarks.sources --out=experiments/results/benchmark_sources_cpu.json

Prints one JSON line. The same drawn JPEG files of 640 × 480 lie in a folder, in two tars and in two parquet files; each
source is listed and embedded with the checkpoint, all in turn, --repeats times; the median of each. About 2 minutes on
two CPU cores.
"""

from __future__ import annotations

import csv
import statistics
import tarfile
import tempfile
from pathlib import Path

from absl import app, flags

from experiments.benchmarks.images import write_photos
from experiments.benchmarks.measuring import measure, print_result
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_integer("images", 2000, "files to embed", lower_bound=2)
    flags.DEFINE_integer("repeats", 5, "measurements of each source", lower_bound=1)
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def write_sources(folder: Path, base: Path) -> dict[str, Path]:
    """The same images of `folder` as every kind of source."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.iterdir())
    for part in range(2):
        own = files[part * len(files) // 2 : (part + 1) * len(files) // 2]
        with tarfile.open(base / f"{part:05}.tar", "w") as tar:
            for file in own:
                tar.add(file, file.name)
        images = [{"bytes": file.read_bytes(), "path": file.name} for file in own]
        pq.write_table(pa.table({"image": images}), base / f"{part:05}.parquet", row_group_size=100)
    with (base / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *([path] for path in files)])
    tars, tables = base / "{00000..00001}.tar", base / "{00000..00001}.parquet"
    return {"folder": folder, "tar": tars, "parquet": tables, "list": base / "list.csv"}


def main(_):
    import multimap_jax as mm
    from multimap_jax.sources.detect import open_source

    clip = mm.load_clip(FLAGS.clip)

    def embed(place: Path) -> None:
        source = open_source(place)
        source.versions()
        assert len(clip.embed_readable(list(source.images.values())).indices) == FLAGS.images

    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "folder"
        folder.mkdir()
        write_photos(folder, FLAGS.images)
        places = write_sources(folder, Path(base))
        embed(folder)
        seconds = {name: [] for name in places}
        for _ in range(FLAGS.repeats):
            for name, place in places.items():
                seconds[name] += measure(lambda place=place: embed(place), 1)
    found = {"machine": machine(), "clip": FLAGS.clip, "images": FLAGS.images, "repeats": FLAGS.repeats}
    rates = {name: round(FLAGS.images / statistics.median(each), 1) for name, each in seconds.items()}
    print_result(found | {"images_per_second": rates}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
