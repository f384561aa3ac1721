"""Shows finished runs in a notebook: a table of groups with a few images, and a figure."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimap_jax.errors import InputError, names_arguments
from multimap_jax.images.thumbnails import pick, thumbnails
from multimap_jax.report.html import FIGURE_IMAGES, TABLE_IMAGES, GroupSummary, groups_html, nearest_images
from multimap_jax.storage.filenames import printable
from multimap_jax.storage.paths import parse_path
from multimap_jax.storage.reading import explained

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run:
    """A finished run of the command in its --out folder, including new images in the groups of another run.

    Attributes:
      folder: its path. aspects: the names of its aspects.
    """

    def __init__(self, folder: str | Path):
        """Raises FileNotFoundError or ValueError, each with a sentence, if there is no finished run."""
        from multimap_jax.runs.finished import read_results

        self.folder = parse_path(str(folder))
        self._content = read_results(self.folder)
        self.aspects = tuple(aspect.name for aspect in self._content.aspects)

    def __repr__(self) -> str:
        return printable(f"Run({f'{self.folder}'!r}: {', '.join(self.aspects)})")

    def _repr_html_(self) -> str:
        return "".join(groups_html(aspect, self.groups(aspect, TABLE_IMAGES)) for aspect in self.aspects)

    def labels(self, aspect: str) -> dict[str, str]:
        """Image name -> the name of its group."""
        self._index(aspect)
        return dict(zip(*self._columns("image", aspect)))

    def groups(self, aspect: str, number: int) -> list[GroupSummary]:
        """The groups of an aspect in the order of the run (the largest first), each with at most `number` images."""
        from multimap_jax.runs.finished import AGAIN

        groups = self._content.aspects[self._index(aspect)].groups
        with explained(f"the run in {self.folder}", AGAIN):
            names, groups_of, distances = self._columns("image", f"{aspect}: group", f"{aspect}: distance")
            labels = np.array(groups_of, np.int64)
            if labels.max(initial=-1) >= len(groups):
                raise ValueError("it has images in unknown groups")
            nearest = nearest_images(labels, np.array(distances, float), len(groups), number)
        return [
            GroupSummary(
                group.name, group.images, group.name_confidence or 0, pick(self._images, [names[i] for i in images])
            )
            for group, images in zip(groups, nearest)
        ]

    def _index(self, aspect: str) -> int:
        if aspect not in self.aspects:
            message = f"the run in {self.folder} has no aspect {aspect!r}: it has {', '.join(self.aspects)}"
            raise InputError(message, "aspect")
        return self.aspects.index(aspect)

    def _columns(self, *columns: str) -> list[list]:
        from multimap_jax.runs.export import read_label_columns

        return read_label_columns(self.folder, columns)

    @functools.cached_property
    def _images(self) -> Mapping:
        from multimap_jax.runs.finished import images_of

        return images_of(self.folder, self._content, None).source.images


@names_arguments
def open_run(folder: str | Path) -> Run:
    """Opens the finished run in a folder, the --out of a command. Errors as in `Run`."""
    return Run(folder)


@names_arguments
def show(run: Run | str | Path, aspect: str | None = None, images: int = FIGURE_IMAGES) -> Figure:
    """A matplotlib figure with a row for each group and its most typical images.

    Args:
      run: a finished run, or its folder. aspect: None for the first one. images: most images in a row.

    Raises ImportError if matplotlib is not installed, InputError for an aspect that the run does not have.
    """
    run = run if isinstance(run, Run) else open_run(run)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("mm.show needs matplotlib: pip install 'multimap_jax[experiments]'") from None
    from PIL import Image

    aspect = run.aspects[0] if aspect is None else aspect
    groups = run.groups(aspect, images)
    figure = Figure(figsize=(1.2 * images + 2, 1.3 * len(groups)), layout="constrained")
    figure.suptitle(_plain(aspect))
    cells = figure.subplots(len(groups), images, squeeze=False)
    for group, row in zip(groups, cells):
        row[0].set_ylabel(f"{_plain(group.name)}\n{group.size:,}", rotation=0, ha="right", va="center")
        pictures = thumbnails(group.images)
        for cell, picture in zip(row, [*pictures, *[b""] * (images - len(pictures))]):
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
            if picture:
                cell.imshow(Image.open(io.BytesIO(picture)))
    return figure


def _plain(name: str) -> str:
    """A name in which matplotlib sees no formula, which starts with a dollar sign."""
    return name.replace("$", r"\$")
