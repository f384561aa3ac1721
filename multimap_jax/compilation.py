"""JAX's persistent compilation cache, for programs: importing the library switches nothing on."""

from __future__ import annotations

import os
import platform
from pathlib import Path


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
