"""How fast each family of encoders is: its image tower beside transformers' on PyTorch, and one step of its proxies.

    python -m experiments.benchmarks.families --out=experiments/results/benchmark_families_cpu.json

Prints one JSON line. The towers have the sizes of released checkpoints and random weights, the same on both sides. Each
side runs in a process of its own on pixels that are scaled already, in float32, PyTorch in batches of 32, ours in those
that it uses. The step is one of the paper's recipe (see `experiments.benchmarks.proxies`), ours alone. open_clip's
checkpoints are run by CLIP's towers. About 6 minutes on two CPU cores; needs the test extra (PyTorch).
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import check_installed, in_process, measure, print_result
from experiments.benchmarks.steps import TOWERS, our_row, peak_gflops
from multimap_jax.encoders.clip.config import TextConfig
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
BATCH = 32
SIGLIP_TEXT = TextConfig(32000, 64, 768, 12, 12, 3072, 768, "gelu_pytorch_tanh", 1e-6, padding=1)
FAMILIES = {
    # name: class of transformers, its configuration's vision_config, text tower, images in one step
    "CLIP, ViT-B/32": ("CLIP", {"patch_size": 32}, TOWERS["ViT-B/32"], 256),
    "MetaCLIP 2, ViT-B/32": ("MetaClip2", {"patch_size": 32}, TOWERS["ViT-B/32"], 256),
    "SigLIP, ViT-B/16": ("Siglip", {"patch_size": 16}, SIGLIP_TEXT, 16),
}
SMALL_TEXT = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 100}


def define_flags() -> None:
    flags.DEFINE_integer("images", 128, "images of one measurement, a multiple of 32", lower_bound=BATCH)
    flags.DEFINE_integer("repeats", 3, "measurements of each side", lower_bound=1)
    flags.DEFINE_integer("steps", 3, "timed steps in one measurement", lower_bound=1)
    flags.DEFINE_list("only", None, "families to measure; all if not given")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def torch_model(kind: str, vision: dict):
    """A model of transformers with a small text tower."""
    import torch
    import transformers

    torch.manual_seed(0)
    text = SMALL_TEXT | ({"projection_size": 768} if kind == "Siglip" else {})
    config = getattr(transformers, f"{kind}Config")(text_config=text, vision_config=vision)
    return getattr(transformers, f"{kind}Model")(config).eval()


def pixels(images: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(images, 224, 224, 3)).astype(np.float32)


def theirs(kind: str, vision: dict, images: int, repeats: int) -> list[float]:
    import torch

    from experiments.benchmarks.torch_loops import DEVICE, synchronize, use_all_cores

    use_all_cores()
    model, rows = torch_model(kind, vision).to(DEVICE), torch.tensor(pixels(images).transpose(0, 3, 1, 2))

    def embed(rows):
        for batch in rows.split(BATCH):
            with torch.inference_mode():
                model.get_image_features(batch.to(DEVICE)).pooler_output.cpu()
        synchronize()

    embed(rows[:BATCH])
    return measure(lambda: embed(rows), repeats)


def ours(kind: str, vision: dict, images: int, repeats: int) -> list[float]:
    import jax

    from multimap_jax.encoders.weights import read_arrays
    from multimap_jax.runtime.precision import matmul_precision

    with tempfile.TemporaryDirectory() as folder:
        torch_model(kind, vision).save_pretrained(folder)
        tower, rows = image_tower(kind, Path(folder), read_arrays(Path(folder))), pixels(images)
    with matmul_precision("float32"):
        block = tower.cpu_block if jax.default_backend() == "cpu" else BATCH
        embed = jax.jit(lambda tower, rows: jax.vmap(tower)(rows)).lower(tower, rows[:block]).compile()
        run = lambda: [np.asarray(embed(tower, rows[i : i + block])) for i in range(0, images, block)]  # noqa: E731
        run()
        return measure(run, repeats)


def image_tower(kind: str, folder: Path, arrays):
    from multimap_jax.encoders.clip.checkpoint import CLIP, towers_from_arrays
    from multimap_jax.encoders.clip.config import CLIPConfig
    from multimap_jax.encoders.siglip.checkpoint import SIGLIP, read_config
    from multimap_jax.storage.reading import read_json

    path = folder / "config.json"
    content = read_json(path)
    config = read_config(content, path) if kind == "Siglip" else CLIPConfig.from_json(content, path)
    return towers_from_arrays(arrays, config, str(folder), SIGLIP if kind == "Siglip" else CLIP).image


def row(name: str) -> dict:
    kind, vision, text, at_once = FAMILIES[name]
    sides = {}
    for side, function in (("torch", theirs), ("ours", ours)):
        seconds, _ = in_process(function, kind, vision, FLAGS.images, FLAGS.repeats)
        sides[side] = round(FLAGS.images / statistics.median(seconds), 1)
    found, _ = in_process(our_row, "float32", text, at_once, FLAGS.steps, FLAGS.repeats)
    step = statistics.median(found["seconds"]) / (at_once * FLAGS.steps)
    return {
        "family": name,
        "images_per_second": sides,
        "times_faster": round(sides["ours"] / sides["torch"], 2),
        "ms_per_image_step": round(1e3 * step, 3),
        "images_in_a_step": at_once,
        "text_tower": dataclasses.asdict(text),
    }


def main(_) -> None:
    check_installed("torch")
    rows = [row(name) for name in FLAGS.only or FAMILIES]
    peaks = {name: round(in_process(peak_gflops, name, "float32")[0], 1) for name in ("jax", "torch")}
    print_result({"machine": machine(), "rows": rows, "peak_gflops": peaks}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
