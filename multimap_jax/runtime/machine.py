"""Describes this machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Describes the processor, the cores that may be used, and JAX's devices."""
    import jax

    model, information = platform.machine(), Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        model = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), model)
    number = cores()
    cores_text = f"{number} core{'' if number == 1 else 's'}"
    return f"{model}, {cores_text}, JAX on {jax.local_device_count()} × {jax.local_devices()[0].device_kind}"
