"""Flags made from settings, and settings made from flags."""

from __future__ import annotations

import dataclasses

from absl import flags

from multimap_jax.settings import flag_of

TYPES = {"bool": flags.DEFINE_bool, "int": flags.DEFINE_integer, "float": flags.DEFINE_float}
PARITY_ONLY = ("float64",)  # changes JAX for the whole process


def define_settings(values: flags.FlagValues, settings: type, of_recipe: bool = False) -> None:
    """Defines a flag for every field of a dataclass of `settings` that has a help text.

    of_recipe: the default of each is the recipe's.
    """
    for field in fields_with_flags(settings):
        default = None if of_recipe else field.default
        text = f"instead of the recipe's: {field.metadata['help']}" if of_recipe else field.metadata["help"]
        if among := [name for name in field.metadata["among"] if name not in PARITY_ONLY]:
            flags.DEFINE_enum(flag_of(field), default, among, text, flag_values=values)
        else:
            TYPES[field.type.partition(" ")[0]](flag_of(field), default, text, flag_values=values)


def given_settings(values: flags.FlagValues, settings: type) -> dict:
    """The fields of a dataclass of `settings` whose flags have a value."""
    found = {field.name: values[flag_of(field)].value for field in fields_with_flags(settings)}
    return {name: value for name, value in found.items() if value is not None}


def fields_with_flags(settings: type) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(settings) if field.metadata["help"]]
