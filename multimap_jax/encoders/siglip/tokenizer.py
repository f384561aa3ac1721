"""SigLIP's tokenizers: text is put into the form of the training texts, then split by `tokenizers`."""

from __future__ import annotations

from pathlib import Path

from multimap_jax.encoders.clip.config import TextConfig
from multimap_jax.encoders.tokenizer import Tokenizer
from multimap_jax.storage.reading import explained


def read_tokenizer(directory: Path, config: TextConfig) -> Tokenizer:
    from tokenizers import Tokenizer as Backend

    with explained(f"the tokenizer in {directory}", "copy tokenizer.json of this checkpoint there"):
        backend = Backend.from_file(str(directory / "tokenizer.json"))

    def encode(text: str) -> list[int]:
        return backend.encode(text.lower(), add_special_tokens=False).ids

    return Tokenizer(encode, None, 1, config.context, padding=1)
