"""Several processes of one run, on one host or many: how they meet, what they tell each other, how they part.

They enter JAX's distributed runtime, by flags or as the cluster says, and process 0 sees there that all were started
alike. What they compute goes through the folder --out, which all of them see. The runtime notices a process that is
gone and ends the others.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from multimap_jax.choices import HEARTBEAT_SECONDS
from multimap_jax.runs.distributed.jax_runtime import (
    END_SECONDS,
    IDLE_SECONDS,
    is_joined,
    join,
    leave,
    publish,
    published,
)
from multimap_jax.runtime.compilation import check_devices
from multimap_jax.runtime.progress import open_bar
from multimap_jax.storage.output import HIDDEN, discard, write_scratch
from multimap_jax.storage.paths import exists

COORDINATOR = re.compile(r"(?:[\w.-]+|\[[0-9a-f:.]+\]):(\d{1,5})", re.ASCII | re.I)
MOST = 100_000
POLL_SECONDS, POLL_SECONDS_LATER = 0.1, 5.0


@dataclasses.dataclass(frozen=True)
class Processes:
    """`count` processes, this is number `index`; number 0 listens at `coordinator` ("HOST:PORT"), "" for one alone.
    heartbeat: seconds of silence after which one counts as dead."""

    coordinator: str
    count: int
    index: int
    heartbeat: int = HEARTBEAT_SECONDS

    def __post_init__(self):
        found = COORDINATOR.fullmatch(self.coordinator)
        if self.coordinator and not (found and 0 < int(found[1]) < 65536):
            raise ValueError(
                f"the coordinator is {self.coordinator[:100]!r}, expected HOST:PORT of process 0, such as 10.0.0.1:8476"
            )
        if not 1 <= self.count <= MOST:
            raise ValueError(f"--processes={self.count}: expected 1 to {MOST:,}")
        if not 0 <= self.index < self.count:
            raise ValueError(f"process {self.index} of {self.count}: expected 0 to {self.count - 1}")

    def own(self, shards) -> list[int]:
        """Which of the shards are this process's: every `count`-th."""
        return sorted(set(shards))[self.index :: self.count]


ALONE = Processes("", 1, 0)


@dataclasses.dataclass(frozen=True)
class ProcessGroup:
    """Processes that have met. `out`: the folder of the run, and `name` the folder below `.multimap` where they leave
    each other word; None and "" for one alone."""

    processes: Processes
    out: Path | None = None
    name: str = ""

    def broadcast(self, step: str, make: Callable[[], dict]) -> dict:
        """What process 0 makes of a step, known to all of them. TimeoutError as `barrier`."""
        if self.out is None:
            return make()
        if self.processes.index == 0:
            content = make()
            write_scratch(self.out, f"{self.name}/{step}.json", json.dumps(content))
            return content
        path = self.out / HIDDEN / self.name / f"{step}.json"
        self.barrier([path], lambda: [path] if exists(path) else [])
        return json.loads(path.read_text())

    def barrier(self, wanted: Iterable, done: Callable[[], Iterable]) -> None:
        """Until all that is wanted is done by the others. JAX's runtime ends this process where another one is gone.

        done: gives what is done.

        Raises TimeoutError where nothing more was done for a day.
        """

        def missing(left: list) -> list:
            there = set(done()) if left else set()
            return [each for each in left if each not in there]

        left = missing(list(wanted)) if self.processes.coordinator else []
        begin = last = time.monotonic()
        with open_bar(len(left), "waiting for other processes", "shard", shown=False) as moved:
            while left:
                now = time.monotonic()
                if now - last > IDLE_SECONDS:
                    raise TimeoutError(
                        f"the other processes have done nothing for {IDLE_SECONDS // 3600} hours: stop all of them, "
                        "and start them again to go on from what is kept"
                    )
                time.sleep(min(max(POLL_SECONDS, (now - begin) / 100), POLL_SECONDS_LATER))
                still = missing(left)
                moved.update(len(left) - len(still))
                last = time.monotonic() if len(still) < len(left) else last
                left = still

    def leave(self) -> None:
        """Waits until all have come here, process 0 last, and takes away what they told each other.

        TimeoutError as `barrier`.
        """
        if self.out is None:
            return
        self.tell("end", dict)
        leave()
        if self.processes.index == 0:
            discard(self.out, self.name)


def join_group(processes: Processes, settings: dict, out: Path) -> ProcessGroup:
    """Brings all processes together, before anything is computed.

    Raises ValueError where one was started with other `settings`, sees another folder `out` or has no devices, OSError
    where process 0 cannot listen at its port, nobody comes within JOIN_SECONDS, or one goes away meanwhile.
    """
    if processes.count == 1 and not processes.coordinator:
        return ProcessGroup(processes)
    if not is_joined():
        join(processes)
    settings = {"--processes": processes.count} | settings
    name, problem = (host_group if processes.index == 0 else find_group)(processes, settings, out)
    if problem:
        leave()  # all have heard it then
        if processes.index == 0:
            discard(out, name)
        raise ValueError(problem)
    try:
        check_devices()
    except ConnectionError:
        time.sleep(END_SECONDS)  # by then the runtime has ended this process
        raise
    return ProcessGroup(processes, out, name)


def host_group(processes: Processes, settings: dict, out: Path) -> tuple[str, str]:
    """Process 0: the name of the folder to meet in, and in a sentence what keeps the others from it, "" for nothing."""
    name = f"group-{secrets.token_hex(8)}"
    write_scratch(out, f"{name}/here", "")
    publish("folder", name)
    problem = ""
    for index in range(1, processes.count):
        if not problem:
            problem = difference(settings, receive(processes, f"process-{index}"), index)
    publish("problem", problem)
    return name, problem


def find_group(processes: Processes, settings: dict, out: Path) -> tuple[str, str]:
    """Any other process: tells process 0 its settings and whether it sees its folder; returns what `host_group`
    does."""
    name = receive(processes, "folder")
    publish(f"process-{processes.index}", {"settings": settings, "sees": exists(out / HIDDEN / name / "here")})
    return name, receive(processes, "problem")


def difference(settings: dict, said: dict, index: int) -> str:
    """In a sentence what process `index` was started with that this one was not; "" for nothing."""
    theirs = said["settings"]
    different = [name for name in settings if theirs.get(name) != settings[name]]
    if different:
        name = different[0]
        return (
            f"process {index} was started with another {name} than process 0 ({theirs.get(name)} and "
            f"{settings[name]}): start all of them alike"
        )
    if not said["sees"]:
        return f"process {index} does not see the folder --out of process 0: all must see the same one"
    return ""


def receive(processes: Processes, key: str):
    """What another process published. ConnectionError where it has gone, TimeoutError as `ProcessGroup.barrier`."""
    ProcessGroup(processes).barrier([key], lambda: [] if published(key) is None else [key])
    return published(key)
