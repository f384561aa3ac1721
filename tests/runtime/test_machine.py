"""The machine in words."""

import pytest

from multimap_jax.runtime import machine


@pytest.mark.parametrize("number, words", [(1, ", 1 core, JAX"), (2, ", 2 cores, JAX")])
def test_one_core_is_no_plural(monkeypatch, number, words):
    monkeypatch.setattr(machine, "cores", lambda: number)
    assert words in machine.machine()


@pytest.mark.parametrize(
    ("information", "words"),
    [
        ("model name\t: AMD EPYC\nflags\t\t: sse avx avx2\n", "AMD EPYC with AVX2"),
        ("model name\t: Xeon: a\nflags\t\t: avx2 avx512f\n\nmodel name\t: other\n", "Xeon: a with AVX-512"),
        ("model name\t: old\nflags\t\t: sse\n", "old"),
        ("Features\t: asimd\n", machine.platform.machine()),
        ("", machine.platform.machine()),
    ],
)
def test_a_processor_is_named_with_its_vectors(information, words):
    assert machine.processor(information) == words
