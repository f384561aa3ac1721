"""JAX's distributed runtime: how a process joins it, by flags or as the cluster says, and its key-value store."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import warnings
from typing import Any

from multimap_jax.errors import InputError, InputOSError
from multimap_jax.storage.filenames import error_text

# Hosts of a pod start minutes apart, and then list the images before they join.
JOIN_SECONDS = 300
# The runtime notices a dead process within the heartbeat; this ends waits for one that is alive but makes no progress.
# No healthy one needs a day for a shard, which is some thousand images, nor for the groups and the report.
IDLE_SECONDS = 24 * 60 * 60
POLL_SECONDS = 0.1
# How long one look into the key-value store waits for a key.
LOOKUP_MILLISECONDS = 1000
# By then the runtime has ended a process whose process 0 is gone.
END_SECONDS = 10
CLUSTERS = "Cloud TPU, Slurm under srun, Open MPI, or Kubernetes with jax[k8s]"


def join(processes: Any) -> None:
    """Joins the runtime that `Processes` describe, unless that is done. InputOSError where process 0 cannot listen at
    its port, or the others do not come within JOIN_SECONDS."""
    import jax

    if jax.distributed.is_initialized():
        return
    if processes.index == 0:
        port = int(processes.coordinator.rpartition(":")[2])
        try:
            socket.create_server(("", port)).close()
        except OSError as error:
            why = os.strerror(error.errno or 0)
            message = f"process 0 cannot listen at port {port} ({why}): give another one"
            raise InputOSError(message, "coordinator") from None
    try:
        initialize(
            processes.heartbeat,
            coordinator_address=processes.coordinator,
            num_processes=processes.count,
            process_id=processes.index,
            cluster_detection_method="deactivate",
        )
    except TimeoutError:
        raise InputOSError(
            f"process {processes.index} of {processes.count} found no other process at {processes.coordinator} within "
            f"{JOIN_SECONDS} s: start all of them with the same address",
            "coordinator",
        ) from None
    except RuntimeError as error:
        message = f"process {processes.index} cannot join the others ({error_text(error)})"
        raise InputOSError(message, "coordinator") from None


def join_cluster(heartbeat: int) -> tuple[str, int, int]:
    """Joins the runtime that Cloud TPU, Slurm, Open MPI or Kubernetes describe.

    Returns the address of process 0, the number of processes, and the index of this one. Raises InputError where there
    is no cluster, or what it says cannot be used; InputOSError where the others do not come within JOIN_SECONDS.
    """
    try:
        initialize(heartbeat, local_device_ids=local_devices())
    except TimeoutError:
        raise InputOSError(
            f"found no other process within {JOIN_SECONDS} s: start all processes of the cluster's job at once",
            "distributed",
        ) from None
    except Exception as error:  # each cluster has errors of its own
        if isinstance(error, ValueError) and "be defined" in str(error):
            raise InputError(f"found no cluster here ({CLUSTERS}): start it in one", "distributed") from None
        message = f"the settings of this cluster cannot be used ({error_text(error)}): check them"
        raise InputError(message, "distributed") from None
    from jax._src.distributed import global_state as state

    return state.coordinator_address or "", state.num_processes, state.process_id


def local_devices() -> list[int] | None:
    """The `local_device_ids` for JAX: [] for all devices that this process sees; None for JAX's own choice, which under
    Slurm and Open MPI is one GPU for each process of a host."""
    variable = os.environ.get
    if variable("JAX_LOCAL_DEVICE_IDS"):
        return None
    alone_on_host = variable("OMPI_COMM_WORLD_LOCAL_SIZE") == "1" or (
        "SLURM_STEP_NUM_NODES" in os.environ and variable("SLURM_STEP_NUM_NODES") == variable("SLURM_NTASKS")
    )
    return [] if alone_on_host or variable("SLURM_GPUS_PER_TASK") else None


def initialize(heartbeat: int, **settings: Any) -> None:
    """`jax.distributed.initialize` in a thread: nothing interrupts it, and after its own timeout it ends the process
    with a stack trace. TimeoutError after JOIN_SECONDS; other errors are JAX's."""
    import jax

    errors: list[Exception] = []

    def enter() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # many lines about what Kubernetes needs
                jax.distributed.initialize(
                    **settings,
                    initialization_timeout=IDLE_SECONDS,
                    heartbeat_timeout_seconds=heartbeat,
                    shutdown_timeout_seconds=IDLE_SECONDS,
                )
        except Exception as error:
            errors.append(error)

    jax.config.update("jax_enable_preemption_service", False)  # it would handle SIGTERM
    thread = threading.Thread(target=enter, daemon=True)
    end = time.monotonic() + JOIN_SECONDS
    thread.start()
    while thread.is_alive():
        if time.monotonic() > end:
            raise TimeoutError
        thread.join(POLL_SECONDS)
    if errors:
        raise errors[0]


def leave() -> None:
    """Waits until all processes leave, and ends the runtime."""
    import jax

    jax.distributed.shutdown()


def runtime_client() -> Any:
    """What speaks to process 0; there once the runtime is joined."""
    from jax._src.distributed import global_state

    return global_state.client


def publish(key: str, content: object) -> None:
    """Writes to the key-value store that all processes share; each key once."""
    runtime_client().key_value_set(f"multimap/{key}", json.dumps(content))


def published(key: str) -> Any:
    """What a process published under this key, None if nothing comes for a second. ConnectionError where process 0 is
    gone."""
    import jax

    try:
        return json.loads(runtime_client().blocking_key_value_get(f"multimap/{key}", LOOKUP_MILLISECONDS))
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE_EXCEEDED" in str(error):
            return None
        time.sleep(END_SECONDS)
        raise ConnectionError(f"process 0 has gone ({error_text(error)}): start all processes again") from None
