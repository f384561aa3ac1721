"""Writes and reads a fitted model as two files, model.json and arrays.npz, without pickle and without a checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import zipfile
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import msgspec
import numpy as np

from multimap_jax.arrays.rows import StoredRows, walk
from multimap_jax.choices import Decode, FeatureKind, ImagePrecision
from multimap_jax.clustering.kmeans import is_leftover, merge_order
from multimap_jax.clustering.outliers import Inliers
from multimap_jax.clustering.selection import Candidate
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import MissingError
from multimap_jax.prompts.answers import LONGEST_ANSWER, Answers
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.proxies.fit import ProxyFit
from multimap_jax.proxies.recipes import ProxyConfig
from multimap_jax.settings import ImageSettings, Settings
from multimap_jax.storage.filenames import is_plain_name
from multimap_jax.storage.reading import explained, mapped_member, read_arrays, read_form

FORMAT = 5
# Most clusters, and most characters of a name, in a file: more could fill the memory.
MOST_CLUSTERS = 10_000
LONGEST_NAME = 1_000
# Largest absolute value in a centroid: squares of larger ones could overflow.
FARTHEST = 1e9
MODEL_JSON = "model.json"
ARRAYS = "arrays.npz"
# Array attributes of every model; attributes of models with proxies of the images -> field of ProxyFit.
ALWAYS = ("labels_", "distances_", "confidence_", "outliers_", "cluster_centers_", "projection_")
OF_PROXIES = {f"{field.name}_": field.name for field in dataclasses.fields(ProxyFit)}
MAPPED = ("proxies_", "prompt_embeddings_")
NUMBERS = ("block_size_", "image_steps_")
# The answer of each image, as an index of the texts in model.json; of an image without one, ~ the index of its reason.
ANSWER_INDEX = "answer_index"
# Array -> field of `clustering.outliers.Inliers`.
INLIERS = {f"inliers_{field.name}": field.name for field in dataclasses.fields(Inliers)}
AGAIN = "the model is damaged; save it again"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
Whole = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


class CheckpointName(msgspec.Struct):
    """Where the checkpoint was, its hash, and its settings for images."""

    name: Annotated[str, msgspec.Meta(max_length=4096)]
    hash: str
    image_precision: ImagePrecision = "float32"
    decode: Decode = "exact"

    def image_settings(self) -> dict:
        """The settings for images, as arguments of `load_clip`."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(ImageSettings)}


class AnswersContent(msgspec.Struct):
    """The different answers, the different reasons of images without one, and what the answers depend on."""

    texts: list[Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ANSWER)]]
    reasons: list[Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ANSWER)]]
    origin: dict[str, str | int | float]


class ModelContent(msgspec.Struct, kw_only=True):
    """model.json: the arguments of `MultiMaP`, and its fitted attributes that are not arrays. See `MultiMaP`."""

    format: int = FORMAT
    aspect: Aspect
    clip: CheckpointName
    n_clusters: Annotated[int, msgspec.Meta(ge=1)] | Literal["auto"] | None
    contrast: tuple[str, ...]
    config: ProxyConfig | None
    settings: Settings
    features: FeatureKind
    n_features_in: Whole
    cluster_names: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=MOST_CLUSTERS)]
    cluster_confidences: list[float]
    cluster_stability: list[float]
    exemplars: list[list[Whole]]
    spread: float
    leftover_threshold: tuple[float, float]
    n_clusters_table: list[Candidate]
    block_size: Whole | None = None
    image_steps: Annotated[int, msgspec.Meta(ge=0)] | None = None
    answers: AnswersContent | None = None

    def __post_init__(self) -> None:
        if not all(map(is_plain_name, self.cluster_names)):
            raise ValueError("cluster_names has unreadable names")
        for name in ("cluster_confidences", "cluster_stability", "exemplars"):
            if len(getattr(self, name)) != len(self.cluster_names):
                raise ValueError(f"{name} has {len(getattr(self, name))}, expected {len(self.cluster_names)}")


class Version(msgspec.Struct):
    """The part of model.json that is read first."""

    format: Any = None


