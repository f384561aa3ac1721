"""How models and finished runs show themselves in a notebook: groups with a few pictures, and a figure of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from multimap_jax.images.thumbnails import pick, thumbnails
from multimap_jax.report.html import FIGURE, SHOWN, Shown, groups_html, nearest_of
from multimap_jax.storage.filenames import printable
from multimap_jax.storage.paths import parse_path
from multimap_jax.storage.reading import explained


class Run:
    """A finished run of the command, in its --out folder, or new images in the groups of one.

    Attributes:
      folder: where it is. aspects: names of what it was grouped by.
    """

    def __init__(self, folder: str | Path):
        """Raises FileNotFoundError or ValueError, each with a sentence, where there is no finished run."""
        from multimap_jax.runs.finished import read_results

        self.folder = parse_path(str(folder))
        self._content = read_results(self.folder)
        self.aspects = tuple(aspect.name for aspect in self._content.aspects)

    def __repr__(self):
        return printable(f"Run({f'{self.folder}'!r}: {', '.join(self.aspects)})")

    def _repr_html_(self) -> str:
        return "".join(groups_html(aspect, self.groups(aspect, SHOWN)) for aspect in self.aspects)

    def labels(self, aspect: str) -> dict[str, str]:
        """Image name -> the name of its group."""
        return dict(zip(*self._columns("image", self._known(aspect))))

    def groups(self, aspect: str, number: int) -> list[Shown]:
        """The groups of an aspect, the largest first as the run has them, each with `number` images at most."""
        from multimap_jax.runs.finished import AGAIN

        aspect = self._known(aspect)
        with explained(f"the run in {self.folder}", AGAIN):
            own = [
                (group.name, group.images, group.name_confidence or 0)
                for group in self._content.aspects[self.aspects.index(aspect)].groups
            ]
            names, labels, distances = self._columns("image", f"{aspect}: group", f"{aspect}: distance")
            labels = np.array(labels, np.int64)
            if labels.max(initial=-1) >= len(own):
                raise ValueError("images of other groups than it has")
            best = nearest_of(labels, np.array(distances, float), len(own), number)
        return [Shown(*group, pick(self._images, [names[i] for i in each])) for group, each in zip(own, best)]

    def _known(self, aspect: str) -> str:
        if aspect not in self.aspects:
            raise ValueError(f"the run in {self.folder} has no aspect {aspect!r}: it has {', '.join(self.aspects)}")
        return aspect

    def _columns(self, *columns: str) -> list[list]:
        from multimap_jax.runs.export import columns_of

        return columns_of(self.folder, columns)

    @functools.cached_property
    def _images(self) -> Mapping:
        from multimap_jax.runs.finished import images_of

        return images_of(self.folder, self._content, None).source.images


def open_run(folder: str | Path) -> Run:
    """The finished run in a folder, the --out of a command. Errors as `Run`."""
    return Run(folder)


def show(run: Run | str | Path, aspect: str | None = None, images: int = FIGURE):
    """A matplotlib figure with a row for each group and its images nearest to the centre.

    run: a finished run, or its folder. aspect: the first one if None. images: in a row at most.

    Raises ImportError where matplotlib is not installed, ValueError for an aspect that the run does not have.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("mm.show needs matplotlib: pip install 'multimap_jax[experiments]'") from None
    import io

    from PIL import Image

    run = run if isinstance(run, Run) else open_run(run)
    aspect = run.aspects[0] if aspect is None else aspect
    groups = run.groups(aspect, images)
    figure = Figure(figsize=(1.2 * images + 2, 1.3 * len(groups)), layout="constrained")
    figure.suptitle(_text(aspect))
    cells = figure.subplots(len(groups), images, squeeze=False)
    for group, row in zip(groups, cells):
        row[0].set_ylabel(f"{_text(group.name)}\n{group.size:,}", rotation=0, ha="right", va="center")
        pictures = thumbnails(group.images)
        for cell, picture in zip(row, [*pictures, *[b""] * (images - len(pictures))]):
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
            if picture:
                cell.imshow(Image.open(io.BytesIO(picture)))
    return figure


def _text(name: str) -> str:
    """A name as it is: a dollar would begin a formula."""
    return name.replace("$", r"\$")
