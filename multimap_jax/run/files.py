"""Everything that a run writes for its user, but the report."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

from multimap_jax import __version__
from multimap_jax.clip.images import Unreadable
from multimap_jax.clip.model import Clip
from multimap_jax.machine import machine

PACKAGES = ("jax", "flax", "optax", "transformers", "scikit-learn", "numpy", "pillow")


def make_writable(out: Path) -> None:
    """Creates the folder `out` and tries it; OSError says that it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()  # a name of its own: several processes may try at once
    except OSError as error:
        raise OSError(f"cannot write into {out} ({error.strerror}): give another folder with --out") from None


def write_whole(path: Path, text: str) -> None:
    """Writes `text` aside and puts it in place: the file is there as a whole or as it was."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(aside, path)


def write_json(path: Path, content) -> None:
    write_whole(path, json.dumps(content, indent=1) + "\n")


def write_labels(path: Path, names: Sequence[str], results: Sequence) -> None:
    """A row for each image, a column for each aspect with the name of its group."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image", *(result.aspect.name for result in results)])
    columns = [np.array(result.model.cluster_names_, object)[result.model.labels_] for result in results]
    writer.writerows(zip(names, *columns))
    write_whole(path, table.getvalue())


def write_run(
    path: Path,
    job,
    clip: Clip,
    names: Sequence[str],
    results: Sequence,
    skipped: Sequence[Unreadable],
    timings: dict[str, float],
) -> None:
    """Every setting, version, timing, group and skipped file."""
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {"multimap_jax": __version__, "python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "clip": {"name": clip.name, "hash": clip.hash},
        "images": {"folder": str(job.images), "read": len(names)},
        "skipped": [{"image": failure.name, "reason": failure.reason} for failure in skipped],
        "seed": job.seed,
        "config": dataclasses.asdict(job.config),
        "image_block_size": clip.image_block,
        "devices": jax.local_device_count(),
        "aspects": [aspect_content(result) for result in results],
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
    }
    write_json(path, content)


def aspect_content(result) -> dict:
    """What run.json says of one aspect; `proxies` only where proxies of images were learnt."""
    model = result.model
    sizes = np.bincount(model.labels_, minlength=model.n_clusters_).tolist()
    groups = zip(model.cluster_names_, sizes, model.cluster_confidences_.tolist())
    content = dataclasses.asdict(result.aspect) | {
        "contrast": list(model.contrast),
        "features": model.features_,
        "groups": [{"id": i, "name": n, "images": s, "confidence": c} for i, (n, s, c) in enumerate(groups)],
        "outliers": int(model.outliers_.sum()),
        "seconds": round(result.seconds, 3),
    }
    if hasattr(model, "proxies_"):
        content["proxies"] = {
            "block_size": model.block_size_,
            "image_steps": model.image_steps_,
            "final_loss": float(model.loss_.mean()),
        }
    return content
