"""Reads and writes CLIP weights in the Hugging Face layout, with one table of names.

Supported: `model.safetensors`, sharded safetensors with `model.safetensors.index.json`, and `flax_model.msgpack`.
Pickled weights (`pytorch_model.bin`) are rejected, because unpickling a file runs any code in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import DTypeLike

from multimap_jax.encoders.clip.config import CLIPConfig
from multimap_jax.encoders.clip.towers import Towers
from multimap_jax.errors import InputError, MissingError
from multimap_jax.storage.filenames import error_text
from multimap_jax.storage.local import check_regular
from multimap_jax.storage.reading import explained, read_json

SINGLE, INDEX, FLAX = "model.safetensors", "model.safetensors.index.json", "flax_model.msgpack"
EXPECTED = f"{SINGLE}, {INDEX} with its shards, or {FLAX}"

# A layout turns a stored array into ours, and back.
SAME = (lambda a: a, lambda a: a)
TRANSPOSED = (lambda a: a.T, lambda a: a.T)  # [out, in] <-> [in, out]
# [out, 3, row, column] <-> [row * column * 3, out]
PATCHES = (
    lambda a: a.transpose(2, 3, 1, 0).reshape(-1, a.shape[0]),
    lambda a: a.reshape(math.isqrt(len(a) // 3), -1, 3, a.shape[1]).transpose(3, 2, 0, 1),
)
NORM = {"weight": ("scale", SAME), "bias": ("bias", SAME)}
LINEAR = {"weight": ("kernel", TRANSPOSED), "bias": ("bias", SAME)}
# Stored name -> our path, layout.
TOP = {
    "logit_scale": ("logit_scale", SAME),
    "text_model.embeddings.token_embedding.weight": ("text.tokens", SAME),
    "text_model.embeddings.position_embedding.weight": ("text.positions", SAME),
    "text_projection.weight": ("text.projection.kernel", TRANSPOSED),
    "vision_model.embeddings.class_embedding": ("image.class_token", SAME),
    "vision_model.embeddings.position_embedding.weight": ("image.positions", SAME),
    "vision_model.embeddings.patch_embedding.weight": ("image.patches.kernel", PATCHES),
    "visual_projection.weight": ("image.projection.kernel", TRANSPOSED),
}
NORMS = {
    "text_model.final_layer_norm": "text.final_norm",
    "vision_model.pre_layrnorm": "image.first_norm",
    "vision_model.post_layernorm": "image.final_norm",
}
# Modules within each layer; and, of arrays that we hold as one, which third of its last axis it is.
LAYER = {
    "layer_norm1": ("norm_1", NORM, None),
    "layer_norm2": ("norm_2", NORM, None),
    "self_attn.q_proj": ("qkv", LINEAR, 0),
    "self_attn.k_proj": ("qkv", LINEAR, 1),
    "self_attn.v_proj": ("qkv", LINEAR, 2),
    "self_attn.out_proj": ("out", LINEAR, None),
    "mlp.fc1": ("up", LINEAR, None),
    "mlp.fc2": ("down", LINEAR, None),
}
# Names outside the towers, and any name of a CLIP after a prefix.
SINGLES = ("logit_scale", "text_projection.weight", "visual_projection.weight")
KNOWN = re.compile(rf"(.*?\.|)(?:(?:text|vision)_model\..*|{'|'.join(map(re.escape, SINGLES))})", re.DOTALL)
FLOATS = ("F64", "F32", "F16", "BF16")  # safetensors' names
AGAIN = "fetch or save it again"
LISTED = 40  # maximum number of names in one error
DEPTH = 4  # levels below the given folder to search for a checkpoint, as in hub/models--x--y/snapshots/HASH
FOLDERS = 1000  # maximum number of folders to search
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
WEIGHTS = (".safetensors", ".msgpack", ".h5", ".onnx", *PICKLED)
# Written by old releases; they hold 0, 1, 2, … and no learnt values.
IGNORED = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


def name_table(config: CLIPConfig) -> dict[str, tuple[str, tuple, Callable, Callable]]:
    """Every stored name of a CLIP of this configuration -> (path of our array, index into it, layout)."""
    table = {name: (path, (...,), *layout) for name, (path, layout) in TOP.items()}

    def add(stored: str, ours: str, arrays: dict, index: tuple) -> None:
        for name, (path, layout) in arrays.items():
            table[f"{stored}.{name}"] = (f"{ours}.{path}", index, *layout)

    for stored, ours in NORMS.items():
        add(stored, ours, NORM, (...,))
    for prefix, ours, tower in (("text_model", "text", config.text), ("vision_model", "image", config.image)):
        for layer in range(tower.layers):
            for name, (path, arrays, third) in LAYER.items():
                columns = slice(None) if third is None else slice(third * tower.width, (third + 1) * tower.width)
                stored = f"{prefix}.encoder.layers.{layer}.{name}"
                add(stored, f"{ours}.layers.{path}", arrays, (layer, ..., columns))
    return table


def towers_from_arrays(arrays: Mapping[str, np.ndarray | Stored], config: CLIPConfig, source: str) -> Towers:
    """Towers holding `arrays` (stored names) as float32.

    Shapes are compared before memory is allocated. InputError lists all missing, unknown and misshapen arrays or, if
    there are none, those that are not finite.
    """
    arrays = without_prefix(arrays, source)
    layers = config.text.layers + config.image.layers
    if layers * 2 * len(LAYER) > len(arrays):  # with thousands of layers even building their names takes long
        raise InputError(
            f"the weights in {source} do not fit its config.json: {len(arrays)} arrays are too few for {layers} layers"
        )
    leaves, structure = jax.tree_util.tree_flatten_with_path(nnx.eval_shape(lambda: Towers(config)))
    shapes = {_path(keys): leaf.shape for keys, leaf in leaves}
    table = name_table(config)
    problems = [f"missing: {name}" for name in table if name not in arrays]
    problems += [f"unknown: {name} {arrays[name].shape}" for name in sorted(set(arrays) - set(table) - set(IGNORED))]
    for name, (path, index, _, save) in table.items():
        if name in arrays:
            expected = save(np.broadcast_to(np.float32(0), shapes[path])[index]).shape
            # Several trainers store a single number as an array of one.
            if expected != arrays[name].shape and not (expected == () and math.prod(arrays[name].shape) == 1):
                problems.append(f"misshapen: {name} has shape {arrays[name].shape}, expected {expected} by config.json")
    refuse(problems, f"the weights in {source} do not fit its config.json")
    ours = {path: np.zeros(shape, np.float32) for path, shape in shapes.items()}
    for name, (path, index, load, _) in table.items():
        found, target = np.asarray(arrays[name]).astype(np.float32), ours[path]
        if not np.isfinite(found).all():
            problems.append(name)
        target[index] = load(found if target.shape else found.reshape(()))
    refuse(problems, f"the weights in {source} hold NaN or infinite numbers: {AGAIN}")
    return jax.tree_util.tree_unflatten(structure, [jnp.asarray(ours[_path(keys)]) for keys, _ in leaves])


def without_prefix(arrays: Mapping, source: str) -> Mapping:
    """`arrays` without a common prefix of all names, or of the towers' names, such as "module." if a wrapper of the
    CLIP was saved.

    InputError if only some names have the prefix, because it is unclear what the others belong to.
    """
    prefixes = {match[1] for match in map(KNOWN.fullmatch, arrays) if match} - {""}
    if not prefixes:
        return arrays
    prefix = min(prefixes)
    prefixed = [name for name in arrays if name.startswith(prefix)]
    found = {name.removeprefix(prefix): array for name, array in arrays.items()}
    bare = set(arrays) - set(prefixed) - set(SINGLES)
    if len(prefixes) > 1 or len(found) < len(arrays) or bare:
        raise InputError(
            f"only {len(prefixed):,} of the {len(arrays):,} arrays in {source} have the prefix {prefix!r}: "
            "save the CLIP alone, with CLIPModel.save_pretrained"
        )
    return found


def refuse(problems: list[str], sentence: str) -> None:
    """Raises InputError with the first problems, if there are any."""
    if problems:
        lines = problems[:LISTED] + [f"and {len(problems) - LISTED:,} more"] * (len(problems) > LISTED)
        raise InputError(f"{sentence} ({len(problems):,} arrays):\n  " + "\n  ".join(lines))


def arrays_from_towers(towers: Towers) -> dict[str, np.ndarray]:
    """The inverse of `towers_from_arrays`: float32 arrays under their stored names."""
    leaves = jax.tree_util.tree_leaves_with_path(towers)
    ours = {_path(keys): np.asarray(leaf, np.float32) for keys, leaf in leaves}
    config = CLIPConfig(towers.text.config, towers.image.config)
    return {
        name: np.array(save(ours[path][index]), order="C")
        for name, (path, index, _, save) in name_table(config).items()
    }


def _path(keys: Iterable) -> str:
    return ".".join(key.name for key in keys if key.name != "value")


def read_arrays(directory: Path) -> Mapping[str, np.ndarray | Stored]:
    """All arrays of the checkpoint in `directory` under their PyTorch names; safetensors are read lazily. Raises
    MissingError if there are none, InputError if they are damaged."""
    files = weight_files(directory)
    if files and files[0].name == FLAX:
        return _read_flax(files[0])
    if absent := [path.name for path in files[1:] if not path.is_file()]:
        raise MissingError(f"{directory / INDEX} names missing shards: {', '.join(absent[:LISTED])}")
    if files:
        return {name: array for path in files[1:] or files for name, array in _read_safetensors(path).items()}
    names = weight_names(directory)
    if names and all(name.endswith(PICKLED) for name in names):
        raise InputError(
            f"{directory} holds only pickled weights ({', '.join(names[:3])}), which are not read because unpickling "
            "runs code; if you trust them, convert them once with PyTorch: "
            "CLIPModel.from_pretrained(old).save_pretrained(new)"
        )
    raise MissingError(
        f"{directory} has no weights: expected {EXPECTED}{found_instead(directory)}; save them with "
        f"CLIPModel.save_pretrained{checkpoints_below(directory)}"
    )


def read_config(directory: Path) -> CLIPConfig:
    """The configuration in `directory`. Raises MissingError if there is none, InputError if it cannot be used."""
    path = directory / "config.json"
    if not path.exists():
        raise MissingError(
            f"{directory} has no config.json: expected a CLIP in the Hugging Face layout (config.json, {SINGLE}, …)"
            f"{found_instead(directory)}{checkpoints_below(directory)}"
        )
    return CLIPConfig.from_json(read_json(path), path)


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
            if depth and (folder / "config.json").is_file():
                found.append(folder)
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
            waiting += [(path, depth + 1) for path in below[:FOLDERS]] if depth < DEPTH else []
    return f"; give the subfolder that has one: {' or '.join(map(str, found))}" if found else ""


def weight_files(directory: Path) -> list[Path]:
    """The files that `read_arrays` reads, in a fixed order: an index comes before its shards."""
    path = next((directory / name for name in (SINGLE, INDEX, FLAX) if (directory / name).exists()), None)
    if path is None or path.name != INDEX:
        return [path] if path else []
    found = read_json(path).get("weight_map")
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) for name in found.values()):
        raise InputError(f"{path} has no weight_map from names of arrays to files: {AGAIN}")
    # A name with a folder in it could point outside the checkpoint.
    return [path, *(directory / shard for shard in sorted({Path(name).name for name in found.values()}))]


@dataclasses.dataclass(frozen=True)
class Stored:
    """An array in a safetensors file; `np.asarray` reads its numbers."""

    file: Any
    name: str
    path: Path

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.file.get_slice(self.name).get_shape())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        stored = self.file.get_slice(self.name).get_dtype()
        if stored not in FLOATS:
            expected = ", ".join(FLOATS)
            raise InputError(f"{self.name} in {self.path} is stored as {stored}, expected one of {expected}")
        with explained(f"{self.name} in {self.path}", AGAIN):
            return self.file.get_tensor(self.name)


def _read_safetensors(path: Path) -> dict[str, Stored]:
    from safetensors import SafetensorError, safe_open

    check_regular(path)
    try:
        file = safe_open(path, "numpy")
        return {name: Stored(file, name, path) for name in file.keys()}
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


def save_checkpoint(directory: str | Path, towers: Towers, dtype: DTypeLike = np.float32) -> None:
    """Writes config.json and model.safetensors as transformers reads them; tokenizer and preprocessing are separate."""
    from safetensors.numpy import save_file

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    config = CLIPConfig(towers.text.config, towers.image.config)
    (directory / "config.json").write_text(json.dumps(config.to_json(), indent=1) + "\n")
    arrays = {name: array.astype(dtype) for name, array in arrays_from_towers(towers).items()}
    save_file(arrays, directory / SINGLE, metadata={"format": "pt"})
