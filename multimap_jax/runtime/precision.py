"""What "float32", "tf32", "bf16" and "float64" mean for weights and for matrix products."""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import numpy as np

# precision -> JAX's name for how exact matrix products are, and the dtype of weights and activations
_PRODUCTS = {"float32": "highest", "tf32": "tensorfloat32", "bf16": "default", "float64": "highest"}
_DTYPES = {"float32": np.float32, "tf32": np.float32, "bf16": jax.numpy.bfloat16, "float64": np.float64}


def compute_dtype(precision: str) -> Any:
    """The dtype of weights and activations under a precision."""
    return _DTYPES[precision]


def matmul_precision(precision: str) -> contextlib.AbstractContextManager:
    """float32 products are exact only when asked for: GPUs and TPUs default to TF32 and bf16."""
    return jax.default_matmul_precision(_PRODUCTS[precision])
