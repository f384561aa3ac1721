"""Scores of finished cells, kept in a file as they come, under keys that know the code they were made by."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import inspect
import json
import textwrap
import types
from pathlib import Path

import multimap_jax

# Of the library all that a score can depend on: not how a run is planned, said and written.
NOT_NUMERIC = ("__main__.py", "cli", "notebook.py", "persistence.py", "report", "runs", "runtime")


@dataclasses.dataclass
class Runs:
    """Scores by key (whatever the program says: clip, data set, method, …, and `code_digest` of the method)."""

    path: Path

    def __post_init__(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = self.path.read_text() if self.path.exists() else ""
        self.scores, self.torn = {}, bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                key, value = json.loads(line)
            except ValueError:  # the last line of a run that was killed while writing
                continue
            self.scores[tuple(key)] = value

    def add(self, key: tuple, value) -> None:
        self.scores[key] = value
        with self.path.open("a") as file:
            file.write("\n" * self.torn + json.dumps([key, value]) + "\n")
        self.torn = False


@functools.cache
def code_digest(*made_by) -> str:
    """Twelve hexadecimal digits that change with what a score is made by: functions (their own code, that of the
    functions and constants of `experiments` that they name, at any depth, and the library's numeric code) and plain
    values. Comments, docstrings and layout do not count."""
    digest = hashlib.sha256(library_code().encode())
    for each in made_by:
        for text in sorted(sources(each, {})):
            digest.update(text.encode())
    return digest.hexdigest()[:12]


@functools.cache
def library_code() -> str:
    folder = Path(multimap_jax.__file__).parent
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*.py"))]
    return "\n".join(plain((folder / file).read_text()) for file in files if file.parts[0] not in NOT_NUMERIC)


def sources(value, found: dict[int, str]) -> list[str]:
    """The code of everything of `experiments` that `value` leads to."""
    if isinstance(value, functools.partial):
        found[id(value)] = repr((value.args, value.keywords))
        value = value.func
    value = inspect.unwrap(value) if callable(value) else value
    if id(value) in found:
        return list(found.values())
    if isinstance(value, (types.FunctionType, type)) and of_experiments(value):
        found[id(value)] = plain(textwrap.dedent(inspect.getsource(value)))
        functions = [value] if isinstance(value, types.FunctionType) else vars(value).values()
        for function in functions:
            if isinstance(function, types.FunctionType):
                follow(function, found)
    elif constant(value):
        found[id(value)] = repr(value)
    return list(found.values())


def follow(function: types.FunctionType, found: dict[int, str]) -> None:
    """`sources` of everything that a function names, be it through a module of `experiments`, and of its defaults."""
    known = names(function.__code__)
    for name in known:
        value = function.__globals__.get(name)
        if not isinstance(value, types.ModuleType):
            sources(value, found)
        elif of_experiments(value):
            for attribute in known:
                sources(getattr(value, attribute, None), found)
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        sources(value, found)


def of_experiments(value) -> bool:
    """Whether a module, class or function stands in this folder, be it run as a program."""
    try:
        return Path(inspect.getfile(value)).is_relative_to(Path(__file__).parent.parent)
    except TypeError:  # what is built in has no file
        return False


def constant(value) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(constant, value))
    if isinstance(value, dict):
        return all(map(constant, [*value, *value.values()]))
    return isinstance(value, (int, float, str))


def names(code: types.CodeType) -> set[str]:
    """Global names of a function and of the functions within it."""
    within = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(names, within))


def plain(source: str) -> str:
    """Source without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0] = ast.Pass()
    return ast.dump(tree)
