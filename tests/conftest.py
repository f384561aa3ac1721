"""Shared fixtures."""

import os

import pytest

# The command's compilation cache lies in the user's folder, where tests leave nothing.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "0")

import multimap_jax as mm  # noqa: E402


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny random CLIP read from a directory, whose text width equals its embedding dimension, and PyTorch's."""
    pytest.importorskip("torch")
    from tests.tiny import write_tiny

    directory = tmp_path_factory.mktemp("tiny")
    model = write_tiny(directory)
    return mm.load_clip(directory), model


@pytest.fixture(scope="session")
def clip(tiny):
    return tiny[0]
