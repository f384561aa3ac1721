"""`python -m multimap_jax` is the command `multimap`."""

import contextlib
import os
import signal
import sys

# The exit status of a command that a signal stopped, as shells have it for Ctrl-C.
STOPPED = 130


def main() -> int:
    """The command. An interrupt before it begins, or after it has ended, leaves no traceback either."""
    try:
        from multimap_jax.cli.main import main as command

        status = command()
    except KeyboardInterrupt:
        print("multimap: stopped", file=sys.stderr)
        status = STOPPED
    if status == STOPPED:
        _exit_at_once()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return status


def _exit_at_once() -> None:
    """Skips Python's own shutdown, which may crash while threads of JAX still compute."""
    from multimap_jax.storage.objects import remove_fetched

    remove_fetched()
    with contextlib.suppress(OSError, ValueError):  # nobody may read any more
        sys.stdout.flush()
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
