"""Reads a finished run: its record, models and groups, and the embeddings and images behind it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from multimap_jax.arrays.rows import Rows
from multimap_jax.clustering.kmeans import nearest
from multimap_jax.editing.editor import Regrouping, of_content
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.load import load_clip
from multimap_jax.errors import InputError, MissingError
from multimap_jax.estimator import MultiMaP, load
from multimap_jax.persistence import ARRAYS, MODEL_JSON, CheckpointName
from multimap_jax.proxies.recipes import ProxyConfig
from multimap_jax.runs.models import file_hash, file_hashes, model_name
from multimap_jax.runs.run_embeddings import RunEmbeddings
from multimap_jax.settings import Settings
from multimap_jax.sources.detect import open_source
from multimap_jax.sources.embeddings import ReadyEmbeddings, embeddings_folder, read_embeddings
from multimap_jax.sources.source import PackedImage, Source
from multimap_jax.storage.filenames import is_plain_name, name_of_path, printable, without_secrets
from multimap_jax.storage.output import GROUPS, RUN
from multimap_jax.storage.paths import exists, local_folder_copy, parse_path
from multimap_jax.storage.reading import AddressError, explained, read_form, read_json

AGAIN = "run multimap again"
# Most characters of a name or a path in run.json.
LONGEST = 4096
# Rows whose distances are compared with those in a model, and the tolerance.
COMPARED_ROWS = 256
TOLERANCE = 1e-3

Text = Annotated[str, msgspec.Meta(max_length=LONGEST)]
Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class SeparabilityContent(msgspec.Struct):
    verdict: str = ""
    said: str = ""


class AspectContent(msgspec.Struct):
    """One aspect: its name, the folder of its model and the hashes of the model's files."""

    name: Text
    model: Text
    files: dict[str, Hash]
    words_from: dict = {}
    separability: SeparabilityContent | None = None

    def __post_init__(self) -> None:
        if set(self.files) != {MODEL_JSON, ARRAYS}:
            raise ValueError("it does not list the files of a model")
        if self.model != model_name(self.name, self.files):
            raise ValueError(f"its model of {self.name[:80]} has an unexpected name")

    def warning(self) -> str:
        """The run's warning about words that its encoder does not separate; "" if it separates them."""
        if self.separability is None or self.separability.verdict != "hardly":
            return ""
        return printable(self.separability.said)[:1000]


class EditedContent(msgspec.Struct):
    """The run whose groups were edited, and the SHA-256 of groups.json."""

    run: str
    groups: str


class RunContent(msgspec.Struct):
    """The part of run.json that is needed to follow a run."""

    aspects: Annotated[list[AspectContent], msgspec.Meta(min_length=1)]
    clip: CheckpointName
    settings: Settings
    config: ProxyConfig
    images: Any = None
    embeddings: Text | None = None
    edited: EditedContent | None = None

    def __post_init__(self) -> None:
        if len({aspect.name for aspect in self.aspects}) < len(self.aspects):
            raise ValueError("it has the same aspect twice")


class GroupContent(msgspec.Struct):
    name: Text
    images: int
    name_confidence: float | None = None

    def __post_init__(self) -> None:
        if not is_plain_name(self.name):
            raise ValueError("it has groups with unreadable names")


class ResultAspect(msgspec.Struct):
    name: Text
    groups: list[GroupContent] = []


class ResultsContent(msgspec.Struct):
    """The part of run.json that describes results, which may be of new images in the groups of the run `applied`."""

    aspects: Annotated[list[ResultAspect], msgspec.Meta(min_length=1)]
    images: Any = None
    embeddings: Text | None = None
    applied: Text | None = None


def read_results(run: Path) -> ResultsContent:
    """Reads the results in run.json. MissingError or ValueError, each with a sentence, if there are none."""
    if not exists(run / RUN):
        raise MissingError(f"there is no finished run in {run}: give the folder of one", "run")
    return read_form(run / RUN, ResultsContent, AGAIN, strict=False)


