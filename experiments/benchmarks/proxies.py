"""Time of one optimisation step of one image: ours beside three PyTorch loops, in one run.

    python -m experiments.benchmarks.proxies
    python -m experiments.benchmarks.proxies --tower=ViT-L/14 --out=experiments/results/benchmark_vit_l14.json

Prints one JSON line: {"machine": …, "rows": [{"what": …, "precision": …, "tower": …, "ms_per_image_step": …, …}], …}.

  released_loop  what the released program does at every step: all 77 tokens, the gradients of the weights too, Adagrad,
                 batches of 20
  frozen_loop    all 77 tokens, gradients of the proxies alone, Adam, one batch of 64
  suffix_torch   a good PyTorch baseline: only the tokens from the slot on, keys and values of the others cached, in the
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

from absl import app, flags

from experiments.benchmarks.measuring import check_installed, in_process, in_words, print_result
from experiments.benchmarks.steps import (
    FULL_LOOPS,
    TOWERS,
    image_step_times,
    our_row,
    peak_gflops,
    step_flops,
    torch_row,
)
from multimap_jax.runtime.machine import machine

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


def define_flags() -> None:
    flags.DEFINE_enum("tower", "ViT-B/32", list(TOWERS), "size of the text tower")
    flags.DEFINE_integer("images", 256, "images at once, of suffix_torch and ours", lower_bound=1)
    flags.DEFINE_integer("steps", 10, "timed steps of suffix_torch and ours in one measurement", lower_bound=1)
    flags.DEFINE_integer("batches", 3, "timed steps of the loops over all 77 tokens in one measurement", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "measurements of every row", lower_bound=1)
    flags.DEFINE_list("only", None, "rows to measure, such as ours,suffix_torch; all if not given")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def row(what: str, precision: str, tower: str) -> dict:
    """One row; with an "error" in it where the machine or the library cannot do it."""
    config = TOWERS[tower]
    images, steps = FULL_LOOPS.get(what, FLAGS.images), FLAGS.batches if what in FULL_LOOPS else FLAGS.steps
    head = {"what": what, "precision": precision, "tower": tower, "images": images}
    work = (our_row, precision) if what == "ours" else (torch_row, what, precision)
    try:
        found, memory = in_process(*work, config, images, steps, FLAGS.repeats)
    except Exception as error:  # torch.compile fails in a dozen ways, for want of a compiler among them
        return head | {"error": in_words(error)}
    each = [second / (images * steps) for second in found["seconds"]]
    flops = step_flops(what, config)
    return head | {
        **image_step_times(each),
        "flops": flops,
        **({"flops_xla": round(found["flops_xla"])} if "flops_xla" in found else {}),
        "gflops": round(1e-9 * flops / statistics.median(each), 1),
        "peak_memory": found["peak_memory"] or memory,
        "compile_s": round(found["compile_s"], 2),
    }


def main(_):
    check_installed("torch")
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
        baselines = [ms for (what, kind), ms in times.items() if what.startswith("suffix") and kind == precision and ms]
        if baselines and times.get(("ours", precision)):
            result[f"times_faster_than_suffix_{precision}"] = round(min(baselines) / times["ours", precision], 2)
    return result


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # compile_s is that of a first run
    define_flags()
    app.run(main)