def write_model(model: Any, clip: Clip, directory: Path) -> None:
    """Writes a fitted `MultiMaP`. The text of model.json is made before any file is written."""
    attributes, inliers = vars(model), dataclasses.asdict(model.inliers_)
    arrays = {name: attributes[name] for name in (*ALWAYS, *OF_PROXIES) if name in attributes and name not in NUMBERS}
    arrays |= {name: np.asarray(inliers[field]) for name, field in INLIERS.items()}
    settings = {field.name: getattr(model, field.name) for field in dataclasses.fields(Settings)}
    answers = None
    if model.answers_ is not None:
        answers, arrays[ANSWER_INDEX] = packed_answers(model.answers_)
    content = ModelContent(
        aspect=model.aspect,
        clip=CheckpointName(clip.place, clip.hash, **dataclasses.asdict(clip.image_settings)),
        n_clusters=model.n_clusters,
        contrast=tuple(model.contrast),
        config=model.config,
        settings=Settings(**settings | {"random_state": model.seed_}),
        features=model.features_,
        n_features_in=model.n_features_in_,
        cluster_names=model.cluster_names_,
        cluster_confidences=model.cluster_confidences_.tolist(),
        cluster_stability=model.cluster_stability_.tolist(),
        exemplars=[images.tolist() for images in model.exemplars_],
        spread=model.spread_,
        leftover_threshold=model.leftover_threshold_,
        n_clusters_table=model.n_clusters_table_,
        **{name.rstrip("_"): int(attributes[name]) for name in NUMBERS if name in attributes},
        answers=answers,
    )
    text = json.dumps(msgspec.to_builtins(content, enc_hook=to_plain), indent=1) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    aside = directory / f".{ARRAYS}.{os.getpid()}"  # a loaded model may map arrays of the existing file
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    write_rows(file, array)
        os.replace(aside, directory / ARRAYS)
    finally:
        aside.unlink(missing_ok=True)
    (directory / MODEL_JSON).write_text(text)


def write_rows(file: IO[bytes], rows: np.ndarray | StoredRows) -> None:
    """Writes an array or `StoredRows` as an npy file, some rows at a time."""
    if not isinstance(rows, StoredRows):
        return np.lib.format.write_array(file, np.asanyarray(rows), allow_pickle=False)
    header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for _, part in walk(rows):
        file.write(part.tobytes())


def packed_answers(answers: Answers) -> tuple[AnswersContent, np.ndarray]:
    """Answers as model.json and ANSWER_INDEX have them."""
    texts = {text: i for i, text in enumerate(dict.fromkeys(text for text in answers.texts if text))}
    reasons = {reason: i for i, reason in enumerate(dict.fromkeys(answers.reasons.values()))}
    index = [texts[text] if text else ~reasons[answers.reasons[i]] for i, text in enumerate(answers.texts)]
    return AnswersContent(list(texts), list(reasons), dict(answers.origin)), np.array(index, np.int64)  # type: ignore[arg-type]


def unpacked_answers(content: AnswersContent, index: np.ndarray) -> Answers:
    """The inverse of `packed_answers`. ValueError for an index out of range."""
    low, high = index.min(initial=0), index.max(initial=-1)
    if index.dtype.kind != "i" or low < -len(content.reasons) or high >= len(content.texts):
        raise ValueError(f"{ANSWER_INDEX} leads to answers that are not there")
    texts = [content.texts[i] if i >= 0 else "" for i in index.tolist()]
    reasons = {i: content.reasons[~at] for i, at in enumerate(index.tolist()) if at < 0}
    return Answers(texts, reasons, content.origin)


def read_model(directory: Path) -> tuple[dict, dict]:
    """(arguments of MultiMaP with "clip" as `CheckpointName`, fitted attributes). Errors as in `load`."""
    path = directory / MODEL_JSON
    if not path.exists() or not (directory / ARRAYS).exists():
        raise MissingError(f"there is no model in {directory}: expected {MODEL_JSON} and {ARRAYS} by MultiMaP.save")
    version = read_form(path, Version, AGAIN, strict=False).format
    if version != FORMAT:
        raise ValueError(f"{directory} has model format {version!r:.20}, expected {FORMAT}: fit the model again")
    content = read_form(path, ModelContent, AGAIN)
    arguments = {name: getattr(content, name) for name in ("aspect", "clip", "n_clusters", "contrast", "config")}
    with explained(f"the model in {directory}", AGAIN):
        return arguments | dataclasses.asdict(content.settings), attributes_of(content, directory / ARRAYS)


