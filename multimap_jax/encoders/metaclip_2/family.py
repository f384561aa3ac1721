"""MetaCLIP 2 (arXiv 2507.22062), a CLIP whose words are of many languages; names as in transformers.MetaClip2Model."""

from __future__ import annotations

from pathlib import Path

from multimap_jax.encoders.clip import family as clip
from multimap_jax.encoders.clip.model import Parts


def read_parts(directory: Path) -> Parts:
    """The parts of the checkpoint in `directory`. An end token of 2 is one here."""
    return clip.read_parts(directory, old_end=False)
