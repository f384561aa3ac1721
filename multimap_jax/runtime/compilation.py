"""How programs start JAX: its devices, and its persistent compilation cache. Importing the library does neither."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# Variables that tell JAX where to compute. Without them it takes what is there.
DEVICE_VARIABLES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_NUM_CPU_DEVICES")


def check_devices() -> None:
    """ValueError where JAX is told to compute on something that is not there, before it is needed; ConnectionError
    where another process ends while this one tells it of its devices."""
    settings = [f"{name}={os.environ[name]}" for name in DEVICE_VARIABLES if os.environ.get(name)]
    if not settings:
        return
    import jax

    try:
        jax.local_devices()
    except Exception as error:  # for CUDA it is an assertion, without a word
        if "oordination" in str(error):  # what JAX's processes meet by is its coordination service
            raise ConnectionError("another process of this run ended: start all processes again") from None
        why = " ".join(str(error).partition(" (set JAX_PLATFORMS")[0].split()).rstrip(".")[:200]
        reason = f" ({why})" if why else ""
        raise ValueError(
            f"JAX finds no device with {' and '.join(settings)}{reason}: unset it, and JAX takes what is there, or "
            "name a platform of this machine, such as JAX_PLATFORMS=cpu"
        ) from None


def start_jax(several: bool = False) -> None:
    """What a command does before it computes. several: its processes look for devices only once they have met."""
    use_compilation_cache()
    if not several:
        check_devices()


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, one folder a host: code for one processor is not for another.

    JAX's own variables come first: JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=0
    switches it off.
    """
    import jax

    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(home / "multimap_jax" / platform.node()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
