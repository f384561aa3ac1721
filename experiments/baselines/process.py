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

from experiments.baselines.task import SIDE, Found, Task, load_found, save_task

OWN_PYTHON = {"ENRC": "ENRC_PYTHON"}  # method -> the variable that says where its interpreter is
PACKAGES = Path(__file__).parents[2]


class NotRunError(RuntimeError):
    """A method gave nothing, and why."""


def run(name: str, task: Task, limit: float) -> tuple[Found, float]:
    """(what it found, seconds of the whole process, imports and compilation included).

    Raises NotRunError: it took longer than `limit` seconds, failed, or its interpreter is not there.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "task.npz"), Path(folder, "found.npz")
        save_task(task, given)
        command = [interpreter(name), "-m", "experiments.baselines", name, str(given), str(out)]
        begin = time.perf_counter()
        wait(command, limit, Path(folder, "said"))
        return load_found(out), time.perf_counter() - begin


def interpreter(name: str) -> str:
    variable = OWN_PYTHON.get(name)
    if variable is None:
        return sys.executable
    if not os.environ.get(variable):
        raise NotRunError(f"{name} needs an environment of its own: {variable}, see BUILD.md")
    return os.environ[variable]


def wait(command: Sequence[str], limit: float, log: Path) -> None:
    """Runs the command, which must end well and within `limit` seconds."""
    with log.open("w") as file:
        try:
            status = subprocess.run(command, cwd=PACKAGES, stdout=file, stderr=subprocess.STDOUT, timeout=limit)
        except subprocess.TimeoutExpired:
            raise NotRunError(f"{command[3]} took too long") from None
    if status.returncode:
        raise NotRunError(f"{command[3]} failed: {' '.join(log.read_text().split()[-40:])}")


def small_images(images: Sequence) -> np.ndarray:
    """Paths or arrays -> uint8 [images, SIDE, SIDE, 3], squeezed to a square."""
    from multimap_jax.images.decoding import opened_image

    def one(image) -> np.ndarray:
        with opened_image(image) as opened:
            return np.asarray(opened.resize((SIDE, SIDE)))

    return np.stack([one(image) for image in images])
