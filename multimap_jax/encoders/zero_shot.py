"""Zero-shot probabilities of texts for an image (Radford et al. 2021, section 3.1)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

if TYPE_CHECKING:
    from multimap_jax.arrays.rows import Rows
    from multimap_jax.encoders.encoder import Encoder


def softmax_probabilities(rows: np.ndarray, texts: np.ndarray, scale: float) -> np.ndarray:
    """The softmax of `scale` times the cosines of unit rows [images, embed] and [texts, embed], [images, texts].

    Computed in float32 if the texts are float32, otherwise in float64. The order of the products affects the last bits.
    """
    if texts.dtype == np.float32:
        return softmax(scale * (rows @ texts.T), axis=1)
    return softmax(np.asarray(rows, np.float64) @ (scale * texts.T), axis=1)


@dataclasses.dataclass(frozen=True)
class RootProbabilities:
    """Square roots of the zero-shot probabilities of `texts` [texts, embed] for `images` [images, embed], computed at
    each access. Their Euclidean distances are proportional to the Hellinger distances of the probabilities."""

    encoder: Encoder
    images: Rows
    texts: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.images), len(self.texts)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        return np.sqrt(self.encoder.probabilities(self.images[index], self.texts))
