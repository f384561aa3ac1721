"""The frozen encoder: configuration, towers, checkpoints, tokenizer and image preprocessing."""

import os

# transformers says at import that PyTorch is missing, for models that are not used here.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

from multimap_jax.encoders.clip.model import Clip, load_clip  # noqa: E402
from multimap_jax.images.decoding import UnreadableImagesError  # noqa: E402

__all__ = ["Clip", "UnreadableImagesError", "load_clip"]
