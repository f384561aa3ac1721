"""A finished run, read again: what it was of, the embeddings and images behind it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from multimap_jax.arrays.rows import Rows, StoredRows
from multimap_jax.clustering.kmeans import nearest
from multimap_jax.editing.editor import Regrouping, of_content
from multimap_jax.encoders.clip.model import Clip, load_clip
from multimap_jax.errors import InputError, MissingError
from multimap_jax.estimator import MultiMaP, load
from multimap_jax.persistence import ARRAYS, MODEL_JSON, CheckpointName
from multimap_jax.proxies.recipes import ProxyConfig
from multimap_jax.runs.models import file_hash, file_hashes, model_name
from multimap_jax.settings import Settings
from multimap_jax.sources.detect import open_source
from multimap_jax.sources.embeddings import ReadyEmbeddings, embeddings_folder, read_embeddings
from multimap_jax.sources.source import PackedImage, Source
from multimap_jax.storage.filenames import is_plain_name, name_of_path, printable, without_secrets
from multimap_jax.storage.output import GROUPS, RUN
from multimap_jax.storage.paths import exists, local_folder_copy, parse_path
from multimap_jax.storage.reading import AddressError, explained, read_form, read_json

AGAIN = "run multimap again"
# Letters of a name or a path in run.json.
LONGEST = 4096
# Rows that are compared with what a model remembers, and how near their distances must be.
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
            raise ValueError("it does not name the files of a model")
        if self.model != model_name(self.name, self.files):
            raise ValueError(f"its model of {self.name[:80]} has a name that multimap does not give")

    def warning(self) -> str:
        """What the run said of words that its encoder does not separate, "" where it separates them."""
        if self.separability is None or self.separability.verdict != "hardly":
            return ""
        return printable(self.separability.said)[:1000]


class EditedContent(msgspec.Struct):
    """The run whose groups were edited, and the SHA-256 of groups.json."""

    run: str
    groups: str


class RunContent(msgspec.Struct):
    """What is read of run.json."""

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
            raise ValueError("it has groups whose names cannot be read")


class ResultAspect(msgspec.Struct):
    name: Text
    groups: list[GroupContent] = []


class ResultsContent(msgspec.Struct):
    """What is read of run.json for looking at the results, which may be of new images in the groups of `applied`."""

    aspects: Annotated[list[ResultAspect], msgspec.Meta(min_length=1)]
    images: Any = None
    embeddings: Text | None = None
    applied: Text | None = None


def read_results(run: Path) -> ResultsContent:
    """What run.json says of results. MissingError or ValueError, each with a sentence, where there are none."""
    if not exists(run / RUN):
        raise MissingError(f"there is no finished run in {run}: give the folder of one", "run")
    return read_form(run / RUN, ResultsContent, AGAIN, strict=False)


def read_run(run: Path) -> RunContent:
    """What run.json says of a run that can be followed.

    Raises MissingError where there is none, ValueError for one that is damaged or keeps no models.
    """
    path = run / RUN
    if not exists(path):
        raise MissingError(
            f"there is no finished run in {run}: expected {RUN} and models, in the folder that multimap wrote", "run"
        )
    if followed := read_json(path, advice=AGAIN).get("applied"):
        raise InputError(f"{run} holds new images in the groups of {str(followed)[:200]}: give that run", "run")
    return read_form(path, RunContent, AGAIN, strict=False)


def load_checkpoint(run: Path, content: RunContent, clip: str | None) -> Clip:
    """The checkpoint of the run, by its hash. clip: where it lies instead. A hub id that only a file names is not
    fetched."""
    name, digest = content.clip.name, content.clip.hash
    if clip is None and name != "embedded" and not Path(name).is_dir():
        shown = without_secrets(name)[:200]
        raise InputError(f"the run was made with {shown}, which is no directory here", "clip", shown)
    loaded = load_clip(name if clip is None else clip)
    if loaded.hash != digest:
        raise InputError(
            f"{loaded.place} is not the checkpoint that {run} was made with ({name}): give that one", "clip"
        )
    return loaded


def read_model(run: Path, aspect: AspectContent, clip: Clip) -> MultiMaP:
    """The model of one aspect, if its files are those that the run wrote. ValueError where they are not."""
    folder = run / "models" / aspect.model
    found = file_hashes(folder)
    for name, digest in aspect.files.items():
        if found.get(name) != digest:
            raise ValueError(f"{folder / name} is not what the run in {run} wrote: {AGAIN}")
    return load(local_folder_copy(folder, [folder / name for name in aspect.files]), clip)


def read_groups(run: Path, content: RunContent, models: Sequence[MultiMaP]) -> dict[str, Regrouping]:
    """How the groups of a run were edited, by aspect, {} where they were not. ValueError where the file is not what the
    run wrote."""
    if content.edited is None:
        return {}
    path, again = run / GROUPS, "run multimap edit again"
    groups = read_json(path, advice=again)
    if file_hash(path) != content.edited.groups:
        raise ValueError(f"{path} is not what the run in {run} wrote: {again}")
    with explained(f"{path}", again):
        centroids = {model.aspect.name: model.cluster_centers_ for model in models}
        return {name: of_content(own, centroids[name]) for name, own in groups["aspects"].items()}


@dataclasses.dataclass(frozen=True)
class RunImages:
    """The images behind a run; with none of them where they are no longer there, which `note` says."""

    source: Source
    note: str = ""


def readable_path(run: Path, text: str, parameter: str) -> Path:
    """A place that only the file of a run names. ValueError for an address, which nobody has asked to reach, unless it
    is in the store of the run itself."""
    if "://" in text and store_of(text) != store_of(str(run)):
        shown = without_secrets(text)[:200]
        raise InputError(f"{run} names {shown}, which is not on this machine and is not asked", parameter, shown)
    return parse_path(text) if "://" in text else Path(text)


def store_of(text: str) -> tuple[str, str, str]:
    """The scheme of an address, "://" if it is one, and its bucket or server."""
    scheme, sign, rest = text.partition("://")
    return scheme, sign, rest.partition("/")[0]


def images_of(run: Path, content: RunContent | ResultsContent, given: Path | None) -> RunImages:
    """given: where they lie now, instead of where the run has read them. ValueError or OSError, each with a sentence,
    where these are not images.

    A list that only the run names is followed to files of this machine, not to addresses; where it came with the run
    (it lies within its folder), to files within that folder alone.
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
        if "://" not in text:  # is it within the folder of the run, by its name or once links are followed?
            named, ways = Path(os.path.abspath(there)), (os.path.abspath(run), os.path.realpath(run))
            if is_within(there, run) or any(map(named.is_relative_to, ways)):
                source = dataclasses.replace(source, images=Within(source.images, run))
        return RunImages(source)
    except AddressError as error:
        note = f"The images are not read: {error}."
    except (OSError, ValueError):
        why = "are in the store of" if "://" in text else "are no longer in"
        note = f"The images {why} {printable(name_of_path(text))}: give --images=FOLDER to have them shown."
    return RunImages(Source(Path(text), {}), note)


