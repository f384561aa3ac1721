"""An encoder's zero-shot probabilities at a temperature that a test chooses."""

import dataclasses

from multimap_jax.encoders.zero_shot import softmax_probabilities


@dataclasses.dataclass(frozen=True)
class AtScale:
    temperature_scale: float

    def probabilities(self, rows, texts):
        return softmax_probabilities(rows, texts, self.temperature_scale)
