"""Measuring in processes of their own, so that one measurement leaves no memory or threads to the next."""

import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor


def in_process(function: Callable, *arguments):
    """(what `function` returns in a fresh process, the highest memory of that process in bytes)."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_with_memory, function, arguments).result()


def _with_memory(function: Callable, arguments: tuple):
    result = function(*arguments)
    unit = 1 if sys.platform == "darwin" else 1024
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
