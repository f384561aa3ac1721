"""One method on one task: what `process` starts, in a process and, for ENRC, in an environment of its own.

python -m experiments.baselines msc task.npz found.npz
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from experiments.baselines.task import Found, Task, load_task, save_found
from experiments.benchmarks.measuring import process_status


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


if __name__ == "__main__":
    name, given, out = sys.argv[1:]
    found = find(name)(load_task(Path(given)))
    save_found(dataclasses.replace(found, memory=process_status("VmHWM")), Path(out))
