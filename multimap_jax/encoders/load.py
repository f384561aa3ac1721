"""`load_clip`: finds the files of a checkpoint and reads them as the family that they belong to."""

from __future__ import annotations

import copyreg
import dataclasses
import fnmatch
import os
import re
from pathlib import Path

from multimap_jax.choices import Decode, ImagePrecision
from multimap_jax.encoders.clip.model import EMBEDDED, SENTENCEPIECE, SMALL_FILES, Clip
from multimap_jax.encoders.families import in_hugging_face_layout, read_checkpoint
from multimap_jax.encoders.weights import (
    FLAX,
    INDEX,
    OPEN_CLIP,
    OPEN_CLIP_CONFIG,
    SINGLE,
    WEIGHTS,
    refuse_pickled,
    weight_files,
)
from multimap_jax.errors import InputError, InputTypeError, MissingError, errors_about, found_text, names_arguments
from multimap_jax.runtime.progress import stage, waiting_shown
from multimap_jax.settings import ImageSettings
from multimap_jax.storage.filenames import reason_text
from multimap_jax.storage.local import check_regular
from multimap_jax.storage.paths import local_folder_copy, parse_path, reaching
from multimap_jax.storage.reading import read_json

SHARDS = "model-*.safetensors"
SMALL_BYTES = 2**24  # maximum bytes of a small file
TOKENIZER_BYTES = 2**26  # and of tokenizer.json: that of a SigLIP 2 has 34 MB
# A hub id, and after "@" a commit, branch or tag of it.
HUB_ID = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]{0,99}))?")


@names_arguments
@errors_about("clip")
def load_clip(
    name: str | Path | Clip = "embedded", image_precision: ImagePrecision = "float32", decode: Decode = "exact"
) -> Clip:
    """Loads a frozen CLIP with a ViT image tower, or one of its kin (see BUILD.md: SigLIP, MetaCLIP 2, open_clip's).

    Args:
      name: "embedded" (small, trained on drawings, comes with the package), a directory in the Hugging Face layout,
        such a directory in a store (s3://…), or a hub id such as "openai/clip-vit-base-patch32", with a commit, branch
        or tag of it if one is wanted ("ID@REVISION"). A loaded Clip is returned unchanged.
      image_precision: "float32", or "bf16" for an image tower that takes half the memory. Its embeddings differ a
        little (BUILD.md, "Encoders", says how much), and so does its `hash`.
      decode: "exact", or "fast" to decode JPEGs at a half, a quarter or an eighth of their sides where both stay at
        least twice the encoder's size. Embeddings differ very little, and so does the `hash`.

    Raises:
      MissingError: there is no such directory, or files are missing in it.
      ConnectionError: the hub cannot be reached, and the checkpoint is not in the local cache.
      InputError: not a ViT CLIP, pickled weights, or weights that do not fit the configuration (all listed).
    """
    if isinstance(name, Clip):
        return name
    if not isinstance(name, str | os.PathLike):
        raise InputTypeError(f'expected a Clip from load_clip, or a name such as "embedded", {found_text(name)}')
    settings = ImageSettings(image_precision, decode)  # before anything is fetched: it checks the values
    return _load_directory(*_find(str(name)), settings)


def _find(name: str) -> tuple[str, Path]:
    """(name, folder with the files); downloads them if necessary."""
    if name == "embedded":
        return name, EMBEDDED
    if "://" in name:
        path = parse_path(name)
        return f"{path}", _from_store(path)
    name = str(parse_path(name)) if name.startswith("~") else name
    if Path(name).is_dir():
        return name, Path(name)
    if Path(name).exists():
        raise InputError(
            f"{name} is a file, expected a folder in the Hugging Face layout: give {Path(name).parent} if it holds "
            "config.json and the tokenizer too"
        )
    hub_id = HUB_ID.fullmatch(name)
    if not hub_id or ".." in name:
        raise MissingError(
            f'there is no directory {name}: give "embedded", a directory in the Hugging Face layout, '
            'or a hub id such as "openai/clip-vit-base-patch32" (ID@REVISION for a commit, branch or tag of it)'
        )
    return name, _fetch(*hub_id.groups())


@waiting_shown(False)  # the hub's client has a bar
@stage("fetching the checkpoint")
def _fetch(hub_id: str, revision: str | None) -> Path:
    """Fetches configuration, tokenizer and one format of weights into the hub's local cache; the folder is named after
    the commit."""
    from huggingface_hub import list_repo_files, snapshot_download

    def fetch(patterns: list[str]) -> Path:
        wanted = [*SMALL_FILES, SENTENCEPIECE, *patterns]
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted))

    try:
        directory = fetch([SINGLE, INDEX, SHARDS])
        if not in_hugging_face_layout(directory):
            directory = fetch([OPEN_CLIP_CONFIG, OPEN_CLIP])
        if weight_files(directory, (SINGLE, INDEX, OPEN_CLIP)) or weight_files(fetch([FLAX])):
            return directory
        others = list_repo_files(hub_id, revision=directory.name)
    except Exception as error:  # the hub's client raises a dozen kinds; each means that the download failed
        place = f"{hub_id}@{revision}" if revision else hub_id
        raise ConnectionError(
            f"{place} is not a local directory, and {hub_problem(error)}: check the id and the network, or give a "
            "local directory in the Hugging Face layout"
        ) from error
    refuse_pickled(hub_id, [name for name in others if name.endswith(WEIGHTS)])
    return directory


def hub_problem(error: BaseException) -> str:
    """Why the hub's client failed."""
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import RevisionNotFoundError

    if HF_HUB_OFFLINE:
        return "the hub's local cache does not have it (HF_HUB_OFFLINE is set)"
    if isinstance(error, RevisionNotFoundError):
        return "the hub has no such commit, branch or tag of it"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        meaning = {401: "no such public model", 403: "no access", 404: "no such model"}.get(status, "an error")
        return f"the hub answered {status} ({meaning})"
    if error.__cause__ is not None:
        return hub_problem(error.__cause__)
    if isinstance(error, OSError) and error.errno:
        return f"its files could not be downloaded ({reason_text(error)})"
    return "the hub could not be reached"


def _from_store(path: Path) -> Path:
    """Downloads the files of a checkpoint in a store."""
    patterns = [*SMALL_FILES, "words.json", SINGLE, INDEX, FLAX, SENTENCEPIECE, SHARDS]
    with reaching(path):
        patterns += [] if in_hugging_face_layout(path) else [OPEN_CLIP_CONFIG, OPEN_CLIP]
        files = [file for file in path.iterdir() if any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns)]
    if not files:
        raise MissingError(f"there is no checkpoint in {path}: expected files in the Hugging Face layout")
    return local_folder_copy(path, files)


@stage("loading the checkpoint")
def _load_directory(source: str, directory: Path, settings: ImageSettings) -> Clip:
    if not str(directory).isprintable():
        raise InputError(f"{directory} has a name that the tokenizer library cannot open: rename it, with letters only")
    for path in (directory / file for file in (*SMALL_FILES, "chat_template.jinja")):
        if path.exists():
            check_regular(path, limit=TOKENIZER_BYTES if path.name == "tokenizer.json" else SMALL_BYTES)
            if path.suffix == ".json":
                read_json(path)
    return Clip(source, directory, read_checkpoint(directory), settings)


# A copy in another process is read there.
copyreg.pickle(Clip, lambda clip: (load_clip, (clip.place, *dataclasses.astuple(clip.image_settings))))
