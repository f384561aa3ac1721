"""JAX's distributed runtime: how a process enters it, by flags or as the cluster says, and tells the others a word."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import warnings

# Hosts of a pod start minutes apart, and then look through the images before they join.
JOIN_SECONDS = 300
# The runtime sees a dead process within the heartbeat: this ends waits for one that is alive and gets nothing done. No
# healthy one needs a day for a shard, which is some thousand images, nor for the groups and the report.
IDLE_SECONDS = 24 * 60 * 60
POLL_SECONDS = 0.1
HEAR_MILLISECONDS = 1000
END_SECONDS = 10
CLUSTERS = "Cloud TPU, Slurm under srun, Open MPI, or Kubernetes with jax[k8s]"


def join(processes) -> None:
    """Enters JAX's distributed runtime as `Processes` say. Raises OSError where process 0 cannot listen at its port, or
    nobody comes within JOIN_SECONDS."""
    if processes.index == 0:
        port = int(processes.coordinator.rpartition(":")[2])
        try:
            socket.create_server(("", port)).close()
        except OSError as error:
            why = os.strerror(error.errno)
            raise OSError(f"process 0 cannot listen at port {port} ({why}): give another one") from None
    found = (
        f"process {processes.index} of {processes.count} found no other process at {processes.coordinator} within "
        f"{JOIN_SECONDS} s: start all of them with the same --coordinator"
    )
    where = {"coordinator_address": processes.coordinator, "num_processes": processes.count}
    where |= {"process_id": processes.index, "cluster_detection_method": "deactivate"}
    try:
        initialize(processes.heartbeat, found, **where)
    except RuntimeError as error:
        raise OSError(f"process {processes.index} cannot join the others ({reason(error)})") from None


def join_cluster(heartbeat: int, instead: str) -> tuple[str, int, int]:
    """Enters JAX's distributed runtime as Cloud TPU, Slurm, Open MPI or Kubernetes say.

    Returns the address of process 0, how many there are, and which one this is. `instead`: the flags to give where that
    fails.

    Raises ValueError where there is no cluster, or what it says cannot be used; OSError where nobody comes within
    JOIN_SECONDS.
    """
    found = (
        f"--distributed found no other process within {JOIN_SECONDS} s: start all processes of the cluster's job at "
        f"once, or give {instead} instead"
    )
    try:
        initialize(heartbeat, found, local_device_ids=own_devices())
    except OSError:
        raise
    except Exception as error:  # each cluster has errors of its own
        if isinstance(error, ValueError) and "be defined" in str(error):
            raise ValueError(f"--distributed found no cluster here ({CLUSTERS}): give {instead} instead") from None
        raise ValueError(
            f"--distributed cannot use what the cluster says ({reason(error)}): give {instead} instead"
        ) from None
    from jax._src.distributed import global_state as state

    return state.coordinator_address, state.num_processes, state.process_id


def own_devices() -> list[int] | None:
    """What JAX is to be told of this process's devices: [] for all that it sees; None for what JAX takes by itself,
    under Slurm and Open MPI one GPU for each process of a host."""
    said = os.environ.get
    if said("JAX_LOCAL_DEVICE_IDS"):
        return None
    one_a_host = said("OMPI_COMM_WORLD_LOCAL_SIZE") == "1" or (
        "SLURM_STEP_NUM_NODES" in os.environ and said("SLURM_STEP_NUM_NODES") == said("SLURM_NTASKS")
    )
    return [] if one_a_host or said("SLURM_GPUS_PER_TASK") else None


def initialize(heartbeat: int, alone: str, **where) -> None:
    """`jax.distributed.initialize`, in a thread of its own: nothing interrupts it, and left to itself it ends a process
    in vain, with a trace. OSError(alone) after JOIN_SECONDS; what it raises otherwise is raised."""
    import jax

    problems: list[Exception] = []

    def enter() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what Kubernetes needs, in many lines
                jax.distributed.initialize(
                    **where,
                    initialization_timeout=IDLE_SECONDS,
                    heartbeat_timeout_seconds=heartbeat,
                    shutdown_timeout_seconds=IDLE_SECONDS,
                )
        except Exception as error:
            problems.append(error)

    jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM for itself
    thread = threading.Thread(target=enter, daemon=True)
    end = time.monotonic() + JOIN_SECONDS
    thread.start()
    while thread.is_alive():
        if time.monotonic() > end:
            raise OSError(alone)
        thread.join(POLL_SECONDS)
    if problems:
        raise problems[0]


def reason(error: Exception) -> str:
    """An error of JAX or of a cluster in one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def is_joined() -> bool:
    """Whether this process has entered the runtime."""
    import jax

    return jax.distributed.is_initialized()


def leave() -> None:
    """Waits until all leave, and ends the runtime."""
    import jax

    jax.distributed.shutdown()


def publish(key: str, content) -> None:
    """Says something to all processes, once."""
    from jax._src.distributed import global_state

    global_state.client.key_value_set(f"multimap/{key}", json.dumps(content))


def published(key: str):
    """What a process has `publish`, None where nothing comes for a second. ConnectionError where process 0 has gone."""
    import jax
    from jax._src.distributed import global_state

    try:
        return json.loads(global_state.client.blocking_key_value_get(f"multimap/{key}", HEAR_MILLISECONDS))
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE_EXCEEDED" in str(error):
            return None
        time.sleep(END_SECONDS)  # by then the runtime has ended this process
        raise ConnectionError(f"process 0 has gone ({reason(error)}): start all processes again") from None
