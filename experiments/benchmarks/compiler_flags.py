"""What XLA's own flags change in the time of one optimisation step, and in its result.

    python -m experiments.benchmarks.compiler_flags --out=experiments/results/compiler_flags_cpu.json

The step is that of `experiments.benchmarks.proxies` (ViT-B/32, random weights, float32), compiled and run in a process
of its own for each set of flags, in turn, --rounds times. Prints one JSON line; each row has the flags,
`ms_per_image_step` (median, `spread`: lowest and highest), `compile_s`, and `same_bits`: whether the proxies after as
many steps are those without flags. A set of flags that this jaxlib does not know has an `error`. Flags that allow XLA
to break the rules of floating-point numbers (fast math) are not tried. About 11 minutes on two CPU cores.
"""

from __future__ import annotations

import hashlib
import os
import statistics

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import in_process, in_words, measure, print_result
from experiments.benchmarks.steps import TOWERS, compiled_steps, image_step_times
from multimap_jax.proxies.recipes import ProxyConfig
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
FUSIONS = "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_ELTWISE,LIBRARY_FUSION_TYPE_REDUCE"
# What they try -> XLA_FLAGS.
VARIANTS = {
    "none": "",
    "vectors of 512 bits": "--xla_cpu_prefer_vector_width=512",
    "vectors of 128 bits": "--xla_cpu_prefer_vector_width=128",
    "no AVX-512": "--xla_cpu_max_isa=AVX2",
    "products by oneDNN": "--xla_cpu_use_onednn=true --xla_cpu_experimental_onednn_custom_call=true",
    "fusions by oneDNN": f"--xla_cpu_use_onednn=true --xla_cpu_experimental_onednn_fusion_type={FUSIONS}",
    "products by XNNPACK": "--xla_cpu_use_xnnpack=true",
    "fusions by XNNPACK": f"--xla_cpu_use_xnnpack=true --xla_cpu_experimental_xnn_fusion_type={FUSIONS}",
    "graphs by XNNPACK": (
        "--xla_cpu_use_xnnpack=true --xla_cpu_experimental_xnn_graph_fusion_mode=XNN_GRAPH_FUSION_MODE_GREEDY"
    ),
    "fusions by YNNPACK": f"--xla_cpu_experimental_ynn_fusion_type={FUSIONS}",
    "single products by YNNPACK": "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    "no library for fusions": "--xla_cpu_experimental_ynn_fusion_type= --xla_cpu_experimental_xnn_fusion_type=",
    "fast run time": "--xla_cpu_opt_preset=CPU_OPT_PRESET_FAST_RUNTIME",
    "concurrent schedule": "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_CONCURRENCY_OPTIMIZED",
    "products on one thread": "--xla_cpu_multi_thread_eigen=false",
    "LLVM's loops for fusions": "--xla_cpu_use_fusion_emitters=false",
    "fusions of several outputs": "--xla_cpu_use_multi_output_fusion=true",
}


def define_flags() -> None:
    flags.DEFINE_enum("tower", "ViT-B/32", list(TOWERS), "size of the text tower")
    flags.DEFINE_integer("images", 256, "images at once", lower_bound=1)
    flags.DEFINE_integer("steps", 10, "timed steps of one measurement", lower_bound=1)
    flags.DEFINE_integer("rounds", 3, "times that every set of flags is measured", lower_bound=1)
    flags.DEFINE_list("only", None, "sets of flags to measure; all if not given")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def step(flags_: str, tower: str, images: int, steps: int) -> dict:
    """Seconds of a step of all images, the better of two measurements, and a digest of the proxies. For a process of
    its own: XLA reads its flags once, when it is first used."""
    import jax

    os.environ["XLA_FLAGS"] = flags_
    run, _, compile_s = compiled_steps("float32", TOWERS[tower], images, ProxyConfig.paper())
    run(1)
    seconds = min(measure(lambda: run(steps), 2)) / steps
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(run(steps))))
    return {"seconds": seconds, "compile_s": compile_s, "digest": digest.hexdigest()}


def measured(flags_: str, tower: str, images: int, steps: int) -> dict:
    """`step` in a process with these flags, or an error in words."""
    try:
        return in_process(step, flags_, tower, images, steps)[0]
    except Exception as error:  # an unknown flag ends the process
        return {"error": in_words(error)}


def row(name: str, runs: list[dict], images: int, digest: str) -> dict:
    """One row of the table. runs: of one set of flags. digest: of the proxies without flags."""
    head = {"what": name, "flags": VARIANTS[name]}
    if errors := [run["error"] for run in runs if "error" in run]:
        return head | {"error": errors[0]}
    return head | {
        **image_step_times([run["seconds"] / images for run in runs]),
        "compile_s": round(statistics.median(run["compile_s"] for run in runs), 2),
        "same_bits": all(run["digest"] == digest for run in runs),
    }


def main(_):
    names = list(dict.fromkeys(["none", *(FLAGS.only or VARIANTS)]))
    if unknown := [name for name in names if name not in VARIANTS]:
        raise app.UsageError(f"unknown sets of flags {', '.join(unknown)}; known: {', '.join(VARIANTS)}")
    runs: dict[str, list[dict]] = {name: [] for name in names}
    for _ in range(FLAGS.rounds):
        for name in names:
            if not any("error" in run for run in runs[name]):
                runs[name].append(measured(VARIANTS[name], FLAGS.tower, FLAGS.images, FLAGS.steps))
    digest = runs["none"][0].get("digest", "")
    rows = [row(name, runs[name], FLAGS.images, digest) for name in names]
    print_result({"machine": machine(), "tower": FLAGS.tower, "images": FLAGS.images, "rows": rows}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
