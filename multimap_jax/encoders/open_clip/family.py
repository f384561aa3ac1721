"""CLIP in open_clip's layout: open_clip_config.json, open_clip_model.safetensors, and CLIP's tokenizer."""

from __future__ import annotations

from pathlib import Path

from multimap_jax.encoders.clip.checkpoint import towers_from_arrays
from multimap_jax.encoders.clip.model import Parts
from multimap_jax.encoders.clip.tokenizer import read_tokenizer
from multimap_jax.encoders.open_clip.checkpoint import CUSTOM_TEXT, PLAIN
from multimap_jax.encoders.open_clip.config import read_config
from multimap_jax.encoders.open_clip.preprocessing import make_preprocess, preprocess_settings
from multimap_jax.encoders.weights import OPEN_CLIP, OPEN_CLIP_CONFIG, read_arrays
from multimap_jax.errors import warn

SAVE = f'safetensors.torch.save_file(open_clip.create_model("local-dir:old").state_dict(), "new/{OPEN_CLIP}")'


def read_parts(directory: Path) -> Parts:
    """The parts of the checkpoint in `directory`. Warns if it does not say how its images are scaled."""
    path = directory / OPEN_CLIP_CONFIG
    config, settings = read_config(path)
    arrays = read_arrays(directory, (OPEN_CLIP,), SAVE)
    tokenizer = read_tokenizer(directory, config.text, OPEN_CLIP_CONFIG)
    # Either name is found whatever custom_text says: open_clip renames old checkpoints when it reads them.
    custom = any(name.endswith("text.positional_embedding") for name in arrays)
    towers = towers_from_arrays(arrays, config, str(directory), CUSTOM_TEXT if custom else PLAIN)
    if settings is None:
        settings = preprocess_settings({})
        warn(f"{path} has no preprocess_cfg: images are scaled as OpenAI's CLIP scales them")
    return Parts(towers, tokenizer, make_preprocess(settings, config.image.size), (path, directory / OPEN_CLIP))
