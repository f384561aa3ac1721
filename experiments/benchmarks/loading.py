"""How fast a large checkpoint is loaded, and how much memory that takes, beside reading its file.

    python -m experiments.benchmarks.loading --out=experiments/results/benchmark_loading_cpu.json

Prints one JSON line. Writes a CLIP of the size of ViT-H/14 with random weights in float16 to a temporary folder
(1.87 GB), reads the file once so that the system keeps it in memory, then measures, each in a process of its own:
reading the file into memory of its own (`read`) and into a little memory that is used again (`read_through`); loading
it; loading it with an image tower in bf16. Memory is the peak of the process above what it had after its imports, with
the pages of the file that it has mapped. Before it is measured, a process writes as much memory and gives it back,
because a virtual machine gets memory only when it is first used, which takes longer than everything else. About two
minutes on two CPU cores; Linux alone.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import in_process, measure, print_result, process_status
from experiments.benchmarks.random_clip import write_random_clip
from multimap_jax.encoders.clip.config import ImageConfig, TextConfig
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
# The image tower of ViT-H/14 and a text tower that has as many numbers with the vocabulary of the embedded tokenizer.
IMAGE = ImageConfig(224, 14, 1280, 32, 16, 5120, 1024, "gelu")
TEXT = TextConfig(0, 77, 1024, 24, 16, 4096, 1024, "gelu")
CHUNK = 2**22


def define_flags() -> None:
    flags.DEFINE_integer("repeats", 3, "measurements of each", lower_bound=1)
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def write(folder: str) -> dict[str, int]:
    """Writes the checkpoint. The bytes of its file, and of its arrays in float32."""
    write_random_clip(Path(folder), TEXT, IMAGE, np.float16)
    size = (Path(folder) / "model.safetensors").stat().st_size
    return {"file": size, "float32": 2 * size}


def read(folder: str, repeats: int) -> dict[str, float]:
    """Median seconds of reading the file as a whole, and through memory that is used again."""
    path, memory = Path(folder) / "model.safetensors", bytearray(CHUNK)
    use_memory(folder)

    def through() -> None:
        with path.open("rb", buffering=0) as file:
            while file.readinto(memory):
                pass

    runs = {"read": lambda: path.read_bytes(), "read_through": through}
    return {name: round(statistics.median(measure(run, repeats + 1)[1:]), 3) for name, run in runs.items()}


def use_memory(folder: str) -> None:
    """Has the system give this process as much memory as the towers take, and takes it back."""
    np.ones(3 * (Path(folder) / "model.safetensors").stat().st_size, np.uint8)


def load(folder: str, precision: str) -> dict[str, float]:
    """Seconds of loading the checkpoint, and the peak of memory above what the imports took, in bytes."""
    import jax

    from multimap_jax.encoders.load import load_clip

    load_clip("embedded").embed_texts(["a fruit"])
    use_memory(folder)
    before, begin = process_status("VmRSS"), time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    clip = load_clip(folder, precision)
    jax.block_until_ready(jax.tree.leaves(clip.towers))
    seconds, peak, after = time.perf_counter() - begin, process_status("VmHWM"), process_status("VmRSS")
    return {"seconds": seconds, "peak": peak - before, "after": after - before}


def main(_) -> None:
    with tempfile.TemporaryDirectory() as folder:
        size, _ = in_process(write, folder)
        result = {"machine": machine(), "bytes": size} | in_process(read, folder, FLAGS.repeats)[0]
        for precision in ("float32", "bf16"):
            runs = [in_process(load, folder, precision)[0] for _ in range(FLAGS.repeats)]
            result[precision] = {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}
    print_result(result, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
