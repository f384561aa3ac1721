"""Files that the processes of one run leave for each other, each written whole by one of them.

Nothing is exchanged while images are embedded and proxies optimised, so arrays go through a folder that all processes
see. What was finished stays on disk, and the same run started again computes only the rest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from multimap_jax.run.processes import Processes

FOLDER = "exchange"


@dataclasses.dataclass(frozen=True)
class Exchange:
    """The files of one run in `folder`: for every step one file a process."""

    folder: Path
    processes: Processes

    @classmethod
    def of(cls, out: Path, processes: Processes, settings: dict) -> Exchange:
        """In a folder of its own below `out` for these settings: another run never reads them."""
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        folder = out / FOLDER / digest
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, processes)

    def path(self, step: str, index: int) -> Path:
        return self.folder / f"{step}-{index}-of-{self.processes.count}.npz"

    def compute(self, step: str, function: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """This process's arrays of a step: from its file, or computed and written."""
        path = self.path(step, self.processes.index)
        if path.exists():
            return read(path)
        arrays, unfinished = function(), path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        return arrays

    def gather(self, step: str) -> list[dict[str, np.ndarray]]:
        """The arrays of all processes, as soon as they are there."""
        paths = [self.path(step, index) for index in range(self.processes.count)]
        while not all(path.exists() for path in paths):
            time.sleep(0.1)
        return [read(path) for path in paths]

    def remove(self) -> None:
        """Deletes the folder of this run, and the one above if no other run has files there."""
        shutil.rmtree(self.folder)
        if not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
