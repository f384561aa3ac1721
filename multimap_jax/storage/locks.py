"""One run at a time in a folder, for each of its processes."""

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

SIGN_SECONDS = 10  # between two signs of life
SILENT_SECONDS = 60  # without one, after which a run of another host counts as dead
LOCK_BYTES = 2**16  # of one lock


@contextlib.contextmanager
def locked(out: Path, index: int = 0, count: int = 1) -> Iterator[None]:
    """Within this context no other run has the part `index` of `count` in the folder `out`.

    Raises ValueError where one has it already, OSError where the lock cannot be written.

    The lock says host, process and when that process began. On the same host these decide whether it is alive, on
    another one the age of its last sign of life, by the clock of the file system or store that it lies in.
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
        check_others(out, count)  # once more: of two that begin at the same moment none overlooks the other
        yield
    finally:
        done.set()
        signs.join()
        with contextlib.suppress(OSError):  # of a disk that went away: the run itself says so
            if is_of(path, mine):
                remove_lock(path)


def check_others(out: Path, count: int) -> None:
    """ValueError where a run of another number of processes is at work; what dead ones left is taken away."""
    for path in inside(out, HIDDEN).glob("lock-*-of-*"):
        found = re.fullmatch(r"lock-\d+-of-(\d+)", path.name)
        if found and found[1] != str(count):
            check_free(path)
            break_lock(path)


def check_free(path: Path) -> None:
    """InputError where the lock is of a run that is alive."""
    if process := holder(path):
        count = path.name.rpartition("-")[2]
        company = "" if count == "1" else f", one of {count} processes"
        raise InputError(
            f"another run is at work in {path.parent.parent} ({process}{company}): wait, or give another folder", "out"
        )


def break_lock(path: Path) -> None:
    """Removes the lock of a dead run; not that of a run which did the same a moment before and is alive."""
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        # Aside only one process has it; a store cannot do so.
        taken = path.rename(aside_of(path)) if storage_of(path).local else path
        held = holder(taken)
        if held and taken != path:
            with contextlib.suppress(FileExistsError):
                rename_new(taken, path)
        if not held or taken != path:
            remove_lock(taken)


def create_lock(text: str, path: Path) -> bool:
    """Writes a lock where there is none, whole at once, and says whether that was so."""
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
    """A name beside a lock that no other process takes."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")


def remove_lock(path: Path) -> None:
    """Removes a lock, or what was written aside for one."""
    discard(path.parent.parent, path.name)


def holder(path: Path) -> str:
    """Who holds a lock, in words; "" where nobody does any more."""
    try:
        found = read_json(path, limit=LOCK_BYTES)
        name, process, start = str(found["host"]), int(found["process"]), found["began"]
        alive = began(process) == start if name == host() else silence(path) < SILENT_SECONDS
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
    return f"process {process} on {name_of_path(name.partition(' ')[0][:100])}" if alive else ""


def is_of(path: Path, mine: dict) -> bool:
    """Whether a lock is still this run's: one that was silent for long may have lost it to another."""
    try:
        return read_json(path, limit=LOCK_BYTES) == mine
    except ValueError:
        return False


def silence(path: Path) -> float:
    """Seconds since the last sign of life, by the clock that gives it its time; that may have been set back since."""
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
    """This host by its name, and where processes are counted apart within it (containers) by that too."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


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


def _give_signs(path: Path, mine: dict, done: threading.Event) -> None:
    while not done.wait(SIGN_SECONDS):
        with contextlib.suppress(OSError):
            if is_of(path, mine):
                os.utime(path) if storage_of(path).local else write_file(path, json.dumps(mine))
