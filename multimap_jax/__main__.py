"""`python -m multimap_jax` is the command `multimap`."""

import contextlib
import gc
import os
import signal
import sys

# The exit status of a command that a signal stopped, as shells have it for Ctrl-C.
STOPPED = 130
# Objects made before garbage is looked for (Python: 700): imports and JAX's tracing make a million that stay.
OBJECTS = 50_000


def main() -> int:
    """The command. An interrupt before it begins, or after it has ended, leaves no traceback either.

    It ends without Python's own shutdown, which takes more than half a second to free what JAX and scikit-learn made,
    and may crash while threads of JAX still compute. One process of several shuts down as JAX's runtime needs it,
    unless it was stopped.
    """
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])
    try:
        from multimap_jax.cli.main import main as command

        status = command()
    except KeyboardInterrupt:
        print("multimap: stopped", file=sys.stderr)
        status = STOPPED
    from multimap_jax.cli.signals import CHILD

    if status == STOPPED or CHILD not in os.environ:
        _exit_at_once(status)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return status


def _exit_at_once(status: int) -> None:
    from multimap_jax.storage.objects import remove_fetched

    remove_fetched()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody may read any more
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
