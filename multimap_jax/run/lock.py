"""One run at a time in a folder, for each of its processes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from multimap_jax.inputs.files import read_json
from multimap_jax.inputs.places import is_remote, put_new, remove, write_object
from multimap_jax.run.processes import Processes

SIGN_SECONDS, SILENT_SECONDS = 10, 60


@contextlib.contextmanager
def locked(out: Path, processes: Processes) -> Iterator[None]:
    """Within this context no other run has the same part in the folder `out`. ValueError where one has it already.

    The lock says host, process and when that process began. On the same host these decide whether it is alive, on
    another one the age of its last sign of life, by the clock of the file system or store that it lies in.
    """
    path = out / f".lock-{processes.index}-of-{processes.count}"
    for other in out.glob(".lock-*-of-*"):
        if not other.name.endswith(f"-of-{processes.count}") and holder(other):
            raise ValueError(f"another run is at work in {out} ({holder(other)}): wait, or give another --out")
    mine = json.dumps({"host": host(), "process": os.getpid(), "began": began(os.getpid())})
    while True:
        try:
            place_new(mine, path)
            break
        except FileExistsError:
            other = holder(path)
            if other:
                raise ValueError(f"another run is at work in {out} ({other}): wait, or give another --out") from None
            take_away(path)
    done = threading.Event()
    signs = threading.Thread(target=_give_signs, args=(path, mine, done), daemon=True)
    signs.start()
    try:
        yield
    finally:
        done.set()
        signs.join()
        remove(path)


def take_away(path: Path) -> None:
    """Takes away the lock of a dead run; not that of a run which did the same a moment before and is alive."""
    if is_remote(path):  # nothing can be moved aside there: look once more, and take it
        return None if holder(path) else remove(path)
    old = path.with_name(f"{path.name}.{os.getpid()}.old")
    with contextlib.suppress(FileNotFoundError):
        path.rename(old)
    if holder(old):
        with contextlib.suppress(FileExistsError):
            put(old, path)
    old.unlink(missing_ok=True)


def place_new(text: str, path: Path) -> None:
    """Writes a lock where there is none; FileExistsError otherwise."""
    if is_remote(path):
        return put_new(text.encode(), path)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        aside.write_text(text)
        put(aside, path)
    finally:
        aside.unlink(missing_ok=True)


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
        found, age = read_json(path), now(path) - path.stat().st_mtime
        where, process, start = found["host"], int(found["process"]), found["began"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    alive = began(process) == start if where == host() else age < SILENT_SECONDS
    return f"process {process} on {where.partition(' ')[0]}" if alive else ""


def host() -> str:
    """This host by its name, and where processes are counted apart within it (containers) by that too."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def now(path: Path) -> float:
    """What time it is by the clock that gives `path` its time of change: stores have their own."""
    if not is_remote(path):
        return time.time()
    sign = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        sign.write_text("")
        return sign.stat().st_mtime
    finally:
        remove(sign)


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


def _give_signs(path: Path, text: str, done: threading.Event) -> None:
    while not done.wait(SIGN_SECONDS):
        with contextlib.suppress(OSError):
            if is_remote(path):
                write_object(text, path)
            else:
                os.utime(path)
