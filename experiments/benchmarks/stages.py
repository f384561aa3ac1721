"""From a file to its embedding, stage by stage, on four kinds of folders and a tar.

    python -m experiments.benchmarks.stages --out=experiments/results/benchmark_stages_cpu.json
    python -m experiments.benchmarks.stages --clip=DIRECTORY --out=stages.json

The images are made first, each with a content of its own: drawn PNGs of 128 pixels, JPEGs of 500 pixels, JPEGs and
HEICs of 12 megapixels as telephones take them, and a tar of JPEGs of 256 pixels. `milliseconds` of one image in one
thread: `read` its bytes, `decode` them upright to RGB, `scale` and normalise it for the encoder, make its `thumbnail`,
`copy` it into a block, and the `tower`, which uses all cores. `per_second`: `decoding_1` and `decoding` (all but the
tower, in one thread and in as many as the command uses), the `tower` alone, `embedded`, the same without thumbnails
(`plain`), and `bound`, what the two together allow on the same cores: 1 / (1 / decoding + 1 / tower). On an accelerator
the lower of the two is the bound. `memory`: the most that embedding takes in a process of its own, beyond a tiny image.
Prints one JSON line. About 6 minutes on two CPU cores.
"""

from __future__ import annotations

import statistics
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from experiments.benchmarks.measuring import in_process, measure, print_result, process_status
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
PHONE = (4032, 3024)  # 12 megapixels


