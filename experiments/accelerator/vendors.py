"""What makers of accelerators say that one device computes at most, dense, in 10⁹ operations per second."""

from __future__ import annotations

# How JAX's name of a device begins -> figures; the first that fits counts. From NVIDIA's data sheets of the A100, H100
# and H200: the H100's and H200's give tensor cores with sparsity, half as much is without; "float32" is that of the
# other cores. From the Cloud TPU documentation's pages on v4, v5e, v5p and v6e, "peak compute per chip": bf16 alone.
FIGURES = {
    "NVIDIA A100": {"bf16": 312_000, "tf32": 156_000, "float32": 19_500},
    "NVIDIA H100 80GB HBM3": {"bf16": 989_000, "tf32": 494_500, "float32": 67_000},  # SXM; the others are slower
    "NVIDIA H200": {"bf16": 989_000, "tf32": 494_500, "float32": 67_000},
    "TPU v4": {"bf16": 275_000},
    "TPU v5 lite": {"bf16": 197_000},
    "TPU v5e": {"bf16": 197_000},
    "TPU v5": {"bf16": 459_000},  # v5p
    "TPU v6": {"bf16": 918_000},
}
OTHERS = ("TPU v4 lite", "NVIDIA H200 NVL")  # whose names begin so and which have other figures


def vendor_gflops(kind: str, precision: str) -> int | None:
    """The figure for one device of this `kind`, as JAX calls it; None where it is not known here."""
    if kind.startswith(OTHERS) or " MIG " in kind:
        return None
    return next((found.get(precision) for name, found in FIGURES.items() if kind.startswith(name)), None)
