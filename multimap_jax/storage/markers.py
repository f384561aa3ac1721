"""Folders of images that multimap wrote: whoever reads a folder above them passes them over.

Those of `multimap export` hold a hidden file, the mark; thumbnails beside a page are told by their folder's name.
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
    """Creates a folder with the mark, and says whether it has one: where something is already, that may be images of
    the user, and it gets none."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        with open(folder / MARK, "x", encoding="utf-8") as file:
            json.dump({"multimap": CONTENT}, file)
    return os.path.lexists(folder / MARK)


def written_folder(folder: str, marked: Container[str]) -> str:
    """The outermost folder that multimap wrote on the way to `folder`, itself or one above it, "" where there is none.
    Paths from the folder that is read, with "/". marked: those that hold the mark."""
    names = folder.split("/") if folder else []
    paths = ("/".join(names[: i + 1]) for i in range(len(names)))
    return next((path for path, name in zip(paths, names) if path in marked or THUMBNAILS.fullmatch(name)), "")
