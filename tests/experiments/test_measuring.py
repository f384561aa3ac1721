"""What the programs that measure share."""

import importlib
import os
import subprocess
import sys

import pytest

from experiments import write_results
from experiments.benchmarks import compiler_flags, measuring

PROGRAMS = {
    "benchmarks.families": "torch",
    "benchmarks.images": "torch",
    "benchmarks.parity_full_size": "torch",
    "benchmarks.proxies": "torch",
    "benchmarks.scaling": "matplotlib",
    "paper.figure4": "matplotlib",
}
# Defines the flags as the program does, then says that a package is not there.
WITHOUT = """
import runpy, sys
from experiments.benchmarks import measuring
measuring.find_spec = lambda name: None
sys.argv = [sys.argv[1]]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_not_installed_is_said_before_anything_is_computed(program, monkeypatch):
    monkeypatch.setattr(measuring, "find_spec", lambda name: None)
    module = importlib.import_module(f"experiments.{program}")
    with pytest.raises(SystemExit, match=rf"needs {PROGRAMS[program]}: pip install"):
        module.main([])


@pytest.mark.slow
def test_the_sentence_is_all_that_is_said():
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT, "experiments.paper.figure4"], capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 1
    assert ended.stderr == 'experiments.paper.figure4 needs matplotlib: pip install -e ".[test,experiments]"\n'


def test_flags_are_held_against_the_step_without_them(monkeypatch):
    tried, runs = [], {"": "a", "--xla_cpu_prefer_vector_width=512": "b", "--xla_cpu_max_isa=AVX2": "a"}

    def fake(function, *arguments):
        tried.append(flags := arguments[0])
        if flags not in runs:
            raise RuntimeError("a process ended\nthat nobody stopped")
        return {"seconds": 0.256 * len(tried), "compile_s": 3, "digest": runs[flags]}, 0

    monkeypatch.setenv("XLA_FLAGS", "--mine")
    monkeypatch.setattr(compiler_flags, "in_process", fake)
    found = [[compiler_flags.measured(flags, "ViT-B/32", 256, 1)] for flags in (*runs, "--new")]
    assert tried == [*runs, "--new"] and os.environ["XLA_FLAGS"] == "--mine"
    names = "none", "vectors of 512 bits", "no AVX-512", "products by oneDNN"
    rows = [compiler_flags.row(name, each, 256, "a") for name, each in zip(names, found)]
    assert [row.get("ms_per_image_step") for row in rows] == [1, 2, 3, None]
    assert [row.get("same_bits") for row in rows] == [True, False, True, None]
    text = write_results.compiler_flags_table(
        {"tower": "ViT-B/32", "rows": rows, "command": "c", "date": "d", "machine": "m"}
    )
    assert "| 2.000 (2.000 to 2.000) | 3.0 | no |" in text and "| not run |" in text
