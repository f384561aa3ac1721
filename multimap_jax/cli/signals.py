"""Ends a command early: on Ctrl-C, on SIGTERM, when its terminal closes, or when its parent process ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

# In a child's environment: two descriptors, one that closes when its parent ends and one of the terminal.
CHILD = "MULTIMAP_PROCESS_OF_MANY"
# Seconds between repeats of the exception after a signal, in case Python lost the first one.
REPEAT_SECONDS = 1.0
# Seconds after which a child that was told to end is killed.
PATIENCE_SECONDS = 20.0
# Lines in stack traces of native libraries.
STACK = re.compile(rb"\s*@\s+0x|\*\*\* Check failure")


class Stopped(KeyboardInterrupt):
    """A subclass, because Python ends a process by SIGINT, whatever its status, after a bare KeyboardInterrupt has gone
    through `exec`."""


def until_stopped(action: Callable[[], int], stopped: Callable[[], int]) -> int:
    """Returns the result of `action` or, if one of `ending_signals` comes first, that of `stopped`.

    Python loses an exception that a signal raises inside a callback (of the garbage collector or a C library). While
    the action still runs, the exception is therefore raised again every second.
    """
    if threading.current_thread() is not threading.main_thread():
        return action()
    alarm = [signal.SIGALRM] if hasattr(signal, "SIGALRM") else []  # not on Windows
    endings = ending_signals()

    def stop(*_: object) -> None:
        if alarm:
            for number in endings:  # a second signal would interrupt the clean-up after the first
                signal.signal(number, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS)
        raise Stopped

    with _handled_by(stop, [*endings, *alarm]):
        hook = sys.unraisablehook
        # Lost interrupts need no message: they are raised again.
        sys.unraisablehook = lambda lost: None if issubclass(lost.exc_type, KeyboardInterrupt) else hook(lost)
        try:
            return action()
        except KeyboardInterrupt:
            for number in [*endings, *alarm]:
                signal.signal(number, signal.SIG_IGN)
            return stopped()
        finally:
            sys.unraisablehook = hook
            if alarm:
                signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _handled_by(handler: Callable, numbers: Sequence[int]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def ending_signals() -> list[int]:
    """The signals that end a command: SIGTERM, Ctrl-C, and SIGHUP of a closed terminal unless `nohup` ignores it."""
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    signals: list[int] = [signal.SIGTERM, signal.SIGINT]
    return signals if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN else [*signals, hangup]


def run_child(command: Sequence[str]) -> int:
    """Runs a command in a child process and forwards `ending_signals` to it. If this process ends, so does the child.

    Returns the child's status, or minus the number of the signal that ended it.
    """
    alive, parent_end = os.pipe()
    stderr, child_stderr = os.pipe()
    terminal = os.dup(2)
    child: subprocess.Popen | None = None
    early: list[int] = []  # signals before the child is there

    def pass_on(number: int, _: object) -> None:
        if child is None:
            early.append(number)
            return
        child.send_signal(number)
        timer = threading.Timer(PATIENCE_SECONDS, child.kill)
        timer.daemon = True
        timer.start()

    listener = threading.Thread(target=_copy_lines, args=(stderr, terminal), daemon=True)
    try:
        with _handled_by(pass_on, ending_signals()):
            child = subprocess.Popen(
                command,
                env=os.environ | {CHILD: f"{alive},{terminal}"},
                stderr=child_stderr,
                pass_fds=[alive, terminal],
                process_group=0,
            )
            listener.start()
            for descriptor in (alive, child_stderr):
                os.close(descriptor)
            for number in early:
                pass_on(number, None)
            return child.wait()
    finally:
        if child is not None:
            listener.join(PATIENCE_SECONDS)
        for descriptor in (parent_end, terminal):
            os.close(descriptor)


def _copy_lines(source: int, target: int) -> None:
    """Copies what native libraries print in a child, without their stack traces."""
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            if not STACK.match(line):
                os.write(target, line)


def begin_child() -> None:
    """Sets up a child of `run_child`: Python prints directly to the terminal, and the child ends with its parent."""
    alive, terminal = map(int, os.environ[CHILD].split(","))
    sys.stderr = os.fdopen(terminal, "w", buffering=1, errors="replace")

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(alive, 1)
        try:  # the reader of stderr may have ended with the parent
            print("multimap: stopped, because the process that started this one ended", file=sys.stderr, flush=True)
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
