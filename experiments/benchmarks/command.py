"""From the command to the report: seconds of the whole process on a small folder, and where they go.

    python -m experiments.benchmarks.command --out=experiments/results/benchmark_command_cpu.json
    python -m experiments.benchmarks.command --kept --images=1000 \\
        --out=experiments/results/benchmark_command_kept_cpu.json

200 drawn fruit with the embedded checkpoint, by color with three words, in a process of its own for every measurement,
one run before them so that compiled programs lie in the cache. Prints one JSON line: `seconds`, the median of --repeats
whole processes, `spread`, the lowest and highest, and `parts`, the median of what run.json says of each part; `start`
is what is left, mostly Python's imports. Every run has a folder --out of its own; with --kept all have one, in which
the images were grouped by another aspect before: what is measured is a second aspect. About 1 minute.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

from experiments.benchmarks.measuring import print_result
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
WORDS = {"color": "red,green,yellow", "species": "apple,banana,grape"}


def define_flags() -> None:
    flags.DEFINE_integer("images", 200, "drawn pictures", lower_bound=3)
    flags.DEFINE_bool("kept", False, "measure a second aspect of images that are embedded already")
    flags.DEFINE_integer("repeats", 5, "measurements", lower_bound=1)
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def run_command(folder: Path, out: Path, aspect: str) -> dict[str, float]:
    """Seconds of each part of one run, "whole" among them."""
    command = [sys.executable, "-m", "multimap_jax", f"--images={folder}", "--subject=fruit", f"--aspect={aspect}"]
    command += [f"--words={aspect}={WORDS[aspect]}", f"--clip={FLAGS.clip}", f"--out={out}", "--noprogress"]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - begin
    parts = json.loads((out / "run.json").read_text())["timings"]
    return {"whole": whole, "start": whole - parts.pop("total")} | parts


def main(_):
    from multimap_jax.scenes import write_scenes

    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "fruit"
        outs = [Path(base) / f"out{0 if FLAGS.kept else i}" for i in range(1 + FLAGS.repeats)]
        write_scenes(folder, "fruit", seed=1, count=FLAGS.images)
        run_command(folder, outs[0], "species")
        runs = [run_command(folder, out, "color") for out in outs][1:]
    medians = {part: round(statistics.median(run[part] for run in runs), 2) for part in runs[0]}
    whole = sorted(round(run["whole"], 2) for run in runs)
    found = {
        "machine": machine(),
        "clip": FLAGS.clip,
        "images": FLAGS.images,
        "kept": FLAGS.kept,
        "seconds": medians.pop("whole"),
    }
    print_result(found | {"spread": [whole[0], whole[-1]], "parts": medians}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
