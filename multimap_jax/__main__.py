"""`python -m multimap_jax` is the command `multimap`."""

import sys

from multimap_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
