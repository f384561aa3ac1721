"""How a command ends before its time: by Ctrl-C, by SIGTERM, with its terminal, or with a process it depends on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

# In a child's environment: the descriptor that ends when its parent does, and that of the terminal.
CHILD = "MULTIMAP_PROCESS_OF_MANY"
AGAIN_SECONDS = 1.0
PATIENCE_SECONDS = 20.0
STACK = re.compile(rb"\s*@\s+0x|\*\*\* Check failure")


class Stopped(KeyboardInterrupt):
    """Python ends a process by SIGINT, whatever its status, where a bare KeyboardInterrupt once went through `exec`."""


def until_stopped(action: Callable[[], int], stopped: Callable[[], int]) -> int:
    """What `action` returns or, where one of `ending` signals comes first, what `stopped` returns.

    Python loses an exception that a signal raises inside a callback (of the garbage collector, of a C library): where
    the action goes on, it is raised again every second.
    """
    if threading.current_thread() is not threading.main_thread():
        return action()
    clock = getattr(signal, "SIGALRM", None)  # not on Windows

    def stop(*_):
        if clock:
            for number in endings:  # a second one would interrupt what is put in order after the first
                signal.signal(number, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        raise Stopped

    endings = ending()
    numbers = [*endings, *([clock] if clock else [])]
    before = {number: signal.signal(number, stop) for number in numbers}
    said, sys.unraisablehook = sys.unraisablehook, _but_interrupts(sys.unraisablehook)
    try:
        return action()
    except KeyboardInterrupt:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        return stopped()
    finally:
        sys.unraisablehook = said
        if clock:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def ending() -> list[int]:
    """The signals that end a command: SIGTERM, Ctrl-C, and SIGHUP of a closed terminal, which `nohup` has ignored."""
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    ignored = hangup is None or signal.getsignal(hangup) == signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if ignored else [hangup])]


def _but_interrupts(hook: Callable) -> Callable:
    """A hook for lost exceptions that says nothing of interrupts, which come again."""
    return lambda lost: None if issubclass(lost.exc_type, KeyboardInterrupt) else hook(lost)


def run_child(command: Sequence[str]) -> int:
    """Runs a command in a process of its own, which `ending` signals reach through this one, and which ends with this
    one. Returns its status, or minus the number of the signal that ended it."""
    alive, held = os.pipe()
    said, saying = os.pipe()
    terminal = os.dup(2)
    child = subprocess.Popen(
        command,
        env=os.environ | {CHILD: f"{alive},{terminal}"},
        stderr=saying,
        pass_fds=[alive, terminal],
        process_group=0,
    )
    for descriptor in (alive, saying):
        os.close(descriptor)
    listener = threading.Thread(target=_pass_on_lines, args=(said, terminal), daemon=True)
    listener.start()

    def pass_on(number: int, _) -> None:
        child.send_signal(number)
        patience = threading.Timer(PATIENCE_SECONDS, child.kill)
        patience.daemon = True
        patience.start()

    before = {number: signal.signal(number, pass_on) for number in ending()}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        listener.join(PATIENCE_SECONDS)
        for descriptor in (held, terminal):
            os.close(descriptor)


def _pass_on_lines(said: int, terminal: int) -> None:
    """What libraries below Python say of a child, without the stacks that they end with."""
    with os.fdopen(said, "rb") as lines:
        for line in lines:
            if not STACK.match(line):
                os.write(terminal, line)


def begin_child() -> None:
    """In a child of `run_child`: lets Python's own words past it, and ends this process when its parent has gone."""
    alive, terminal = map(int, os.environ[CHILD].split(","))
    sys.stderr = os.fdopen(terminal, "w", buffering=1, errors="replace")

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(alive, 1)
        try:  # with the parent the reader of these words may have gone
            print("multimap: stopped, as the process that started this one has gone", file=sys.stderr, flush=True)
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
