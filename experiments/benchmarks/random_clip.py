"""A checkpoint with random weights of any size, for measurements in which only the sizes matter."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig, TextConfig

# The towers that a measurement does not look at.
SMALL_TEXT = TextConfig(0, 77, 64, 1, 4, 256, 512)
SMALL_IMAGE = ImageConfig(64, 16, 64, 1, 4, 256, 512)


def write_random_clip(directory: Path, text: TextConfig, image: ImageConfig, dtype: DTypeLike = np.float32) -> None:
    """Random towers, stored as `dtype`, with the embedded tokenizer, whose vocabulary and end token take the place of
    `text`'s, and CLIP's preprocessing."""
    from experiments.training.embedded_files import preprocessing
    from multimap_jax.encoders.clip.checkpoint import save_checkpoint
    from multimap_jax.encoders.clip.model import EMBEDDED
    from multimap_jax.encoders.clip.towers import Towers

    words = len(json.loads((EMBEDDED / "vocab.json").read_text(encoding="utf-8")))
    text = dataclasses.replace(text, vocabulary=words, end_token=words - 1)
    save_checkpoint(directory, Towers(CLIPConfig(text, image)), dtype)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(EMBEDDED / name, directory)
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessing(image.size)))