def attributes_of(content: ModelContent, path: Path) -> dict:
    """The fitted attributes of a model. ValueError if its arrays contradict the rest."""
    answered = (ANSWER_INDEX,) * (content.answers is not None)
    names = (*ALWAYS, *INLIERS, *answered)
    arrays = read_arrays(path, (*names, *(name for name in OF_PROXIES if name not in MAPPED)))
    with contextlib.suppress(KeyError):  # none are there
        arrays |= {name: mapped_member(path, name) for name in MAPPED}
    if absent := [name for name in names if name not in arrays]:
        raise ValueError(f"{path.name} lacks {', '.join(absent)}")
    k, threshold = len(content.cluster_names), content.leftover_threshold
    check_arrays(arrays, k, content.n_features_in)
    answers = content.answers and unpacked_answers(content.answers, arrays.pop(ANSWER_INDEX))
    inliers: dict[str, Any] = {field: arrays.pop(name) for name, field in INLIERS.items()}
    inliers |= {"rest": tuple(inliers["rest"].tolist()), "fence": float(inliers["fence"])}
    numbers = {name: getattr(content, name.rstrip("_")) for name in NUMBERS}
    labels = arrays["labels_"]
    sizes = np.bincount(labels[labels >= 0], minlength=k)
    return arrays | {name: number for name, number in numbers.items() if number is not None} | {
        "features_": content.features,
        "spread_": content.spread,
        "leftover_threshold_": threshold,
        "leftover_": is_leftover(arrays["confidence_"], arrays["distances_"], threshold) | (labels < 0),
        "answers_": answers,
        "inliers_": Inliers(**inliers),
        "exemplars_": [np.array(images, np.int64) for images in content.exemplars],
        "n_clusters_table_": content.n_clusters_table,
        "merge_order_": merge_order(arrays["cluster_centers_"], sizes),
        "n_features_in_": content.n_features_in,
        "cluster_names_": content.cluster_names,
        "cluster_confidences_": np.array(content.cluster_confidences),
        "cluster_stability_": np.array(content.cluster_stability),
        "n_clusters_": k,
        "seed_": content.settings.random_state,
    }  # fmt: skip


def check_arrays(arrays: dict, k: int, embed: int) -> None:
    """ValueError for arrays that a model cannot have: wrong shapes, labels out of range, or no finite numbers."""
    for name, array in arrays.items():
        numbers = array.dtype.kind in "fiub"
        if not numbers or (name != "inliers_fence" and not all_finite(array)):
            raise ValueError(f"{name} has values that are not finite numbers")
    labels, axes = arrays["labels_"], arrays["inliers_axes"]
    least = -1 if ANSWER_INDEX in arrays else 0  # -1: an image without an answer
    if labels.dtype.kind != "i" or labels.ndim != 1 or not least <= labels.min(initial=0) <= labels.max(initial=0) < k:
        raise ValueError(
            f"labels_ are {labels.dtype} {list(labels.shape)}, expected whole numbers from {least} to {k - 1}"
        )
    if axes.ndim != 2 or not axes.shape[1]:
        raise ValueError(f"inliers_axes has shape {list(axes.shape)}, expected {embed} rows of numbers")
    images = len(labels)
    shapes: dict[str, tuple[int | None, ...]]
    shapes = dict.fromkeys(("distances_", "confidence_", "outliers_", "reference_", "loss_", ANSWER_INDEX), (images,))
    shapes |= dict.fromkeys(MAPPED, (images, None)) | {"cluster_centers_": (k, None), "projection_": (embed, None)}
    shapes |= {"inliers_axes": (embed, None), "inliers_centre": (embed,), "inliers_spread": axes.shape[1:]}
    shapes |= {"inliers_rest": (2,), "inliers_fence": ()}
    for name, shape in shapes.items():
        found = arrays[name].shape if name in arrays else shape
        if len(found) != len(shape) or any(size not in (None, own) for size, own in zip(shape, found)):
            expected = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(f"{name} has shape {list(found)}, expected [{expected}]")
    centroids = arrays["cluster_centers_"]
    if not centroids.shape[1] or np.abs(centroids).max() > FARTHEST:
        raise ValueError(f"cluster_centers_ is empty, or has values above {FARTHEST:g}")


def all_finite(array: np.ndarray) -> bool:
    return all(np.isfinite(rows).all() for _, rows in walk(np.atleast_1d(array)))


def to_plain(value: Any) -> Any:
    """A NumPy or JAX number as a Python number."""
    return value.item()
