"""How much an image tower in bf16 differs from the one in float32: cosines of the embeddings, and images that change
their group.

    python -m experiments.calibration.image_precision --out=experiments/results/image_precision.json

Prints one JSON line. Groups are those of the default with the words of the set, as many as it has; groups of both
precisions are matched so that the fewest images differ. Draws scenes for the embedded checkpoint; with --data and
--models, photographs too. About a minute on two CPU cores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

import multimap_jax as mm
from experiments.benchmarks.measuring import print_result
from experiments.evaluation import datasets
from multimap_jax.choices import IMAGE_PRECISIONS
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
DRAWN = ("fruit", "card")
PHOTOGRAPHS = {"photo-mini": ("card", "cmuface", "flowers"), "fashion-mini": ("fashion",)}


def define_flags() -> None:
    flags.DEFINE_integer("images", 400, "images of a set at most", lower_bound=2)
    flags.DEFINE_integer("seed", 0, "of pictures and k-means")
    flags.DEFINE_string("data", None, "where the sets of photographs lie")
    flags.DEFINE_string("models", None, "where the checkpoints for them lie")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def compare(checkpoint: str, settings: Sequence[dict], name: str, labelled: datasets.Labelled) -> dict:
    """A checkpoint with two ways of embedding on one set of images."""
    clips = [mm.load_clip(checkpoint, **each) for each in settings]
    rows, seconds = [], []
    for clip in clips:
        clip.embed_images(labelled.images[:1])
        begin = time.perf_counter()
        rows.append(clip.embed_images(labelled.images))
        seconds.append(time.perf_counter() - begin)
    cosines = (rows[0].astype(np.float64) * rows[1]).sum(1)
    item, shares = datasets.find(name), {}
    for aspect, facts in item.aspects.items():
        asked = mm.Aspect(aspect, subject=item.subject, words=facts.words)
        fitted = [
            mm.MultiMaP(asked, clip=clip, n_clusters=facts.clusters, random_state=FLAGS.seed).fit(found).labels_
            for clip, found in zip(clips, rows)
        ]
        shares[aspect] = round(1 - mm.evaluate(*fitted)["accuracy"], 4)
    return {
        "checkpoint": Path(checkpoint).name,
        "set": f"{item.title}, photographs" if FLAGS.data and checkpoint != "embedded" else f"{item.title}, drawn",
        "images": len(labelled.images),
        "cosine": {"mean": round(float(cosines.mean()), 6), "lowest": round(float(cosines.min()), 6)},
        "changed": shares,
        "images_per_second": [round(len(labelled.images) / each, 1) for each in seconds],
    }


def sets() -> Iterator[tuple[str, str, datasets.Labelled]]:
    """The sets of images: (checkpoint, name of the set, images with labels)."""
    for name in DRAWN:
        yield "embedded", name, datasets.twin(name, FLAGS.images, FLAGS.seed)
    if FLAGS.data and FLAGS.models:
        for model, names in PHOTOGRAPHS.items():
            for name in names:
                labelled = datasets.at_most(datasets.load(name, Path(FLAGS.data)), FLAGS.images, FLAGS.seed)
                yield str(Path(FLAGS.models) / model), name, labelled


def main(_) -> None:
    settings = [{"image_precision": precision} for precision in IMAGE_PRECISIONS]
    found = [compare(checkpoint, settings, name, labelled) for checkpoint, name, labelled in sets()]
    print_result({"machine": machine(), "rows": found}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
