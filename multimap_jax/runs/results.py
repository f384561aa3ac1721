"""Everything that a run writes: each file aside first, then in its place as a whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multimap_jax import __version__
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.images.decoding import Unreadable
from multimap_jax.persistence import ARRAYS, SETTINGS
from multimap_jax.prompts.separability import Separability
from multimap_jax.runtime.machine import machine
from multimap_jax.sources.source import Source
from multimap_jax.storage.encoding import as_csv, bare, slug
from multimap_jax.storage.filenames import name_of_path, safe_path, safe_word, without_secrets
from multimap_jax.storage.output import (
    GO_ON,
    RESULTS,
    RUN,
    TABLE,
    changed_text,
    inside,
    is_ours,
    recorded,
    staging,
    write_all,
)
from multimap_jax.storage.paths import error_text, exists, is_remote, is_same_file, open_file, write_file

PACKAGES = ("jax", "flax", "optax", "transformers", "scikit-learn", "numpy", "pillow")


def write_whole(path: Path, write: Callable[[BinaryIO], None] | str, new: bool = False) -> None:
    """`write_file`; OSError with a sentence."""
    try:
        write_file(path, write, new)
    except FileExistsError:
        raise FileExistsError(f"{path} is there and nothing is overwritten: give another one") from None
    except OSError as error:
        reason = error_text(error) if is_remote(path) else error.strerror or str(error)
        raise OSError(f"cannot write {path} ({reason}); {GO_ON}") from None


# Of each aspect in labels.parquet, besides the one called by its name.
COLUMNS = ("group", "distance", "confidence", "outlier")
# Images that labels.csv is written for; of labels.parquet at once.
LABELS_ROWS, TABLE_ROWS = 1_000_000, 2**18


def check_own(out: Path, labels: Path | None) -> None:
    """ValueError where writing results into `out` would cost the user a file: one that multimap did not write, or that
    was changed since, a link, the labels that were given."""
    for name in (*RESULTS, RUN):
        path = inside(out, name)
        if labels is not None and is_same_file(path, labels):
            raise ValueError(f"--labels={labels} would be overwritten by the results: give another --out")
        if not is_ours(out, name):
            raise ValueError(changed_text(path))


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a model by their names, without those that are not there."""
    return {name: text_hash(folder / name) for name in (ARRAYS, SETTINGS) if exists(folder / name)}


def model_name(aspect: str, files: dict[str, str]) -> str:
    """The folder of a model: for the eye, for the aspect, and for what is in it."""
    marks = (
        hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        for text in (aspect, json.dumps(dict(sorted(files.items()))))
    )
    return f"{slug(aspect)}-{next(marks)[:8]}-{next(marks)[:12]}"


def text_hash(path: Path) -> str:
    """SHA-256 of one file. ValueError for what is none."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def replace_results(out: Path, texts: dict[str, str], tables: dict[str, Callable[[BinaryIO], None]]) -> None:
    """Puts new results in place of the old ones. Nothing is taken away before everything new is on the disk; then the
    old files go, run.json is changed, and the new files come: at no moment does a new one stand beside an old one."""
    contents = texts | tables
    with staging(out) as stage:
        for name in (name for name in (RUN, *RESULTS) if name in contents):
            stage.add(name, contents[name])
        stage.place(instead_of=RESULTS)


def put_thumbnails(out: Path, folder: str, pictures: dict[str, bytes]) -> None:
    """Puts a folder of thumbnails into `out`. It is called by what is in it: where all of it is there nothing is to be
    done, and a page that is there keeps its own."""
    names = {f"{folder}/{name}": picture for name, picture in pictures.items()}
    known = recorded(out, folder) if folder else {}
    if set(names) != set(known) or not all(is_there(out, name, len(picture)) for name, picture in names.items()):
        write_all(out, names, sync=False)


def is_there(out: Path, name: str, size: int) -> bool:
    path = out / name
    return exists(path) and path.stat().st_size == size


def labels_text(names: Sequence[str], results: Sequence) -> str:
    """labels.csv: a row for each image, a column for each aspect with the name of its group or "(left over)"; nothing
    in it is a formula for a spreadsheet."""
    columns = [np.array([*map(safe_word, result.names)], object)[result.groups] for result in results]
    return as_csv(
        [["image", *(safe_word(result.aspect.name) for result in results)], *zip(map(safe_path, names), *columns)]
    )


def covered(source: Source, aspects: Sequence[str]) -> list[str]:
    """In a sentence which columns of a source labels.parquet does not take, since its own are called so."""
    own = {"image", *aspects, *(f"{aspect}: {column}" for aspect in aspects for column in COLUMNS)}
    lost = [name for name in source.columns if name in own]
    said = f"are called like columns of {TABLE} and do not come along"
    return [f"columns of {source.place} {said}: {', '.join(map(name_of_path, lost))[:200]}."] if lost else []


def write_labels(file: BinaryIO, names: Sequence[str], results: Sequence, source: Source) -> None:
    """labels.parquet: labels.csv with the number of each group (-1 for what is left over), the distance to its centre,
    how sure it is and whether the image is an outlier; and what the source says of the images, where no column is
    called so."""
    columns: dict[str, pa.Array] = {"image": pa.array(names, pa.string())}
    columns |= {name: pa.array(bare(own)) for name, own in source.columns_of(names).items() if name != "image"}
    for result in results:
        name = result.aspect.name
        groups, last = result.groups, len(result.names) - 1
        # Numbers until they are written: a text for each image would fill the memory.
        columns[name] = pa.DictionaryArray.from_arrays(np.where(groups < 0, last, groups), pa.array(result.names))
        own = result.assigned
        values = (groups, own.distances, own.confidences, own.outliers)
        columns |= {f"{name}: {column}": pa.array(each) for column, each in zip(COLUMNS, values)}
    coded = pa.types.is_dictionary
    plain = {name: own.type.value_type if coded(own.type) else own.type for name, own in columns.items()}
    with pq.ParquetWriter(file, pa.schema(plain.items())) as writer:
        for begin in range(0, len(names), TABLE_ROWS):
            part = {name: own.slice(begin, TABLE_ROWS).cast(plain[name]) for name, own in columns.items()}
            writer.write_table(pa.table(part))


def run_content(
    job, clip: Clip, names: Sequence[str], results, skipped: Sequence[Unreadable], timings: dict[str, float]
) -> dict:
    """run.json: every setting, version, timing, group and skipped file."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"multimap_jax": __version__, "python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "clip": {"name": without_secrets(clip.place), "hash": clip.hash},
        "command": job.line,
        "images": {"folder": f"{job.images}", "place": whole(job.images), "read": len(names)},
        "skipped": [{"image": failure.name, "reason": failure.reason} for failure in skipped],
        "settings": dataclasses.asdict(job.settings),
        "config": dataclasses.asdict(job.config),
        "image_block_size": clip.image_block,
        "devices": jax.local_device_count(),
        "aspects": [aspect_content(result, names) for result in results],
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
    }


