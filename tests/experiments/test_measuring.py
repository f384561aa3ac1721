"""What the programs that measure share."""

import importlib
import subprocess
import sys

import pytest

from experiments.benchmarks import measuring

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
