"""The interface of an encoder of images and texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from multimap_jax.arrays.rows import StoredRows
from multimap_jax.choices import ImagePrecision
from multimap_jax.encoders.tokenizer import Tokenizer
from multimap_jax.images.decoding import Images, Unreadable


@dataclasses.dataclass(frozen=True)
class EmbeddedImages:
    """The embeddings of the readable images of a list.

    Attributes:
      embeddings: float32 [readable, embed].
      indices: int [readable], the positions of these images in the list.
      failures: the unreadable images.
      own_range: how many images were scaled by their own range of values.
      thumbnails: of the readable images, if they were asked for.
    """

    embeddings: np.ndarray
    indices: np.ndarray
    failures: tuple[Unreadable, ...]
    own_range: int = 0
    thumbnails: tuple[bytes, ...] = ()


class Encoder(Protocol):
    """A frozen encoder. Embeddings are unit rows [n, embed], float32, unless `normalize=False`.

    Attributes:
      name: the name of the checkpoint. hash: SHA-256 of everything that its embeddings depend on.
      embedding_width: embed. token_width: the width of a token embedding, and of a proxy in the token space.
      image_precision: the precision of the image tower, "float32" or "bf16".
      image_block: the number of images that a device embeds in one call.
      known_words: the words that it was trained on, None if unknown.
      shares_prompt: whether what stands before the slot is computed once for all images, not for each.
      temperature_scale: the factor that multiplies cosines, as in training.
    """

    name: str
    image_precision: ImagePrecision
    embedding_width: int
    token_width: int
    known_words: frozenset[str] | None

    @property
    def hash(self) -> str: ...

    @property
    def shares_prompt(self) -> bool: ...

    @property
    def temperature_scale(self) -> float: ...

    @property
    def image_block(self) -> int: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def embed_images(
        self, images: Images, on_error: Literal["raise"] = "raise", normalize: bool = True, progress: bool = False
    ) -> np.ndarray:
        """Embeds images: [images, embed]; with on_error="skip" (embeddings of the readable images, their indices)."""

    def embed_readable(self, images: Sequence, normalize: bool = True, progress: bool = False) -> EmbeddedImages:
        """Embeds the images that can be read, and lists the others with the reasons."""

    def embed_texts(self, texts: Sequence[str], normalize: bool = True) -> np.ndarray:
        """Embeds texts: [texts, embed]."""

    def check_embeddings(self, embeddings: ArrayLike | StoredRows) -> np.ndarray | StoredRows:
        """Checks and returns given embeddings [images, embed]; InputError if they cannot come from this encoder."""

    def probabilities(self, rows: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Zero-shot probabilities [images, texts] of unit rows [images, embed], [texts, embed]; rows sum to 1."""

    def token_embeddings(self, words: Sequence[str]) -> np.ndarray:
        """[words, token_width]: the mean of each word's token embeddings."""

    def step_operations(self, ids: Sequence[int], slot: int) -> int:
        """Floating point operations of one optimisation step of one image, for the prompt `ids` with the proxy at
        `slot`."""

    def image_operations(self) -> int:
        """Floating point operations of embedding one image."""

    def slot_encoder(self, ids: tuple[int, ...], slot: int, dtype: Any = np.float32, plain: bool = False) -> Callable:
        """A function of one proxy, [token_width] -> [embed]: embeds the prompt `ids` with the proxy at `slot`. Use
        `vmap` for several proxies."""
