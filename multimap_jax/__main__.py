"""`python -m multimap_jax` is the command `multimap`."""

import signal
import sys


def main() -> int:
    """The command; an interrupt before it has begun, or when it has ended, leaves no trace either."""
    try:
        from multimap_jax.cli import main as command

        status = command()
    except KeyboardInterrupt:
        print("multimap: stopped", file=sys.stderr)
        status = 130
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return status


if __name__ == "__main__":
    sys.exit(main())
