"""Memory of `MultiMaP.fit` on many embeddings, under the default recipe.

    python -m experiments.benchmarks.fit --out=experiments/results/benchmark_fit_cpu.json

Rows of 512 around the prompts of the words, a group a word, with a small random text tower; each fit in a process of
its own. Prints one JSON line; of every row `peak_memory`, the highest of the process in bytes, `array_bytes`, that of
the embeddings, and `beyond`: peak_memory less the array and less the peak of a fit on 1,000 rows with as many words.
About 4 minutes on two CPU cores, nearly all of it with 100 words.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import in_process, print_result
from experiments.benchmarks.random_clip import SMALL_IMAGE, SMALL_TEXT, write_random_clip
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
FEW = 1000


def define_flags() -> None:
    flags.DEFINE_integer("images", 1_000_000, "rows", lower_bound=FEW)
    flags.DEFINE_list("words", ["3", "100"], "how many words, each a measurement")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def fit(directory: str, images: int, words: int) -> float:
    """Seconds of one fit on `images` rows made here."""
    import multimap_jax as mm

    clip = mm.load_clip(directory)
    aspect = mm.Aspect("color", words=tuple(f"word {i}" for i in range(words)))
    random, centroids = np.random.default_rng(0), clip.embed_texts([aspect.fill(word) for word in aspect.words])
    rows = np.empty((images, SMALL_TEXT.embed), np.float32)
    for begin in range(0, images, 4096):
        part = rows[begin : begin + 4096]
        part[:] = centroids[random.integers(words, size=len(part))]
        part += 0.02 * random.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    begin = time.perf_counter()
    mm.MultiMaP(aspect, clip).fit(rows)
    return time.perf_counter() - begin


def main(_):
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_random_clip(Path(folder), SMALL_TEXT, SMALL_IMAGE)
        for words in map(int, FLAGS.words):
            _, small = in_process(fit, folder, FEW, words)
            seconds, peak = in_process(fit, folder, FLAGS.images, words)
            array = 4 * SMALL_TEXT.embed * FLAGS.images
            row = {"images": FLAGS.images, "words": words, "seconds": round(seconds, 1), "peak_memory": peak}
            rows.append(row | {"array_bytes": array, "small_peak": small, "beyond": peak - array - small})
            print(rows[-1], flush=True)
    print_result({"machine": machine(), "rows": rows}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
