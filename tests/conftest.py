"""Common fixtures and settings that make silent mistakes loud."""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

# The command's compilation cache lies in the user's folder, where tests leave nothing: they have one of their own,
# which their processes share.
os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="multimap_jax_compiled_")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
# Processes that a test starts inherit it.
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import multimap_jax as mm  # noqa: E402


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny random CLIP read from a directory, whose text width equals its embedding dimension, and PyTorch's."""
    pytest.importorskip("torch")
    from tests.tiny import write_tiny

    directory = tmp_path_factory.mktemp("tiny")
    model = write_tiny(directory)
    return mm.load_clip(directory), model


@pytest.fixture
def begin():
    """begin(flags, environment, stderr) -> a process of the command on the CPU, in a session of its own; with what it
    says on stderr among the rest, unless that is told apart. None outlives the test."""
    begun = []

    def begin(flags, environment=None, stderr=subprocess.STDOUT):
        process = subprocess.Popen(
            [sys.executable, "-m", "multimap_jax", *flags], stdout=subprocess.PIPE, stderr=stderr, text=True,
            start_new_session=True,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONFAULTHANDLER": "1"} | (environment or {}),
        )  # fmt: skip
        begun.append(process)
        return process

    yield begin
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        process.wait()


@pytest.fixture(scope="session")
def clip(tiny):
    return tiny[0]


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """(40 drawn fruit, the folder of a run on them by color and species). Nothing of it is changed by a test."""
    from multimap_jax.cli import main as cli
    from multimap_jax.scenes import write_scenes

    base = tmp_path_factory.mktemp("finished")
    write_scenes(base / "fruit", "fruit", seed=3, count=40)
    flags = ["--subject=fruit", "--aspect=color", "--aspect=species", "--words=color=red,green,yellow"]
    flags += ["--words=species=apple,banana,grape", "--noprogress", f"--images={base / 'fruit'}"]
    assert cli.main(["multimap", *flags, f"--out={base / 'out'}"]) == 0
    return base / "fruit", base / "out"
