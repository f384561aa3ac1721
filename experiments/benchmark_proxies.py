"""Time of one optimisation step of one image: ours beside three PyTorch loops, in one run.

    python -m experiments.benchmark_proxies
    python -m experiments.benchmark_proxies --tower=ViT-L/14 --out=experiments/results/benchmark_vit_l14.json

Prints one JSON line: {"machine": …, "rows": [{"what": …, "precision": …, "tower": …, "ms_per_image_step": …, …}], …}.

  released_loop  what the released program does at every step: all 77 tokens, the gradients of the weights too, Adagrad,
                 batches of 20
  frozen_loop    all 77 tokens, gradients of the proxies alone, Adam, one batch of 64
  suffix_torch   a good PyTorch rival: only the tokens from the slot on, keys and values of the others cached, in the
                 last layer the end token alone, all images at once, Adam; eager, and "_compiled" with torch.compile
  ours           the compiled chunk of `multimap_jax.fit_proxies`, in each precision

All on random weights of the tower's size, each row in a process of its own, one after the other. Fields of a row:
`images` in one step; `ms_per_image_step`, the median of --repeats measurements, and `spread`, the lowest and highest;
`flops`, operations of one image and step counted on paper (a multiply and an add are two; layer norms, softmax and
activations are left out), and `flops_xla` as XLA counts its own program; `fraction_of_peak`, of the fastest plain
matrix product of that precision measured in the same run by either library (`peak_gflops`); `peak_memory`, bytes: of
the accelerator, or of the whole process on a CPU; `compile_s`. Needs the test extra (PyTorch). About 8 minutes on two
CPU cores.
"""

from __future__ import annotations

import os
import statistics
import time

import numpy as np
from absl import app, flags

from experiments.benchmarking import in_process, measure, print_result
from multimap_jax.clip.config import TextConfig
from multimap_jax.machine import machine
from multimap_jax.prompts import Prompt
from multimap_jax.run.estimate import full_operations, step_operations

TOWERS = {
    "ViT-B/32": TextConfig(49408, 77, 512, 12, 8, 2048, 512, end_token=49407),
    "ViT-B/16": TextConfig(49408, 77, 512, 12, 8, 2048, 512, end_token=49407),
    "ViT-L/14": TextConfig(49408, 77, 768, 12, 12, 3072, 768, end_token=49407),
}
# "a fruit with the color of *": eight tokens before the slot, one after it.
IDS, SLOT = (49406, *range(1000, 1007), 265, 49407), 8
ROWS = [
    ("released_loop", "float32"),
    ("frozen_loop", "float32"),
    ("suffix_torch", "float32"),
    ("suffix_torch", "bf16"),
    ("suffix_torch_compiled", "float32"),
    ("suffix_torch_compiled", "bf16"),
    ("ours", "float32"),
    ("ours", "bf16"),
]

FLAGS = flags.FLAGS
flags.DEFINE_enum("tower", "ViT-B/32", list(TOWERS), "size of the text tower")
flags.DEFINE_integer("images", 256, "images at once, of suffix_torch and ours", lower_bound=1)
flags.DEFINE_integer("steps", 10, "timed steps of suffix_torch and ours in one measurement", lower_bound=1)
flags.DEFINE_integer("batches", 3, "timed steps of the loops over all 77 tokens in one measurement", lower_bound=1)
flags.DEFINE_integer("repeats", 3, "measurements of every row", lower_bound=1)
flags.DEFINE_list("only", None, "rows to measure, such as ours,suffix_torch; all if not given")
flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def torch_row(what: str, precision: str, config: TextConfig, images: int, steps: int, repeats: int) -> dict:
    from experiments import torch_loops

    torch_loops.use_all_cores()
    if what.startswith("suffix"):
        step = torch_loops.suffix(config, IDS, SLOT, images, precision, what.endswith("compiled"))
    else:
        step = torch_loops.full_prompt(config, IDS, SLOT, images, what == "frozen_loop")

    def run(count=steps):
        for _ in range(count):
            step()
        torch_loops.synchronize()

    first = measure(lambda: run(1), 1)[0]
    seconds = measure(run, repeats)
    compile_s = max(0.0, first - statistics.median(seconds) / steps)
    return {"seconds": seconds, "compile_s": compile_s, "peak_memory": torch_loops.peak_memory()}


