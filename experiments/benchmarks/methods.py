"""Seconds and memory of every method of `quality`, each in a process of its own.

    python -m experiments.benchmarks.methods --out=experiments/results/benchmark_methods_cpu.json

Drawn fruit by color under the true words, embedded beforehand. `seconds`: from embeddings to groups with one k-means
seed, the median of three after a first call that compiles. `memory`: what the process holds at most beyond what it
held before the first call. Prints one JSON line. About 6 minutes on two CPU cores.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import highest_memory, in_process, measure, print_result

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_integer("images", 300, "drawn pictures", lower_bound=20)
    flags.DEFINE_integer("repeats", 3, "measured calls", lower_bound=1)
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def run_method(method: str, clip_name: str, images: int, repeats: int) -> dict:
    """A row of the table."""
    import multimap_jax as mm
    from experiments.evaluation import case as cases
    from experiments.evaluation import datasets, methods
    from experiments.paper.released_eval import pool_images
    from multimap_jax.runtime.compilation import use_compilation_cache

    use_compilation_cache()
    cases.SEEDS = 1
    item, clip = datasets.find("fruit"), mm.load_clip(clip_name)
    labelled = datasets.twin("fruit", images, 1000, 2)
    config = mm.ProxyConfig.paper(block_size=methods.BLOCK)
    case = cases.make_case(item, labelled, "color", clip, clip.embed_images(labelled.images), config)
    case = dataclasses.replace(case, words=case.names, pooled=pool_images(clip, labelled.images))

    def run():
        return cases.labellings(methods.find(method)(case), case, 1)

    before = highest_memory()
    run()
    seconds = measure(run, repeats)
    return {"method": method, "seconds": float(np.median(seconds)), "memory": highest_memory() - before}


def main(_):
    from experiments.evaluation.quality import METHODS
    from multimap_jax.runtime.machine import machine

    arguments = (FLAGS.clip, FLAGS.images, FLAGS.repeats)
    rows = [in_process(run_method, method, *arguments)[0] | {"name": name} for method, name in METHODS.items()]
    print_result({"machine": machine(), "clip": FLAGS.clip, "images": FLAGS.images, "rows": rows}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
