"""Common fixtures and settings that make silent mistakes loud."""

import contextlib
import ctypes
import gc
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
# Compiling takes most of the time of small programs; `optimised` is for what must hold for those that users run.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# Workers share the cores; more threads would only wait for each other.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import multimap_jax as mm  # noqa: E402

STATM = Path("/proc/self/statm")
GATHERED_BYTES = 600 * 10**6
gc.set_threshold(50_000, *gc.get_threshold()[1:])  # tracing makes many objects that stay, as in multimap_jax.__main__


def pytest_configure(config):
    """Programs are compiled once for the workers, the processes that tests start, and later sessions; --cache-clear
    removes them. The command's own cache lies in the user's folder, where tests leave nothing."""
    if hasattr(config, "cache") and "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(config.cache.mkdir(f"compiled-{platform.node()}"))
    elif not hasattr(config, "cache"):
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny random CLIP read from a directory, whose text width equals its embedding dimension, and PyTorch's."""
    pytest.importorskip("torch")
    from tests.tiny import write_tiny

    directory = tmp_path_factory.mktemp("tiny")
    model = write_tiny(directory)
    return mm.load_clip(directory), model


def resident_bytes():
    """The memory of this process on Linux, 0 elsewhere."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if STATM.exists() else 0


@pytest.fixture(scope="session")
def freed():
    """{"at": the memory of this process after it was last freed}."""
    return {"at": resident_bytes()}


@pytest.fixture(autouse=True)
def bounded_memory(freed):
    """Frees what has gathered. What JAX has compiled is found again on the disk; the libraries' allocators keep what
    was freed unless they are told to give it back."""
    yield
    if resident_bytes() > freed["at"] + GATHERED_BYTES:
        import jax
        import pyarrow

        jax.clear_caches()
        gc.collect()
        pyarrow.default_memory_pool().release_unused()
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL(None).malloc_trim(0)
        freed["at"] = resident_bytes()


@pytest.fixture(scope="module")
def optimised():
    """Programs as users run them."""
    import jax

    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


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
