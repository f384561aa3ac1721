"""Everything that a run writes: each file aside first, then in its place as a whole."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import platform
import re
import secrets
import shutil
import tempfile
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
from multimap_jax.clip.images import Unreadable
from multimap_jax.clip.model import Clip
from multimap_jax.inputs.files import read_json
from multimap_jax.inputs.names import safe_path, without_secrets
from multimap_jax.inputs.places import is_remote, opened, plain, put, put_whole, reaching, remove, same
from multimap_jax.inputs.source import Source, exists
from multimap_jax.machine import machine
from multimap_jax.sight import Sight

GO_ON = "what was finished is kept, and the same command goes on from there"
PACKAGES = ("jax", "flax", "optax", "transformers", "scikit-learn", "numpy", "pillow")


def make_writable(out: Path) -> None:
    """Creates the folder `out` and tries it; OSError says that it cannot be written."""
    if is_remote(out):
        tried = out / f".{secrets.token_hex(8)}.new"
        try:
            write_whole(tried, "")
        except OSError as error:
            raise OSError(f"cannot write into {out}: {plain(error)}; give another folder with --out") from None
        return remove(tried)
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()  # a name of its own: several processes may try at once
    except OSError as error:
        raise OSError(f"cannot write into {out} ({error.strerror}): give another folder with --out") from None


def sweep(out: Path) -> None:
    """Takes away what a run that was killed had not finished: files aside, and where processes met."""
    if is_remote(out):  # an object is there as a whole or not at all
        for path in out.glob(".company-*"):
            remove(path)
        return
    for path in out.rglob(".*"):
        if re.fullmatch(r"\..+\.([0-9a-f]{8}\.new|next)", path.name) and path.is_file():
            path.unlink(missing_ok=True)
        elif re.fullmatch(r"\.company-[0-9a-f]{16}|\.[0-9]+\.new", path.name) and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def write_whole(path: Path, write: Callable[[BinaryIO], None] | str) -> None:
    """`put_whole`; OSError with a sentence."""
    try:
        put_whole(path, write)
    except OSError as error:
        reason = plain(error) if is_remote(path) else error.strerror or str(error)
        raise OSError(f"cannot write {path} ({reason}); {GO_ON}") from None


def write_table(path: Path, table: dict[str, list]) -> None:
    """Columns as a parquet file."""
    # Columns of no rows have no type of their own.
    fields = {name: pa.array(values, None if values else pa.string()) for name, values in table.items()}
    write_whole(path, lambda file: pq.write_table(pa.table(fields), file))


def write_array(path: Path, array: np.ndarray) -> None:
    write_whole(path, lambda file: np.save(file, array, allow_pickle=False))


def write_arrays(path: Path, arrays: dict) -> None:
    write_whole(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def write_json(path: Path, content) -> None:
    write_whole(path, json.dumps(content, indent=1) + "\n")


# The files of results: what the last command asked for, whole. run.json lists the others.
LABELS, TABLE, METRICS, REPORT, RUN = "labels.csv", "labels.parquet", "metrics.json", "report.html", "run.json"
# Of each aspect in labels.parquet, besides the one called by its name.
COLUMNS = ("group", "distance", "confidence", "outlier")
# Images that labels.csv is written for; of labels.parquet at once.
LABELS_ROWS, TABLE_ROWS = 1_000_000, 2**18
GROUPS = "groups.json"  # of a run whose groups were edited
RESULTS = (LABELS, TABLE, METRICS, REPORT, GROUPS)


def check_own(out: Path, labels: Path | None) -> None:
    """ValueError where writing results into `out` would cost the user a file: one that no run.json lists, a link, the
    labels that were given."""
    claimed = set(listed(out))
    for name in (*RESULTS, RUN):
        path = out / name
        if not is_remote(path) and path.is_symlink():
            raise ValueError(f"{path} is a link, which results would be written through: give another --out")
        if labels is not None and same(path, labels):
            raise ValueError(f"--labels={labels} would be overwritten by the results: give another --out")
        if name not in claimed and exists(path):
            raise ValueError(f"{path} is there and no run of multimap wrote it: give another --out, or take it away")


def listed(out: Path) -> list[str]:
    """The files of results that the run.json in `out` says are its own."""
    try:
        content = read_json(out / RUN)
        files = [name for name in content.get("files", RESULTS) if isinstance(name, str)]
        return [*files, RUN] if "multimap_jax" in content["versions"] else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder by its name, {} where there is no folder."""
    found = {}
    for path in sorted(folder.glob("*")):
        if path.is_file():
            with opened(path) as file:
                digest = hashlib.sha256()
                while part := file.read(2**20):
                    digest.update(part)
                found[path.name] = digest.hexdigest()
    return found


def text_hash(path: Path) -> str:
    """SHA-256 of one file."""
    with opened(path) as file:
        return hashlib.sha256(file.read()).hexdigest()


