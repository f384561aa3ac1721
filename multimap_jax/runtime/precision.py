"""The precisions "float32", "tf32", "bf16" and "float64": dtypes of weights, and precision of matrix products."""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import numpy as np

# precision -> JAX's name for the precision of matrix products, and the dtype of weights and activations
_PRODUCTS = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "default", "float64": "highest"}
_DTYPES = {"float32": np.float32, "tf32": np.float32, "bf16": jax.numpy.bfloat16, "float64": np.float64}


def compute_dtype(precision: str) -> Any:
    """The dtype of weights and activations at a precision."""
    return _DTYPES[precision]


def matmul_precision(precision: str) -> contextlib.AbstractContextManager:
    """A context that sets the precision of matrix products: GPUs and TPUs use TF32 and bf16 unless told otherwise."""
    return jax.default_matmul_precision(_PRODUCTS[precision])
