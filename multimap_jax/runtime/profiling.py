"""A trace by JAX's profiler of a few chunks of a run, never of all of it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from multimap_jax.storage.paths import is_remote, upload

# Chunks that are done where a trace begins and where it ends: the first one compiles.
FIRST, LAST = 1, 4
_traces: Traces | None = None


class Traces:
    """The traces of a run below `folder`, one of each kind of work. kind: at work now. done: its chunks."""

    def __init__(self, folder: Path, say: Callable[[str], None]):
        self.folder, self.say = folder, say
        self.kinds, self.kind, self.done, self.running = [], "", 0, False

    def chunk_done(self) -> None:
        self.done += 1
        if self.done == FIRST and self.kind and self.kind not in self.kinds:
            self.start()
        elif self.done == LAST:
            self.stop()

    def start(self) -> None:
        import jax

        with self._no_end_of_the_run():
            jax.profiler.start_trace(self.folder / self.kind)
            self.running = True
            self.kinds.append(self.kind)

    def stop(self) -> None:
        import jax

        if self.running:
            self.running = False
            with self._no_end_of_the_run():
                jax.profiler.stop_trace()

    @contextlib.contextmanager
    def _no_end_of_the_run(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # JAX's profiler raises whatever it likes
            self.say(f"no trace was kept ({' '.join(str(error).split())[:200]})")


@contextlib.contextmanager
def traces_in(folder: Path, say: Callable[[str], None] = print) -> Iterator[None]:
    """Within it the first chunks of each kind of work are traced into `folder`/KIND, beside what is there; at the end,
    where `folder` is of a store. say: told where that could not be done.

    Raises ValueError or OSError where `folder` cannot be one.
    """
    if is_remote(folder):
        with tempfile.TemporaryDirectory(prefix="multimap_") as here:
            with traces_in(Path(here), say):
                yield
            for file in Path(here).rglob("*"):
                if file.is_file():
                    upload(file, folder / file.relative_to(here).as_posix())
        return
    global _traces
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--profile={folder} is a file: give a folder for the traces")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write into {folder} ({error.strerror}): give another folder with --profile") from None
    _traces = Traces(folder, say)
    try:
        yield
        if not _traces.kinds:
            say("there were too few chunks for a trace: nothing was left to compute, or little")
    finally:
        _traces = None


@contextlib.contextmanager
def traced(kind: str) -> Iterator[None]:
    """Within it chunks are of this kind of work."""
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
    """Counts a chunk of the kind of work that is going on."""
    if _traces:
        _traces.chunk_done()
