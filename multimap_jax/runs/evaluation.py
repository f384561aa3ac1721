"""True labels: read, matched with the images, and groups measured by them beside two cheap baselines."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from multimap_jax.arrays.rows import StoredRows
from multimap_jax.arrays.sampling import sample_indices
from multimap_jax.clustering.kmeans import cluster
from multimap_jax.clustering.metrics import evaluate
from multimap_jax.estimator import Assigned, MultiMaP
from multimap_jax.prompts.aspect import reference_words
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.sources.tables import LONGEST, opened_csv
from multimap_jax.storage.filenames import known_name
from multimap_jax.storage.paths import exists, is_remote

# Images whose names are compared with those of a labels file that fits none, and names of such a file.
MANY = 100_000
BASELINES = {"image_kmeans": "k-means on image embeddings", "zero_shot": "zero-shot words"}


# Aspect -> image name -> true label, for those aspects and images that have one.
Truth = dict[str, dict[str, str]]


def read_labels(path: Path, aspects: Sequence[str], known_images: Mapping, images: Path) -> Truth:
    """True labels from a csv with a column image and one column an aspect (other columns are passed over), in whatever
    capitals.

    Columns may stand apart by commas, semicolons or tabs.

    Raises FileNotFoundError, or ValueError for a file that is no such table, names an image or a column twice, or has
    no label for any of the images that are known, by their names.
    """
    if not exists(path):
        raise FileNotFoundError(f"there is no labels file {path}")
    with opened_csv(path) as (columns, rows):
        named = {name: column_of(name, columns, aspects) for name in ("image", *aspects)}
        known = [aspect for aspect in aspects if named[aspect]]
        if not named["image"] or not known:
            raise ValueError(
                f"{path} has the columns {', '.join(columns)[:200] or '(none)'}; expected image and at least one of "
                f"the aspects {', '.join(aspects)}"
            )
        wanted = [named[name] for name in ("image", *known)]
        for column in wanted:
            if columns.count(column) > 1:
                raise ValueError(f"{path} has the column {column} {columns.count(column)} times, expected once")
        places = list(map(columns.index, wanted))
        lines, labels, others = {}, {aspect: {} for aspect in known}, 0
        for line, row in rows:
            given, *values = (row[place] if place < len(row) else "" for place in places)
            name = known_name(given, known_images)
            name = name if name in known_images else known_name(given.strip(), known_images)
            if name in lines:
                raise ValueError(f"{path} names the image {name} twice, in lines {lines[name]} and {line}")
            if name in known_images:
                lines[name] = line
                for aspect, value in zip(known, values):
                    labels[aspect] |= {name: value} if value else {}
            elif name and others < MANY:  # nothing else is held of the file
                lines[name[:LONGEST]] = line
                others += 1
    if not any(name in known_images for name in lines):
        names = list(itertools.islice(known_images, MANY))
        raise ValueError(
            f"no image of {images} is in {path}: its column image holds paths relative to --images, such as "
            f"{names[0]}, found {next(iter(lines), 'no row')[:200]}{proposal(list(lines), names, images)}"
        )
    empty = [aspect for aspect in known if not labels[aspect]]
    if empty:
        raise ValueError(
            f"the column {empty[0]} of {path} is empty for every image of {images}: fill it or take it out"
        )
    return labels


def column_of(name: str, columns: Sequence[str], aspects: Sequence[str]) -> str | None:
    """The column called so; where there is none, the one that is in another spelling and of no other aspect."""
    if name in columns:
        return name
    others = [each for each in columns if each not in aspects and normal_form(each) == normal_form(name)]
    return others[0] if len(others) == 1 else None


def proposal(found: Sequence[str], names: Sequence[str], images: Path) -> str:
    """What would make the names of a labels file those of images, as the end of a sentence; "" where nothing does."""
    below = f"{images if is_remote(images) else images.resolve()}/"
    changes = {
        "with / for \\": (lambda name: name.replace("\\\\", "/"), None),
        "without ./ before them": (lambda name: name.removeprefix("./"), None),
        f"relative to {images}": (lambda name: name.removeprefix(below), None),
        "without their first folder": (lambda name: name.partition("/")[2], None),
        "with their ending": (None, lambda name: name.rpartition(".")[0]),
        "with the folders that they are in": (None, lambda name: name.rpartition("/")[2]),
        "in other capitals": (str.lower, str.lower),
        "by the names of their files alone": (lambda name: Path(name).name, lambda name: Path(name).name),
    }
    for words, (ours, theirs) in changes.items():
        known = {theirs(name) if theirs else name for name in names}
        matching = sum((ours(name) if ours else name) in known for name in found)
        if matching:
            return f"; {words} {matching:,} of its {len(found):,} names would match"
    return ""


def evaluate_aspect(
    truth: Truth, names: Sequence[str], model: MultiMaP, assigned: Assigned, embeddings: np.ndarray | StoredRows
):
    """Metrics over the images that have a label and are not left over, beside k-means on image embeddings and zero-shot
    words.

    `images` and `of` say over how many of how many images. None where the aspect has no labels, or no image that could
    be read has one.
    """
    own = truth.get(model.aspect.name, {})
    known = [i for i, name in enumerate(names) if name in own and not assigned.leftover[i]]
    if not known:
        if own:
            warnings.warn(
                f"no image with a label for {model.aspect.name!r} could be read: nothing was measured", stacklevel=2
            )
        return None
    true = [own[names[i]] for i in known]
    k, seed = min(model.n_clusters_, len(names)), model.seed_
    baselines = {"image_kmeans": cluster(embeddings, k, seed, sample_indices(names, seed)).labels}
    if model.aspect.words:
        baselines["zero_shot"] = reference_words(model.clip, embeddings, model.aspect)
    beside = {name: evaluate(true, found[known]) for name, found in baselines.items()}
    return evaluate(true, assigned.labels[known]) | {"images": len(known), "of": len(names), "beside": beside}
