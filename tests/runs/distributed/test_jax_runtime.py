"""--distributed: real processes under the variables of Slurm and of Open MPI, set by hand; waits that end; refusals."""

import contextlib
import json
import os
import socket
import subprocess
import sys

import pytest

from multimap_jax.cli import main as cli
from multimap_jax.runs.distributed import jax_runtime as runtime
from multimap_jax.runs.distributed.process_group import ALONE, Processes, ProcessGroup
from multimap_jax.scenes import write_scenes
from tests.runs.distributed.test_process_group import IMPATIENT

FLAGS = ["--subject=fruit", "--aspect=color", "--words=color=red,green,yellow", "--noprogress"]
NO_CLUSTER = (
    "multimap: found no cluster here (Cloud TPU, Slurm under srun, Open MPI, or Kubernetes with jax[k8s]): start it in "
    "one, or give {} instead (see --distributed)\n"
)


def slurm(job, count, index):
    """What srun says to a process, as far as JAX asks."""
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NTASKS": str(count),
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
    }


def open_mpi(job, count, index):
    """What mpirun says to a process, as far as JAX asks."""
    return {
        "OMPI_MCA_orte_hnp_uri": f"{job * 4096}.0;tcp://127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": str(count),
        "OMPI_COMM_WORLD_RANK": str(index),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(index),
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(count),
    }


def free_job():
    """The number of a job whose port is free: JAX makes the port of the number."""
    for job in range(os.getpid() % 2000, 4096):
        with contextlib.suppress(OSError):
            socket.create_server(("", 65535 - 4096 + 1 + job)).close()
            return job


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "fruit"
    write_scenes(folder, "fruit", seed=9, count=70)  # three shards
    return folder


@pytest.fixture(scope="module")
def alone(fruit, tmp_path_factory):
    """The labels that one process writes."""
    out = tmp_path_factory.mktemp("alone")
    assert cli.main(["multimap", f"--images={fruit}", *FLAGS, f"--out={out}"]) == 0
    return (out / "labels.csv").read_bytes()


@pytest.fixture
def start(begin):
    """start(cluster, count, flags, more) -> the processes of one job, each with `more` in its environment."""

    def start(cluster, count, flags, more=None):
        job = free_job()
        return [
            begin([*flags, "--distributed"], cluster(job, count, index) | (more or {}), stderr=subprocess.PIPE)
            for index in range(count)
        ]

    return start


def finished(started):
    """[(what a process said, its lines on stderr)], once all have ended well."""
    said = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [slurm, open_mpi])
def test_three_processes_of_a_cluster_give_the_labels_of_one(start, fruit, alone, tmp_path, cluster):
    flags = [f"--images={fruit}", *FLAGS, "--keep_proxies", "--steps=3", "--block_size=4", "--log=json"]
    said = finished(start(cluster, 3, [*flags, f"--out={tmp_path}"]))
    assert (tmp_path / "labels.csv").read_bytes() == alone
    assert not list(tmp_path.glob(".multimap/[lg]*"))  # locks and what the processes told each other
    for index, (_, log) in enumerate(said):
        lines = [json.loads(line) for line in log.splitlines()]
        assert {line["process"] for line in lines} == {index}
        assert "embedding images" in {line["stage"] for line in lines}
    assert "process 2 of 3 is done; process 0 writes the results" in said[2][0]


@pytest.mark.slow
def test_a_cluster_of_one_process_uses_all_devices(start, fruit, alone, tmp_path):
    devices = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ((said, _),) = finished(start(slurm, 1, [f"--images={fruit}", *FLAGS, f"--out={tmp_path}"], devices))
    assert "JAX on 2 × cpu" in said
    assert json.loads((tmp_path / "run.json").read_text())["devices"] == 2
    assert (tmp_path / "labels.csv").read_bytes() == alone


@pytest.mark.slow
def test_each_process_of_a_cluster_embeds_its_part(start, fruit, alone, tmp_path):
    said = finished(start(slurm, 2, ["embed", f"--images={fruit}", f"--out={tmp_path / 'embedded'}"]))
    assert [text.splitlines()[0] for text, _ in said] == [
        "38 images of 70 to embed, in 2 of 3 shards",
        "32 images of 70 to embed, in 1 of 3 shards",
    ]
    assert not list((tmp_path / "embedded").glob(".multimap/[lg]*"))  # locks and what the processes told each other
    flags = [f"--embeddings={tmp_path / 'embedded'}", *FLAGS, f"--out={tmp_path / 'out'}"]
    assert cli.main(["multimap", *flags]) == 0
    assert (tmp_path / "out" / "labels.csv").read_bytes() == alone


