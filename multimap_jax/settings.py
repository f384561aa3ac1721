"""The settings of a user: one field each, from which flags, arguments and file entries are made.

A field of `Settings` is an argument of `MultiMaP`, a flag of the command, and an entry of run.json and model.json; so
is a field of `ImageSettings`, of `load_clip`. A field of `ProxySettings` is an argument of `ProxyConfig` and, if it has
a help text, a flag. To add a setting, add a field, the argument of `MultiMaP`, and the code that uses it. This module
imports nothing heavy, so that `multimap --help` is quick.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any, get_args

from multimap_jax import choices
from multimap_jax.errors import InputError, InputTypeError


def setting(
    default: Any,
    help: str = "",
    *,
    options: Sequence[str] = (),
    minimum: int | None = None,
    limit: int | None = None,
    flag: str = "",
    static: bool = False,
) -> Any:
    """One setting.

    Args:
      help: help text of its flag; "" for no flag.
      options: the allowed values. minimum, limit: allows numbers >= minimum and < limit.
      flag: the name of its flag, if it differs from the field's.
      static: not a leaf of the pytree, so that a new value compiles again.
    """
    metadata = {"help": help, "options": options, "minimum": minimum, "limit": limit, "flag": flag, "static": static}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings for grouping images, besides the aspect and the recipe."""

    features: choices.FeatureKind | None = setting(
        None,
        "features for k-means (default: span for the default recipe and two or more words, otherwise proxy)",
        options=choices.FEATURES,
    )
    keep_proxies: bool = setting(False, "learn a proxy for every image even if the features need none")
    leftover: float = setting(
        0.0, "share of images to leave unassigned, lowest confidence first: 0.05", minimum=0, limit=1
    )
    random_state: int = setting(
        0, "seed of k-means and of the released recipe's batch order", minimum=0, limit=2**32, flag="seed", static=True
    )

    def __post_init__(self) -> None:
        check(self)


@dataclasses.dataclass(frozen=True)
class ImageSettings:
    """Settings for embedding images, which embeddings depend on: arguments of `load_clip`, and part of `Clip.hash`."""

    image_precision: choices.ImagePrecision = setting(
        "float32",
        "precision of the image tower; bf16 takes half the memory and changes embeddings a little",
        options=choices.IMAGE_PRECISIONS,
    )
    decode: choices.Decode = setting(
        "exact",
        "fast decodes large JPEGs at a smaller size, which changes embeddings very little",
        options=get_args(choices.Decode),
    )

    def __post_init__(self) -> None:
        check(self)

    def changed(self) -> dict[str, str]:
        """Name -> value, for the settings that differ from the default."""
        values = {field.name: (getattr(self, field.name), field.default) for field in dataclasses.fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}


@dataclasses.dataclass(frozen=True)
class ProxySettings:
    """Settings for optimising proxies; `proxies.recipes.ProxyConfig` documents each field."""

    recipe: choices.Recipe = setting("default", options=choices.RECIPES, static=True)
    steps: int = setting(80, "optimisation steps", minimum=0, limit=10**6 + 1)
    learning_rate: float = setting(0.01, "learning rate of the optimiser", minimum=0)
    weight_decay: float = setting(0.0, "weight decay, as L2 added to the gradient", minimum=0)
    reference_weight: float = setting(0.1, "weight of the reference word", minimum=0)
    concept_weight: float = setting(0.0, "weight of the concept term", minimum=0)
    tolerance: float = setting(
        0.0,
        "stop optimising an image when its loss falls by less than this over 10 steps; 0: never",
        minimum=0,
    )
    concept: choices.Concept = setting("none", "concept term", options=get_args(choices.Concept), static=True)
    optimizer: choices.Optimizer = setting("adam", options=get_args(choices.Optimizer), static=True)
    schedule: choices.Schedule = setting(
        "linear", "schedule of the learning rate", options=get_args(choices.Schedule), static=True
    )
    init: choices.Init = setting("reference", options=get_args(choices.Init), static=True)
    batch_size: int | None = setting(None, minimum=1, static=True)
    block_size: int | None = setting(None, "images computed at once on one device", minimum=1, static=True)
    precision: choices.Precision = setting(
        "float32", "precision of the text tower while optimising", options=get_args(choices.Precision), static=True
    )


def flag_of(field: dataclasses.Field) -> str:
    """The name of the flag of a setting."""
    return field.metadata["flag"] or field.name


def check(settings: Settings | ImageSettings | ProxySettings) -> None:
    """InputError or InputTypeError if a setting has an invalid value.

    In jit and tree operations the numbers are tracers or placeholders, whose values cannot be checked.
    """
    for field in dataclasses.fields(settings):
        value, rules = getattr(settings, field.name), field.metadata
        kind = field.type.partition(" ")[0]
        if value is None and field.default is None:
            continue
        if rules["options"]:
            if value not in rules["options"]:
                raise InputError(f"{field.name} is {value!r}, known: {', '.join(rules['options'])}", field.name)
        elif kind == "bool" or isinstance(value, bool | str | list | tuple | dict | None):
            if kind != "bool" or not isinstance(value, bool):
                expected = "true or false" if kind == "bool" else "a number"
                raise InputTypeError(f"{field.name} is {value!r}, expected {expected}", field.name)
        elif isinstance(value, numbers.Real):
            minimum, limit = rules["minimum"], rules["limit"]
            fits = (minimum is None or value >= minimum) and value < (float("inf") if limit is None else limit)
            if fits and kind == "int":
                fits = isinstance(value, numbers.Integral) if rules["static"] else value == value // 1
            if not fits:
                raise InputError(f"{field.name} is {value}, expected {expected_number(field)}", field.name)


def expected_number(field: dataclasses.Field) -> str:
    """The allowed numbers of a setting, in words."""
    noun = "a whole number" if field.type.startswith("int") else "a number"
    minimum, limit = field.metadata["minimum"], field.metadata["limit"]
    if limit is None:
        return f"{noun} of {minimum} or more"
    if field.type == "int":
        return f"{noun} from {minimum} to {limit - 1:,}"
    return f"{noun} from {minimum} to less than {limit}, such as 0.05 for 5%"
