"""Many processes, each with its share of the images, on one host or many: files that each writes whole.

Nothing is exchanged while images are embedded and proxies optimised, so shares go through a folder that all processes
see. JAX's distributed runtime notices a process that is gone and ends the others; what was finished stays on disk, and
the same run started again computes only the rest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

HEARTBEAT_SECONDS = 10
JOIN_SECONDS = 120
DAY = 24 * 60 * 60


@dataclasses.dataclass(frozen=True)
class Processes:
    """`count` processes, this is number `index`; number 0 listens at `coordinator` ("HOST:PORT")."""

    coordinator: str
    count: int
    index: int

    def __post_init__(self):
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"the coordinator is {self.coordinator!r}, expected HOST:PORT of process 0")
        if not 0 <= self.index < self.count:
            raise ValueError(f"process {self.index} of {self.count}: expected 0 to {self.count - 1}")

    @property
    def port(self) -> int:
        return int(self.coordinator.rpartition(":")[2])

    def own(self, images: int) -> range:
        """Which of the images are this process's."""
        return range(images * self.index // self.count, images * (self.index + 1) // self.count)


def join(processes: Processes) -> None:
    """Enters JAX's distributed runtime, before anything is computed. Where the others do not come within JOIN_SECONDS,
    says so and ends this process: left to itself JAX's runtime ends it too, with a trace.

    Raises OSError where process 0 cannot listen at its port.
    """
    import jax

    if processes.index == 0:
        try:
            socket.create_server(("", processes.port)).close()
        except OSError as error:
            reason = os.strerror(error.errno)
            raise OSError(f"process 0 cannot listen at port {processes.port} ({reason}): give another one") from None
    patience = threading.Timer(JOIN_SECONDS, _give_up, [processes])
    patience.daemon = True
    patience.start()
    jax.distributed.initialize(
        processes.coordinator,
        processes.count,
        processes.index,
        initialization_timeout=DAY,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=DAY,  # the others wait while process 0 clusters
        cluster_detection_method="deactivate",
    )
    patience.cancel()


def _give_up(processes: Processes) -> None:
    print(
        f"multimap: process {processes.index} of {processes.count} found no company at {processes.coordinator} within "
        f"{JOIN_SECONDS} s: start all of them with the same --coordinator",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def leave() -> None:
    """Waits until every process has come here: the files of all have been read."""
    import jax

    jax.distributed.shutdown()


@dataclasses.dataclass(frozen=True)
class Shares:
    """The files of one run in `folder`: for every step one file a process."""

    folder: Path
    processes: Processes

    @classmethod
    def of(cls, out: Path, processes: Processes, settings: dict) -> Shares:
        """In a folder of its own below `out` for these settings: another run never reads them."""
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        folder = out / "shares" / digest
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
        """Deletes the folder of this run, and the one above if no other run has shares there."""
        shutil.rmtree(self.folder)
        if not any(self.folder.parent.iterdir()):
            self.folder.parent.rmdir()


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
