"""One mesh axis, `images`: everything that is done for each image is split along it, the rest is replicated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

AXIS = "images"
PRECISIONS = ("float32", "tf32", "bf16", "float64")
_MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "default", "float64": "highest"}
_DTYPE = {"float32": np.float32, "tf32": np.float32, "bf16": jax.numpy.bfloat16, "float64": np.float64}


def image_mesh() -> Mesh:
    """All devices of this process along `images`."""
    return Mesh(np.array(jax.local_devices()), (AXIS,))


def split_images(function: Callable, mesh: Mesh, shared: int) -> Callable:
    """`function` run on every device's share of the images; its first `shared` arguments are the same everywhere.

    Every device compiles the shape of its own share only, so results do not depend on the number of devices.
    """

    def run(*arguments):
        specs = tuple(PartitionSpec() if i < shared else PartitionSpec(AXIS) for i in range(len(arguments)))
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False)(
            *arguments
        )

    return run


def pad_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """array [n, ...] with its first row repeated at the end until there are `rows`."""
    return array if len(array) == rows else np.concatenate([array, np.repeat(array[:1], rows - len(array), axis=0)])


def compute_dtype(precision: str):
    """The dtype of weights and activations under a precision."""
    return _DTYPE[precision]


def matmul_precision(precision: str) -> contextlib.AbstractContextManager:
    """float32 products are exact only when asked for: GPUs and TPUs default to TF32 and bf16."""
    return jax.default_matmul_precision(_MATMUL[precision])
