"""Fetches the bytes of an object, with limits on size and time."""

from __future__ import annotations

import time
from typing import Any

BLOCK_BYTES = 2**23  # bytes of one block
SLOWEST = 1000  # bytes per second that a web server must send …
PATIENCE_SECONDS = 30  # … after this many seconds


def read_object(path: Any, limit: int, size: int | None = None, begin: int = 0, end: int | None = None) -> bytes:
    """Reads an object, or its bytes from `begin` to `end`. ValueError if it is over `limit` bytes.

    At most `limit` bytes are accepted from a web server, since it may state no length or a wrong one.

    size: the length that the store states.
    """
    asked = size if end is None else end - begin
    if asked is not None and asked > limit or size is not None and size > limit:
        raise ValueError(f"it has {size or asked:,} bytes, expected at most {limit:,}")
    if not is_web(path) and (size is not None or end is not None):
        return path.fs.cat_file(path.path, start=None if end is None else begin, end=end)
    options: dict[str, Any] = {"headers": {"Range": f"bytes={begin}-{end - 1}"}} if end is not None else {}
    options |= {"size": 1} if is_web(path) else {}  # so that fsspec does not ask for the size, and streams
    wanted, blocks, started = limit if end is None else end - begin, [], time.monotonic()
    with path.fs.open(path.path, "rb", block_size=0, **options, **path.request_options()) as file:
        status = getattr(getattr(file, "r", None), "status", None)
        if status in range(300, 400):
            raise ValueError("its server redirects to another address, which must not get the password: use that one")
        if end is not None and status not in (None, 206):
            raise ValueError("its server cannot send parts of a file: download it first")
        remaining = wanted + 1
        while remaining > 0 and (block := file.read(min(remaining, BLOCK_BYTES))):
            blocks.append(block)
            remaining -= len(block)
            seconds = time.monotonic() - started
            if seconds > PATIENCE_SECONDS and wanted + 1 - remaining < SLOWEST * seconds:
                raise TimeoutError(f"the server sends less than {SLOWEST} bytes per second")
    if remaining <= 0:
        raise ValueError(f"it is too long, expected at most {wanted:,} bytes")
    return b"".join(blocks)


def is_web(path: Any) -> bool:
    """Whether an object is on a web server, which is untrusted and may send anything."""
    return path.protocol in ("http", "https")
