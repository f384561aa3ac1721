"""Shows the progress of a run: bars on a terminal or, within `lines_of_json`, one line of JSON per minute."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from tqdm import tqdm

EVERY_SECONDS = 60  # seconds between two lines about a stage in a log
PATIENCE_SECONDS = 2  # seconds before a terminal shows a stage without a count
_log: Log | None = None
_waiting_shown = False


class Log:
    """Writes to stderr when a stage starts and ends, and once per minute how far the latest stage is.

    process: the number of this process, if there are several.
    """

    def __init__(self, process: int | None):
        self.process = {} if process is None else {"process": process}
        self.stages: list[Stage] = []
        self.lock, self.ended = threading.Lock(), threading.Event()
        threading.Thread(target=self._every_minute, daemon=True).start()

    def say(self, stage: Stage) -> None:
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds")} | stage.state() | self.process
        with self.lock, contextlib.suppress(OSError, ValueError):  # a closed pipe does not stop a run
            sys.stderr.write(json.dumps(line) + "\n")
            sys.stderr.flush()

    def _every_minute(self) -> None:
        while not self.ended.wait(EVERY_SECONDS):
            for stage in self.stages[-1:]:
                self.say(stage)


class Stage(contextlib.AbstractContextManager):
    """One stage of a run in a `Log`, updated like a bar."""

    def __init__(self, log: Log, total: int, desc: str):
        self.log, self.total, self.desc, self.done, self.begin = log, total, desc, 0, time.monotonic()
        log.stages.append(self)
        log.say(self)

    def state(self) -> dict:
        rate = self.done / max(time.monotonic() - self.begin, 1e-3)
        left = round((self.total - self.done) / rate) if rate else None
        figures = {"per_second": round(rate, 3) if rate else None, "seconds_left": left}
        return {"stage": self.desc, "done": self.done, "all": self.total} | figures

    def update(self, number: int = 1) -> None:
        self.done += number

    def close(self, *_: object) -> None:
        self.log.stages.remove(self)
        self.log.say(self)

    __exit__ = close


class Share(contextlib.AbstractContextManager):
    """A part of a bar. If the context ends without an error, the bar advances by all of it, even after less work."""

    def __init__(self, bar: Bar, total: int):
        self.bar, self.remaining = bar, total

    def update(self, number: int = 1) -> None:
        self.remaining -= number
        self.bar.update(number)

    def close(self) -> None:
        self.bar.update(self.remaining)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()


Bar: TypeAlias = tqdm | Stage | Share


def open_bar(total: int, desc: str, unit: str, shown: bool | Bar) -> Bar:
    """Opens a bar, which `update(number)` advances until it is closed or its context ends.

    shown: whether to show it on a terminal; or a larger bar, which advances instead.
    """
    if hasattr(shown, "update"):
        return Share(shown, total)
    if _log and total:
        return Stage(_log, total, desc)
    return tqdm(total=total, desc=desc, unit=unit, unit_scale=unit == "step", disable=bool(_log) or not shown)


@contextlib.contextmanager
def stage(desc: str) -> Iterator[None]:
    """A stage without a count, as a context or decorator. Within `waiting_shown`, a terminal shows the elapsed time of
    a long stage."""
    clock = _clock(desc) if _waiting_shown and not _log else contextlib.nullcontext()
    with open_bar(1, desc, "", shown=False) as bar, clock:
        yield
        bar.update(1)


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def waiting_shown(shown: bool) -> Iterator[None]:
    """A context in which stages without a count are shown, or not."""
    global _waiting_shown
    before, _waiting_shown = _waiting_shown, shown
    try:
        yield
    finally:
        _waiting_shown = before


@contextlib.contextmanager
def _clock(desc: str) -> Iterator[None]:
    ended = threading.Event()

    def show() -> None:
        if ended.wait(PATIENCE_SECONDS):
            return
        with tqdm(desc=desc, bar_format="{desc}: {elapsed}", leave=False, delay=0) as bar:
            while not ended.wait(1):
                bar.refresh()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def with_bar(items: Sequence, desc: str, shown: bool = False) -> Iterator:
    """Yields `items` as a stage. shown: whether a terminal shows it."""
    with open_bar(len(items), desc, "", shown=shown) as bar:
        for item in items:
            yield item
            bar.update(1)


@contextlib.contextmanager
def lines_of_json(process: int | None = None) -> Iterator[None]:
    """A context in which each bar becomes lines of JSON on stderr. process: the number of this process, if there are
    several."""
    global _log
    _log = Log(process)
    try:
        yield
    finally:
        _log.ended.set()
        _log = None
