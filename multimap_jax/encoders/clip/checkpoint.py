"""Puts the arrays of a checkpoint into our towers and back, with one table of names.

The table here is that of Hugging Face's CLIP; other families bring their own `Layout`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import DTypeLike

from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig, TextConfig
from multimap_jax.encoders.clip.towers import Towers
from multimap_jax.encoders.weights import AGAIN, SINGLE, Stored, refuse
from multimap_jax.errors import InputError

# A layout turns a stored array into ours, and back. All but SAME move the stored rows to our last axis, so that a few
# rows can be turned at a time.
SAME = (lambda a: a, lambda a: a)
TRANSPOSED = (lambda a: a.T, lambda a: a.T)  # [out, in] <-> [in, out]
# [out, 3, row, column] <-> [row * column * 3, out]
PATCHES = (
    lambda a: a.transpose(2, 3, 1, 0).reshape(-1, a.shape[0]),
    lambda a: a.reshape(math.isqrt(len(a) // 3), -1, 3, a.shape[1]).transpose(3, 2, 0, 1),
)
NORM = {".weight": ("scale", SAME), ".bias": ("bias", SAME)}
LINEAR = {".weight": ("kernel", TRANSPOSED), ".bias": ("bias", SAME)}
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
# Names outside the towers.
SINGLES = ("logit_scale", "text_projection.weight", "visual_projection.weight")
ROWS = 128  # of a stored array that are converted at once
ALIGNMENT = 64  # bytes
# Written by old releases; they hold 0, 1, 2, … and no learnt values.
IGNORED = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


@dataclasses.dataclass(frozen=True)
class Layout:
    """The names under which one kind of checkpoint stores the arrays of our towers.

    Attributes:
      towers: what they are put into, made from a CLIPConfig.
      top: stored name -> our path, layout. norms: stored layer norm -> ours.
      layer: stored module of a layer -> our module, its arrays, and which third of ours it is (None: the whole).
      stacks: stored prefix of the layers of the text tower, and of the image tower.
      ignored: stored names without learnt values.
      singles: stored names outside the towers.
      config: the file with the configuration.
    """

    towers: Callable[[CLIPConfig], Any]
    top: Mapping[str, tuple[str, tuple]]
    norms: Mapping[str, str]
    layer: Mapping[str, tuple[str, Mapping, int | None]]
    stacks: tuple[str, str] = ("text_model.encoder.layers", "vision_model.encoder.layers")
    ignored: tuple[str, ...] = IGNORED
    singles: tuple[str, ...] = SINGLES
    config: str = "config.json"


CLIP = Layout(Towers, TOP, NORMS, LAYER)


def name_table(config: CLIPConfig, layout: Layout = CLIP) -> dict[str, tuple[str, tuple, Callable, Callable]]:
    """Every stored name of a checkpoint of this configuration -> (path of our array, index into it, layout)."""
    table = {name: (path, (...,), *change) for name, (path, change) in layout.top.items()}

    def add(stored: str, ours: str, arrays: Mapping, index: tuple) -> None:
        for name, (path, change) in arrays.items():
            table[f"{stored}{name}"] = (f"{ours}.{path}", index, *change)

    for stored, ours in layout.norms.items():
        add(stored, ours, NORM, (...,))
    towers: tuple[tuple[str, TextConfig | ImageConfig], ...] = ("text", config.text), ("image", config.image)
    for prefix, (ours, tower) in zip(layout.stacks, towers):
        for layer in range(tower.layers):
            for name, (path, arrays, third) in layout.layer.items():
                columns = slice(None) if third is None else slice(third * tower.width, (third + 1) * tower.width)
                add(f"{prefix}.{layer}.{name}", f"{ours}.layers.{path}", arrays, (layer, ..., columns))
    return table


def towers_from_arrays(
    arrays: Mapping[str, np.ndarray | Stored], config: CLIPConfig, source: str, layout: Layout = CLIP
) -> Any:
    """Towers holding `arrays` (stored names) as float32.

    Shapes are compared before memory is allocated; then one of our arrays is read after the other. InputError lists all
    missing, unknown and misshapen arrays or, if there are none, those that are not finite.
    """
    arrays = without_prefix(arrays, source, layout)
    layers = config.text.layers + config.image.layers
    if layers * 2 * len(layout.layer) > len(arrays):  # with thousands of layers even building their names takes long
        raise InputError(
            f"the weights in {source} do not fit its {layout.config}: {len(arrays)} arrays are too few for {layers} "
            "layers"
        )
    leaves, structure = jax.tree_util.tree_flatten_with_path(_abstract_towers(config, layout))
    shapes = {_path(keys): leaf.shape for keys, leaf in leaves}
    for tower, sizes in (("text", config.text), ("image", config.image)):
        stacked = [path for path in shapes if path.startswith(f"{tower}.layers.")]
        shapes |= {path: (sizes.layers, *shapes[path][1:]) for path in stacked}
    table = name_table(config, layout)
    problems = [f"missing: {name}" for name in table if name not in arrays]
    unknown = set(arrays) - set(table) - set(layout.ignored)
    problems += [f"unknown: {name} {arrays[name].shape}" for name in sorted(unknown)]
    for name, (path, index, _, save) in table.items():
        if name in arrays:
            expected = save(np.broadcast_to(np.float32(0), shapes[path])[index]).shape
            # Several trainers store a single number as an array of one.
            if expected != arrays[name].shape and not (expected == () and math.prod(arrays[name].shape) == 1):
                shape = arrays[name].shape
                problems.append(f"misshapen: {name} has shape {shape}, expected {expected} by {layout.config}")
    refuse(problems, f"the weights in {source} do not fit its {layout.config}")
    parts: dict[str, list[tuple]] = {path: [] for path in shapes}
    for name, (path, index, load, _) in table.items():
        parts[path].append((name, index, load))

    damaged: list[str] = []

    def read(path: str) -> jax.Array:
        ours = _empty(shapes[path])

        def fill(name: str, index: tuple, load: Callable) -> None:
            stored = np.asarray(arrays[name])
            if not _fill(ours[index], stored if ours.shape else stored.reshape(()), load):
                damaged.append(name)

        list(pool.map(fill, *zip(*parts[path])))
        return jax.device_put(ours)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [read(_path(keys)) for keys, _ in leaves]
    refuse(sorted(damaged), f"the weights in {source} hold NaN or infinite numbers: {AGAIN}")
    return jax.tree_util.tree_unflatten(structure, found)


def _abstract_towers(config: CLIPConfig, layout: Layout) -> Any:
    """Towers without numbers, with the shapes of a single layer: tracing many takes seconds."""
    single = CLIPConfig(dataclasses.replace(config.text, layers=1), dataclasses.replace(config.image, layers=1))
    towers = nnx.eval_shape(lambda: layout.towers(single))
    towers.text.config, towers.image.config = config.text, config.image
    return towers


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    """A float32 array at an address from which JAX takes it on CPUs without a copy."""
    size = math.prod(shape) * 4
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(np.float32).reshape(shape)


def _fill(target: np.ndarray, stored: np.ndarray, load: Callable) -> bool:
    """Puts the numbers of a stored array where they go, some rows at a time. Returns whether all are finite."""
    if not stored.ndim or len(stored) <= ROWS:
        target[...] = load(stored)
        return bool(np.isfinite(target).all())
    finite = True
    for begin in range(0, len(stored), ROWS):
        rows = slice(begin, begin + ROWS)
        part = target[rows] if load is SAME[0] else target[..., rows]
        part[...] = np.ascontiguousarray(load(stored[rows]))  # half-precision numbers are moved before they get wider
        finite = finite and bool(np.isfinite(part).all())
    return finite


def without_prefix(arrays: Mapping, source: str, layout: Layout = CLIP) -> Mapping:
    """`arrays` without a common prefix of all names, or of the towers' names, such as "module." if a wrapper of the
    CLIP was saved.

    InputError if only some names have the prefix, because it is unclear what the others belong to.
    """
    single = "|".join(map(re.escape, layout.singles))
    known = re.compile(rf"(.*?\.|)(?:(?:text|vision)_model\..*|{single})", re.DOTALL)
    prefixes = {match[1] for match in map(known.fullmatch, arrays) if match} - {""}
    if not prefixes:
        return arrays
    prefix = min(prefixes)
    prefixed = [name for name in arrays if name.startswith(prefix)]
    found = {name.removeprefix(prefix): array for name, array in arrays.items()}
    bare = set(arrays) - set(prefixed) - set(layout.singles)
    if len(prefixes) > 1 or len(found) < len(arrays) or bare:
        raise InputError(
            f"only {len(prefixed):,} of the {len(arrays):,} arrays in {source} have the prefix {prefix!r}: "
            "save the CLIP alone, with CLIPModel.save_pretrained"
        )
    return found


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


def save_checkpoint(directory: str | Path, towers: Towers, dtype: DTypeLike = np.float32) -> None:
    """Writes config.json and model.safetensors as transformers reads them; tokenizer and preprocessing are separate."""
    from safetensors.numpy import save_file

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    config = CLIPConfig(towers.text.config, towers.image.config)
    (directory / "config.json").write_text(json.dumps(config.to_json(), indent=1) + "\n")
    arrays = {name: array.astype(dtype) for name, array in arrays_from_towers(towers).items()}
    save_file(arrays, directory / SINGLE, metadata={"format": "pt"})
