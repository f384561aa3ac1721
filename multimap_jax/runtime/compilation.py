"""Starts JAX for a program: checks devices and sets up the compilation cache. Importing the library does neither."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# Variables that tell JAX where to compute; without them it uses the available devices.
DEVICE_VARIABLES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_NUM_CPU_DEVICES")


def check_devices() -> None:
    """Checks early that the devices that JAX is told to use exist; ValueError if not. ConnectionError if another
    process ends while the processes exchange their devices."""
    settings = [f"{name}={os.environ[name]}" for name in DEVICE_VARIABLES if os.environ.get(name)]
    if not settings:
        return
    import jax

    try:
        jax.local_devices()
    except Exception as error:  # for CUDA it is an assertion without a message
        if "oordination" in str(error):  # from JAX's coordination service, which connects the processes
            raise ConnectionError("another process of this run ended: start all processes again") from None
        why = " ".join(str(error).partition(" (set JAX_PLATFORMS")[0].split()).rstrip(".")[:200]
        reason = f" ({why})" if why else ""
        raise ValueError(
            f"JAX finds no device with {' and '.join(settings)}{reason}: unset it to use the available devices, or "
            "name a platform of this machine, such as JAX_PLATFORMS=cpu"
        ) from None


def start_jax(several: bool = False) -> None:
    """Prepares JAX for a command. several: whether the run has several processes, which check devices later, once they
    are connected."""
    use_compilation_cache()
    if not several:
        check_devices()


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, one folder per host, because code fits only one processor.

    JAX's own variables take precedence: JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=0
    turns the cache off.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(home / "multimap_jax" / platform.node()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
