"""Runs a method in a process of its own: with a limit of time, its own memory, and the interpreter that it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.rivals.task import SIDE, Found, Task, load_found, save_task

RIVALS = ("MSC", "MCV", "ENRC", "iMClusts", "AugDMC")
OWN_PYTHON = {"ENRC": "ENRC_PYTHON"}  # method -> the variable that says where its interpreter is
PACKAGES = Path(__file__).parents[2]


class NotRunError(RuntimeError):
    """A method gave nothing, and why."""


def run(name: str, task: Task, limit: float) -> tuple[Found, float, int]:
    """(what it found, seconds, highest memory in bytes), both of the whole process, imports and compilation included.

    Raises NotRunError: it took longer than `limit` seconds, failed, or its interpreter is not there.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "task.npz"), Path(folder, "found.npz")
        save_task(task, given)
        command = [interpreter(name), "-m", "experiments.rivals", name, str(given), str(out)]
        begin = time.perf_counter()
        memory = wait(command, begin + limit, Path(folder, "said"))
        return load_found(out), time.perf_counter() - begin, memory


def interpreter(name: str) -> str:
    variable = OWN_PYTHON.get(name)
    if variable is None:
        return sys.executable
    if not os.environ.get(variable):
        raise NotRunError(f"{name} needs an environment of its own: {variable}, see BUILD.md")
    return os.environ[variable]


def wait(command: Sequence[str], end: float, log: Path) -> int:
    """Highest memory in bytes of the command, which must end well and before the time `end`."""
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=PACKAGES, stdout=file, stderr=subprocess.STDOUT)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.perf_counter() > end:
            process.kill()
            process.wait()
            raise NotRunError(f"{command[3]} took too long")
        time.sleep(0.05)
    process.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait for it again
    if process.returncode:
        raise NotRunError(f"{command[3]} failed: {' '.join(log.read_text().split()[-40:])}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def small_images(images: Sequence) -> np.ndarray:
    """Paths or arrays -> uint8 [images, SIDE, SIDE, 3], squeezed to a square."""
    from multimap_jax.clip.images import opened_image

    def one(image) -> np.ndarray:
        with opened_image(image) as opened:
            return np.asarray(opened.resize((SIDE, SIDE)))

    return np.stack([one(image) for image in images])
