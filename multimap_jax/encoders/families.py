"""Which family of checkpoints a folder belongs to, by what it holds. README.md beside this says how to add one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from multimap_jax.encoders.clip import family as clip
from multimap_jax.encoders.clip.model import Parts
from multimap_jax.encoders.metaclip_2 import family as metaclip_2
from multimap_jax.encoders.open_clip import family as open_clip
from multimap_jax.encoders.siglip import family as siglip
from multimap_jax.encoders.weights import (
    OPEN_CLIP,
    OPEN_CLIP_CONFIG,
    SINGLE,
    checkpoints_below,
    found_instead,
    weight_files,
)
from multimap_jax.errors import InputError, MissingError
from multimap_jax.storage.reading import read_json

# model_type in config.json -> the parts of the checkpoint in a folder.
FAMILIES: dict[str, Callable[[Path], Parts]] = {
    "clip": clip.read_parts,
    "metaclip_2": metaclip_2.read_parts,
    "siglip": siglip.read_parts,
}
# Of types that cannot be used: why, and what can be instead.
REFUSED = {
    "siglip2": "a SigLIP 2 for images of any shape (NaFlex): use one of fixed size, such as "
    "google/siglip2-base-patch16-224",
}


def read_checkpoint(directory: Path) -> Parts:
    """The parts of the checkpoint in `directory`. Raises MissingError if there is none, InputError if it cannot be
    used."""
    path = directory / "config.json"
    if (directory / OPEN_CLIP_CONFIG).exists() and not in_hugging_face_layout(directory):
        return open_clip.read_parts(directory)
    if not path.exists():
        raise MissingError(
            f"{directory} has no config.json: expected a CLIP in the Hugging Face layout (config.json, {SINGLE}, …) "
            f"or in open_clip's ({OPEN_CLIP_CONFIG}, {OPEN_CLIP}, …){found_instead(directory)}"
            f"{checkpoints_below(directory)}"
        )
    kind = read_json(path).get("model_type")
    if isinstance(kind, str) and kind in REFUSED:
        raise InputError(f"{path} describes {REFUSED[kind]}")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise InputError(
            f"{path} describes a model of type {kind!r}, expected one of {', '.join(FAMILIES)} (such as "
            "openai/clip-vit-base-patch32); other architectures are not supported"
        )
    return FAMILIES[kind](directory)


def in_hugging_face_layout(directory: Path) -> bool:
    """Whether `directory` holds the weights of a known family in the Hugging Face layout. Folders with open_clip's
    layout often have its files too, or a config.json of another library."""
    path = directory / "config.json"
    with contextlib.suppress(ValueError):  # reading the checkpoint says what is wrong with these files
        kind = read_json(path).get("model_type") if path.exists() else None
        return isinstance(kind, str) and kind in FAMILIES and bool(weight_files(directory))
    return False
