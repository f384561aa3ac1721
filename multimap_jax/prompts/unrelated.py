"""Whether a word fits images: it has to fit them better than words that have nothing to do with the aspect."""

from __future__ import annotations

import dataclasses

import numpy as np

from multimap_jax.encoders.clip.model import Clip
from multimap_jax.prompts.aspect import Aspect, has_room_for, word_embeddings
from multimap_jax.prompts.normalize import normal_form

# Common words of many kinds: people, animals, plants, food, vehicles, places, things, and values of common aspects.
UNRELATED = tuple(
    "person child face hand dog cat horse bird fish insect flower tree fruit vegetable bread drink car bus bicycle "
    "airplane boat train house room street bridge mountain beach forest sky water stone chair table bed lamp clock "
    "telephone computer book picture letter toy tool bottle cup bag shoe shirt dress hat machine music red green black "
    "white round long large old wooden metal plain striped happy running winter night".split()
)


@dataclasses.dataclass(frozen=True)
class UnrelatedWords:
    """Prompts of unrelated words in an aspect's template, unit rows `texts` [unrelated, embed]."""

    texts: np.ndarray

    @classmethod
    def of(cls, clip: Clip, aspect: Aspect) -> UnrelatedWords:
        """Those of UNRELATED that the aspect does not hold and that its prompt has room for."""
        known = {normal_form(word) for word in (*aspect.words, aspect.subject, aspect.name)}
        words = tuple(word for word in UNRELATED if normal_form(word) not in known)
        words = tuple(word for word in words if has_room_for(aspect, word, clip.tokenizer))
        return cls(word_embeddings(clip, dataclasses.replace(aspect, words=words)))

    def scores(self, means: np.ndarray, middle: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How well texts fit groups of images, [groups, texts], and how well the best unrelated word does, [groups].

        A score is the sum of two numbers of standard deviations of the unrelated words: how far the text's similarity
        to the group lies above their mean, and how far its similarity rises, from all images to the group, above
        their mean rise.

        Args:
          means: the mean image embedding of each group, [groups, embed]. middle: of all images, [embed].
          texts: unit rows [texts, embed].
        """
        if not len(self.texts):  # a prompt without room: nothing to compare with
            return np.full((len(means), len(texts)), np.inf), np.full(len(means), -np.inf)
        totals, unrelated = np.zeros((len(means), len(texts))), np.zeros((len(means), len(self.texts)))
        for rows in (means, means - middle):
            similarities = rows @ self.texts.T
            mean, spread = similarities.mean(1, keepdims=True), similarities.std(1, keepdims=True)
            # One group is like all images: rounding is no rise.
            spread = np.where(spread > 1e-6, spread, np.inf)
            totals = totals + (rows @ texts.T - mean) / spread
            unrelated = unrelated + (similarities - mean) / spread
        return totals, np.max(unrelated, axis=1)
