"""Several processes of one run, on one host or many: they join, broadcast, wait at barriers, and leave.

They join JAX's distributed runtime, by flags or as the cluster says, where process 0 checks that all were started
alike. Results go through the folder of the run, which all of them see. The runtime notices a process that is gone and
ends the others.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from multimap_jax.choices import HEARTBEAT_SECONDS
from multimap_jax.errors import InputError
from multimap_jax.runs.distributed import jax_runtime as runtime
from multimap_jax.runtime.compilation import check_devices
from multimap_jax.runtime.progress import open_bar
from multimap_jax.storage.output import HIDDEN, discard, write_scratch
from multimap_jax.storage.paths import exists

COORDINATOR = re.compile(r"(?:[\w.-]+|\[[0-9a-f:.]+\]):(\d{1,5})", re.ASCII | re.I)
MAX_PROCESSES = 100_000
# Seconds between two looks at a barrier: at first, and after a long wait.
POLL_SECONDS = 0.1
LONGEST_POLL_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Processes:
    """`count` processes, of which this is number `index`. Number 0 listens at `coordinator` ("HOST:PORT"), "" for a
    single process. heartbeat: seconds of silence after which one counts as dead."""

    coordinator: str
    count: int
    index: int
    heartbeat: int = HEARTBEAT_SECONDS

    def __post_init__(self) -> None:
        found = COORDINATOR.fullmatch(self.coordinator)
        if self.coordinator and not (found and 0 < int(found[1]) < 65536):
            raise InputError(
                f"coordinator is {self.coordinator[:100]!r}, expected HOST:PORT of process 0, such as 10.0.0.1:8476",
                "coordinator",
            )
        if not 1 <= self.count <= MAX_PROCESSES:
            raise InputError(f"{self.count} processes: expected 1 to {MAX_PROCESSES:,}", "processes")
        if not 0 <= self.index < self.count:
            raise InputError(f"process {self.index} of {self.count}: expected 0 to {self.count - 1}", "process")

    def share(self, shards: Iterable[int]) -> list[int]:
        """This process's shards: every `count`-th."""
        return sorted(set(shards))[self.index :: self.count]


ALONE = Processes("", 1, 0)


@dataclasses.dataclass(frozen=True)
class ProcessGroup:
    """Processes that have joined. out: the folder of the run. name: the folder below `.multimap` there through which
    they broadcast. None and "" for a single process."""

    processes: Processes
    out: Path | None = None
    name: str = ""

    def broadcast(self, step: str, make: Callable[[], dict]) -> dict:
        """What process 0 makes in a step, for all processes. TimeoutError as `barrier`."""
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
        """Waits until the processes have done all that is wanted. JAX's runtime ends this process if another one dies.

        done: gives what is done by now.

        Raises TimeoutError where nothing more was done for a day.
        """
        missing = set(wanted) if self.processes.coordinator else set()
        missing -= set(done()) if missing else set()
        begin = last = time.monotonic()
        with open_bar(len(missing), "waiting for other processes", "shard", shown=False) as bar:
            while missing:
                now = time.monotonic()
                if now - last > runtime.IDLE_SECONDS:
                    raise TimeoutError(
                        f"the other processes have done nothing for {runtime.IDLE_SECONDS // 3600} hours: stop all of "
                        "them, and start them again to go on from what is kept"
                    )
                time.sleep(min(max(POLL_SECONDS, (now - begin) / 100), LONGEST_POLL_SECONDS))
                if finished := missing & set(done()):
                    missing -= finished
                    bar.update(len(finished))
                    last = time.monotonic()

    def leave(self) -> None:
        """Waits until all processes have come here, process 0 last, and removes what they broadcast.

        TimeoutError as `barrier`.
        """
        if self.out is None:
            return
        self.broadcast("end", dict)
        runtime.leave()
        if self.processes.index == 0:
            discard(self.out, self.name)


def join_group(processes: Processes, settings: dict, out: Path) -> ProcessGroup:
    """Joins all processes, before anything is computed.

    Args:
      settings: parameter -> what all processes must have been started with.

    Raises InputError where one was started with other settings, sees another folder `out` or has no devices; OSError
    where process 0 cannot listen at its port, the others do not come within JOIN_SECONDS, or one dies meanwhile.
    """
    if processes.count == 1 and not processes.coordinator:
        return ProcessGroup(processes)
    runtime.join(processes)
    settings = {"processes": processes.count} | settings
    name, problem = (host_group if processes.index == 0 else find_group)(processes, settings, out)
    if problem:
        runtime.leave()  # all have read it then
        if processes.index == 0:
            discard(out, name)
        raise InputError(*problem)
    try:
        check_devices()
    except ConnectionError:
        time.sleep(runtime.END_SECONDS)
        raise
    return ProcessGroup(processes, out, name)


def host_group(processes: Processes, settings: dict, out: Path) -> tuple[str, list[str]]:
    """Process 0: the name of the group's folder, and what `difference` finds for the first process that differs."""
    name = f"group-{secrets.token_hex(8)}"
    write_scratch(out, f"{name}/here", "")
    runtime.publish("folder", name)
    problem: list[str] = []
    for index in range(1, processes.count):
        problem = problem or difference(settings, receive(processes, f"process-{index}"), index)
    runtime.publish("problem", problem)
    return name, problem


def find_group(processes: Processes, settings: dict, out: Path) -> tuple[str, list[str]]:
    """Any other process: tells process 0 its settings and whether it sees its folder; returns what `host_group`
    does."""
    name = receive(processes, "folder")
    runtime.publish(f"process-{processes.index}", {"settings": settings, "sees": exists(out / HIDDEN / name / "here")})
    return name, receive(processes, "problem")


def difference(settings: dict, process: dict, index: int) -> list[str]:
    """What process `index` was started with that process 0 was not: a sentence and the parameter; [] for nothing."""
    for name, value in settings.items():
        other = process["settings"].get(name)
        if other != value:
            return [
                f"process {index} was started with another {name} than process 0 ({other} and {value}): start all of "
                "them alike",
                name,
            ]
    if not process["sees"]:
        return [f"process {index} does not see the folder of process 0: give all the same one", "out"]
    return []


def receive(processes: Processes, key: str) -> Any:
    """What another process published. ConnectionError where it is gone, TimeoutError as `ProcessGroup.barrier`."""
    ProcessGroup(processes).barrier([key], lambda: [] if runtime.published(key) is None else [key])
    return runtime.published(key)