def read_run(run: Path) -> RunContent:
    """Reads the run.json of a run with models, which other commands can follow.

    Raises MissingError if there is no run, ValueError if it is damaged or has no models.
    """
    path = run / RUN
    if not exists(path):
        raise MissingError(
            f"there is no finished run in {run}: give a folder written by multimap, with {RUN} and models", "run"
        )
    if followed := read_json(path, advice=AGAIN).get("applied"):
        raise InputError(f"{run} has only new images in the groups of {str(followed)[:200]}: give that run", "run")
    return read_form(path, RunContent, AGAIN, strict=False)


def load_checkpoint(run: Path, content: RunContent, clip: str | None) -> Clip:
    """Loads the encoder of the run and compares its hash. clip: where it is instead. A hub id that only run.json
    names is not downloaded."""
    name, digest = content.clip.name, content.clip.hash
    if clip is None and name != "embedded" and not Path(name).is_dir():
        shown = without_secrets(name)[:200]
        raise InputError(f"the run's encoder {shown} is not a directory on this machine", "clip", shown)
    loaded = load_clip(name if clip is None else clip, **content.clip.image_settings())
    if loaded.hash != digest:
        raise InputError(f"{loaded.name} is not the encoder of {run} ({name}): give that one", "clip")
    return loaded


def read_model(run: Path, aspect: AspectContent, clip: Clip) -> MultiMaP:
    """Loads the model of one aspect. ValueError if its files are not those that the run wrote."""
    folder = run / "models" / aspect.model
    found = file_hashes(folder)
    for name, digest in aspect.files.items():
        if found.get(name) != digest:
            raise ValueError(f"{folder / name} changed since the run in {run} wrote it: {AGAIN}")
    return load(local_folder_copy(folder, [folder / name for name in aspect.files]), clip)


def read_groups(run: Path, content: RunContent, models: Sequence[MultiMaP]) -> dict[str, Regrouping]:
    """The edited groups of a run, by aspect; {} if it was not edited. ValueError if the file is not the one that the
    run wrote."""
    if content.edited is None:
        return {}
    path, again = run / GROUPS, "run multimap edit again"
    groups = read_json(path, advice=again)
    if file_hash(path) != content.edited.groups:
        raise ValueError(f"{path} changed since the run in {run} wrote it: {again}")
    with explained(f"{path}", again):
        centroids = {model.aspect.name: model.cluster_centers_ for model in models}
        return {name: of_content(own, centroids[name]) for name, own in groups["aspects"].items()}


@dataclasses.dataclass(frozen=True)
class RunImages:
    """The images behind a run. If they are gone, the source is empty and `note` says so."""

    source: Source
    note: str = ""


def readable_path(run: Path, text: str, parameter: str) -> Path:
    """The path of a place that only a run's file names. ValueError for an address, which the user did not type, unless
    it is in the run's own store."""
    if "://" in text and store_of(text) != store_of(str(run)):
        shown = without_secrets(text)[:200]
        raise InputError(f"{run} names {shown}, which is not on this machine: type it to allow it", parameter, shown)
    return parse_path(text) if "://" in text else Path(text)


def store_of(text: str) -> tuple[str, str, str]:
    """The scheme of an address, "://" if it is one, and its bucket or server."""
    scheme, sign, rest = text.partition("://")
    return scheme, sign, rest.partition("/")[0]


