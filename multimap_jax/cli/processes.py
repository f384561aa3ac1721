"""Flags for runs with several processes, and how the command handles these processes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl.flags import FlagValues

from multimap_jax import choices
from multimap_jax.cli.flags import TYPES, switch, text
from multimap_jax.errors import InputError

if TYPE_CHECKING:
    from multimap_jax.runs.distributed.process_group import Processes

DAY_SECONDS = 24 * 60 * 60
HEARTBEAT_HELP = "seconds of silence after which a process counts as dead"
# JAX asks the cluster for the processes.
CLUSTER = (
    switch("distributed", "run the same command on every host; JAX finds the other processes"),
    text("heartbeat", HEARTBEAT_HELP, choices.HEARTBEAT_SECONDS, TYPES["int"], lower_bound=1, upper_bound=DAY_SECONDS),
)
# The user gives each process its number.
NUMBERED = (
    text("coordinator", "HOST:PORT of process 0"),
    text("processes", "number of processes", None, TYPES["int"]),
    text("process", "number of this process, from 0 to --processes minus 1", None, TYPES["int"]),
)
NUMBERED_NAMES = "--coordinator, --processes and --process"


def given_processes(values: FlagValues) -> Processes | None:
    """The `Processes` that the flags describe; None if JAX asks the cluster. InputError if the flags contradict each
    other."""
    from multimap_jax.runs.distributed.process_group import ALONE, Processes

    numbered: list[Any] = [values[name].value for name in ("coordinator", "processes", "process") if name in values]
    is_numbered = any(value is not None for value in numbered)
    if "distributed" in values and values.distributed:
        if is_numbered or ("part" in values and values["part"].present):
            other = NUMBERED_NAMES if is_numbered else "--part"
            raise InputError(f"--distributed cannot be combined with {other}: remove one of them")
        return None
    if not is_numbered:
        return ALONE
    if None in numbered or not numbered[0]:
        raise InputError(f"{NUMBERED_NAMES} must be given together: give all three or none")
    coordinator, count, index = numbered
    return Processes(coordinator, count, index, values.heartbeat)


def join_processes(values: FlagValues) -> Processes:
    """The `given_processes`, or those of the cluster; this process then joins the cluster's JAX runtime."""
    from multimap_jax.runs.distributed.jax_runtime import join_cluster
    from multimap_jax.runs.distributed.process_group import Processes

    given = given_processes(values)
    if given is not None:
        return given
    try:
        return Processes(*join_cluster(values.heartbeat), values.heartbeat)
    except InputError as error:
        instead = "--part" if "part" in values else NUMBERED_NAMES
        raise type(error)(f"{error.message}, or give {instead} instead", error.parameter) from None


def killed_message(number: int, out: Path, heartbeat: int) -> str:
    """The message for one process of several that signal `number` ended. JAX's runtime ends its own process by SIGABRT
    if another one is gone, and prints why; any other signal came from outside."""
    kept = f" Finished work is kept in {out}; start all processes again to continue."
    again = kept if (out / "plan").is_dir() else " Start all processes again."
    if number == signal.SIGABRT:
        return f"another process of this run ended or was silent for {heartbeat} s.{again}"
    name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
    reasons: dict[int, str] = {
        signal.SIGKILL: " Perhaps the machine ran out of memory.",
        signal.SIGSEGV: " Perhaps another process of this run ended, or the port of process 0 is taken "
        "(JAX_COORDINATOR_PORT sets another).",
    }
    return f"this process was ended by {name}.{reasons.get(number, '')}{again}"
