"""What the benchmarks share: measuring, in processes of their own where memory and threads would be left to the next
measurement, and the record and tables of what was measured."""

from __future__ import annotations

import functools
import json
import multiprocessing
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path


def measure(run: Callable[[], None], repeats: int) -> list[float]:
    """Seconds of `run`, `repeats` times."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return seconds


def check_installed(*names: str) -> None:
    """Ends the program with a sentence if packages that it needs are not installed, before it computes for minutes."""
    if missing := [name for name in names if find_spec(name) is None]:
        program = command_line().split()[2]
        sys.exit(f'{program} needs {" and ".join(missing)}: pip install -e ".[test,experiments]"')


def command_line() -> str:
    """How this program was called, to be repeated."""
    spec = sys.modules["__main__"].__spec__  # None of a file that was run by its path
    return " ".join(["python -m", spec.name if spec else Path(sys.argv[0]).stem, *map(shlex.quote, sys.argv[1:])])


def code_version() -> str:
    """The versions of this package and of JAX, and the commit where there is one; "+" where files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() if shutil.which("git") else ""
    return f"multimap_jax {version('multimap_jax')}, JAX {version('jax')}" + (f", commit {commit}" if commit else "")


@functools.cache
def product_rate() -> float:
    """10⁹ operations per second of a plain float32 product by JAX. Processors of one name differ up to threefold."""
    from experiments.benchmarks.steps import peak_gflops

    return round(peak_gflops("jax", "float32", 1024, 0.5))


def dated(result: dict) -> dict:
    """`result` with the command, the day, the version of the code and the rate of a plain product."""
    when = {"command": command_line(), "date": date.today().isoformat(), "code_version": code_version()}
    return result | when | {"product_gflops": product_rate()}


def print_result(result: dict, out: str | None) -> None:
    """Prints `dated(result)` as one JSON line, and writes it to the file `out` if there is one."""
    line = json.dumps(dated(result), ensure_ascii=False)
    print(line)
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(line + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a markdown table."""
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in cells) for cells in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The table as text."""
    return "\n".join(table(head, rows)) + "\n"


def source(found: dict) -> str:
    """What a result was measured by, when and where, in a line."""
    code = f", {found['code_version']}" if "code_version" in found else ""
    rate = f", a plain float32 product at {found['product_gflops']} GFLOP/s" if "product_gflops" in found else ""
    return f"`{found['command']}`, {found['date']}, {found['machine']}{rate}{code}.\n"


def in_words(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, cut."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]


def in_process(function: Callable, *arguments):
    """(what `function` returns in a fresh process, the highest memory of that process in bytes)."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_with_memory, function, arguments).result()


def _with_memory(function: Callable, arguments: tuple):
    return function(*arguments), highest_memory()


def highest_memory() -> int:
    """Of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def process_status(name: str) -> int:
    """A number of Linux's /proc/self/status in bytes, 0 on other systems: VmRSS is the memory of this process, VmHWM
    the highest so far. That of `highest_memory` begins with the memory of the process that started this one."""
    status = Path("/proc/self/status")
    rows = status.read_text().splitlines() if status.exists() else []
    return sum(1024 * int(row.split()[1]) for row in rows if row.startswith(f"{name}:"))


def highest_memory_of_children() -> int:
    """Of the largest process that this one has waited for, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
