"""`python -m multimap_jax` is the command `multimap`."""

import contextlib
import os
import signal
import sys

STOPPED = 130


def main() -> int:
    """The command; an interrupt before it has begun, or when it has ended, leaves no trace either."""
    try:
        from multimap_jax.cli.main import main as command

        status = command()
    except KeyboardInterrupt:
        print("multimap: stopped", file=sys.stderr)
        status = STOPPED
    if status == STOPPED:
        _end_at_once()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return status


def _end_at_once() -> None:
    """Without Python's own end, which may crash beneath threads of JAX that compute yet."""
    from multimap_jax.storage.objects import remove_fetched

    remove_fetched()
    with contextlib.suppress(OSError, ValueError):  # nobody may read any more
        sys.stdout.flush()
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
