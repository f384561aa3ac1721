"""Recognises folders of images that multimap wrote, so that reading a folder above skips them.

Folders of `multimap export` contain a hidden file, the mark; folders of thumbnails are recognised by their name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Container
from pathlib import Path

MARK = ".multimap.json"
THUMBNAILS = re.compile(r"thumbnails-[0-9a-f]{12}")
CONTENT = "Images copied or linked by multimap export. Without this file multimap reads them as part of a folder above."


def make_marked(folder: Path) -> bool:
    """Creates a folder with the mark, and returns whether it has one. A folder that is not empty gets none, because it
    may hold images of the user."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        with open(folder / MARK, "x", encoding="utf-8") as file:
            json.dump({"multimap": CONTENT}, file)
    return os.path.lexists(folder / MARK)


def written_folder(folder: str, marked: Container[str]) -> str:
    """The outermost folder that multimap wrote among `folder` and those above it, "" if there is none. Paths are
    relative to the folder being read, with "/". marked: the folders with the mark."""
    names = folder.split("/") if folder else []
    paths = ("/".join(names[: i + 1]) for i in range(len(names)))
    return next((path for path, name in zip(paths, names) if path in marked or THUMBNAILS.fullmatch(name)), "")
