"""Several real processes on the loopback address: the same labels, and what happens when one of them dies."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multimap_jax.cli import main as cli
from multimap_jax.cli import signals as stop
from multimap_jax.cli.processes import killed_message
from multimap_jax.runs.distributed.process_group import Processes
from multimap_jax.scenes import write_scenes
from multimap_jax.storage import locks as lock
from multimap_jax.storage.output import prepare_folder

HEARTBEAT = 10
FLAGS = [
    "--subject=fruit",
    "--aspect=color",
    "--words=color=red,green,yellow",
    "--block_size=4",
    "--keep_proxies",
]
FLAGS += ["--clusters=color=4", "--steps=30"]
LONG = " ".join(["color"] * 20)  # too long for a file name, were it written out
FLAGS += [f"--aspect={LONG}", f"--clusters={LONG}=2"]


def locks(out):
    return sorted(path.name for path in out.glob(".multimap/lock*"))


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "fruit"
    write_scenes(folder, "fruit", seed=9, count=70)  # three shards
    (folder / "a_broken.png").write_bytes(b"no image")
    (folder / "a_link.png").symlink_to(folder / "nothing.png")
    return folder


@pytest.fixture(scope="module")
def alone(fruit, tmp_path_factory):
    """The folder that one process has written."""
    out = tmp_path_factory.mktemp("alone")
    assert cli.main(["multimap", f"--images={fruit}", *FLAGS, f"--out={out}"]) == 0
    return out


@pytest.fixture
def start(fruit, begin):
    """start(out, count, more) -> the processes of one run, with `more` flags by index."""

    def start(out, count, more=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        where = [f"--coordinator=127.0.0.1:{port}", f"--processes={count}", f"--heartbeat={HEARTBEAT}"]
        flags = [f"--images={fruit}", *FLAGS, f"--out={out}", *where]
        mores = [(more or {}).get(index, []) for index in range(count)]
        return [begin([*without(flags, own), f"--process={index}", *own]) for index, own in enumerate(mores)]

    return start


def without(flags, others):
    """`flags` but for those that `others` give too: none may be given twice."""
    names = {flag.partition("=")[0] for flag in others}
    return [flag for flag in flags if flag.partition("=")[0] not in names]


def all_said(processes, seconds):
    """What each of them says until its end; those that have not ended by then are killed, and say where they were."""

    def listen(process):
        try:
            return process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGABRT)
            return process.communicate(timeout=60)[0]

    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(listen, processes))


@pytest.mark.slow
def test_the_labels_are_those_of_one_process(start, alone, tmp_path):
    processes = start(tmp_path, 3)  # two are in the next test
    said = all_said(processes, seconds=200)
    assert [process.returncode for process in processes] == [0] * 3, said
    assert (tmp_path / "labels.csv").read_bytes() == (alone / "labels.csv").read_bytes()
    kept = {".multimap", "plan", "embeddings", "proxies", "models"}
    assert {path.name for path in tmp_path.iterdir()} == kept | {
        "labels.csv",
        "labels.parquet",
        "run.json",
        "report.html",
    }
    assert "a_broken.png: not an image" in said[0] and "a_link.png: no such file" in said[0]
    assert "process 1 of 3 is done" in said[1]


def modified(path, gone):
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return gone


@pytest.mark.slow
def test_a_dead_process_ends_the_others_and_nothing_finished_is_lost(start, alone, tmp_path):
    processes = start(tmp_path, 2)
    end = time.monotonic() + 240
    while len(list(tmp_path.glob("embeddings/img_emb/img_emb_*.npy"))) < 2:
        assert time.monotonic() < end and processes[1].poll() is None
        time.sleep(0.02)
    os.killpg(processes[1].pid, signal.SIGKILL)
    said = processes[0].communicate(timeout=6 * HEARTBEAT)[0]
    assert processes[0].returncode == 1, said
    assert f"was silent for {HEARTBEAT} s. Finished work is kept in" in said
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/img_emb/*.npy")}
    assert kept
    processes = start(tmp_path, 2)
    while all(process.poll() is None for process in processes):
        assert all(modified(path, written) == written for path, written in kept.items())
        time.sleep(0.05)
    said = all_said(processes, seconds=200)
    assert [process.returncode for process in processes] == [0, 0], said
    assert "process 1 of 2 is done" in said[1]
    assert (tmp_path / "labels.csv").read_bytes() == (alone / "labels.csv").read_bytes()


def test_a_process_is_blamed_for_its_own_death_alone(tmp_path):
    assert "another process of this run ended or was silent for 7 s" in killed_message(signal.SIGABRT, tmp_path, 7)
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM):
        sentence = killed_message(number, tmp_path, 7)
        assert sentence.startswith(f"this process was ended by {number.name}") and "kept in" not in sentence
    (tmp_path / "plan").mkdir()
    assert f"kept in {tmp_path}" in killed_message(signal.SIGKILL, tmp_path, 7)


def test_a_killed_child_is_said_to_be_killed(start, tmp_path):
    process = start(tmp_path, 2)[0]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    end = time.monotonic() + 60
    while not children.read_text().split():
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "multimap: this process was ended by SIGKILL" in said, said


def at_work(process, out):
    """Waits until a process has embedded something; returns its child."""
    end = time.monotonic() + 120
    while not list(out.glob("embeddings/img_emb/*.npy")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def gone(process):
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_process_and_its_child_at_the_first_try(start, tmp_path, number):
    process = start(tmp_path, 1, {0: ["--recipe=paper", "--steps=100000"]})[0]
    child = at_work(process, tmp_path)
    process.send_signal(number)
    said = process.communicate(timeout=30)[0]
    assert process.returncode == 130 and gone(child), said
    assert said.endswith(f"stopped. Finished work is kept in {tmp_path}; run the same command to continue.\n")
    assert "Traceback" not in said and " @ " not in said and not list(tmp_path.glob(".multimap/lock*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_ends_with_its_parent(start, tmp_path):
    process = start(tmp_path, 1, {0: ["--recipe=paper", "--steps=100000"]})[0]
    child = at_work(process, tmp_path)
    process.kill()
    end = time.monotonic() + 10
    while not gone(child):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "stopped, because the process that started this one ended" in process.communicate(timeout=30)[0]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_ends_with_its_parent_though_nobody_reads_its_words():
    child = "import os, time; from multimap_jax.cli import signals; signals.begin_child(); "
    child += "print(os.getpid(), flush=True); time.sleep(99)"
    parent = f"import sys; from multimap_jax.cli import signals; signals.run_child([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    number = int(process.stdout.readline())
    process.stdout.close()
    process.stderr.close()
    process.kill()
    process.wait()
    end = time.monotonic() + 10
    while not gone(number):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_libraries_say_of_a_process_ends_without_a_stack(tmp_path, capfd):
    say = (
        r"import os; os.write(2, b'F1: gone\n    @     0x7f12 xla::Client\n*** Check failure stack trace: ***\nbye\n')"
    )
    assert stop.run_child([sys.executable, "-c", say + "; import sys; sys.exit(3)"]) == 3
    assert capfd.readouterr().err == "F1: gone\nbye\n"


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_a_process_that_fails_says_so_and_keeps_nobody_waiting(start, tmp_path, failing):
    processes = start(tmp_path, 2, {failing: ["--clip=./no/such/clip"]})
    said = all_said(processes, seconds=90)
    assert processes[failing].returncode == 2 and "there is no directory" in said[failing], said
    assert processes[1 - failing].returncode == 1 and "another process of this run ended" in said[1 - failing], said


def test_processes_try_one_folder_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(prepare_folder, [tmp_path / "out"] * 400))
    assert list(tmp_path.glob("out/.multimap/*")) == []


IMPATIENT = """
import os, sys
from multimap_jax.cli import main as cli
from multimap_jax.cli import signals as stop
from multimap_jax.runs.distributed import jax_runtime as runtime
runtime.JOIN_SECONDS = 1
os.environ[stop.CHILD] = f"{os.pipe()[0]},2"
sys.exit(cli.main(["multimap", *sys.argv[1:]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_process_without_company_says_so(fruit, index, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    flags = [f"--coordinator={where}", "--processes=2", f"--process={index}", f"--out={tmp_path}"]
    command = [sys.executable, "-c", IMPATIENT, f"--images={fruit}", *FLAGS, *flags]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert run.stderr == (
        f"multimap: process {index} of 2 found no other process at {where} within 1 s: start all of them with the same "
        "address (see --coordinator)\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "index, more, message",
    [
        (
            1,
            "--seed=3",
            "process 1 was started with another random_state than process 0 (3 and 0): start all of them alike "
            "(see --seed)",
        ),
        (
            1,
            "--out={other}",
            "process 1 does not see the folder of process 0: give all the same one (see --out)",
        ),
    ],
)
def test_processes_that_were_started_otherwise_are_told_so_at_once(start, tmp_path, index, more, message):
    processes = start(tmp_path / "out", 2, {index: [more.format(other=tmp_path / "other")]})
    said = all_said(processes, seconds=60)
    assert [process.returncode for process in processes] == [2, 2]
    assert said == [f"multimap: {message}\n"] * 2
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_port_that_is_taken(fruit, tmp_path):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        flags = [f"--coordinator=127.0.0.1:{port}", "--processes=2", "--process=0", f"--out={tmp_path}"]
        command = [sys.executable, "-m", "multimap_jax", f"--images={fruit}", *FLAGS, *flags]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert run.stderr == (
        f"multimap: process 0 cannot listen at port {port} (Address already in use): give another one "
        "(see --coordinator)\n"
    )


def test_every_shard_is_of_one_process():
    for images in (0, 1, 7, 100):
        for count in (1, 3, 8):
            parts = [Processes("host:1", count, index).share([*range(images), 0][:images]) for index in range(count)]
            assert sorted(shard for part in parts for shard in part) == list(range(images))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--coordinator=host:1"], "must be given together"),
        (["--coordinator=host", "--processes=2", "--process=0"], "expected HOST:PORT"),
        (["--coordinator=host:65536", "--processes=2", "--process=0"], "expected HOST:PORT"),
        (["--coordinator=http://host:1", "--processes=2", "--process=0"], "expected HOST:PORT"),
        (["--coordinator=::1:80", "--processes=2", "--process=0"], "expected HOST:PORT"),
        (["--coordinator=host:0", "--processes=2", "--process=0"], "expected HOST:PORT"),
        (["--coordinator=", "--processes=2", "--process=0"], "must be given together"),
        (["--coordinator=host:1", "--processes=2", "--process=2"], "process 2 of 2: expected 0 to 1"),
        (["--coordinator=host:1", "--processes=2", "--process=-1"], "process -1 of 2: expected 0 to 1"),
        (
            ["--coordinator=host:1", "--processes=0", "--process=0"],
            "0 processes: expected 1 to 100,000 (see --processes)",
        ),
        (["--coordinator=host:1", "--processes=-2", "--process=-3"], "-2 processes: expected 1 to"),
        (["--coordinator=host:1", f"--processes={10**20}", "--process=0"], f"{10**20} processes: expected 1 to"),
    ],
)
def test_bad_flags(fruit, tmp_path, capfd, flags, message):
    assert cli.main(["multimap", f"--images={fruit}", *FLAGS, f"--out={tmp_path}", *flags]) == 2
    said = capfd.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_second_signal_does_not_interrupt_what_is_put_in_order_after_the_first():
    ended = []

    def work() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            ended.append("in order")

    assert stop.until_stopped(work, lambda: 130) == 130 and ended


@pytest.mark.skipif(os.name != "posix", reason="hangups are POSIX's")
@pytest.mark.parametrize("ignored, status", [(False, 130), (True, 0)], ids=["a closed terminal", "nohup"])
def test_a_closed_terminal_ends_a_command_as_sigterm_does(ignored, status):
    def lose_the_terminal() -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        return 0

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        found = signal.getsignal(signal.SIGHUP)
        assert stop.until_stopped(lose_the_terminal, lambda: 130) == status
        assert signal.getsignal(signal.SIGHUP) == found
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_while_a_child_begins_reaches_the_child():
    code = """
import os, signal, subprocess, sys, time
from multimap_jax.cli.signals import run_child
begin = subprocess.Popen
def begun(*arguments, **more):
    child = begin(*arguments, **more)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
    return child
subprocess.Popen = begun
print(run_child([sys.executable, "-c", "import time; time.sleep(30)"]))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (run.returncode, run.stdout) == (0, f"{-signal.SIGTERM}\n"), run.stderr


@pytest.mark.skipif(os.name != "posix", reason="hangups are POSIX's")
def test_a_closed_terminal_ends_a_child_too():
    child = "import os, time; from multimap_jax.cli.signals import until_stopped; os.kill(os.getppid(), 1); "
    child += "print(until_stopped(lambda: time.sleep(30), lambda: 130), flush=True)"
    script = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "  # nohup hands on that it is ignored
    script += f"from multimap_jax.cli.signals import run_child; run_child([sys.executable, '-c', {child!r}])"
    # The signal may come before the child listens, which ends it as well.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stdout in ("130\n", "")


@pytest.mark.parametrize(
    ("status", "of_many", "said"), [(130, "", ""), (0, "", ""), (2, "", ""), (0, "1,2", "late\n"), (130, "1,2", "")]
)
def test_a_command_ends_without_pythons_own_end_unless_others_wait_for_it(status, of_many, said):
    script = "import atexit, sys; from multimap_jax import __main__; from multimap_jax.cli import main as cli; "
    script += "atexit.register(print, 'late'); "
    script += f"cli.main = lambda: {status}; sys.exit(__main__.main())"
    env = {name: value for name, value in os.environ.items() if name != stop.CHILD}
    env |= {stop.CHILD: of_many} if of_many else {}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (status, said)


def of_a_run(**changes):
    return json.dumps({"host": lock.host(), "process": os.getpid(), "began": lock.began(os.getpid())} | changes)


# What lies where a lock belongs, and how many seconds ago it gave a sign of life.
DEAD_LOCKS = {
    "no number of a process": (of_a_run(process=float("inf")), 0),
    "a host that is no text": (of_a_run(host=5, process=3), 300),
    "another host, long silent": (of_a_run(host="other"), 300),
    "another host, whose clock was ahead": (of_a_run(host="other"), -300),
    "a list": ("[]", 0),
    "a pipe": (os.mkfifo, 0),
    "a folder": (lambda path: (path / "deep").mkdir(parents=True), 0),
    "a link to itself": (lambda path: path.symlink_to(path), None),
    "many bytes": ("[" * 10**6, 0),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
@pytest.mark.parametrize("count", [1, 2], ids=["this part", "another number of processes"])
@pytest.mark.parametrize("name", DEAD_LOCKS)
def test_locks_that_nobody_holds_are_taken_away(tmp_path, name, count):
    content, silent = DEAD_LOCKS[name]
    path = tmp_path / ".multimap" / f"lock-0-of-{count}"
    path.parent.mkdir()
    content(path) if callable(content) else path.write_text(content)
    if silent is not None:
        os.utime(path, (time.time() - silent,) * 2)
    with lock.locked(tmp_path):
        assert "lock-0-of-1" in locks(tmp_path)
    assert locks(tmp_path) == [] or name == "a folder"


def test_a_run_whose_lock_another_took_leaves_it_that(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "SIGN_SECONDS", 0.01)
    path = tmp_path / ".multimap" / "lock-0-of-1"
    with lock.locked(tmp_path):
        path.unlink()
        path.write_text(of_a_run(mark="other"))
        os.utime(path, (100, 100))
        time.sleep(0.1)
    assert path.stat().st_mtime == 100


def test_a_folder_may_go_away_beneath_its_lock(tmp_path):
    with lock.locked(tmp_path):
        shutil.rmtree(tmp_path)


def test_processes_of_one_run_are_no_other_run_while_they_take_their_locks(tmp_path):
    (tmp_path / ".multimap").mkdir()
    (tmp_path / ".multimap" / "lock-0-of-2.0123abcd.new").write_text(of_a_run())
    with lock.locked(tmp_path, 1, 2):
        pass


def test_of_two_runs_that_begin_at_the_same_moment_none_overlooks_the_other(tmp_path, monkeypatch):
    place_new = lock.create_lock

    def meanwhile(text, path):
        (tmp_path / ".multimap").mkdir(exist_ok=True)
        (tmp_path / ".multimap" / "lock-1-of-2").write_text(of_a_run())
        return place_new(text, path)

    monkeypatch.setattr(lock, "create_lock", meanwhile)
    with pytest.raises(ValueError, match="another run is using"), lock.locked(tmp_path):
        pass
    assert locks(tmp_path) == ["lock-1-of-2"]
    with pytest.raises(ValueError, match=rf"\(process {os.getpid()} on .*, one of 2 processes\)"):
        lock.check_others(tmp_path, 1)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_lock_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=rf"^cannot write into .* \({os.strerror(number)}\): give another folder"):
        with lock.locked(tmp_path):
            pass
    assert locks(tmp_path) == []
