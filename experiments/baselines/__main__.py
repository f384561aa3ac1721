"""One method on one task: what `process` starts, in a process and, for ENRC, in an environment of its own.

python -m experiments.baselines msc task.npz found.npz
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from experiments.baselines.task import Found, Task, load_task, save_found


def find(name: str) -> Callable[[Task], Found]:
    """The method of this name; each is imported alone, since not every environment has what the others need."""
    if name == "MSC":
        from experiments.baselines.msc import msc as method
    elif name == "MCV":
        from experiments.baselines.mcv import mcv as method
    elif name == "ENRC":
        from experiments.baselines.enrc import enrc as method
    elif name == "iMClusts":
        from experiments.baselines.imclusts import imclusts as method
    elif name == "AugDMC":
        from experiments.baselines.augdmc import augdmc as method
    else:
        raise ValueError(f"unknown method {name!r}")
    return method


def highest_memory() -> int:
    """Of this process, in bytes; 0 where the system does not say. What resource.getrusage says begins with the memory
    of the process that started this one."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    name, given, out = sys.argv[1:]
    found = find(name)(load_task(Path(given)))
    save_found(dataclasses.replace(found, memory=highest_memory()), Path(out))
