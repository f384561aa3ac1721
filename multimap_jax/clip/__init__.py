"""The frozen encoder: configuration, towers, checkpoints, tokenizer and image preprocessing."""

from multimap_jax.clip.images import UnreadableImagesError
from multimap_jax.clip.model import Clip, load_clip

__all__ = ["Clip", "UnreadableImagesError", "load_clip"]
