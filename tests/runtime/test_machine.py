"""The machine in words."""

import pytest

from multimap_jax.runtime import machine


@pytest.mark.parametrize("number, words", [(1, ", 1 core, JAX"), (2, ", 2 cores, JAX")])
def test_one_core_is_no_plural(monkeypatch, number, words):
    monkeypatch.setattr(machine, "cores", lambda: number)
    assert words in machine.machine()
