"""A report of one run as a single HTML file: thumbnails by group, one page for each aspect. Everything is escaped."""

from __future__ import annotations

import base64
import dataclasses
import functools
import html
import io
import json
from collections.abc import Mapping, Sequence

import numpy as np

from multimap_jax.clip.images import Unreadable, decode

SHOWN, THUMBNAIL = 60, 112
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #3b6fd4; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem } p { margin: .3rem 0 }
.warning { border-left: 4px solid #d98b1f; background: #d98b1f22; padding: .6rem .9rem; margin: 1rem 0 }
nav { display: flex; gap: .5rem; flex-wrap: wrap; margin: 1.2rem 0 }
nav button { font: inherit; padding: .35rem 1rem; border: 1px solid var(--line); border-radius: 2rem;
  background: none; color: inherit; cursor: pointer }
nav button[aria-selected=true] { background: var(--accent); border-color: var(--accent); color: #fff }
section.group { border-top: 1px solid var(--line); padding: .8rem 0 1rem }
h2 { font-size: 1.15rem; margin: 0 0 .5rem } h2 small { font-weight: normal; opacity: .7; margin-left: .6rem }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(84px, 1fr)); gap: 6px }
.images img { width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 4px; display: block;
  background: var(--soft) }
.images img.outlier { outline: 2px dashed #d98b1f; outline-offset: -2px }
table { border-collapse: collapse; margin: .8rem 0 } td, th { padding: .2rem .9rem .2rem 0; text-align: left }
footer { opacity: .7; font-size: .9rem; margin: 2rem 0 } [hidden] { display: none }
"""
SCRIPT = """
const thumbnails = JSON.parse(document.getElementById("thumbnails").textContent);
for (const image of document.querySelectorAll("img[data-image]"))
  image.src = "data:image/jpeg;base64," + thumbnails[image.dataset.image];
const buttons = document.querySelectorAll("nav button");
for (const button of buttons) button.onclick = () => {
  for (const other of buttons) other.setAttribute("aria-selected", other === button);
  for (const page of document.querySelectorAll("article")) page.hidden = page.id !== button.dataset.page;
};
"""


@dataclasses.dataclass(frozen=True)
class Page:
    """One aspect's result: labels int [images], a name, confidence and size for each group, and how it went.

    order int [images]: images by closeness to the centre of their group. metrics: from `run.measure`, with the rivals'
    under "beside" by the names to show, or None. sight: whether the encoder sees the aspect; number: why so many
    groups; sentences, or "".
    """

    aspect: str
    labels: np.ndarray
    names: Sequence[str]
    confidences: Sequence[float]
    outliers: np.ndarray
    order: np.ndarray
    metrics: dict | None = None
    sight: str = ""
    number: str = ""

    @functools.cached_property
    def members(self) -> list[np.ndarray]:
        """Images of each group, nearest to its centre first."""
        labels = self.labels[self.order]
        ends = np.cumsum(np.bincount(labels, minlength=len(self.names)))
        return np.split(self.order[np.argsort(labels, kind="stable")], ends[:-1])


def make_report(
    title: str, images: Mapping[str, object], names: Sequence[str], pages: Sequence[Page], notes: Sequence[str]
) -> str:
    """The report as HTML.

    Args:
      images: paths, PIL images or arrays by name. names: which of them, as pages number them. pages: one for each
        aspect.
      notes: sentences to put on top ([] for none).
    """
    shown = {int(i) for page in pages for members in page.members for i in members[:SHOWN]}
    thumbnails = {i: _thumbnail(images[names[i]]) for i in sorted(shown)}
    buttons = "".join(
        f'<button data-page="page{i}" aria-selected="{str(i == 0).lower()}">{html.escape(page.aspect)}</button>'
        for i, page in enumerate(pages)
    )
    body = "".join(_page(i, page, names) for i, page in enumerate(pages))
    lost = sum(not each for each in thumbnails.values())
    if lost:
        notes = [*notes, f"{lost:,} of {len(thumbnails):,} pictures could not be opened to be shown."]
    warnings = "".join(f'<p class="warning">{html.escape(note)}</p>' for note in notes)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{html.escape(title)}</h1><p>{len(names):,} {'image' if len(names) == 1 else 'images'}, "
        f"grouped by {len(pages)} "
        f"{'aspect' if len(pages) == 1 else 'aspects'}</p>"
        f"{warnings}<nav>{buttons}</nav>{body}<footer>Made by multimap_jax. Images stand in the order of closeness to "
        "their group's centre; a dashed frame marks those far from it. The percentage is how probable the encoder "
        "finds the name for the group's images.</footer>"
        # Numbers and base64 only: nothing in it can close the element.
        f'<script type="application/json" id="thumbnails">{json.dumps(thumbnails)}</script>'
        f"<script>{SCRIPT}</script></html>\n"
    )


def _page(number: int, page: Page, names: Sequence[str]) -> str:
    groups = "".join(_group(page, group, names) for group in range(len(page.names)))
    sight = "".join(f"<p>{html.escape(text)}</p>" for text in (page.sight, page.number) if text)
    return f'<article id="page{number}"{" hidden" if number else ""}>{sight}{_metrics(page.metrics)}{groups}</article>'


def _group(page: Page, group: int, names: Sequence[str]) -> str:
    size, shown = len(page.members[group]), page.members[group][:SHOWN]
    sure = f", {page.confidences[group]:.0%} sure of the name" if page.confidences[group] else ""
    more = f", the {len(shown)} nearest to its centre are shown" if len(shown) < size else ""
    pictures = "".join(
        f'<img data-image="{i}" title="{html.escape(names[i])}" alt="{html.escape(names[i])}"'
        f"{' class=outlier' if page.outliers[i] else ''}>"
        for i in shown
    )
    heading = f"{html.escape(page.names[group])}<small>{size} {'image' if size == 1 else 'images'}{sure}{more}</small>"
    return f'<section class="group"><h2>{heading}</h2><div class="images">{pictures}</div></section>'


def _metrics(metrics: dict | None) -> str:
    if not metrics:
        return ""
    columns = [name for name, value in metrics.items() if isinstance(value, float)]
    rows = {"these groups": metrics} | metrics["beside"]
    head = "".join(f"<th>{name.upper() if len(name) < 4 else name}</th>" for name in columns)
    body = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{values[column]:.3f}</td>' for column in columns)}</tr>"
        for name, values in rows.items()
    )
    over = f"{metrics['images']:,} of {metrics['of']:,}"
    return f"<p>Agreement with the labels given, for {over} images:</p><table><tr><th></th>{head}</tr>{body}</table>"


def _thumbnail(image) -> str:
    """base64 of a small JPEG; "" where the image can no longer be read."""

    def shrink(picture):
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        return picture

    picture = decode(image, 0, shrink)
    if isinstance(picture, Unreadable):
        return ""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
