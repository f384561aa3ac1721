"""Packages that some tests need: looked for when tests are collected, imported when they are first used."""

import importlib
from importlib.util import find_spec

import pytest


class Needed:
    """A package that is imported when an attribute of it is first used."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, attribute):
        if attribute.startswith("_"):  # pytest looks at every name of a module for such ones
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self.name), attribute)


def needed(name, reason=None):
    """The package `name`; skips the module that calls this where it is not installed."""
    if find_spec(name) is None:
        pytest.skip(reason or f"needs {name}", allow_module_level=True)
    return Needed(name)
