"""Traces a few chunks of a run with JAX's profiler, never the whole run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from multimap_jax.errors import InputError, InputOSError
from multimap_jax.storage.filenames import reason_text
from multimap_jax.storage.paths import storage_of

FIRST_CHUNKS = 1  # chunks before a trace starts: the first one compiles
LAST_CHUNKS = 4  # chunks after which it ends
_traces: Traces | None = None


class Traces:
    """The traces of a run in `folder`, one per kind of work. kind: the current kind. done: its finished chunks."""

    def __init__(self, folder: Path, say: Callable[[str], None]):
        self.folder, self.say = folder, say
        self.kinds: list[str] = []
        self.kind, self.done, self.running = "", 0, False

    def chunk_done(self) -> None:
        self.done += 1
        if self.done == FIRST_CHUNKS and self.kind and self.kind not in self.kinds:
            if self._profiler("start_trace", self.folder / self.kind):
                self.running = True
                self.kinds.append(self.kind)
        elif self.done == LAST_CHUNKS:
            self.stop()

    def stop(self) -> None:
        if self.running:
            self.running = False
            self._profiler("stop_trace")

    def _profiler(self, name: str, *arguments: object) -> bool:
        """Calls JAX's profiler and returns whether that worked; its errors do not stop a run."""
        import jax

        try:
            getattr(jax.profiler, name)(*arguments)
        except Exception as error:  # it raises any kind of error
            self.say(f"no trace was saved ({' '.join(str(error).split())[:200]})")
            return False
        return True


@contextlib.contextmanager
def traces_in(folder: Path, say: Callable[[str], None] = print) -> Iterator[None]:
    """A context that traces the first chunks of each kind of work into `folder`/KIND and keeps existing files. Traces
    are copied to a store at the end. say: called with a message if a trace could not be made.

    Raises InputError or InputOSError if `folder` cannot be used.
    """
    global _traces
    storage = storage_of(folder)
    with contextlib.ExitStack() as stack:
        try:
            working = stack.enter_context(storage.working_folder(folder))
        except FileExistsError:
            raise InputError(f"{folder} is a file: give a folder for the traces", "profile") from None
        except OSError as error:
            reason = reason_text(error)
            raise InputOSError(f"cannot write into {folder} ({reason}): give another folder", "profile") from None
        _traces = Traces(working, say)
        try:
            yield
            if not _traces.kinds:
                say("no trace was saved: there was too little left to compute")
        finally:
            _traces = None
        if working != folder:
            for file in working.rglob("*"):
                if file.is_file():
                    storage.put(file, folder / file.relative_to(working).as_posix())


@contextlib.contextmanager
def traced(kind: str) -> Iterator[None]:
    """A context in which chunks belong to this kind of work."""
    if _traces is None:
        yield
        return
    _traces.kind, _traces.done = kind, 0
    try:
        yield
    finally:
        _traces.stop()
        _traces.kind = ""


def chunk_done() -> None:
    """Counts a finished chunk of the current kind of work."""
    if _traces:
        _traces.chunk_done()
