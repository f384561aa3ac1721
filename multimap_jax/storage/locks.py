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

from multimap_jax.storage.filenames import name_of_path
from multimap_jax.storage.output import HIDDEN, discard, inside
from multimap_jax.storage.paths import create_object, is_remote, write_object
from multimap_jax.storage.reading import read_json

SIGN_SECONDS, SILENT_SECONDS, LOCK_BYTES = 10, 60, 2**16


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
        parts = re.fullmatch(r"lock-\d+-of-(\d+)", path.name)
        if parts and parts[1] != str(count):
            check_free(path)
            break_lock(path)


def check_free(path: Path) -> None:
    """ValueError where the lock is of a run that is alive."""
    if other := holder(path):
        count = path.name.rpartition("-")[2]
        company = "" if count == "1" else f", one of {count} processes"
        raise ValueError(
            f"another run is at work in {path.parent.parent} ({other}{company}): wait, or give another --out"
        )


def break_lock(path: Path) -> None:
    """Takes away the lock of a dead run; not that of a run which did the same a moment before and is alive."""
    if is_remote(path):  # nothing can be moved aside there: look once more, and take it
        return None if holder(path) else remove_lock(path)
    old = aside_of(path)
    with contextlib.suppress(FileNotFoundError):
        path.rename(old)
        if holder(old):
            write_lock(old, path)
    remove_lock(old)


def create_lock(text: str, path: Path) -> bool:
    """Writes a lock where there is none, and says whether that was so."""
    try:
        if is_remote(path):
            create_object(text.encode(), path)
            return True
        aside = aside_of(path)
        try:
            aside.parent.mkdir(exist_ok=True)
            aside.write_text(text)
            return write_lock(aside, path)
        finally:
            remove_lock(aside)
    except FileExistsError:
        return False
    except OSError as error:
        if is_remote(path):
            raise
        raise OSError(
            f"cannot write into {path.parent.parent} ({error.strerror}): give another folder with --out"
        ) from None


def write_lock(aside: Path, path: Path) -> bool:
    """Puts a file in place, whole at once, and only where there is none; says whether that was so."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with open(descriptor, "wb") as file:
                file.write(aside.read_bytes())
            return True
        return False
    return True


def aside_of(path: Path) -> Path:
    """A name beside a lock that no other process takes, and that `sweep` knows."""
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")


def remove_lock(path: Path) -> None:
    """Takes away a lock, or what was written aside for one."""
    discard(path.parent.parent, path.name)


def holder(path: Path) -> str:
    """Who holds a lock, in words; "" where nobody does any more."""
    try:
        found = read_json(path, most=LOCK_BYTES)
        where, process, start = str(found["host"]), int(found["process"]), found["began"]
        alive = began(process) == start if where == host() else silence(path) < SILENT_SECONDS
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ""
    return f"process {process} on {name_of_path(where.partition(' ')[0][:100])}" if alive else ""


def is_of(path: Path, mine: dict) -> bool:
    """Whether a lock is still this run's: one that was silent for long may have lost it to another."""
    try:
        return read_json(path, most=LOCK_BYTES) == mine
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
            if not is_of(path, mine):
                continue
            if is_remote(path):
                write_object(json.dumps(mine), path)
            else:
                os.utime(path)