def define_flags() -> None:
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_list("kinds", [], "kinds of images to measure; all if none are given")
    flags.DEFINE_integer("repeats", 5, "measurements, of which the median counts", lower_bound=1)
    flags.DEFINE_float("scale", 1, "share of the images to make, for a trial", lower_bound=0.01, upper_bound=1)
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def write_detailed(paths: Sequence[Path], size: tuple[int, int], **options) -> None:
    """Images with detail at several scales, as photographs have it, each another part of one larger image."""
    random, (width, height) = np.random.default_rng(0), size
    large = (width * 5 // 4, height * 5 // 4)
    layers = [random.integers(0, 255, (height // k, width // k, 3), np.uint8) for k in (128, 32, 8, 2) if height > k]
    mean = np.zeros((large[1], large[0], 3), np.float32)
    for layer in layers:
        mean += np.asarray(Image.fromarray(layer).resize(large, Image.Resampling.BICUBIC), np.float32) / len(layers)
    whole = Image.fromarray(mean.astype(np.uint8))
    for path in paths:
        x, y = (int(random.integers(0, most - own)) for most, own in zip(large, size))
        whole.crop((x, y, x + width, y + height)).save(path, **options)


def write_folders(base: Path, scale: float) -> dict[str, Path]:
    """Name -> folder or tar."""
    from multimap_jax.scenes import write_scenes
    from multimap_jax.sources.formats import formats

    formats()  # with HEIC among them
    count = lambda images: max(2, round(images * scale))  # noqa: E731
    kinds = {
        "JPEG 500": (count(400), (500, 375), ".jpg", {"quality": 90}),
        "JPEG 12 MP": (count(16), PHONE, ".jpg", {"quality": 92}),
        "HEIC 12 MP": (count(8), PHONE, ".heic", {"quality": 60}),
        "tar of JPEG 256": (count(1000), (256, 256), ".jpg", {"quality": 90}),
    }
    write_scenes(base / "PNG 128", "fruit", seed=1, count=count(1000))
    found = {"PNG 128": base / "PNG 128"}
    for name, (images, size, ending, options) in kinds.items():
        found[name] = base / name
        found[name].mkdir()
        write_detailed([found[name] / f"{i:05}{ending}" for i in range(images)], size, **options)
    tar = base / "00000.tar"
    with tarfile.open(tar, "w") as packed:
        for path in sorted(found["tar of JPEG 256"].iterdir()):
            packed.add(path, path.name)
    return found | {"tar of JPEG 256": tar}


def seconds_of(run: Callable[[], object], repeats: int) -> float:
    return statistics.median(measure(run, repeats))


def stages(place: str, clip_name: str, repeats: int) -> dict:
    """Everything that is measured of one kind of images."""
    import jax

    from multimap_jax import load_clip
    from multimap_jax.encoders.clip.model import _embed_block, pad_rows
    from multimap_jax.images.decoding import decode, opened_file, stream_pixels
    from multimap_jax.images.thumbnails import thumbnail
    from multimap_jax.runtime.mesh import image_mesh
    from multimap_jax.sources.detect import open_source
    from multimap_jax.sources.source import PackedImage

    clip, mesh = load_clip(clip_name), image_mesh()
    images, block = list(open_source(Path(place)).images.values()), clip.image_block * mesh.size
    some = images[:: max(1, len(images) // 50)]
    contents = [opened_file(image).read() for image in some]
    packed = [PackedImage("memory", str(i), lambda i=i: contents[i]) for i in range(len(some))]
    pictures = [decode(image, i, Image.Image.copy) for i, image in enumerate(packed)]
    pixels = [clip.preprocess(picture) for picture in pictures]
    rows = pad_rows(np.stack([pixels[i % len(pixels)] for i in range(block)]), block)
    tower = lambda: jax.block_until_ready(_embed_block(clip.towers.image, rows, mesh))  # noqa: E731
    tower()
    each = {
        "read": lambda: [opened_file(image).read() for image in some],
        "decode": lambda: [decode(image, i, lambda picture: None) for i, image in enumerate(packed)],
        "scale": lambda: [clip.preprocess(picture) for picture in pictures],
        "thumbnail": lambda: [thumbnail(picture) for picture in pictures],
    }
    milliseconds = {name: 1000 * seconds_of(run, repeats) / len(some) for name, run in each.items()}
    milliseconds["copy"] = 1000 * seconds_of(lambda: pad_rows(np.stack(list(rows)), block), repeats) / block
    blocks = max(1, 200 // block)
    milliseconds["tower"] = 1000 * seconds_of(lambda: [tower() for _ in range(blocks)], repeats) / blocks / block

    def decoding(threads: int | None) -> float:
        def both(picture: Image.Image) -> tuple:
            return clip.preprocess(picture), thumbnail(picture)

        return len(images) / seconds_of(lambda: sum(map(len, stream_pixels(images, both, block, threads))), repeats)

    clip.embed_readable(images[: 2 * block])
    rates = {"decoding_1": decoding(1), "decoding": decoding(None), "tower": 1000 / milliseconds["tower"]}
    rates["embedded"] = len(images) / seconds_of(lambda: clip.embed_readable(images, thumbnail=thumbnail), repeats)
    rates["plain"] = len(images) / seconds_of(lambda: clip.embed_readable(images), repeats)
    rates["bound"] = 1 / (1 / rates["decoding"] + 1 / rates["tower"])
    rounded = {name: round(value, 3) for name, value in milliseconds.items()}
    size = round(sum(map(len, contents)) / len(contents))
    return {"images": len(images), "bytes": size, "milliseconds": rounded} | {
        "per_second": {name: round(value, 1) for name, value in rates.items()}
    }


def memory_of(place: str, clip_name: str) -> int:
    """The bytes that embedding takes at most, beyond those of one tiny image."""
    from multimap_jax import load_clip
    from multimap_jax.images.thumbnails import thumbnail
    from multimap_jax.sources.detect import open_source

    clip = load_clip(clip_name)
    clip.embed_readable([Image.new("RGB", (8, 8))], thumbnail=thumbnail)
    before = process_status("VmHWM")
    clip.embed_readable(list(open_source(Path(place)).images.values()), thumbnail=thumbnail)
    return process_status("VmHWM") - before


def main(_):
    rows = []
    with tempfile.TemporaryDirectory() as base:
        for name, place in write_folders(Path(base), FLAGS.scale).items():
            if FLAGS.kinds and name not in FLAGS.kinds:
                continue
            found, _ = in_process(stages, str(place), FLAGS.clip, FLAGS.repeats)
            memory, _ = in_process(memory_of, str(place), FLAGS.clip)
            rows.append({"what": name} | found | {"memory": memory})
            print(rows[-1], flush=True)
    print_result({"machine": machine(), "clip": FLAGS.clip, "rows": rows}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