def run_by_hand(script, flags, cluster):
    return subprocess.run(
        [sys.executable, *script, *flags, "--distributed"], capture_output=True, text=True, timeout=60,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | cluster,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["", "embed"])
def test_where_there_is_no_cluster_other_flags_are_named(fruit, tmp_path, verb):
    flags = [f"--images={fruit}", f"--out={tmp_path}", *(["--aspect=color", "--clusters=color=2"] if not verb else [])]
    # Inside Kubernetes without its package, JAX warns at length before it gives up.
    run = run_by_hand(["-m", "multimap_jax", *([verb] if verb else [])], flags, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    instead = "--part" if verb else "--coordinator, --processes and --process"
    assert (run.returncode, run.stderr) == (2, NO_CLUSTER.format(instead))


@pytest.mark.slow
def test_a_cluster_that_says_nonsense_is_no_traceback(fruit, tmp_path):
    flags = [f"--images={fruit}", "--aspect=color", "--clusters=color=2", f"--out={tmp_path}"]
    run = run_by_hand(["-m", "multimap_jax"], flags, slurm("mine", 2, 0))
    assert run.returncode == 2 and run.stderr.count("\n") == 1
    assert run.stderr.startswith("multimap: the settings of this cluster cannot be used (invalid literal")


@pytest.mark.slow
def test_a_process_of_a_cluster_without_company_says_so(fruit, tmp_path):
    flags = [f"--images={fruit}", "--aspect=color", "--clusters=color=2", f"--out={tmp_path}"]
    run = run_by_hand(["-c", IMPATIENT], flags, open_mpi(free_job(), 2, 1))
    assert run.returncode == 2 and run.stderr == (
        "multimap: found no other process within 1 s: start all processes of the cluster's job at once, or give "
        "--coordinator, --processes and --process instead (see --distributed)\n"
    )


@pytest.mark.parametrize(
    "verb, flags, message",
    [
        ([], ["--distributed", "--process=0"], "cannot be combined with --coordinator, --processes and --process"),
        (
            [],
            ["--distributed", "--coordinator=host:1", "--processes=2", "--process=0"],
            "cannot be combined with --coord",
        ),
        (["embed"], ["--distributed", "--part=1/1"], "cannot be combined with --part"),
        (["embed"], ["--distributed", "--part=1/2"], "cannot be combined with --part"),
        (["apply"], ["--distributed"], "unknown flag --distributed: it is a flag of multimap group"),
        ([], ["--heartbeat=0"], "--heartbeat=0: expected"),
        ([], ["--heartbeat=100000"], "--heartbeat=100000: expected"),
    ],
)
def test_flags_that_exclude_each_other(fruit, tmp_path, capfd, verb, flags, message):
    assert cli.main(["multimap", *verb, f"--images={fruit}", f"--out={tmp_path / 'out'}", *flags]) == 2
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "said, devices",
    [
        ({}, None),
        ({"SLURM_STEP_NUM_NODES": "4", "SLURM_NTASKS": "4"}, []),
        ({"SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "8"}, None),
        ({"SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "8", "SLURM_GPUS_PER_TASK": "1"}, []),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, []),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "8"}, None),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1", "JAX_LOCAL_DEVICE_IDS": "0,1"}, None),
    ],
)
def test_a_process_alone_on_its_host_has_all_devices(said, devices, monkeypatch):
    monkeypatch.setattr(os, "environ", said)
    assert runtime.local_devices() == devices


@pytest.mark.parametrize("nodes, visible", [("1", "all"), ("", "0")])
def test_jax_takes_no_list_of_devices_for_all_of_them(nodes, visible):
    join = "from multimap_jax.runs.distributed import jax_runtime as r; r.join_cluster(10); import jax; r.leave(); "
    run = run_by_hand(
        ["-c", join + "print(jax.config.values['jax_cuda_visible_devices'])"],
        [],
        slurm(free_job(), 1, 0) | {"SLURM_STEP_NUM_NODES": nodes},
    )
    assert run.stdout == f"{visible}\n", run.stderr


def test_a_wait_ends_where_nothing_is_done_for_long(monkeypatch):
    monkeypatch.setattr(runtime, "IDLE_SECONDS", 0.3)
    done = iter([[], [], ["shard"]] + [["shard"]] * 100)
    with pytest.raises(TimeoutError, match="the other processes have done nothing for"):
        ProcessGroup(Processes("host:1", 2, 1)).barrier(["shard", "other"], lambda: next(done))


def test_one_alone_waits_for_nobody():
    ProcessGroup(ALONE).barrier(["shard"], list)
