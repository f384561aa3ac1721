"""All settings of the optimisation in one frozen dataclass, and the named recipes."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from multimap_jax import choices
from multimap_jax.errors import InputError, InputTypeError, found_text
from multimap_jax.settings import ProxySettings, check


@dataclasses.dataclass(frozen=True)
class Traits:
    """The properties of a recipe that a ProxyConfig cannot change.

    Attributes:
      features: what k-means runs on by default, if the aspect has enough words.
      own_unit: lengths are in units of the mean norm of the words' token embeddings, not absolute.
      text_space: proxies, references and concepts are text embeddings of bare words (unnormalised), not token
        embeddings; the reference word is the best of the bare words, not of the filled prompts.
      plain_tower: the text tower runs without position embeddings and without the final layer norm.
      mean_distance: squared distances are means over the width, not sums.
      offset: added to −cos in the loss.
      batches: the gradient is divided by the number of images in a batch, and weight decay acts at every batch's step.
    """

    features: choices.FeatureKind = "proxy"
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
    """The settings for optimising proxies; without arguments, the default recipe.

    Its 80 steps, rate .01 and weight .1 were chosen on drawn pictures; no table shows that choice. Their results for
    proxies of images are in the row "image proxies" of experiments/results/quality, quality_fashion and quality_photos.
    `paper` and `released` state the source of their numbers. No table compares values of `block_size`.

    The loss of one image is −cos(image, prompt) + reference_weight · ‖w − z‖² + concept_weight · concept term. Here w
    is the image's proxy, the prompt has w in its slot, z is the vector of the image's reference word, u_own that of the
    aspect's name, and u runs over u_own and the vectors of the contrast aspects' names. All are [width].

    Attributes:
      recipe: the space and units of these vectors. It sets no other field: for the paper's method use
        `ProxyConfig.paper()`, since `ProxyConfig(recipe="paper")` keeps the default's steps, rate, weights, concept
        and schedule. "paper": token embeddings, absolute units. "default": token embeddings, with `learning_rate` in
        units of s and both weights in units of 1/s², where s is the mean norm of the words' token embeddings, so that
        the same numbers fit every checkpoint. "released": the projected text space, see `released`.
      steps: updates (epochs under "released").
      weight_decay: L2, added to the gradient.
      concept: "contrastive" (cross-entropy of w·u over own and contrast aspects), "distance" (‖w − u_own‖²) or "none".
      optimizer: "adam" or "adagrad".
      schedule: of the learning rate: "constant", or "linear" down to 0 at the last step. With a constant rate, Adam's
        last steps amplify rounding; with a falling rate they settle.
      tolerance: every 50 steps, stop images whose loss fell by less than this in the last 10 steps; 0: never.
      init: "reference" (the reference word, or the aspect's name without words) or "aspect" (its name).
      batch_size: the released program's groups; None for all images at once.
      block_size: images computed at once on one device, for memory and speed; None: chosen by device. Results repeat
        bit for bit at the same block size and differ by rounding between block sizes.
      precision: "float32" (exact), "tf32", "bf16" (compute only: proxies and moments stay float32) or "float64". On
        drawn pictures the default's labels in bf16 agree with float32's at an adjusted Rand index of 0.99 or more, and
        its mean losses within 1e-2 (tests/proxies/test_fit.py). CPUs with bf16 instructions are faster with it too.

    Numbers are pytree leaves, so another learning rate does not cause a new compilation.
    """

    def __post_init__(self) -> None:
        check(self)
        if (self.batch_size is not None) != self.traits.batches:
            raise InputError(
                "batch_size belongs to the released recipe only; use block_size to limit memory", "batch_size"
            )

    @classmethod
    def named(cls, recipe: choices.Recipe) -> ProxyConfig:
        """The recipe of this name, "default", "paper" or "released", with its default numbers.

        Raises InputError for another name.
        """
        if recipe not in choices.RECIPES:
            raise InputError(f"recipe is {recipe!r}, known: {', '.join(choices.RECIPES)}", "recipe")
        return cls() if recipe == choices.RECIPES[0] else getattr(cls, recipe)()

    @property
    def traits(self) -> Traits:
        """The properties of the recipe."""
        return TRAITS[self.recipe]

    @property
    def batches_matter(self) -> bool:
        """Whether an image's proxy depends on the other images."""
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

        `alpha` is the weight of the reference word, `beta` that of the contrastive concept. The 1,000 steps are the
        paper's. It searches learning rate, weight decay, α and β for the lowest total loss. As every regulariser is at
        least 0, that search, taken literally, ends at α = β = 0. The values of these four are our choice.

        The contrastive concept needs other aspects. In Python `contrast` is empty by default, so name some; the flag
        `--contrast` of the command is color, shape, species, texture and background by default.
        """
        return cls._named_recipe(
            {"reference_weight": "alpha", "concept_weight": "beta"},
            {"concept": "contrastive", "schedule": "constant"} | fields,
            recipe="paper",
            steps=steps,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            reference_weight=alpha,
            concept_weight=beta,
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
        """The authors' released main.py, which differs from the paper.

        w_i, its reference and its concept are unnormalised text embeddings of bare words. The text tower runs without
        position embeddings and without the final layer norm. Squared distances are means over the width. The optimiser
        is Adagrad. `alpha` is the weight of the concept and `beta` that of the reference, swapped compared with the
        paper. Text width must equal the embedding dimension. Weight decay acts on all rows at every batch, so with it
        an image's result depends on the order of the batches (`fit_proxies(batch_order=…)`).

        The 50 steps (epochs) and the batches of 20 are the program's, the learning rate is the one it sets for Fruit
        and Cards. It has other values of α, β and weight decay for each data set (experiments/paper/released.py); the
        values of these three here are our choice.
        """
        return cls._named_recipe(
            {"reference_weight": "beta", "concept_weight": "alpha"},
            {"concept": "distance", "optimizer": "adagrad", "schedule": "constant"} | fields,
            recipe="released",
            steps=steps,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            reference_weight=beta,
            concept_weight=alpha,
            batch_size=batch_size,
        )

    @classmethod
    def _named_recipe(cls, arguments: dict[str, str], fields: dict[str, Any], **values: Any) -> ProxyConfig:
        """The recipe with `values` and the other `fields`. arguments: field -> the argument of the recipe that sets it.

        Raises InputTypeError for other fields, InputError for wrong values; both name the argument.
        """
        known = [field.name for field in dataclasses.fields(cls) if field.name not in values]
        listed = [arguments.get(name, name) for name in (*values, *known) if name != "recipe"]
        for name in fields:
            if name in arguments:
                raise InputTypeError(f"give {arguments[name]}, which sets {name} in this recipe", arguments[name])
            if name not in known:
                raise InputTypeError(f"this recipe has no setting {name}, known: {', '.join(listed)}")
        try:
            return cls(**values, **fields)
        except InputError as error:
            name = arguments.get(error.parameter, error.parameter)
            raise type(error)(error.message.replace(error.parameter, name, 1), name) from None


def given_or_default(config: ProxyConfig | None) -> ProxyConfig:
    """The given recipe, or the default for None. InputTypeError for anything else."""
    if config is None:
        return ProxyConfig()
    if not isinstance(config, ProxyConfig):
        raise InputTypeError(f"expected a ProxyConfig, such as mm.ProxyConfig.paper(), {found_text(config)}", "config")
    return config
