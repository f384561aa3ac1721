"""How the seconds and the memory of the command grow with the number of images.

    python -m experiments.benchmarks.scaling --out=experiments/results/scaling_cpu
    python -m experiments.benchmarks.scaling --sizes=1000,10000,100000,1000000 --clip=DIRECTORY --out=scaling_gpu

For every size a folder of JPEGs is made: parts of drawn flowers, each another one, 256 pixels wide, with the noise of a
camera. Four commands run on it, each in a process of its own: `multimap embed --nothumbnails`, the same again, which
finds everything embedded, `multimap` by species with --labels and an --out of its own, and the same again. What they
compile is compiled by a small run before.

`alone`: seconds of embedding without thumbnails, the first process less the second. `seconds`: of the whole process
(`whole`), of its parts as run.json has them, and of what is left (`rest`: Python's imports, and writing what is not the
page). `after`: what comes after embedding (words, group, report, and the rest less that of the smallest size), as a
share of `alone`. `again`: the whole process where all is embedded. `peak_memory`: of the process, in bytes.
`sampled_ari`: the adjusted Rand index between k-means on all rows and on a tenth. `slopes`: by how many powers of the
images the seconds grow from the third-largest size to the largest; 1 is proportional. Writes scaling.json after every
size, and scaling.svg. Needs the extra `experiments` (matplotlib). About 16 minutes on two CPU cores.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

from experiments.benchmarks.measuring import check_installed, dated, highest_memory_of_children, in_process
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
WORDS = ("daisy", "lily", "rose", "tulip")
AFTER = ("words", "group", "report")
SIDE, DRAWN, SMALL = 256, 200, 64  # pixels of an image, different flowers, images of the run that compiles


def define_flags() -> None:
    flags.DEFINE_string("out", "experiments/results/scaling", "folder for scaling.json and scaling.svg")
    flags.DEFINE_list("sizes", ["1000", "10000", "20000", "100000"], "numbers of images, the smallest first")
    flags.DEFINE_string("clip", "embedded", "checkpoint")


def write_images(folder: Path, count: int) -> None:
    """`count` different JPEGs, and labels.csv."""
    from multimap_jax.scenes import render_scene

    random, side = np.random.default_rng(count), SIDE * 3 // 2
    drawn = [render_scene("flowers", seed=1, index=i) for i in range(DRAWN)]
    large = [Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC) for picture, _ in drawn]
    noise = random.integers(0, 24, (2 * SIDE, 2 * SIDE, 3), np.uint8)
    folder.mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "species"])
        for i in range(count):
            x, y, u, v = random.integers(0, [side - SIDE, side - SIDE, SIDE, SIDE])
            part = np.asarray(large[i % DRAWN].crop((x, y, x + SIDE, y + SIDE)))
            noisy = np.minimum(part, 231) + noise[u : u + SIDE, v : v + SIDE]
            Image.fromarray(noisy).save(folder / f"{i:08}.jpg", quality=88)
            writer.writerow([f"{i:08}.jpg", drawn[i % DRAWN][1]["species"]])


def run_command(*flags_: str) -> dict[str, float]:
    """The seconds of a command, as a whole, and the highest memory of its process in bytes."""
    command = [sys.executable, "-m", "multimap_jax", *flags_, "--noprogress"]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {"whole": time.perf_counter() - begin, "peak_memory": highest_memory_of_children()}


def run_measured(*flags_: str) -> dict[str, float]:
    return in_process(run_command, *flags_)[0]


def sampled_agreement(out: str, name: str) -> float:
    """ARI of k-means on a tenth of the rows of a run with k-means on all, for the default's features."""
    import multimap_jax as mm
    from multimap_jax.arrays.rows import ProjectedRows
    from multimap_jax.arrays.sampling import sample_indices
    from multimap_jax.clustering.kmeans import cluster
    from multimap_jax.features.span import fit_span
    from multimap_jax.sources.embeddings import read_embeddings

    clip, aspect = mm.load_clip(name), mm.Aspect("species", "flower", WORDS)
    embeddings = np.asarray(read_embeddings(Path(out)).rows)
    span = fit_span(clip, embeddings, aspect, len(WORDS))
    rows, images = ProjectedRows(embeddings, span.projection), len(embeddings)
    some = sample_indices(range(images), 0, images // 10)
    labels = [cluster(rows, len(WORDS), drawn=drawn, begin=span.labels).labels for drawn in (None, some)]
    return round(mm.evaluate(*labels)["ari"], 4)


def measure_size(base: Path, clip: str, images: int) -> dict:
    folder, out, alone = base / "images", base / "out", base / "alone"
    write_images(folder, images)
    embed = ("embed", f"--images={folder}", f"--clip={clip}", f"--out={alone}", "--nothumbnails")
    first, second = run_measured(*embed), run_measured(*embed)
    group = [f"--images={folder}", "--subject=flower", "--aspect=species", f"--words=species={','.join(WORDS)}"]
    group += [f"--labels={folder}/labels.csv", f"--clip={clip}", f"--out={out}"]
    found = run_measured(*group)
    seconds = json.loads((out / "run.json").read_text())["timings"]
    agreement, _ = in_process(sampled_agreement, str(out), clip)
    again = run_measured(*group)["whole"]
    for each in (folder, out, alone):
        shutil.rmtree(each)
    seconds |= {"whole": found["whole"], "rest": found["whole"] - seconds.pop("total")}
    return {
        "images": images,
        "alone": round(first["whole"] - second["whole"], 2),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "again": round(again, 2),
        "peak_memory": found["peak_memory"],
        "sampled_ari": agreement,
    }


def with_after(rows: list[dict]) -> list[dict]:
    """The rows with the share of what comes after embedding."""
    start = rows[0]["seconds"]["rest"]
    for row in rows:
        after = sum(row["seconds"][name] for name in AFTER) + max(0, row["seconds"]["rest"] - start)
        row["after"] = round(after / row["alone"], 4)
    return rows


def slopes_of(rows: list[dict]) -> dict[str, float]:
    """By how many powers of the number of images the seconds of each part grow, between the last of three sizes."""
    if len(rows) < 3:
        return {}
    first, last = rows[-3], rows[-1]
    growth = math.log(last["images"] / first["images"])
    times = {name: (first["seconds"][name], last["seconds"][name]) for name in ("embed", *AFTER, "whole")}
    return {name: round(math.log(b / a) / growth, 3) for name, (a, b) in times.items() if a > 0 and b > 0}


def plot(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    images = [row["images"] for row in rows]
    for part in ("whole", "embed", *AFTER):
        left.loglog(images, [row["seconds"][part] for row in rows], "o-", label=part)
    left.loglog(images, [row["again"] for row in rows], "o--", label="all embedded already")
    right.semilogx(images, [row["peak_memory"] / 2**20 for row in rows], "o-")
    left.set(xlabel="images", ylabel="seconds")
    right.set(xlabel="images", ylabel="MiB at the highest", ylim=(0, None))
    left.legend(fontsize="small")
    figure.savefig(path)


def main(_):
    check_installed("matplotlib")
    out, rows = Path(FLAGS.out), []
    out.mkdir(parents=True, exist_ok=True)
    for images in [SMALL, *map(int, FLAGS.sizes)]:
        with tempfile.TemporaryDirectory() as base:
            row = measure_size(Path(base), FLAGS.clip, images)
        if images == SMALL:
            continue
        rows = with_after([*rows, row])
        print(json.dumps(rows[-1]), flush=True)
        content = dated({"machine": machine(), "clip": FLAGS.clip, "rows": rows, "slopes": slopes_of(rows)})
        (out / "scaling.json").write_text(json.dumps(content, indent=1) + "\n")
    plot(rows, out / "scaling.svg")
    print(f"written: {out / 'scaling.json'}, {out / 'scaling.svg'}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
