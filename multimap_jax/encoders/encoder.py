"""What every encoder of images and texts offers to the rest of the package."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from multimap_jax.arrays.rows import StoredRows
from multimap_jax.images.decoding import Images, Unreadable


@dataclasses.dataclass(frozen=True)
class EmbeddedImages:
    """The embeddings of those images of a list that can be read.

    embeddings float32 [readable, embed]. indices int [readable]: which images of the list these are. failures: the
    other images. own_range: how many images were scaled by their own range of values.
    """

    embeddings: np.ndarray
    indices: np.ndarray
    failures: tuple[Unreadable, ...]
    own_range: int = 0


class Encoder(Protocol):
    """A frozen encoder. Embeddings are unit rows [n, embed], float32, unless `normalize=False`.

    Attributes:
      name: what it was loaded by. hash: SHA-256 of all that its embeddings depend on.
      embedding_width: embed. token_width: width of a token embedding, and so of a proxy in the token space.
      image_block: images that a device embeds in one call.
      tokenizer: `encode(text)` gives ids; `start`, `end` and `context` as in `encoders.clip.tokenizer.Tokenizer`.
      known_words: the words that it was trained on, where it says so, else None.
    """

    name: str
    embedding_width: int
    token_width: int
    known_words: frozenset[str] | None

    @property
    def hash(self) -> str: ...

    @property
    def image_block(self) -> int: ...

    @property
    def tokenizer(self) -> object: ...

    def embed_images(
        self, images: Images, on_error: Literal["raise"] = "raise", normalize: bool = True, progress: bool = False
    ) -> np.ndarray:
        """[images, embed]; with on_error="skip" (that of the readable images, their indices int [readable])."""

    def embed_readable(self, images: Sequence, normalize: bool = True, progress: bool = False) -> EmbeddedImages:
        """Embeddings of the images that can be read, with the others and why."""

    def embed_texts(self, texts: Sequence[str], normalize: bool = True) -> np.ndarray:
        """[texts, embed]."""

    def check_embeddings(self, embeddings: ArrayLike | StoredRows) -> np.ndarray | StoredRows:
        """Embeddings from outside as [images, embed]; InputError where they cannot be this encoder's."""

    def probabilities(self, rows: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Zero-shot probabilities [images, texts] of unit rows [images, embed], [texts, embed]; rows sum to 1."""

    def token_embeddings(self, words: Sequence[str]) -> np.ndarray:
        """[words, token_width]: the mean of each word's token embeddings."""

    def slot_encoder(self, ids: tuple[int, ...], slot: int, dtype: Any = np.float32, plain: bool = False) -> Callable:
        """A function of one proxy, [token_width] -> [embed]: the prompt `ids` with the proxy at `slot`. vmap it."""
