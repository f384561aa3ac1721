"""Several processes of one run, on one host or many: who they are, how they come together and part.

JAX's distributed runtime notices a process that is gone and ends the others.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
import threading

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
