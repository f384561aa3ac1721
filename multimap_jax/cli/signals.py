"""How a command ends early: by Ctrl-C, by SIGTERM, with its terminal, or with a process it depends on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

# In a child's environment: the descriptor that closes when its parent ends, and that of the terminal.
CHILD = "MULTIMAP_PROCESS_OF_MANY"
# After a first signal its exception is raised again so often, in case Python lost it.
REPEAT_SECONDS = 1.0
# A child that was told to end is killed after this.
PATIENCE_SECONDS = 20.0
# Lines of the stack traces of libraries below Python.
STACK = re.compile(rb"\s*@\s+0x|\*\*\* Check failure")


class Stopped(KeyboardInterrupt):
    """Python ends a process by SIGINT, whatever its status, where a bare KeyboardInterrupt once went through `exec`."""


def until_stopped(action: Callable[[], int], stopped: Callable[[], int]) -> int:
    """What `action` returns or, if one of `ending_signals` comes first, what `stopped` returns.

    Python loses an exception that a signal raises inside a callback (of the garbage collector, of a C library): where
    the action goes on, it is raised again every second.
    """
    if threading.current_thread() is not threading.main_thread():
        return action()
    alarm = [signal.SIGALRM] if hasattr(signal, "SIGALRM") else []  # not on Windows
    endings = ending_signals()

    def stop(*_: object) -> None:
        if alarm:
            for number in endings:  # a second one would interrupt the clean-up after the first
                signal.signal(number, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS)
        raise Stopped

    with _handled_by(stop, [*endings, *alarm]):
        hook = sys.unraisablehook
        # Lost interrupts need no message: they come again.
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
    """The signals that end a command: SIGTERM, Ctrl-C, and SIGHUP of a closed terminal, which `nohup` has ignored."""
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    signals: list[int] = [signal.SIGTERM, signal.SIGINT]
    return signals if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN else [*signals, hangup]


def run_child(command: Sequence[str]) -> int:
    """Runs a command in a child process. Passes `ending_signals` on to it; if this process ends, it does too.

    Returns its status, or minus the number of the signal that ended it.
    """
    alive, parent_end = os.pipe()
    stderr, child_stderr = os.pipe()
    terminal = os.dup(2)
    child = subprocess.Popen(
        command,
        env=os.environ | {CHILD: f"{alive},{terminal}"},
        stderr=child_stderr,
        pass_fds=[alive, terminal],
        process_group=0,
    )
    for descriptor in (alive, child_stderr):
        os.close(descriptor)
    listener = threading.Thread(target=_copy_lines, args=(stderr, terminal), daemon=True)
    listener.start()

    def pass_on(number: int, _: object) -> None:
        child.send_signal(number)
        timer = threading.Timer(PATIENCE_SECONDS, child.kill)
        timer.daemon = True
        timer.start()

    try:
        with _handled_by(pass_on, ending_signals()):
            return child.wait()
    finally:
        listener.join(PATIENCE_SECONDS)
        for descriptor in (parent_end, terminal):
            os.close(descriptor)


def _copy_lines(source: int, target: int) -> None:
    """What libraries below Python print in a child, without the stack traces at the end."""
    with os.fdopen(source, "rb") as lines:
        for line in lines:
            if not STACK.match(line):
                os.write(target, line)


def begin_child() -> None:
    """In a child of `run_child`: lets Python print past it, and ends this process when its parent has gone."""
    alive, terminal = map(int, os.environ[CHILD].split(","))
    sys.stderr = os.fdopen(terminal, "w", buffering=1, errors="replace")

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(alive, 1)
        try:  # with the parent the reader of stderr may have gone
            print("multimap: stopped, as the process that started this one has gone", file=sys.stderr, flush=True)
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
