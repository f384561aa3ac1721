"""Every choice of the optimisation in one frozen record, and the named sets of choices."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from multimap_jax import choices
from multimap_jax.errors import InputError, InputTypeError
from multimap_jax.settings import ProxySettings, check


@dataclasses.dataclass(frozen=True)
class Traits:
    """What a recipe's name implies, beyond the numbers that a ProxyConfig may change.

    Attributes:
      features: what k-means runs on where nothing is said and the aspect has words enough.
      own_unit: lengths are measured in the mean norm of the words' token embeddings, not in numbers as they are.
      text_space: proxies, references and concepts are text embeddings of bare words (unnormalised), not token
        embeddings; the reference word is the best of the bare words, not of the filled prompts.
      plain_tower: the text tower runs without position embeddings and without the final layer norm.
      mean_distance: squared distances are means over the width, not sums.
      offset: added to −cos in the loss.
      batches: the gradient is divided by the images of a batch, and weight decay acts at every batch's step.
    """

    features: str = "proxy"
    own_unit: bool = False
    text_space: bool = False
    plain_tower: bool = False
    mean_distance: bool = False
    offset: float = 0.0
    batches: bool = False


TRAITS = {
    "default": Traits(features="span", own_unit=True),
    "paper": Traits(),
    "released": Traits(text_space=True, plain_tower=True, mean_distance=True, offset=1.0, batches=True),
}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ProxyConfig(ProxySettings):
    """How proxies are optimised; without arguments the default recipe.

    Its 80 steps, rate .01 and weight .1 were chosen on drawn pictures that no table shows; what came of them is the row
    "default: proxies" of experiments/results/quality and quality_photos. The numbers of `paper` and `released` say
    below where they are from. No table shows other numbers for `block_size` than the default.

    The loss of one image is −cos(image, prompt) + reference_weight · ‖w − z‖² + concept_weight · concept term.

    Attributes:
      recipe: where proxies live and in which units. "paper": token embeddings, numbers as they are. "default": token
        embeddings, with `learning_rate` in units of s and both weights in units of 1/s², s being the mean norm of the
        words' token embeddings, so that the same numbers fit every checkpoint. "released": the projected text space,
        see `released`.
      steps: updates (epochs under "released").
      weight_decay: L2, added to the gradient.
      concept: "contrastive" (cross-entropy of w·u over own and contrast aspects), "distance" (‖w − u_own‖²) or "none".
      optimizer: "adam" or "adagrad".
      schedule: of the learning rate: "constant", or "linear" down to 0 at the last step. Adam's last steps at a
        constant rate amplify rounding; falling, they settle.
      tolerance: every 50 steps, images whose loss fell by less than this in the last 10 are done; 0: none is.
      init: "reference" (the reference word; the aspect's name where there are no words) or "aspect" (its name).
      batch_size: the released program's groups; None for all images at once.
      block_size: images computed at once on one device, for memory and speed; None: chosen by device. Results repeat
        bit for bit at one block size and differ in rounding between two.
      precision: "float32" (exact), "tf32", "bf16" (compute only: proxies and moments stay float32) or "float64". On
        drawn pictures the default's labels in bf16 agree with float32's at an adjusted Rand index of 0.99 or more, and
        its mean losses within 1e-2 (tests/proxies/test_fit.py). CPUs with bf16 instructions are faster with it too.

    Numbers are pytree leaves: another learning rate does not compile again.
    """

    def __post_init__(self) -> None:
        check(self)
        if (self.batch_size is not None) != self.traits.batches:
            raise InputError(
                "batch_size belongs to the released recipe and to no other; block_size is for memory", "batch_size"
            )

    @classmethod
    def named(cls, recipe: str) -> ProxyConfig:
        """The recipe of this name, of `choices.RECIPES`, with its own numbers."""
        return cls() if recipe == choices.RECIPES[0] else getattr(cls, recipe)()

    @property
    def traits(self) -> Traits:
        """What the recipe's name implies."""
        return TRAITS[self.recipe]

    @property
    def batches_matter(self) -> bool:
        """Whether an image's proxy depends on the images that it is fitted with."""
        return self.traits.batches and bool(self.weight_decay)

    @classmethod
    def paper(
        cls,
        steps: int = 1000,
        learning_rate: float = 0.005,
        alpha: float = 0.3,
        beta: float = 0.3,
        weight_decay: float = 0.0,
        **fields: Any,
    ) -> ProxyConfig:
        """The paper's method (section 3, eq. 3 to 8): Adam on w_i in the token space.

        `alpha` weighs the reference word, `beta` the contrastive concept. The paper searches learning rate, weight
        decay, α and β by the lowest total loss; every regulariser is at least 0, so taken literally that search ends
        at α = β = 0. The values here are our choice.
        """
        return cls(
            recipe="paper",
            steps=steps,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            reference_weight=alpha,
            concept_weight=beta,
            **{"concept": "contrastive", "schedule": "constant"} | fields,
        )

    @classmethod
    def released(
        cls,
        steps: int = 50,
        learning_rate: float = 0.005,
        alpha: float = 0.2,
        beta: float = 0.2,
        weight_decay: float = 0.0,
        batch_size: int = 20,
        **fields: Any,
    ) -> ProxyConfig:
        """What the authors' released main.py does, which is not what the paper says.

        w_i, its reference and its concept are unnormalised text embeddings of bare words; the text tower runs without
        position embeddings and without the final layer norm; squared distances are means over the width; Adagrad.
        `alpha` weighs the concept and `beta` the reference, the other way round than in the paper. Text width must
        equal the embedding dimension. Weight decay acts on all rows at every batch, so that with it an image's result
        depends on the order of the batches (`fit_proxies(batch_order=…)`).
        """
        return cls(
            recipe="released",
            steps=steps,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            reference_weight=beta,
            concept_weight=alpha,
            batch_size=batch_size,
            **{"concept": "distance", "optimizer": "adagrad", "schedule": "constant"} | fields,
        )


def given_or_default(config: ProxyConfig | None) -> ProxyConfig:
    """The recipe that was given, the default one for None. InputTypeError for anything else."""
    if config is None:
        return ProxyConfig()
    if not isinstance(config, ProxyConfig):
        raise InputTypeError(f"expected a ProxyConfig, such as mm.ProxyConfig.paper(), found {config!r}", "config")
    return config
