"""One run at a time in a folder, for each of its processes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from multimap_jax.inputs.files import read_json
from multimap_jax.run.processes import Processes

SIGN_SECONDS, SILENT_SECONDS = 10, 60


@contextlib.contextmanager
def locked(out: Path, processes: Processes) -> Iterator[None]:
    """Within this context no other run has the same part in the folder `out`. ValueError where one has it already.

    The lock says host, process and when that process began. On the same host these decide whether it is alive, on
    another one the age of its last sign of life.
    """
    path = out / f".lock-{processes.index}-of-{processes.count}"
    for other in out.glob(".lock-*-of-*"):
        if not other.name.endswith(f"-of-{processes.count}") and holder(other):
            raise ValueError(f"another run is at work in {out} ({holder(other)}): wait, or give another --out")
    mine = {"host": socket.gethostname(), "process": os.getpid(), "began": began(os.getpid())}
    while True:
        try:
            aside = path.with_name(f"{path.name}.{os.getpid()}")
            aside.write_text(json.dumps(mine))
            put(aside, path)
            break
        except FileExistsError:
            other = holder(path)
            if other:
                raise ValueError(f"another run is at work in {out} ({other}): wait, or give another --out") from None
            take_away(path)
        finally:
            aside.unlink(missing_ok=True)
    done = threading.Event()
    signs = threading.Thread(target=_give_signs, args=(path, done), daemon=True)
    signs.start()
    try:
        yield
    finally:
        done.set()
        signs.join()
        path.unlink(missing_ok=True)


def take_away(path: Path) -> None:
    """Takes away the lock of a dead run; not that of a run which did the same a moment before and is alive."""
    old = path.with_name(f"{path.name}.{os.getpid()}.old")
    with contextlib.suppress(FileNotFoundError):
        path.rename(old)
    if holder(old):
        with contextlib.suppress(FileExistsError):
            put(old, path)
    old.unlink(missing_ok=True)


def put(aside: Path, path: Path) -> None:
    """Puts a file in place, whole at once, and only where there is none: FileExistsError otherwise."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with path.open("x") as file:
            file.write(aside.read_text())


def holder(path: Path) -> str:
    """Who holds a lock, in words; "" where nobody does any more."""
    try:
        found, age = read_json(path), time.time() - path.stat().st_mtime
        host, process, start = found["host"], int(found["process"]), found["began"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    alive = began(process) == start if host == socket.gethostname() else age < SILENT_SECONDS
    return f"process {process} on {host}" if alive else ""


def began(process: int) -> str:
    """When a process of this host began, in the system's own measure; "" where there is none."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]  # dead, and not yet buried
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(process, 0)
    except OSError:
        return ""
    return "unknown"


def _give_signs(path: Path, done: threading.Event) -> None:
    while not done.wait(SIGN_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
