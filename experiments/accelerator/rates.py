"""Image-steps a second: of the towers, by block size, and of PyTorch on the same device."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from functools import partial
from importlib.util import find_spec

from experiments.accelerator.common import PRECISIONS, Piece, Sizes, device_of, of_peak, peak_memory
from experiments.benchmarks.measuring import highest_memory, measure
from experiments.benchmarks.steps import FULL_LOOPS, compiled_steps, step_flops, torch_row
from multimap_jax.encoders.clip.config import TextConfig
from multimap_jax.proxies.recipes import ProxyConfig

# What PyTorch runs, the most telling first: the frozen suffix is the good baseline.
TORCH = (
    ("suffix_torch", "float32"),
    ("released_loop", "float32"),
    ("suffix_torch", "tf32"),
    ("suffix_torch", "bf16"),
    ("frozen_loop", "float32"),
)
TORCH_COMPILED = tuple((f"{what}_compiled", precision) for what, precision in TORCH if what == "suffix_torch")


def steps(sizes: Sizes, found: dict, end: float) -> Iterable[Piece]:
    """Image-steps a second of the default tower."""
    name, config = sizes.default
    for precision in PRECISIONS:
        yield {"tower": name, "precision": precision}, partial(step_rate, sizes, config.text, precision, found)


def blocks(sizes: Sizes, found: dict, end: float) -> Iterable[Piece]:
    """The same by block size, in the default precision. The sizes rise, so that each peak is its own."""
    name, config = sizes.default
    for block in sizes.blocks:
        head = {"tower": name, "precision": "float32", "block": block}
        yield head, partial(step_rate, sizes, config.text, "float32", found, block)


def step_rate(sizes: Sizes, config: TextConfig, precision: str, found: dict, block: int | None = None) -> dict:
    import jax

    from multimap_jax.proxies.solver import CHUNK, default_block_size

    block = block or sizes.block or default_block_size()
    images = block * jax.local_device_count()
    run, chunk, compile_s = compiled_steps(precision, config, images, ProxyConfig())
    run(1)
    once = measure(lambda: run(2), 1)[0] / 2
    count = min(CHUNK, max(1, round(sizes.seconds / 3 / once)))
    repeats = min(20, max(3, round(sizes.seconds / (count * once))))
    rates = sorted(images * count / seconds for seconds in measure(lambda: run(count), repeats))
    rate = statistics.median(rates)
    return {
        "block": block,
        "image_steps_per_second": round(rate, 1),
        "spread": [round(rates[0], 1), round(rates[-1], 1)],
        **of_peak(found, precision, 1e-9 * rate * step_flops("ours", config), jax.local_device_count()),
        "compile_s": round(compile_s, 1),
        "program_memory": program_memory(chunk),
        **peak_memory(),
    }


def program_memory(compiled) -> int | None:
    """Bytes of a compiled program's arguments, results and what it needs between; None where XLA does not say."""
    try:
        found = compiled.memory_analysis()
        parts = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
        return int(parts - found.alias_size_in_bytes)
    except Exception:  # not every backend has it
        return None


def recommended_block(rows: list[dict], default: int | None) -> dict | None:
    """The smallest block whose rate is 97% of the best one or more, beside the default and how many times faster it is
    than that; None before any was measured."""
    rates = {row["block"]: row["image_steps_per_second"] for row in rows if "error" not in row}
    if not rates:
        return None
    chosen = min(block for block, rate in rates.items() if rate >= 0.97 * max(rates.values()))
    gain = round(rates[chosen] / rates[default], 3) if default in rates else None
    return {"recommended": chosen, "default": default, "gain": gain}


def torch(sizes: Sizes, found: dict, end: float) -> Iterable[Piece]:
    """PyTorch's released loop and a good baseline on the same device, with the default tower."""
    for what, precision in TORCH + (TORCH_COMPILED if sizes.compiled else ()):
        images = FULL_LOOPS.get(what, sizes.torch_images)
        head = {"what": what, "tower": sizes.default[0], "precision": precision, "images": images}
        yield head, partial(torch_rate, sizes, what, precision, images, found)


def torch_rate(sizes: Sizes, what: str, precision: str, images: int, found: dict) -> dict:
    if find_spec("torch") is None:
        return {"error": "PyTorch is not installed here"}
    from experiments.benchmarks import torch_loops

    if torch_loops.DEVICE == "cpu" and device_of(found).get("platform") != "cpu":
        return {"error": "this PyTorch sees no accelerator"}
    config = sizes.default[1].text
    torch_loops.forget_peak()
    torch_loops.exact_products(precision != "tf32")
    row = torch_row(what, precision, config, images, sizes.torch_steps, 3)
    rates = sorted(images * sizes.torch_steps / seconds for seconds in row["seconds"])
    rate = statistics.median(rates)
    return {
        "device": torch_loops.DEVICE,
        "image_steps_per_second": round(rate, 1),
        "spread": [round(rates[0], 1), round(rates[-1], 1)],
        **of_peak(found, precision, 1e-9 * rate * step_flops(what, config), 1),
        "compile_s": round(row["compile_s"], 1),
        "peak_memory": row["peak_memory"] or highest_memory(),
        "peak_of": "device" if row["peak_memory"] else "process",
    }
