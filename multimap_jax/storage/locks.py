"""Locks that allow one run at a time in a folder, one lock per process of the run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from multimap_jax.errors import InputError
from multimap_jax.storage.filenames import name_of_path
from multimap_jax.storage.local import rename_new
from multimap_jax.storage.objects import Unreachable
from multimap_jax.storage.output import HIDDEN, discard, inside, unwritable
from multimap_jax.storage.paths import storage_of, write_file
from multimap_jax.storage.reading import read_json

SIGN_SECONDS = 10  # seconds between two heartbeats
SILENT_SECONDS = 60  # seconds without a heartbeat after which a run on another host counts as dead
LOCK_BYTES = 2**16  # maximum bytes of a lock


@contextlib.contextmanager
def locked(out: Path, index: int = 0, count: int = 1) -> Iterator[None]:
    """A context in which no other run works on part `index` of `count` in the folder `out`.

    Raises ValueError if another run does so already, OSError if the lock cannot be written.

    The lock records host, process and when that process started. On the same host these decide whether the process is
    alive. On another host, the age of the last heartbeat does, by the clock of the file system or store.
    """
    path = inside(out, HIDDEN) / f"lock-{index}-of-{count}"
    mine = {"host": host(), "process": os.getpid(), "began": began(os.getpid()), "mark": secrets.token_hex(4)}
    check_others(out, count)
    while not create_lock(json.dumps(mine), path):
        check_free(path)
        break_lock(path)
    done = threading.Event()
    signs = threading.Thread(target=_give_signs, args=(path, mine, done), daemon=True)
    signs.start()
    try:
        check_others(out, count)  # again, because two runs may start at the same moment
        yield
    finally:
        done.set()
        signs.join()
        with contextlib.suppress(OSError):  # the disk is gone; the run itself reports that
            if is_of(path, mine):
                remove_lock(path)


def check_others(out: Path, count: int) -> None:
    """ValueError if a run with another number of processes is active. Removes the locks of dead runs."""
    for path in inside(out, HIDDEN).glob("lock-*-of-*"):
        found = re.fullmatch(r"lock-\d+-of-(\d+)", path.name)
        if found and found[1] != str(count):
            check_free(path)
            break_lock(path)


def check_free(path: Path) -> None:
    """InputError if the lock belongs to a run that is alive."""
    if process := holder(path):
        count = path.name.rpartition("-")[2]
        company = "" if count == "1" else f", one of {count} processes"
        raise InputError(
            f"another run is using {path.parent.parent} ({process}{company}): wait for it, or give another folder",
            "out",
        )


def break_lock(path: Path) -> None:
    """Removes the lock of a dead run, but not one that a live run has just created in its place."""
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        # After the rename only one process has it; a store cannot rename.
        taken = path.rename(aside_of(path)) if storage_of(path).local else path
        held = holder(taken)
        if held and taken != path:
            with contextlib.suppress(FileExistsError):
                rename_new(taken, path)
        if not held or taken != path:
            remove_lock(taken)


def create_lock(text: str, path: Path) -> bool:
    """Creates a lock atomically; False if there is one already."""
    try:
        write_file(path, text, new=True)
    except FileExistsError:
        return False
    except Unreachable:
        raise
    except OSError as error:
        raise unwritable(path.parent.parent, error) from None
    return True


def aside_of(path: Path) -> Path:
    """A unique name next to a lock."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")


def remove_lock(path: Path) -> None:
    """Removes a lock, or a temporary file of one."""
    discard(path.parent.parent, path.name)


def holder(path: Path) -> str:
    """The process that holds a lock, in words; "" if it is no longer alive."""
    try:
        found = read_json(path, limit=LOCK_BYTES)
        name, process, start = str(found["host"]), int(found["process"]), found["began"]
        alive = began(process) == start if name == host() else silence(path) < SILENT_SECONDS
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
    return f"process {process} on {name_of_path(name.partition(' ')[0][:100])}" if alive else ""


def is_of(path: Path, mine: dict) -> bool:
    """Whether a lock still belongs to this run. Another run may take it after a long time without a heartbeat."""
    try:
        return read_json(path, limit=LOCK_BYTES) == mine
    except ValueError:
        return False


def silence(path: Path) -> float:
    """Seconds since the last heartbeat, by the clock that dates it; absolute, as that clock may have been set back."""
    sign = aside_of(path)
    try:
        sign.write_text("")
        now = sign.stat().st_mtime
    except OSError:  # a full disk
        now = time.time()
    finally:
        remove_lock(sign)
    return abs(now - path.stat().st_mtime)


def host() -> str:
    """The name of this host, with the process namespace, which differs between containers."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def began(process: int) -> str:
    """When a process of this host started, in the system's own units; "" if there is no such process."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]  # Z and X: dead, but still listed
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(process, 0)
    except OSError:
        return ""
    return "unknown"


def _give_signs(path: Path, mine: dict, done: threading.Event) -> None:
    while not done.wait(SIGN_SECONDS):
        with contextlib.suppress(OSError):
            if is_of(path, mine):
                os.utime(path) if storage_of(path).local else write_file(path, json.dumps(mine))
