"""How far a run is: bars on a terminal or, within `lines_of_json`, a line of JSON a minute."""

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

EVERY_SECONDS = 60  # between two lines of a stage in a log
PATIENCE_SECONDS = 2  # before a terminal shows a stage that counts nothing
_log: Log | None = None
_waiting_shown = False


class Log:
    """Says on stderr when a stage begins, once a minute how far the latest one is, and when it ends.

    process: the number of this one, where there are several.
    """

    def __init__(self, process: int | None):
        self.process = {} if process is None else {"process": process}
        self.stages: list[Stage] = []
        self.lock, self.ended = threading.Lock(), threading.Event()
        threading.Thread(target=self._every_minute, daemon=True).start()

    def say(self, stage: Stage) -> None:
        line = {"time": datetime.now(UTC).isoformat(timespec="seconds")} | stage.state() | self.process
        with self.lock, contextlib.suppress(OSError, ValueError):  # a reader that went away ends no run
            sys.stderr.write(json.dumps(line) + "\n")
            sys.stderr.flush()

    def _every_minute(self) -> None:
        while not self.ended.wait(EVERY_SECONDS):
            for stage in self.stages[-1:]:
                self.say(stage)


class Stage(contextlib.AbstractContextManager):
    """One stage of a run in a `Log`, moved on as a bar is."""

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
    """A share of a bar, which is moved on by all of it where the context ends well, though the work may end before."""

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
    """What `update(number)` moves on until it is closed, or its context left.

    shown: whether a terminal shows it; or a bar over more than this, which is moved on instead.
    """
    if hasattr(shown, "update"):
        return Share(shown, total)
    if _log and total:
        return Stage(_log, total, desc)
    return tqdm(total=total, desc=desc, unit=unit, unit_scale=unit == "step", disable=bool(_log) or not shown)


@contextlib.contextmanager
def stage(desc: str) -> Iterator[None]:
    """A stage with nothing to count; decorates functions too. A terminal shows how long it has taken, if that is long,
    within `waiting_shown`."""
    clock = _clock(desc) if _waiting_shown and not _log else contextlib.nullcontext()
    with open_bar(1, desc, "", shown=False) as bar, clock:
        yield
        bar.update(1)


@contextlib.contextmanager
def waiting_shown(shown: bool) -> Iterator[None]:
    """Within it stages with nothing to count are shown too, or not."""
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
    """`items` as a stage, which a terminal shows or not."""
    with open_bar(len(items), desc, "", shown=shown) as bar:
        for item in items:
            yield item
            bar.update(1)


@contextlib.contextmanager
def lines_of_json(process: int | None = None) -> Iterator[None]:
    """Within it every bar is lines of JSON on stderr instead. process: the number of this one among several."""
    global _log
    _log = Log(process)
    try:
        yield
    finally:
        _log.ended.set()
        _log = None