def is_within(path: str | Path, folder: str | Path) -> bool:
    """Whether a path of this machine leads below a folder, or to it, once links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


class Within(Mapping):
    """Those of the images by name that lie within a folder."""

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


def rows_of(
    run: Path, content: RunContent | ResultsContent, names: Sequence[str], given: Path | None = None
) -> StoredRows:
    """The embeddings of a run's images [images, embed], in the order of `names`.

    given: where they lie now. Raises FileNotFoundError or ValueError, each with a sentence, where they are not there.
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
            f"{given} has no embeddings of {len(missing):,} images of {run}, the first is {first}: give their folder",
            "embeddings",
        )
    return embedded.rows.take(where)


def newest(embedded: ReadyEmbeddings, names: Sequence[str]) -> np.ndarray:
    """For each name the last embedding that was made of an image called so, -1 for none. A changed image has two."""
    found, rows = {}, embedded.rows.indices()
    for i in np.argsort(rows, kind="stable").tolist():
        found[embedded.given[i]] = i
    unique = {name: i for i, name in enumerate(embedded.source.names)}
    return np.array([found.get(name, unique.get(name, -1)) for name in names], np.int64)


def check_fitted_rows(model: MultiMaP, rows: Rows, given: str) -> None:
    """ValueError where rows are not those that a model was fitted on: what it remembers of some of them is compared."""
    some = np.unique(np.linspace(0, len(rows) - 1, min(COMPARED_ROWS, len(rows))).astype(np.int64))
    if len(rows) == len(model.labels_):
        distances = nearest(rows[some], model.cluster_centers_)[1]
        if np.allclose(distances, model.distances_[some], TOLERANCE, TOLERANCE):
            return
    raise InputError(
        f"the embeddings of {given} are not those that its groups were found on: run multimap again, or give those",
        "embeddings",
    )
