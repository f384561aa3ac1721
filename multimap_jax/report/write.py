"""Writes the page as HTML: a template, a style sheet and scripts, each a file here, and the data as JSON."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources

from multimap_jax.images.decoding import AnImage
from multimap_jax.images.thumbnails import INLINE, folder_name, inline, pick, stored_thumbnails, thumbnails
from multimap_jax.report.page import Page, hidden_counts, page_content, shown_images
from multimap_jax.storage.packed import PackedItems

# In this order: each uses the ones before it.
SCRIPTS = ("state.js", "elements.js", "grid.js", "map.js", "views.js", "edits.js", "main.js")


@dataclasses.dataclass(frozen=True)
class Report:
    """html: the page. folder: the name of the folder of thumbnails next to it; "" if the page contains them. pictures:
    file name -> content, for the files in that folder."""

    html: str
    folder: str = ""
    pictures: dict[str, bytes] = dataclasses.field(default_factory=dict)


def make_report(
    title: str,
    images: Mapping[str, AnImage],
    names: Sequence[str],
    pages: Sequence[Page],
    notes: Sequence[str],
    settings: Sequence[tuple[str, str]] = (),
    command: str = "",
    run: str = "out/",
    originals: str = "",
    progress: bool = False,
    edited: str = "edited/",
    stored: PackedItems | None = None,
) -> Report:
    """Makes the page.

    Args:
      images: name -> path, PIL image or array. names: of the images, in the order of the pages' arrays.
      pages: one for each aspect.
      notes: sentences about the whole run, for the top of the page.
      settings: (name, value) pairs. command: the command that repeats the run; "": unknown.
      run: the folder that edits apply to; "": no edits. edited: the proposed folder for the edited run.
      originals: the address of the images' folder, relative to the page; "": none.
      stored: thumbnails of the images; those that are missing are made here.
    """
    shown = shown_images(pages, len(names))
    shown_names = [names[int(i)] for i in shown]
    pictures = stored_thumbnails(stored, shown) if stored else [b""] * len(shown)
    missing = [i for i, picture in enumerate(pictures) if not picture]
    for i, made in zip(missing, thumbnails(pick(images, [shown_names[i] for i in missing]), progress)):
        pictures[i] = made
    lost = [i for i, picture in enumerate(pictures) if not picture]
    notes = list(notes)
    if lost:
        notes.append(f"{len(lost):,} of {len(shown):,} images could not be opened for display.")
    if len(shown) < len(names):
        notes.append(
            f"This page shows {len(shown):,} of {len(names):,} images: the most typical of each group, those with "
            "low confidence, and an even sample of the rest. All counts include the other images."
        )
    folder = folder_name(pictures) if len(pictures) > INLINE else ""
    content = {
        "title": title,
        "notes": notes,
        "images": len(names),
        "names": shown_names,
        "folder": folder,
        "pictures": [] if folder else [inline(picture) for picture in pictures],
        "lost": lost,
        "aspects": [page_content(page, shown) for page in pages],
        "hidden": hidden_counts(pages, shown, len(names)),
        "settings": [[str(name), str(value)] for name, value in settings],
        "command": command,
        "run": run,
        "edited": edited,
        "originals": originals,
    }
    files = {f"{i}.jpg": picture for i, picture in enumerate(pictures) if picture} if folder else {}
    return Report(fill(title, content), folder, files)


def fill(title: str, content: dict) -> str:
    """The filled template. `content` cannot become markup: it is JSON that cannot close its element."""
    style, script = read("style.css"), "".join(read(name) for name in SCRIPTS)
    parts = {
        "title": html.escape(title),
        "style": style,
        "script": script,
        "style_hash": digest(style),
        "script_hash": digest(script),
        "data": as_json(content),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], read("template.html"))


def as_json(content: object) -> str:
    """JSON for an HTML element; characters that could close the element or open another are escaped."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.encode("utf-8", "replace").decode()


def digest(text: str) -> str:
    """The hash of a text, for a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def read(name: str) -> str:
    return (resources.files("multimap_jax.report") / name).read_text(encoding="utf-8")
