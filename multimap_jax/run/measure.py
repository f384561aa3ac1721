"""True labels: read, matched with the images, and groups measured by them beside two cheap rivals."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multimap_jax.clustering import cluster, draw
from multimap_jax.estimator import MultiMaP
from multimap_jax.metrics import evaluate
from multimap_jax.prompts import reference_words

RIVALS = {"image_kmeans": "k-means on image embeddings", "zero_shot": "zero-shot words"}


# Aspect -> image name -> true label, for those aspects and images that have one.
Truth = dict[str, dict[str, str]]


def read_labels(path: Path, aspects: Sequence[str], names: Sequence[str], images: Path) -> Truth:
    """True labels from a csv with a column image and one column an aspect (other columns are passed over).

    Raises FileNotFoundError, or ValueError for a file that is no such table, names an image or a column twice, or has
    no label for any of the images `names`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no labels file {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = next(reader, [])
            rows = [(reader.line_num, dict(zip(columns, row))) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a csv file in UTF-8 ({error})") from None
    known = [aspect for aspect in aspects if aspect in columns]
    if "image" not in columns or not known:
        raise ValueError(
            f"{path} has the columns {', '.join(columns) or '(none)'}; expected image and at least one of the aspects "
            f"{', '.join(aspects)}"
        )
    for column in ("image", *known):
        if columns.count(column) > 1:
            raise ValueError(f"{path} has the column {column} {columns.count(column)} times, expected once")
    lines: dict[str, int] = {}
    rows = [(line, row) for line, row in rows if row.get("image")]
    for line, row in rows:
        if row["image"] in lines:
            raise ValueError(f"{path} names the image {row['image']} twice, in lines {lines[row['image']]} and {line}")
        lines[row["image"]] = line
    if not lines.keys() & set(names):
        raise ValueError(
            f"no image of {images} is in {path}: its column image holds paths relative to --images, such as "
            f"{names[0]}, found {next(iter(lines), 'no row')}"
        )
    wanted = set(names)
    labels = {
        aspect: {row["image"]: row[aspect] for _, row in rows if row["image"] in wanted and row.get(aspect)}
        for aspect in known
    }
    empty = [aspect for aspect in known if not labels[aspect]]
    if empty:
        raise ValueError(
            f"the column {empty[0]} of {path} is empty for every image of {images}: fill it or take it out"
        )
    return labels


def measure(truth: Truth, names: Sequence[str], model: MultiMaP, labels: np.ndarray, embeddings: np.ndarray):
    """Metrics over the images that have a label, with k-means on image embeddings and zero-shot words beside them.

    `images` and `of` say over how many of how many images. None where the aspect has no labels, or no image that could
    be read has one.
    """
    own = truth.get(model.aspect.name, {})
    known = [i for i, name in enumerate(names) if name in own]
    if not known:
        if own:
            warnings.warn(
                f"no image with a label for {model.aspect.name!r} could be read: nothing was measured", stacklevel=2
            )
        return None
    true = [own[names[i]] for i in known]
    k, seed = min(model.n_clusters_, len(names)), model.seed_
    rivals = {"image_kmeans": cluster(embeddings, k, seed, draw(names, seed)).labels}
    if model.aspect.words:
        rivals["zero_shot"] = reference_words(model.clip, embeddings, model.aspect)
    beside = {name: evaluate(true, found[known]) for name, found in rivals.items()}
    return evaluate(true, labels[known]) | {"images": len(known), "of": len(names), "beside": beside}
