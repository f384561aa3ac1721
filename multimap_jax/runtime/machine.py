"""Describes this machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# Flags of /proc/cpuinfo, the widest vector instructions first.
VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2"}


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor(information: str) -> str:
    """The processor by the text of /proc/cpuinfo, with its widest vector instructions: processors of one name differ in
    them, and are up to three times as fast with the wider."""
    lines = [line.partition(":")[::2] for line in information.splitlines()]
    values = {name.strip(): value.strip() for name, value in reversed(lines)}
    flags = values.get("flags", "").split()
    widest = next((f" with {name}" for flag, name in VECTORS.items() if flag in flags), "")
    return values.get("model name", platform.machine()) + widest


def machine() -> str:
    """Describes the processor, the cores that may be used, and JAX's devices."""
    import jax

    information = Path("/proc/cpuinfo")
    model = processor(information.read_text() if information.exists() else "")
    number = cores()
    cores_text = f"{number} core{'' if number == 1 else 's'}"
    return f"{model}, {cores_text}, JAX on {jax.local_device_count()} × {jax.local_devices()[0].device_kind}"
