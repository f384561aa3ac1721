"""A fitted model as two files, model.json and arrays.npz: no pickle in them, and no checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from multimap_jax.arrays.rows import StoredRows, walk
from multimap_jax.choices import AUTO, FEATURES
from multimap_jax.clustering.kmeans import is_leftover, merge_order
from multimap_jax.clustering.outliers import Inliers
from multimap_jax.clustering.selection import Candidate
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.proxies.fit import ProxyFit
from multimap_jax.proxies.recipes import ProxyConfig
from multimap_jax.settings import Settings
from multimap_jax.storage.filenames import is_plain_name
from multimap_jax.storage.reading import explained, mapped_member, read_arrays, read_json

FORMAT = 4
# Groups and letters of a name that a file may have, and how far from the middle a centre may be: what is made of more,
# or of squares without end, fills the memory.
GROUPS, LONGEST, FARTHEST = 10_000, 1_000, 1e9
SETTINGS, ARRAYS = "model.json", "arrays.npz"
# Attributes of every model, and those that come with proxies of the images: attribute -> field of ProxyFit.
ALWAYS = ("labels_", "distances_", "confidence_", "outliers_", "cluster_centers_", "projection_")
BULK = ("centre", "axes", "spread")  # of `clustering.outliers.Inliers`, in the file with bulk_ before them
OF_PROXIES = {f"{field.name}_": field.name for field in dataclasses.fields(ProxyFit)}
MAPPED = ("proxies_", "prompt_embeddings_")
NUMBERS = ("block_size_", "image_steps_")


def write_model(model, clip: Clip, directory: Path) -> None:
    """Writes a fitted `MultiMaP`; everything is made before anything is written."""
    attributes, config, bulk = vars(model), model.config, model.bulk_
    arrays = {name: attributes[name] for name in (*ALWAYS, *OF_PROXIES) if name in attributes and name not in NUMBERS}
    arrays |= {f"bulk_{name}": getattr(bulk, name) for name in BULK}
    content = {
        "format": FORMAT,
        "aspect": dataclasses.asdict(model.aspect),
        "clip": {"name": clip.place, "hash": clip.hash},
        "n_clusters": model.n_clusters if model.n_clusters in (None, AUTO) else int(model.n_clusters),
        "contrast": list(model.contrast),
        "config": None
        if config is None
        else {key: to_plain(value) for key, value in dataclasses.asdict(config).items()},
        "settings": settings_of_model(model),
        "features": model.features_,
        "cluster_names": model.cluster_names_,
        "cluster_confidences": model.cluster_confidences_.tolist(),
        "n_features_in": model.n_features_in_,
        "cluster_stability": model.cluster_stability_.tolist(),
        "spread": model.spread_,
        "least": list(model.least_),
        "rest": list(bulk.rest),
        "fence": None if np.isinf(bulk.fence) else bulk.fence,
        "exemplars": [images.tolist() for images in model.exemplars_],
        "n_clusters_table": [dataclasses.asdict(candidate) for candidate in model.n_clusters_table_],
    }
    content |= {name.rstrip("_"): int(attributes[name]) for name in NUMBERS if name in attributes}
    text = json.dumps(content, indent=1) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    aside = directory / f".{ARRAYS}.{os.getpid()}"  # a loaded model may hold arrays of the file that is there
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    write_rows(file, array)
        os.replace(aside, directory / ARRAYS)
    finally:
        aside.unlink(missing_ok=True)
    (directory / SETTINGS).write_text(text)


def write_rows(file: BinaryIO, rows) -> None:
    """An array or `StoredRows` as an npy file, some rows at a time."""
    if not isinstance(rows, StoredRows):
        return np.lib.format.write_array(file, np.asanyarray(rows), allow_pickle=False)
    header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for _, part in walk(rows):
        file.write(part.tobytes())


def read_model(directory: Path) -> tuple[dict, dict]:
    """(arguments of MultiMaP with "clip" as (name, hash), fitted attributes). Errors as `load` says."""
    if not (directory / SETTINGS).exists() or not (directory / ARRAYS).exists():
        raise FileNotFoundError(
            f"{directory} holds no model: expected {SETTINGS} and {ARRAYS}, as MultiMaP.save writes"
        )
    content = read_json(directory / SETTINGS, advice="save the model again")
    version = content.get("format")
    if version != FORMAT:
        raise ValueError(
            f"{directory} has model format {version!r:.20}, this version reads {FORMAT}: fit the model again"
        )
    with explained(f"the model in {directory}", "it is damaged, save it again"):
        return settings_of(content), attributes_of(content, directory / ARRAYS)


def settings_of_model(model) -> dict:
    """The settings of a fitted model; the seed is the integer that was used."""
    found = {field.name: getattr(model, field.name) for field in dataclasses.fields(Settings)}
    return {name: to_plain(value) for name, value in (found | {"random_state": model.seed_}).items()}


def settings_of(content: dict) -> dict:
    config = content["config"]
    return dataclasses.asdict(Settings(**content["settings"])) | {
        "aspect": Aspect(**content["aspect"]),
        "clip": (content["clip"]["name"], content["clip"]["hash"]),
        "n_clusters": content["n_clusters"],
        "contrast": tuple(content["contrast"]),
        "config": None if config is None else ProxyConfig(**config),
    }


def attributes_of(content: dict, path: Path) -> dict:
    own = tuple(f"bulk_{name}" for name in BULK)
    attributes = read_arrays(path, (*ALWAYS, *own, *(name for name in OF_PROXIES if name not in MAPPED)))
    with contextlib.suppress(KeyError):  # none are there
        attributes |= {name: mapped_member(path, name) for name in MAPPED}
    absent = [name for name in (*ALWAYS, *own) if name not in attributes]
    if absent:
        raise ValueError(f"{path.name} lacks {', '.join(absent)}")
    check_clusters(content)
    check_arrays(attributes, len(content["cluster_names"]), content["n_features_in"])
    attributes |= {name: content[name.rstrip("_")] for name in NUMBERS if name.rstrip("_") in content}
    sizes = np.bincount(attributes["labels_"], minlength=len(content["cluster_names"]))
    least, bulk = tuple(content["least"]), [attributes.pop(name) for name in own]
    return attributes | {
        "features_": content["features"],
        "cluster_stability_": np.array(content["cluster_stability"]),
        "spread_": content["spread"],
        "least_": least,
        "leftover_": is_leftover(attributes["confidence_"], attributes["distances_"], least),
        "bulk_": Inliers(
            *bulk, tuple(content["rest"]), np.inf if content["fence"] is None else float(content["fence"])
        ),
        "exemplars_": [np.array(images, np.int64) for images in content["exemplars"]],
        "n_clusters_table_": [Candidate(**candidate) for candidate in content["n_clusters_table"]],
        "merge_order_": merge_order(attributes["cluster_centers_"], sizes),
        "n_features_in_": content["n_features_in"],
        "cluster_names_": content["cluster_names"],
        "cluster_confidences_": np.array(content["cluster_confidences"]),
        "n_clusters_": len(content["cluster_names"]),
        "seed_": content["settings"]["random_state"],
    }


def check_clusters(content: dict) -> None:
    """ValueError where what a file says of its groups is no model's."""
    names = content["cluster_names"]
    if not isinstance(names, list) or not 0 < len(names) <= GROUPS or not all(map(is_plain_name, names)):
        raise ValueError(f"cluster_names are {ascii(names)[:40]}, expected 1 to {GROUPS:,} names that can be read")
    if len(longest := max(names, key=len)) > LONGEST:
        raise ValueError(f"cluster_names hold {longest[:40]}…, expected names of {LONGEST:,} letters at most")
    for name in ("cluster_confidences", "cluster_stability"):
        if np.shape(content[name]) != (len(names),) or not np.isfinite(np.array(content[name], np.float64)).all():
            raise ValueError(f"{name} are {str(content[name])[:40]}, expected {len(names)} numbers")
    if type(content["n_features_in"]) is not int or not 0 <= content["n_features_in"] < 2**32:
        raise ValueError(f"n_features_in is {str(content['n_features_in'])[:40]}, expected a whole number")
    if not isinstance(content["contrast"], list) or not all(isinstance(each, str) for each in content["contrast"]):
        raise ValueError(f"contrast is {str(content['contrast'])[:40]}, expected strings")
    if content["features"] not in FEATURES:
        raise ValueError(f"features are none of {', '.join(FEATURES)}")
    if content["n_clusters"] not in (None, AUTO) and type(content["n_clusters"]) is not int:
        raise ValueError(f"n_clusters is {str(content['n_clusters'])[:40]}, expected a whole number, auto or null")
    for name, numbers in {"spread": (), "least": (2,), "rest": (2,)}.items():
        if np.shape(content[name]) != numbers or not np.isfinite(np.array(content[name], np.float64)).all():
            raise ValueError(
                f"{name} is {str(content[name])[:40]}, expected {'two numbers' if numbers else 'a number'}"
            )
    if len(content["exemplars"]) != len(names):
        raise ValueError(f"exemplars are of {len(content['exemplars'])} groups, expected {len(names)}")


