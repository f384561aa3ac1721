"""The page as HTML: a template, a style and scripts that are files of their own, and what they show as JSON."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources

from multimap_jax.images.thumbnails import INLINE, folder_name, inline, pick, thumbnails
from multimap_jax.report.page import Page, crossed, held, page_content

# In the order in which they need each other.
SCRIPTS = ("state.js", "elements.js", "grid.js", "map.js", "views.js", "edits.js", "main.js")


@dataclasses.dataclass(frozen=True)
class Report:
    """html: the page. folder: what the folder of its thumbnails beside it is called, "" where they are within it.
    pictures: the files of that folder by name."""

    html: str
    folder: str = ""
    pictures: dict[str, bytes] = dataclasses.field(default_factory=dict)


def make_report(
    title: str,
    images: Mapping[str, object],
    names: Sequence[str],
    pages: Sequence[Page],
    notes: Sequence[str],
    settings: Sequence[tuple[str, str]] = (),
    repeat: str = "",
    run: str = "out/",
    progress: bool = False,
) -> Report:
    """The page.

    Args:
      images: paths, PIL images or arrays by name. names: which of them, as pages number them. pages: one for each
        aspect.
      notes: sentences to put on top ([] for none).
      settings: what is to be known of the run, each with its name. repeat: the line that repeats it, "" unknown.
      run: the folder that edits are to be applied to.
    """
    shown = held(pages, len(names))
    own = [names[int(i)] for i in shown]
    pictures = thumbnails(pick(images, own), progress)
    lost = [i for i, picture in enumerate(pictures) if not picture]
    notes = list(notes)
    if lost:
        notes.append(f"{len(lost):,} of {len(own):,} pictures could not be opened to be shown.")
    if len(own) < len(names):
        notes.append(
            f"This page holds {len(own):,} of {len(names):,} images: those that each group begins with, the least sure "
            "ones, and an even share of the rest. Numbers count all of them."
        )
    folder = folder_name(pictures) if len(pictures) > INLINE else ""
    content = {
        "title": title,
        "notes": notes,
        "images": len(names),
        "names": own,
        "folder": folder,
        "pictures": [] if folder else [inline(picture) for picture in pictures],
        "lost": lost,
        "aspects": [page_content(page, shown) for page in pages],
        "rest": crossed(pages, shown, len(names)),
        "settings": [[str(name), str(value)] for name, value in settings],
        "repeat": repeat,
        "run": run,
    }
    files = {f"{i}.jpg": picture for i, picture in enumerate(pictures) if picture} if folder else {}
    return Report(fill(title, content), folder, files)


def fill(title: str, content: dict) -> str:
    """The template with everything in it. Nothing of `content` is markup: it is JSON in which no element can end."""
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


def as_json(content) -> str:
    """JSON for an element of HTML: what could end the element, or begin another, is written as its number."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = re.sub("[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.encode("utf-8", "replace").decode()


def digest(text: str) -> str:
    """As a content security policy names what may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def read(name: str) -> str:
    return (resources.files("multimap_jax.report") / name).read_text(encoding="utf-8")
