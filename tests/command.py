"""The command in the process of a test."""

from multimap_jax.cli import main as cli


def multimap(*flags):
    """The exit status of the command."""
    return cli.main(["multimap", *map(str, flags)])