def replace_results(out: Path, texts: dict[str, str], tables: dict[str, Callable[[BinaryIO], None]]) -> None:
    """Puts new results in place of the old ones. Nothing is taken away before everything new is on the disk; then the
    old files go, run.json is changed, and the new files come: at no moment does a new one stand beside an old one."""
    contents = texts | tables
    with tempfile.TemporaryDirectory() as here:
        aside = Path(here) if is_remote(out) else out
        for name, content in contents.items():
            write_whole(aside / f".{name}.next", content)
        for name in RESULTS:
            remove(out / name)
        for name in (name for name in (RUN, *RESULTS) if name in contents):
            move(aside / f".{name}.next", out / name)


def put_thumbnails(out: Path, folder: str, pictures: dict[str, bytes]) -> None:
    """Puts a folder of thumbnails into `out`, as a whole where it is of this machine. It is called by what is in it:
    where it is there already nothing is to be done, and a page that is there keeps its own."""
    if not folder or (not is_remote(out) and (out / folder).is_dir()):
        return
    with tempfile.TemporaryDirectory() as here:
        aside = Path(here) / folder if is_remote(out) else out / f".{os.getpid()}.new"
        try:
            remove(aside)
            aside.mkdir()
            for name, picture in pictures.items():
                (aside / name).write_bytes(picture)
            if is_remote(out):
                with reaching(out):
                    out.fs.put(f"{aside}/", f"{(out / folder).path}/", recursive=True)
            else:
                aside.rename(out / folder)
        except OSError as error:
            raise OSError(f"cannot write {out / folder} ({error.strerror or error}); {GO_ON}") from None
        finally:
            remove(aside)


def move(source: Path, path: Path) -> None:
    """Puts a file of this machine in its place, here or in a store."""
    if is_remote(path):
        put(source, path)
    else:
        os.replace(source, path)


def labels_text(names: Sequence[str], results: Sequence) -> str:
    """labels.csv: a row for each image, a column for each aspect with the name of its group or "(left over)"."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image", *(result.aspect.name for result in results)])
    columns = [np.array(result.names, object)[result.groups] for result in results]
    writer.writerows(zip(map(safe_path, names), *columns))
    return table.getvalue()


def write_labels(file: BinaryIO, names: Sequence[str], results: Sequence, source: Source) -> None:
    """labels.parquet: labels.csv with the number of each group (-1 for what is left over), the distance to its centre,
    how sure it is and whether the image is an outlier; and what the source says of the images, where no column is
    called so."""
    columns: dict[str, pa.Array] = {"image": pa.array(names, pa.string())}
    columns |= {name: pa.array(own) for name, own in source.columns_of(names).items() if name != "image"}
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
        "clip": {"name": clip.place, "hash": clip.hash},
        "command": job.line,
        "images": {"folder": str(job.images), "place": whole(job.images), "read": len(names)},
        "skipped": [{"image": failure.name, "reason": failure.reason} for failure in skipped],
        "seed": job.seed,
        "config": dataclasses.asdict(job.config),
        "image_block_size": clip.image_block,
        "devices": jax.local_device_count(),
        "leftover": job.leftover,
        "aspects": [aspect_content(result, names) for result in results],
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
    }


def whole(path) -> str:
    """A path that means the same wherever the next command is begun."""
    return str(path) if is_remote(path) else str(Path(path).absolute())


def run_settings(job, clip: Clip, read: int) -> list[tuple[str, str]]:
    """What the page says of a run: each setting with its name."""
    recipe = {name: value for name, value in dataclasses.asdict(job.config).items() if value is not None}
    return [
        ("images", f"{read:,} of {without_secrets(str(job.images))}"),
        ("encoder", f"{clip.place} ({clip.hash[:12]})"),
        ("seed", str(job.seed)),
        *((name.replace("_", " "), str(value)) for name, value in recipe.items()),
        ("images computed at once", str(clip.image_block)),
        ("multimap_jax", __version__),
        ("date", datetime.now(UTC).isoformat(timespec="seconds")),
        ("machine", machine()),
    ]


def sight_content(sight: Sight) -> dict:
    """What run.json says of whether an aspect is seen."""
    numbers = {"information": round(sight.information, 4), "structure": round(sight.structure, 4)}
    return {"verdict": sight.verdict, **numbers, "said": str(sight)}


def group_content(result, names: Sequence[str]) -> list[dict]:
    """What run.json says of the groups of one aspect: the name and how sure that is, how many images, how sure these
    are, how steady the group is (see `MultiMaP`), and the names of images that show it."""
    model = result.model
    numbers = {
        "name": model.cluster_names_,
        "images": result.sizes.tolist(),
        "name_confidence": model.cluster_confidences_.tolist(),
        "confidence": result.sureness.round(4).tolist(),
        "steadiness": [round(each, 4) if np.isfinite(each) else None for each in model.cluster_steadiness_.tolist()],
    }
    if result.exemplars is not None:
        numbers["exemplars"] = [[names[i] for i in images.tolist()] for images in result.exemplars]
    return [{"id": i} | dict(zip(numbers, values)) for i, values in enumerate(zip(*numbers.values()))]


def number_content(model) -> dict:
    """What run.json says of the number of groups: what was asked for; candidates, the best first, where it was found;
    which groups would become one, the first first."""
    names, merged = model.cluster_names_, []
    for some, others, inertia in model.merges_:
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
        "sight": result.sight and sight_content(result.sight),
        "number": number_content(model),
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