def images_of(run: Path, content: RunContent | ResultsContent, given: Path | None) -> RunImages:
    """Finds the images of a run. given: where they are now, instead of where the run read them. ValueError or OSError,
    each with a sentence, if that has no images.

    A list that only the run names may lead to files on this machine, but not to addresses. A list inside the run's
    folder may lead only to files inside that folder.
    """
    if given is not None:
        return RunImages(open_source(given))
    said = content.images if isinstance(content.images, dict) else {}
    text = said.get("place", said.get("folder"))
    if not isinstance(text, str) or not text or "\0" in text or len(text) > LONGEST:
        return RunImages(Source(run, {}), f"{run} does not say where its images are: give --images=FOLDER.")
    try:
        there = readable_path(run, text, "images")
        if embeddings_folder(there) or there.suffix == ".npy":
            source = read_embeddings(there).source
        else:
            source = open_source(there, addresses="://" in text)
        if "://" not in text:  # is it inside the run's folder, by its name or after following links?
            named, ways = Path(os.path.abspath(there)), (os.path.abspath(run), os.path.realpath(run))
            if is_within(there, run) or any(map(named.is_relative_to, ways)):
                source = dataclasses.replace(source, images=Within(source.images, run))
        return RunImages(source)
    except AddressError as error:
        note = f"The images were not read: {error}."
    except (OSError, ValueError):
        why = "are in the store of" if "://" in text else "are no longer in"
        note = f"The images {why} {printable(name_of_path(text))}: give --images=FOLDER to open them."
    return RunImages(Source(Path(text), {}), note)


def is_within(path: str | Path, folder: str | Path) -> bool:
    """Whether a path on this machine leads to a folder or below it, after following links."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


class Within(Mapping):
    """The images, by name, that are inside a folder."""

    def __init__(self, images: Mapping, folder: Path):
        self.images, self.folder = images, folder

    def __getitem__(self, name: str) -> Path | PackedImage:
        image = self.images[name]
        if not is_within(image.file if isinstance(image, PackedImage) else image, self.folder):
            raise KeyError(name)
        return image

    def __iter__(self) -> Iterator[str]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


def embeddings_of(
    run: Path, content: RunContent | ResultsContent, names: Sequence[str], given: Path | None = None
) -> RunEmbeddings:
    """The embeddings of a run's images, in the order of `names`.

    given: where they are now. Raises FileNotFoundError or ValueError, each with a sentence, if they are not there.
    """
    if given is None:
        given = run if embeddings_folder(run) else readable_path(run, content.embeddings or str(run), "embeddings")
        if embeddings_folder(given) is None and given.suffix != ".npy":
            raise MissingError(f"the embeddings of {run} are not in {given}: give their folder", "embeddings")
    embedded = read_embeddings(given)
    where = newest(embedded, names)
    missing = np.flatnonzero(where < 0)
    if len(missing):
        first = names[int(missing[0])]
        raise InputError(
            f"{given} lacks the embeddings of {len(missing):,} images of {run}, such as {first}: give their folder",
            "embeddings",
        )
    thumbnails = embedded.thumbnails and embedded.thumbnails.take(where)
    return RunEmbeddings(embedded.rows.take(where), names, list, thumbnails=thumbnails)


def newest(embedded: ReadyEmbeddings, names: Sequence[str]) -> np.ndarray:
    """For each name the index of its latest embedding, -1 if it has none. A changed image has several."""
    found, rows = {}, embedded.rows.indices()
    for i in np.argsort(rows, kind="stable").tolist():
        found[embedded.given[i]] = i
    unique = {name: i for i, name in enumerate(embedded.source.names)}
    return np.array([found.get(name, unique.get(name, -1)) for name in names], np.int64)


def check_fitted_rows(model: MultiMaP, rows: Rows, given: str) -> None:
    """ValueError if rows are not those that a model was fitted on. Compares the distances of some rows."""
    some = np.unique(np.linspace(0, len(rows) - 1, min(COMPARED_ROWS, len(rows))).astype(np.int64))
    if len(rows) == len(model.labels_):
        some = some[model.labels_[some] >= 0]  # others are in no cluster
        distances = nearest(rows[some], model.cluster_centers_)[1]
        if np.allclose(distances, model.distances_[some], TOLERANCE, TOLERANCE):
            return
    raise InputError(
        f"the embeddings of {given} are not those of its groups: give the original ones, or run multimap again",
        "embeddings",
    )
