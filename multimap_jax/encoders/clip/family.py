"""CLIP in the Hugging Face layout."""

from __future__ import annotations

from pathlib import Path

from multimap_jax.encoders.clip.checkpoint import towers_from_arrays
from multimap_jax.encoders.clip.config import CLIPConfig
from multimap_jax.encoders.clip.model import Parts
from multimap_jax.encoders.clip.preprocessing import read_preprocessing
from multimap_jax.encoders.clip.tokenizer import read_tokenizer
from multimap_jax.encoders.weights import read_arrays, weight_files
from multimap_jax.storage.reading import read_json


def read_parts(directory: Path, old_end: bool = True) -> Parts:
    """The parts of the checkpoint in `directory`; `old_end` as in `CLIPConfig.from_json`."""
    path = directory / "config.json"
    config, arrays = CLIPConfig.from_json(read_json(path), path, old_end), read_arrays(directory)
    preprocess, tokenizer = read_preprocessing(directory, config.image.size), read_tokenizer(directory, config.text)
    towers = towers_from_arrays(arrays, config, str(directory))
    return Parts(towers, tokenizer, preprocess, (path, *weight_files(directory)))
