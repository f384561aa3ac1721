"""One method on one task: what `process` starts, in a process and, for ENRC, in an environment of its own.

python -m experiments.rivals msc task.npz found.npz
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from experiments.rivals.task import Found, Task, load_task, save_found


def find(name: str) -> Callable[[Task], Found]:
    """The method of this name; each is imported alone, since not every environment has what the others need."""
    if name == "MSC":
        from experiments.rivals.msc import msc as method
    elif name == "MCV":
        from experiments.rivals.mcv import mcv as method
    elif name == "ENRC":
        from experiments.rivals.enrc import enrc as method
    elif name == "iMClusts":
        from experiments.rivals.imclusts import imclusts as method
    elif name == "AugDMC":
        from experiments.rivals.augdmc import augdmc as method
    else:
        raise ValueError(f"unknown method {name!r}")
    return method


if __name__ == "__main__":
    name, given, out = sys.argv[1:]
    save_found(find(name)(load_task(Path(given))), Path(out))
