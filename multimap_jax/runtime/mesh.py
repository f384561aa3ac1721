"""One mesh axis, `images`: work per image is split along it, everything else is replicated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

AXIS = "images"


def image_mesh() -> Mesh:
    """A mesh of all devices of this process along `images`."""
    return Mesh(np.array(jax.local_devices()), (AXIS,))


def split_images(function: Callable, mesh: Mesh, replicated: int) -> Callable:
    """Runs `function` on each device's part of the images; the first `replicated` arguments are the same on all.

    Each device compiles only the shape of its own part, so results do not depend on the number of devices.
    """

    def run(*arguments: Any) -> Any:
        specs = tuple(PartitionSpec() if i < replicated else PartitionSpec(AXIS) for i in range(len(arguments)))
        split = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False)
        return split(*arguments)

    return run


def pad_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """array [n, ...] padded to `rows` rows with copies of its first row."""
    return array if len(array) == rows else np.concatenate([array, np.repeat(array[:1], rows - len(array), axis=0)])
