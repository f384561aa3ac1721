"""Reads the arrays of a checkpoint's files, whatever their names mean.

Supported: safetensors in one file or in shards with an index, and `flax_model.msgpack`. Pickled weights
(`pytorch_model.bin`) are rejected, because unpickling a file runs any code in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from multimap_jax.errors import InputError, MissingError
from multimap_jax.storage.filenames import error_text
from multimap_jax.storage.local import check_regular
from multimap_jax.storage.reading import explained, read_json

SINGLE, INDEX, FLAX = "model.safetensors", "model.safetensors.index.json", "flax_model.msgpack"
USUAL = (SINGLE, INDEX, FLAX)
OPEN_CLIP_CONFIG, OPEN_CLIP = "open_clip_config.json", "open_clip_model.safetensors"
SAVE = "CLIPModel.from_pretrained(old).save_pretrained(new)"
# safetensors' names of floating-point numbers
FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
AGAIN = "fetch or save it again"
LISTED = 40  # maximum number of names in one error
DEPTH = 4  # levels below the given folder to search for a checkpoint, as in hub/models--x--y/snapshots/HASH
FOLDERS = 1000  # maximum number of folders to search
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
WEIGHTS = (".safetensors", ".msgpack", ".h5", ".onnx", *PICKLED)


def read_arrays(directory: Path, names: tuple[str, ...] = USUAL, save: str = SAVE) -> Mapping[str, np.ndarray | Stored]:
    """All arrays of the checkpoint in `directory` under their PyTorch names; safetensors are read lazily. Raises
    MissingError if there are none, InputError if they are damaged; `save`: the code that makes the first of `names`."""
    files = weight_files(directory, names)
    if files and files[0].name == FLAX:
        return _read_flax(files[0])
    if absent := [path.name for path in files[1:] if not path.is_file()]:
        raise MissingError(f"{directory / INDEX} names missing shards: {', '.join(absent[:LISTED])}")
    if files:
        return {name: array for path in files[1:] or files for name, array in _read_safetensors(path).items()}
    refuse_pickled(directory, weight_names(directory), save)
    raise MissingError(
        f"{directory} has no weights: expected {' or '.join(names)}{found_instead(directory)}; save them with {save}"
        f"{checkpoints_below(directory)}"
    )


def refuse_pickled(place: str | Path, names: list[str], save: str = SAVE) -> None:
    """Raises InputError if these files of weights are pickled ones alone. save: how the weights are saved instead."""
    if names and all(name.endswith(PICKLED) for name in names):
        raise InputError(
            f"{place} holds only pickled weights ({', '.join(names[:3])}), which are not read because unpickling runs "
            f"code; if you trust them, convert them once with PyTorch: {save}"
        )


def weight_names(directory: Path) -> list[str]:
    """The files of weights, whatever their names."""
    return sorted(path.name for path in directory.iterdir() if path.suffix in WEIGHTS)


def found_instead(directory: Path) -> str:
    """Weights under unsupported names, as the end of a sentence; "" if there are none."""
    names = [name for name in weight_names(directory) if name not in (SINGLE, FLAX)]
    rest = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f", found {', '.join(names[:3])}{rest}" if names else ""


def checkpoints_below(directory: Path) -> str:
    """Advice for a folder with checkpoints in subfolders, such as a sentence-transformers model or the hub's cache; ""
    if there are none."""
    found: list[Path] = []
    waiting = deque([(directory, 0)])
    for _ in range(FOLDERS):
        if not waiting or len(found) == 3:
            break
        folder, depth = waiting.popleft()
        with contextlib.suppress(OSError):  # a folder without read permission
            if depth and any((folder / name).is_file() for name in ("config.json", OPEN_CLIP_CONFIG)):
                found.append(folder)
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
            waiting += [(path, depth + 1) for path in below[:FOLDERS]] if depth < DEPTH else []
    return f"; give the subfolder that has one: {' or '.join(map(str, found))}" if found else ""


def weight_files(directory: Path, names: tuple[str, ...] = USUAL) -> list[Path]:
    """The files that `read_arrays` reads, in a fixed order: the first of `names` that is there; an index comes before
    its shards."""
    path = next((directory / name for name in names if (directory / name).exists()), None)
    if path is None or path.name != INDEX:
        return [path] if path else []
    found = read_json(path).get("weight_map")
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise InputError(f"{path} has no weight_map from names of arrays to files: {AGAIN}")
    # A name with a folder in it could point outside the checkpoint.
    return [path, *(directory / shard for shard in sorted({Path(name).name for name in found.values()}))]


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array in a safetensors file. `np.asarray` maps it: its numbers are read where they are used."""

    path: Path
    name: str
    stored: str
    shape: tuple[int, ...]
    offset: int

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if self.stored not in FLOATS:
            expected = ", ".join(FLOATS)
            raise InputError(f"{self.name} in {self.path} is stored as {self.stored}, expected one of {expected}")
        with explained(f"{self.name} in {self.path}", AGAIN):
            return np.memmap(self.path, FLOATS[self.stored], "r", self.offset, self.shape)


def _read_safetensors(path: Path) -> dict[str, Stored]:
    from safetensors import SafetensorError, safe_open

    check_regular(path)
    try:
        with safe_open(path, "numpy"):  # compares the header with the file
            pass
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        return {
            name: Stored(path, name, entry["dtype"], tuple(entry["shape"]), 8 + size + entry["data_offsets"][0])
            for name, entry in header.items()
        }
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a complete safetensors file ({error_text(error)}): {AGAIN}") from error


def _read_flax(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a Flax checkpoint under PyTorch's names and layouts, so that one table serves both."""
    from flax.serialization import msgpack_restore
    from flax.traverse_util import flatten_dict

    check_regular(path)
    try:
        arrays = {}
        for (*module, leaf), value in flatten_dict(msgpack_restore(path.read_bytes())).items():
            array = np.asarray(value)
            if leaf == "kernel":
                array = array.T if array.ndim == 2 else array.transpose(3, 2, 0, 1)
            leaf = "weight" if leaf in ("kernel", "scale", "embedding") else leaf
            arrays[".".join((*module, leaf))] = array.astype(np.float32)
        return arrays
    except Exception as error:  # msgpack's errors for damaged files have no common base class
        raise InputError(f"{path} is not a complete Flax checkpoint ({error_text(error)}): {AGAIN}") from error


def refuse(problems: list[str], sentence: str) -> None:
    """Raises InputError with the first problems, if there are any."""
    if problems:
        lines = problems[:LISTED] + [f"and {len(problems) - LISTED:,} more"] * (len(problems) > LISTED)
        raise InputError(f"{sentence} ({len(problems):,} arrays):\n  " + "\n  ".join(lines))
