"""Several processes of one run, on one host or many: how they meet, what they tell each other, how they part.

They meet at the address of process 0, where it is seen that all were started alike. What they compute goes through the
folder --out, which all of them see. JAX's distributed runtime notices a process that is gone and ends the others.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

HEARTBEAT_SECONDS = 10
JOIN_SECONDS = 120
DAY = 24 * 60 * 60
POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Processes:
    """`count` processes, this is number `index`; number 0 listens at `coordinator` ("HOST:PORT"), "" for one alone."""

    coordinator: str
    count: int
    index: int

    def __post_init__(self):
        host, _, port = self.coordinator.rpartition(":")
        if self.coordinator and (not host or not port.isdecimal() or not 0 < int(port) < 65536):
            raise ValueError(f"the coordinator is {self.coordinator!r}, expected HOST:PORT of process 0")
        if not 0 <= self.index < self.count:
            raise ValueError(f"process {self.index} of {self.count}: expected 0 to {self.count - 1}")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.coordinator.rpartition(":")
        return host.strip("[]"), int(port)

    def own(self, pieces) -> list[int]:
        """Which of the pieces are this process's: every `count`-th."""
        return sorted(set(pieces))[self.index :: self.count]


ALONE = Processes("", 1, 0)


@dataclasses.dataclass(frozen=True)
class Company:
    """Processes that have met. `folder`: where they leave each other word, None for one alone."""

    processes: Processes
    folder: Path | None = None

    def tell(self, step: str, make: Callable[[], dict]) -> dict:
        """What process 0 makes of a step, known to all of them."""
        if self.folder is None:
            return make()
        path = self.folder / f"{step}.json"
        if self.processes.index == 0:
            content = make()
            aside = path.with_suffix(".new")
            aside.write_text(json.dumps(content))
            os.replace(aside, path)
            return content
        self.wait(path.exists)
        return json.loads(path.read_text())

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds; JAX's runtime ends this process where another one is gone meanwhile."""
        while not condition():
            time.sleep(POLL_SECONDS)

    def part(self) -> None:
        """Waits until all have come here, and takes away what they told each other."""
        if self.folder is None:
            return
        import jax

        jax.distributed.shutdown()
        if self.processes.index == 0:
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()


def meet(processes: Processes, settings: dict, out: Path) -> Company:
    """Brings all processes together, before anything is computed.

    Raises ValueError where one was started with other `settings` or sees another folder `out`, OSError where process 0
    cannot listen at its port or nobody comes within JOIN_SECONDS.
    """
    if processes.count == 1 and not processes.coordinator:
        return Company(processes)
    settings = {"--processes": processes.count} | settings
    folder = (gather_company if processes.index == 0 else find_company)(processes, settings, out)
    join(processes)
    return Company(processes, folder)


def gather_company(processes: Processes, settings: dict, out: Path) -> Path:
    """Process 0: hears every other one's settings, answers each, and says the folder to meet in."""
    folder = out / f".company-{secrets.token_hex(8)}"
    try:
        server = socket.create_server(("", processes.address[1]))
    except OSError as error:
        reason, port = os.strerror(error.errno), processes.address[1]
        raise OSError(f"process 0 cannot listen at port {port} ({reason}): give another one") from None
    folder.mkdir(parents=True)
    waiting: dict[int, socket.socket] = {}
    problem, end = "", time.monotonic() + JOIN_SECONDS
    try:
        with server:
            while len(waiting) < processes.count - 1 and not problem:
                server.settimeout(max(0.01, end - time.monotonic()))
                try:
                    connection, _ = server.accept()
                    connection.settimeout(JOIN_SECONDS)
                    said = receive(connection)
                    send(connection, {"folder": folder.name})
                    said |= receive(connection)
                except (TimeoutError, ValueError, ConnectionError):
                    if time.monotonic() < end:
                        continue
                    raise OSError(alone(processes)) from None
                problem = difference(settings, said, processes)
                waiting[said["index"]] = connection
            for connection in waiting.values():
                send(connection, {"problem": problem})
                connection.close()
    finally:
        if problem or len(waiting) < processes.count - 1:
            folder.rmdir()
    if problem:
        raise ValueError(problem)
    return folder


def find_company(processes: Processes, settings: dict, out: Path) -> Path:
    """Any other process: tells process 0 its settings and whether it sees its folder."""
    end = time.monotonic() + JOIN_SECONDS
    while True:
        try:
            with socket.create_connection(processes.address, timeout=JOIN_SECONDS) as connection:
                send(connection, {"index": processes.index, "settings": settings})
                folder = out / receive(connection)["folder"]
                send(connection, {"sees": folder.is_dir()})
                problem = receive(connection)["problem"]
                break
        except (OSError, ValueError, KeyError):
            if time.monotonic() > end:
                raise OSError(alone(processes)) from None
            time.sleep(POLL_SECONDS)
    if problem:
        raise ValueError(problem)
    return folder


def difference(settings: dict, said: dict, processes: Processes) -> str:
    """In a sentence what a process was started with that this one was not; "" for nothing."""
    index, theirs = said["index"], said["settings"]
    different = [name for name in settings if theirs.get(name) != settings[name]]
    if different:
        name = different[0]
        return (
            f"process {index} was started with another {name} than process 0 ({theirs.get(name)} and "
            f"{settings[name]}): start all of them alike"
        )
    if not said["sees"]:
        return f"process {index} does not see the folder --out of process 0: all must see the same one"
    if not 0 < index < processes.count:
        return f"there is a process {index} among {processes.count}: expected one each of 0 to {processes.count - 1}"
    return ""


def alone(processes: Processes) -> str:
    return (
        f"process {processes.index} of {processes.count} found no company at {processes.coordinator} within "
        f"{JOIN_SECONDS} s: start all of them with the same --coordinator"
    )


def send(connection: socket.socket, content: dict) -> None:
    connection.sendall(json.dumps(content).encode() + b"\n")


def receive(connection: socket.socket) -> dict:
    """One line of JSON; ConnectionError where there is none."""
    with connection.makefile("rb") as file:
        line = file.readline(1 << 20)
    if not line.endswith(b"\n"):
        raise ConnectionError("the other side has gone")
    return json.loads(line)


def join(processes: Processes) -> None:
    """Enters JAX's distributed runtime. Left to itself it ends a process in vain, with a trace; so we end it."""
    import jax

    patience = threading.Timer(JOIN_SECONDS, _give_up, [processes])
    patience.daemon = True
    patience.start()
    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM for itself
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
    print(f"multimap: {alone(processes)}", file=sys.stderr, flush=True)
    os._exit(1)
