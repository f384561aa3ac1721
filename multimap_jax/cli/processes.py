"""Flags of verbs that several processes can share, and what the command does about these processes."""

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
HEARTBEAT_HELP = "several processes: seconds of silence after which one counts as dead"
# Where JAX finds the processes itself, as the cluster knows them.
CLUSTER = (
    switch("distributed", "several processes, which JAX finds: run the same line on every host"),
    text("heartbeat", HEARTBEAT_HELP, choices.HEARTBEAT_SECONDS, TYPES["int"], lower_bound=1, upper_bound=DAY_SECONDS),
)
# Where each process is told which one it is.
NUMBERED = (
    text("coordinator", "several processes: HOST:PORT of process 0"),
    text("processes", "several processes: how many", None, TYPES["int"]),
    text("process", "several processes: which one this is, 0 to processes - 1", None, TYPES["int"]),
)
NUMBERED_NAMES = "--coordinator, --processes and --process"


def given_processes(values: FlagValues) -> Processes | None:
    """The `Processes` that the flags describe; None where the cluster is to be asked. InputError where flags of them do
    not go together."""
    from multimap_jax.runs.distributed.process_group import ALONE, Processes

    numbered: list[Any] = [values[name].value for name in ("coordinator", "processes", "process") if name in values]
    is_numbered = any(value is not None for value in numbered)
    if "distributed" in values and values.distributed:
        if is_numbered or ("part" in values and values["part"].present):
            other = NUMBERED_NAMES if is_numbered else "--part"
            raise InputError(f"--distributed finds all processes and what each does: leave it out, or {other}")
        return None
    if not is_numbered:
        return ALONE
    if None in numbered or not numbered[0]:
        raise InputError(f"{NUMBERED_NAMES} belong together: give all three or none")
    coordinator, count, index = numbered
    return Processes(coordinator, count, index, values.heartbeat)


def join_processes(values: FlagValues) -> Processes:
    """As `given_processes`, or those of the cluster, whose JAX runtime this process then enters."""
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
    """A sentence about a process of several that signal `number` ended. JAX's runtime ends its own process by SIGABRT
    where another one is gone, and says so above; any other signal came from outside."""
    kept = f"; what was finished is kept in {out}" if (out / "plan").is_dir() else ""
    again = ": start all processes again" + (" to go on from there" if kept else "")
    if number == signal.SIGABRT:
        return f"another process of this run ended or was silent for {heartbeat} s{kept}{again}"
    name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
    reasons: dict[int, str] = {
        signal.SIGKILL: ", as the system does where memory runs out",
        signal.SIGSEGV: ", as JAX is at once where process 0's port is taken (JAX_COORDINATOR_PORT names another)",
    }
    return f"this process was ended by {name}{reasons.get(number, '')}{kept}{again}"
