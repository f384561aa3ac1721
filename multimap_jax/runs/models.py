"""The models of a run, in models/. Each has its own folder, named for its aspect and its content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from multimap_jax.errors import InputOSError
from multimap_jax.estimator import MultiMaP
from multimap_jax.persistence import ARRAYS, MODEL_JSON
from multimap_jax.storage.encoding import slug
from multimap_jax.storage.output import GO_ON, Staging, prune, staging
from multimap_jax.storage.paths import exists, open_file


def keep_model(out: Path, model: MultiMaP) -> dict:
    """Adds a model to the existing ones; returns its entry for run.json: its folder, and the SHA-256 of its files."""
    with staging(out) as stage:
        try:
            model.save(stage.folder)
        except OSError as error:
            raise InputOSError(f"cannot write into {out / 'models'} ({error.strerror or error}); {GO_ON}") from None
        files = file_hashes(stage.folder)
        folder = model_name(model.aspect.name, files)
        put_model(stage, folder, files)
    return {"model": folder, "files": files}


def put_model(stage: Staging, folder: str, files: dict[str, str]) -> None:
    """Moves the staged files of a model into place, unless they are already there."""
    if file_hashes(stage.out / "models" / folder) != files:
        for name in files:
            stage.adopt(f"models/{folder}/{name}", stage.folder / name)
        stage.commit()


def prune_models(out: Path, kept: Sequence[dict]) -> None:
    """Deletes earlier models of the aspects whose models run.json now replaces."""
    for model in kept:
        prefix = model["model"].rpartition("-")[0]
        prune(out, f"models+{prefix}-", f"models+{model['model']}")


def model_name(aspect: str, files: dict[str, str]) -> str:
    """The folder of a model: readable letters, a hash of the aspect, and a hash of the files."""
    texts = (aspect, json.dumps(dict(sorted(files.items()))))
    first, second = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() for text in texts)
    return f"{slug(aspect)}-{first[:8]}-{second[:12]}"


def file_hashes(folder: Path) -> dict[str, str]:
    """File name -> SHA-256, for the files of a model that exist."""
    return {name: file_hash(folder / name) for name in (ARRAYS, MODEL_JSON) if exists(folder / name)}


def file_hash(path: Path) -> str:
    """SHA-256 of one file. ValueError if it is not a regular file."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # each kind has readinto
