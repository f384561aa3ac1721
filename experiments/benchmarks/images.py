"""Images embedded in a second, decoding included: ours beside transformers' CLIP on PyTorch, in one run.

    python -m experiments.benchmarks.images --out=experiments/results/benchmark_images_cpu.json

Prints one JSON line. JPEG files of 640 × 480 are written first; then each side reads, scales and embeds them all, in a
process of its own, with the same random weights of ViT-B/32's size (or those of --clip). The baseline is what people
write: transformers' own processor on Pillow and `get_image_features`, batches of 32. About 3 minutes on two CPU cores;
needs the test extra (PyTorch).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from experiments.benchmarks.measuring import check_installed, in_process, measure, print_result
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_integer("images", 256, "files to embed", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "measurements of each side", lower_bound=1)
    flags.DEFINE_string("clip", None, "directory of a checkpoint; ViT-B/32 with random weights if not given")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def write_random_checkpoint(directory: Path) -> None:
    """ViT-B/32 with random weights and the embedded tokenizer."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    from experiments.training.embedded_files import preprocessing
    from multimap_jax.encoders.clip.model import EMBEDDED

    torch.manual_seed(0)
    size = json.loads((EMBEDDED / "config.json").read_text())["text_config"]["vocab_size"]
    text = {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1}
    CLIPModel(CLIPConfig(text_config=text, vision_config={})).save_pretrained(directory)
    for path in EMBEDDED.glob("*"):
        if path.is_file() and ("token" in path.name or path.name in ("vocab.json", "merges.txt")):
            shutil.copy(path, directory)
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessing(224)))


def write_photos(directory: Path, count: int) -> list[str]:
    """JPEG files with the detail of photographs: noise at several scales."""
    random, paths = np.random.default_rng(0), []
    for i in range(count):
        layers = [
            Image.fromarray(random.integers(0, 255, (6 * 4**k, 8 * 4**k, 3), np.uint8)).resize((640, 480), 3)
            for k in range(3)
        ]
        mixed = np.mean([np.asarray(layer, float) for layer in layers], axis=0).astype(np.uint8)
        paths.append(str(directory / f"{i:05}.jpg"))
        Image.fromarray(mixed).save(paths[-1], quality=90)
    return paths


def ours(directory: str, paths: list[str], repeats: int) -> list[float]:
    from multimap_jax import load_clip

    clip = load_clip(directory)
    clip.embed_images(paths[:40])
    return measure(lambda: clip.embed_images(paths), repeats)


def theirs(directory: str, paths: list[str], repeats: int) -> list[float]:
    import torch
    from transformers import CLIPImageProcessorPil, CLIPModel

    from experiments.benchmarks.torch_loops import DEVICE, synchronize, use_all_cores

    use_all_cores()
    model = CLIPModel.from_pretrained(directory).to(DEVICE).eval()
    processor = CLIPImageProcessorPil.from_pretrained(directory)

    def embed(paths):
        for i in range(0, len(paths), 32):
            images = [Image.open(path).convert("RGB") for path in paths[i : i + 32]]
            pixels = processor(images, return_tensors="pt")["pixel_values"].to(DEVICE)
            with torch.inference_mode():
                model.get_image_features(pixels).pooler_output.cpu()
        synchronize()

    embed(paths[:40])
    return measure(lambda: embed(paths), repeats)


def main(_):
    check_installed("torch")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        directory, photos = Path(FLAGS.clip or folder), Path(folder) / "photos"
        photos.mkdir()
        if not FLAGS.clip:
            write_random_checkpoint(directory)
        paths = write_photos(photos, FLAGS.images)
        for what, function in (("torch", theirs), ("ours", ours)):
            seconds, memory = in_process(function, str(directory), paths, FLAGS.repeats)
            rates = sorted(FLAGS.images / each for each in seconds)
            rates = {"images_per_second": round(float(np.median(rates)), 1), "spread": [round(r, 1) for r in rates]}
            rows.append({"what": what, "images": FLAGS.images} | rates | {"peak_memory": memory})
    times = rows[1]["images_per_second"] / rows[0]["images_per_second"]
    clip = FLAGS.clip or "ViT-B/32, random weights"
    print_result({"machine": machine(), "clip": clip, "rows": rows, "times_faster": round(times, 2)}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
