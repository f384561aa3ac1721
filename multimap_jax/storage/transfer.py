"""Bytes of an object, fetched within bounds of size and time."""

from __future__ import annotations

import time
from typing import Any

BLOCK_BYTES = 2**23  # of one block
SLOWEST = 1000  # bytes a second that a web server must send …
PATIENCE_SECONDS = 30  # … after so long


def read_object(path: Any, limit: int, size: int | None = None, begin: int = 0, end: int | None = None) -> bytes:
    """An object, or its bytes from `begin` to `end`. ValueError where it is over `limit` bytes, whatever was said of
    it: of web servers no more is taken than that, since they may say nothing, or something else than they send.

    size: what its store says of it.
    """
    asked = size if end is None else end - begin
    if asked is not None and asked > limit or size is not None and size > limit:
        raise ValueError(f"an object of {size or asked:,} bytes, expected {limit:,} at most")
    if not is_web(path) and (size is not None or end is not None):
        return path.fs.cat_file(path.path, start=None if end is None else begin, end=end)
    options: dict[str, Any] = {"headers": {"Range": f"bytes={begin}-{end - 1}"}} if end is not None else {}
    options |= {"size": 1} if is_web(path) else {}  # so that it is not asked for, and answers as it comes
    wanted, blocks, started = limit if end is None else end - begin, [], time.monotonic()
    with path.fs.open(path.path, "rb", block_size=0, **options, **path.request_options()) as file:
        status = getattr(getattr(file, "r", None), "status", None)
        if status in range(300, 400):
            raise ValueError("its server sends on to another address, which gets no password: give that one")
        if end is not None and status not in (None, 206):
            raise ValueError("its server does not send parts of a file: fetch it first")
        remaining = wanted + 1
        while remaining > 0 and (block := file.read(min(remaining, BLOCK_BYTES))):
            blocks.append(block)
            remaining -= len(block)
            seconds = time.monotonic() - started
            if seconds > PATIENCE_SECONDS and wanted + 1 - remaining < SLOWEST * seconds:
                raise TimeoutError(f"it came at less than {SLOWEST} bytes a second")
    if remaining <= 0:
        raise ValueError(f"an object of more than {wanted:,} bytes, which are expected at most")
    return b"".join(blocks)


def is_web(path: Any) -> bool:
    """Whether an object is on a web server: anybody's, who may send whatever he likes."""
    return path.protocol in ("http", "https")
