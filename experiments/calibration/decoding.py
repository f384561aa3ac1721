"""How much `--decode=fast` changes: cosines of the embeddings with those of images decoded whole, images that change
their group, and images a second.

    python -m experiments.calibration.decoding --data=DIR --models=DIR --out=experiments/results/decoding.json

Prints one JSON line. Groups are compared as in `image_precision`. The sets' images are small, so each is enlarged to
--sides times the side of the encoder, as a photograph of 12 megapixels is to a CLIP's 224 pixels, gets the noise of a
camera, and is saved as a JPEG. About 5 minutes on two CPU cores.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from absl import app, flags
from PIL import Image

import multimap_jax as mm
from experiments.benchmarks.measuring import print_result
from experiments.calibration.image_precision import compare, sets
from experiments.calibration.image_precision import define_flags as define_common
from multimap_jax.choices import Decode
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS


def define_flags() -> None:
    define_common()
    flags.DEFINE_float("sides", 13.5, "shorter side of an image, as multiples of the side of the encoder")
    flags.DEFINE_float("noise", 6, "standard deviation of the noise, of 255 levels")


def enlarged(images: Sequence, side: int, folder: Path) -> list[Path]:
    """JPEGs of the images, their shorter side `side` pixels."""
    random, paths = np.random.default_rng(FLAGS.seed), []
    for i, image in enumerate(images):
        picture = Image.fromarray(image) if isinstance(image, np.ndarray) else Image.open(image)
        times = side / min(picture.size)
        size = tuple(round(times * each) for each in picture.size)
        pixels = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS), np.float32)
        pixels = pixels + random.normal(0, FLAGS.noise, pixels.shape).astype(np.float32)
        paths.append(folder / f"{i:05}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=92)
    return paths


def main(_) -> None:
    settings, found = [{"decode": decode} for decode in get_args(Decode)], []
    for checkpoint, name, labelled in sets():
        side = round(FLAGS.sides * mm.load_clip(checkpoint).config.image.size)
        with tempfile.TemporaryDirectory() as folder:
            large = dataclasses.replace(labelled, images=enlarged(labelled.images, side, Path(folder)))
            found.append(compare(checkpoint, settings, name, large))
    print_result({"machine": machine(), "rows": found}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