def whole(path) -> str:
    """A path that means the same wherever the next command is begun; an address without its secrets."""
    return f"{path}" if is_remote(path) else str(Path(path).absolute())


def set_values(settings) -> list[tuple[str, object]]:
    """The settings that have a value, with their names."""
    return [(name, value) for name, value in dataclasses.asdict(settings).items() if value is not None]


def run_settings(job, clip: Clip, read: int) -> list[tuple[str, str]]:
    """What the page says of a run: each setting with its name."""
    return [
        ("images", f"{read:,} of {job.images}"),
        ("encoder", f"{without_secrets(clip.place)} ({clip.hash[:12]})"),
        *((name.replace("_", " "), str(value)) for name, value in set_values(job.settings)),
        *((name.replace("_", " "), str(value)) for name, value in set_values(job.config)),
        ("images computed at once", str(clip.image_block)),
        ("multimap_jax", __version__),
        ("date", datetime.now(UTC).isoformat(timespec="seconds")),
        ("machine", machine()),
    ]


def separability_content(separability: Separability) -> dict:
    """What run.json says of whether an aspect is seen."""
    numbers = {"information": round(separability.information, 4), "structure": round(separability.structure, 4)}
    return {"verdict": separability.verdict, **numbers, "said": str(separability)}


def group_content(result, names: Sequence[str]) -> list[dict]:
    """What run.json says of the groups of one aspect: the name and how sure that is, how many images, how sure these
    are, how steady the group is (see `MultiMaP`), and the names of images that show it."""
    model = result.model
    numbers = {
        "name": model.cluster_names_,
        "images": result.sizes.tolist(),
        "name_confidence": model.cluster_confidences_.tolist(),
        "confidence": result.mean_confidences.round(4).tolist(),
        "stability": [round(each, 4) if np.isfinite(each) else None for each in model.cluster_stability_.tolist()],
    }
    if result.exemplars is not None:
        numbers["exemplars"] = [[names[i] for i in images.tolist()] for images in result.exemplars]
    return [{"id": i} | dict(zip(numbers, values)) for i, values in enumerate(zip(*numbers.values()))]


def selection_content(model) -> dict:
    """What run.json says of the number of groups: what was asked for; candidates, the best first, where it was found;
    which groups would become one, the first first."""
    names, merged = model.cluster_names_, []
    for some, others, inertia in model.merge_order_:
        merged.append({"groups": [[names[i] for i in some], [names[i] for i in others]], "inertia": round(inertia, 4)})
    table = [dataclasses.asdict(candidate) for candidate in model.n_clusters_table_]
    return {"asked": model.n_clusters, "groups": model.n_clusters_, "candidates": table, "merges": merged}


def aspect_content(result, names: Sequence[str]) -> dict:
    """What run.json says of one aspect; `proxies` only where proxies of images were learnt."""
    model = result.model
    content = dataclasses.asdict(result.aspect) | {
        "contrast": list(model.contrast),
        "features": model.features_,
        "words_from": result.words,
        "separability": result.separability and separability_content(result.separability),
        "number": selection_content(model),
        "groups": group_content(result, names),
        "outliers": int(result.assigned.outliers.sum()),
        "leftover": int(result.assigned.leftover.sum()),
        "seconds": round(result.seconds, 3),
    }
    if hasattr(model, "proxies_"):
        content["proxies"] = {
            "block_size": model.block_size_,
            "image_steps": model.image_steps_,
            "final_loss": float(model.loss_.mean()),
        }
    return content
