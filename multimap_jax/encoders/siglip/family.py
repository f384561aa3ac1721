"""SigLIP, and SigLIP 2 of fixed size, in the Hugging Face layout; both have the model_type siglip."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from multimap_jax.encoders.clip.checkpoint import towers_from_arrays
from multimap_jax.encoders.clip.model import Parts
from multimap_jax.encoders.clip.preprocessing import read_preprocessing
from multimap_jax.encoders.siglip.checkpoint import SIGLIP, read_config
from multimap_jax.encoders.siglip.tokenizer import read_tokenizer
from multimap_jax.encoders.weights import read_arrays, weight_files
from multimap_jax.storage.reading import read_json


def read_parts(directory: Path) -> Parts:
    """The parts of the checkpoint in `directory`."""
    path = directory / "config.json"
    config, arrays = read_config(read_json(path), path), read_arrays(directory)
    tokenizer, preprocess = read_tokenizer(directory, config.text), read_preprocessing(directory, config.image.size)
    config = dataclasses.replace(config, text=dataclasses.replace(config.text, padding=tokenizer.padding))
    towers = towers_from_arrays(arrays, config, str(directory), SIGLIP)
    return Parts(towers, tokenizer, preprocess, (path, *weight_files(directory)))