def check_arrays(arrays: dict, k: int, embed: int) -> None:
    """ValueError where the arrays of a file are no model's: other shapes, labels out of range, no numbers."""
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not all(np.isfinite(part).all() for _, part in walk(np.atleast_1d(array))):
            raise ValueError(f"{name} has no numbers, or NaN or infinite ones")
    for name in ("proxies_", "prompt_embeddings_", "reference_", "loss_"):
        if name in arrays and (not arrays[name].ndim or len(arrays[name]) != len(arrays["labels_"])):
            raise ValueError(f"{name} has shape {list(arrays[name].shape)}, expected a row for each of the images")
    labels, centroids = arrays["labels_"], arrays["cluster_centers_"]
    if labels.dtype.kind != "i" or labels.ndim != 1 or not 0 <= labels.min(initial=0) <= labels.max(initial=0) < k:
        raise ValueError(f"labels_ are {labels.dtype} {list(labels.shape)}, expected whole numbers of 0 to {k - 1}")
    for name in ("distances_", "confidence_", "outliers_"):
        if arrays[name].shape != labels.shape:
            raise ValueError(f"{name} has shape {list(arrays[name].shape)}, expected {list(labels.shape)}")
    if centroids.ndim != 2 or len(centroids) != k or not centroids.shape[1]:
        raise ValueError(f"cluster_centers_ has shape {list(centroids.shape)}, expected {k} rows of numbers")
    if np.abs(centroids).max() > FARTHEST:
        raise ValueError(
            f"cluster_centers_ holds {np.abs(centroids).max():g}, expected numbers of {FARTHEST:g} at most"
        )
    axes = arrays["bulk_axes"]
    if axes.ndim != 2 or len(axes) != embed or not axes.shape[1]:
        raise ValueError(f"bulk_axes has shape {list(axes.shape)}, expected {embed} rows of numbers")
    for name, length in {"bulk_centre": embed, "bulk_spread": axes.shape[1]}.items():
        if arrays[name].shape != (length,):
            raise ValueError(f"{name} has shape {list(arrays[name].shape)}, expected {length} numbers")
    if arrays["projection_"].ndim != 2 or len(arrays["projection_"]) != embed:
        raise ValueError(f"projection_ has shape {list(arrays['projection_'].shape)}, expected {embed} rows")


def to_plain(value):
    """A number of NumPy or JAX as Python's own."""
    return value.item() if hasattr(value, "item") else value
