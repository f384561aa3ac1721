"""Lists the results whose code has changed since they were measured, the most changed first.

    python -m experiments.stale

For every page in experiments/results that names the command that made it: the program, the day, the commit, and how
many lines changed since then in the files that the program is made of. A page without a commit was measured before the
one that wrote its day, which stands in brackets. What a changed line does to a figure is not known: this says where to
look. Needs git and the history of the repository.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from absl import app

from experiments.benchmarks.measuring import lines

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
# The line of `measuring.source`: command, day, and the commit if it was kept.
COMMAND, COMMIT = r"`python -m (?P<program>[\w.]+)[^`]*`, (?P<day>[\d-]{10})", r"(?:commit (?P<commit>\w+)\+?)?"
SOURCE = re.compile(rf"{COMMAND}, .*?{COMMIT}\.$")
MODULE = re.compile(r"[a-z]\w*(\.[a-z]\w*)*")


def file_of(module: str) -> Path | None:
    """The file of a module of this repository; None for other names."""
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


@functools.cache
def imported_by(path: Path) -> frozenset[Path]:
    """The files of this repository that a file imports anywhere in it, starts as a command, or, if it is that of the
    package, imports when they are asked for."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            names.add(f"{node.value}.__main__")
            if path == ROOT / "multimap_jax" / "__init__.py":
                names.add(f"multimap_jax.{node.value}")
    return frozenset(file for file in map(file_of, names) if file)


def files_of(program: str) -> set[Path]:
    """The files that a program is made of: its own, and all that those import."""
    found: set[Path] = set()
    waiting = {file for file in [file_of(program)] if file}
    while waiting:
        found |= waiting
        waiting = set().union(*map(imported_by, waiting)) - found
    return found


def git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True).stdout


@functools.cache
def changes(commit: str) -> dict[str, int]:
    """How many lines were added to or removed from each file since a commit."""
    rows = [row.split("\t") for row in git("diff", "--numstat", "--no-renames", commit).splitlines()]
    return {name: sum(int(number) for number in numbers if number.isdigit()) for *numbers, name in rows}


def results(folder: Path) -> Iterator[tuple[Path, dict[str, str | None]]]:
    """Every page below a folder that names its command, with the parts of SOURCE."""
    for path in sorted(folder.rglob("*.md")):
        found = [match for match in map(SOURCE.search, path.read_text(encoding="utf-8").splitlines()) if match]
        if found:
            yield path, found[-1].groupdict()


def main(_) -> None:
    rows = []
    for path, found in results(RESULTS):
        program, day, commit = str(found["program"]), str(found["day"]), found["commit"]
        since = commit or git("log", "-1", f"-S{day}", "--format=%h", "--", str(path)).strip()
        files = {f"{file.relative_to(ROOT)}" for file in files_of(program)}
        changed = sum(number for name, number in changes(since).items() if name in files)
        rows.append((changed, f"{path.relative_to(RESULTS)}", program, day, since if commit else f"({since})"))
    head = ["result", "program", "day", "commit", "lines changed"]
    print(lines(head, [[*row, f"{changed:,}"] for changed, *row in sorted(rows, reverse=True)]))


if __name__ == "__main__":
    app.run(main)
