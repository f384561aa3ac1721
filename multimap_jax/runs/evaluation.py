"""Reads true labels, matches them with the images, and evaluates groups and two cheap baselines."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from multimap_jax.arrays.sampling import sample_indices
from multimap_jax.clustering.kmeans import cluster
from multimap_jax.clustering.metrics import evaluate
from multimap_jax.clustering.result import AspectResult
from multimap_jax.encoders.load import load_clip
from multimap_jax.errors import InputError, MissingError, errors_about, warn
from multimap_jax.estimator import MultiMaP
from multimap_jax.prompts.aspect import reference_words
from multimap_jax.prompts.normalize import normal_form
from multimap_jax.runs.run_embeddings import RunEmbeddings
from multimap_jax.sources.csv_files import opened_csv
from multimap_jax.sources.names import PATH_CHARACTERS
from multimap_jax.storage.filenames import known_name
from multimap_jax.storage.paths import exists

# Most names of images, and of a labels file that matches none of them, that are compared for a proposal.
MANY = 100_000
BASELINES = {"image_kmeans": "k-means on image embeddings", "zero_shot": "zero-shot words"}


# Aspect -> image name -> true label, for the aspects and images that have one.
Truth = dict[str, dict[str, str]]


@errors_about("labels")
def read_labels(path: Path, aspects: Sequence[str], known_images: Mapping, images: Path) -> Truth:
    """Reads true labels from a csv with a column image and one column for each aspect, without regard to case. Other
    columns are ignored.

    Columns may be separated by commas, semicolons or tabs.

    Raises FileNotFoundError, or ValueError for a file that is not such a table, has an image or a column twice, or has
    no label for any of `known_images`, which are keyed by name.
    """
    if not exists(path):
        raise MissingError(f"there is no labels file {path}", "labels")
    with opened_csv(path) as (columns, rows):
        named = {name: column_of(name, columns, aspects) for name in ("image", *aspects)}
        known = [aspect for aspect in aspects if named[aspect]]
        if not named["image"] or not known:
            raise InputError(
                f"{path} has the columns {', '.join(columns)[:200] or '(none)'}; expected the column image and at "
                f"least one of {', '.join(aspects)}",
                "labels",
            )
        wanted = [column for name in ("image", *known) if (column := named[name])]
        for column in wanted:
            if (count := columns.count(column)) > 1:
                raise InputError(f"{path} has the column {column} {count} times, expected once", "labels")
        positions = list(map(columns.index, wanted))
        lines: dict[str, int] = {}
        labels: Truth = {aspect: {} for aspect in known}
        unknown = 0
        for line, row in rows:
            given, *values = (row[position] if position < len(row) else "" for position in positions)
            name = known_name(given, known_images)
            name = name if name in known_images else known_name(given.strip(), known_images)
            if name in lines:
                twice = f"twice, in lines {lines[name]} and {line}"
                raise InputError(f"{path} has the image {name} {twice}", "labels")
            if name in known_images:
                lines[name] = line
                for aspect, value in zip(known, values):
                    labels[aspect] |= {name: value} if value else {}
            elif name and unknown < MANY:  # nothing else of the file is kept in memory
                lines[name[:PATH_CHARACTERS]] = line
                unknown += 1
    if not any(name in known_images for name in lines):
        names = list(itertools.islice(known_images, MANY))
        found = next(iter(lines), "no row")[:200]
        raise InputError(
            f"no image of {images} is in {path}: its column image must have paths relative to the images' folder, "
            f"such as {names[0]}, found {found}{proposal(list(lines), names, images)}",
            "labels",
        )
    empty = [aspect for aspect in known if not labels[aspect]]
    if empty:
        raise InputError(
            f"the column {empty[0]} of {path} is empty for all images of {images}: fill it or remove it", "labels"
        )
    return labels


def column_of(name: str, columns: Sequence[str], aspects: Sequence[str]) -> str | None:
    """The column of that name; if there is none, the only one with another spelling that is not another aspect."""
    if name in columns:
        return name
    alike = [column for column in columns if column not in aspects and normal_form(column) == normal_form(name)]
    return alike[0] if len(alike) == 1 else None


def proposal(found: Sequence[str], names: Sequence[str], images: Path) -> str:
    """How to change the names of a labels file to match the images, as the end of a sentence; "" if nothing helps."""
    below = f"{images.resolve()}/"
    changes = {
        "with / for \\": (lambda name: name.replace("\\\\", "/"), None),
        "without ./ in front": (lambda name: name.removeprefix("./"), None),
        f"relative to {images}": (lambda name: name.removeprefix(below), None),
        "without their first folder": (lambda name: name.partition("/")[2], None),
        "with their file extension": (None, lambda name: name.rpartition(".")[0]),
        "with their folders": (None, lambda name: name.rpartition("/")[2]),
        "in upper or lower case like the files": (str.lower, str.lower),
        "as file names only": (lambda name: Path(name).name, lambda name: Path(name).name),
    }
    for words, (ours, theirs) in changes.items():
        known = {theirs(name) if theirs else name for name in names}
        matching = sum((ours(name) if ours else name) in known for name in found)
        if matching:
            return f"; {words} {matching:,} of its {len(found):,} names would match"
    return ""


def evaluated(
    result: AspectResult, model: MultiMaP, truth: Truth | None, embedded: RunEmbeddings, begin: float
) -> AspectResult:
    """The result with its seconds and, if there are true labels, metrics. begin: when work on the aspect began.

    Metrics are over the images that have a label and are in a group (`images` of `of`), with those of the baselines:
    k-means on image embeddings, and zero-shot words. None if no such image could be read.
    """
    name, names, labels, metrics = result.aspect.name, embedded.names, result.assignment.labels, None
    true_labels = truth.get(name, {}) if truth else {}
    known = [i for i, image in enumerate(names) if image in true_labels and not result.assignment.leftover[i]]
    if known:
        true = [true_labels[names[i]] for i in known]
        k, seed = min(len(result.cluster_names), len(names)), model.seed_
        baselines = {"image_kmeans": cluster(embedded.rows, k, seed, sample_indices(names, seed)).labels}
        if result.aspect.words:
            baselines["zero_shot"] = reference_words(load_clip(model.clip), embedded.rows, result.aspect)
        beside = {baseline: evaluate(true, found[known]) for baseline, found in baselines.items()}
        metrics = evaluate(true, labels[known]) | {"images": len(known), "of": len(names), "beside": beside}
    elif true_labels:
        warn(f"no metrics for {name!r}: none of its labeled images could be read")
    return dataclasses.replace(result, metrics=metrics, seconds=time.perf_counter() - begin)