def our_row(precision: str, config: TextConfig, images: int, steps: int, repeats: int) -> dict:
    import jax

    from multimap_jax.blocks import compiled_chunk, compiled_start
    from multimap_jax.clip.slot import unit
    from multimap_jax.clip.towers import TextTower
    from multimap_jax.descent import Common, Target
    from multimap_jax.mesh import image_mesh
    from multimap_jax.precision import compute_dtype, matmul_precision
    from multimap_jax.proxies import compiled_encoder
    from multimap_jax.recipes import ProxyConfig

    random, mesh = np.random.default_rng(0), image_mesh()

    def rows(*shape):
        return random.normal(size=shape, scale=0.02).astype(np.float32)

    with matmul_precision(precision):
        tower = jax.tree.map(lambda array: array.astype(compute_dtype(precision)), TextTower(config))
        encoder = compiled_encoder(tower, IDS, SLOT, True, True)
        numbers = jax.tree.map(np.float32, ProxyConfig.paper())
        common = Common(encoder, rows(4, config.width), rows(2, config.width), np.float32(1), None, numbers)
        image = np.asarray(unit(rows(images, config.embed)))
        targets = Target(image, *np.zeros((2, images), np.int32), np.ones(images, np.float32))
        common, targets = jax.device_put((common, targets))
        carry = jax.block_until_ready(compiled_start(mesh, common, targets))
        begin = time.perf_counter()
        chunk = compiled_chunk.lower(mesh, common, 0, 1, carry, targets).compile()
        compile_s = time.perf_counter() - begin
        carry, _ = jax.block_until_ready(chunk(common, 0, 1, carry, targets))

        def run():
            nonlocal carry
            carry, _ = jax.block_until_ready(chunk(common, 0, steps, carry, targets))

        seconds = measure(run, repeats)
    device = jax.local_devices()[0]
    memory = (device.memory_stats() or {}).get("peak_bytes_in_use") if device.platform != "cpu" else None
    # The loop's number of steps is only known when it runs: XLA counts its body once.
    return {
        "seconds": seconds,
        "compile_s": compile_s,
        "peak_memory": memory,
        "flops_xla": chunk.cost_analysis().get("flops", 0) / images,
    }


def peak_gflops(library: str, precision: str, size: int = 2048, seconds: float = 2.0) -> float:
    """Best rate of a plain matrix product of size³, in 10⁹ operations per second."""
    if library == "torch":
        from experiments import torch_loops

        torch_loops.use_all_cores()
        multiply, wait = torch_loops.product(size, precision), torch_loops.synchronize
    else:
        import jax
        import jax.numpy as jnp

        dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
        a = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
        product = jax.jit(lambda a, b: jnp.matmul(a, b, preferred_element_type=jnp.float32))
        multiply, wait = (lambda: product(a, a).block_until_ready()), (lambda: None)
    multiply()
    wait()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:

        def run():
            multiply()
            wait()

        best = min(best, *measure(run, 3))
    return 2e-9 * size**3 / best


def row(what: str, precision: str, tower: str) -> dict:
    """One row; with an "error" in it where the machine or the library cannot do it."""
    config, prompt = TOWERS[tower], Prompt(IDS, SLOT)
    images = {"released_loop": 20, "frozen_loop": 64}.get(what, FLAGS.images)
    steps = FLAGS.batches if what in ("released_loop", "frozen_loop") else FLAGS.steps
    head = {"what": what, "precision": precision, "tower": tower, "images": images}
    work = (our_row, precision) if what == "ours" else (torch_row, what, precision)
    try:
        found, memory = in_process(*work, config, images, steps, FLAGS.repeats)
    except Exception as error:  # torch.compile fails in a dozen ways, for want of a compiler among them
        return head | {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]}
    each = [second / (images * steps) for second in found["seconds"]]
    if what in ("released_loop", "frozen_loop"):
        flops = full_operations(config) * (3 if what == "released_loop" else 2)
    else:
        flops = step_operations(config, prompt)
    return head | {
        "ms_per_image_step": round(1e3 * statistics.median(each), 4),
        "spread": [round(1e3 * min(each), 4), round(1e3 * max(each), 4)],
        "flops": flops,
        **({"flops_xla": round(found["flops_xla"])} if "flops_xla" in found else {}),
        "gflops": round(1e-9 * flops / statistics.median(each), 1),
        "peak_memory": found["peak_memory"] or memory,
        "compile_s": round(found["compile_s"], 2),
    }


def main(_):
    names = {what for what, _ in ROWS}
    unknown = sorted(set(FLAGS.only or ()) - names)
    if unknown:
        raise app.UsageError(f"unknown rows {', '.join(unknown)}; known: {', '.join(sorted(names))}")
    wanted = [(what, precision) for what, precision in ROWS if not FLAGS.only or what in FLAGS.only]
    rows = [row(what, precision, FLAGS.tower) for what, precision in wanted]
    peaks = {
        precision: {name: round(in_process(peak_gflops, name, precision)[0], 1) for name in ("jax", "torch")}
        for precision in ("float32", "bf16")
    }
    for each in rows:
        if "gflops" in each:
            each["fraction_of_peak"] = round(each["gflops"] / max(peaks[each["precision"]].values()), 3)
    print_result({"machine": machine(), "rows": rows, "peak_gflops": peaks} | comparisons(rows), FLAGS.out)


def comparisons(rows: list[dict]) -> dict[str, float]:
    """How many times faster ours is: than the released loop, and than the best suffix_torch of the same precision."""
    times = {(each["what"], each["precision"]): each.get("ms_per_image_step") for each in rows}
    result, ours = {}, times.get(("ours", "float32"))
    if ours and times.get(("released_loop", "float32")):
        result["times_faster"] = round(times["released_loop", "float32"] / ours, 1)
    for precision in ("float32", "bf16"):
        rivals = [ms for (what, kind), ms in times.items() if what.startswith("suffix") and kind == precision and ms]
        if rivals and times.get(("ours", precision)):
            result[f"times_faster_than_suffix_{precision}"] = round(min(rivals) / times["ours", precision], 2)
    return result


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # compile_s is that of a first run
    app.run(main)
