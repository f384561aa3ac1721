"""How time and memory grow with the number of images: the command itself, at several sizes.

    python -m experiments.benchmarks.scaling --out=experiments/results/scaling_cpu
    python -m experiments.benchmarks.scaling --sizes=1000,10000,100000,1000000 --clip=DIRECTORY --out=scaling_gpu

At every size a folder of drawn flowers is made, every file with a name of its own (hard links to --drawn pictures:
decoding is part of the job, drawing is not), with their true labels beside it, and `multimap` runs on it, report and
metrics included: by species, once as it is and once with --keep_proxies. What it compiles is compiled by a small run
beforehand. Writes scaling.json and scaling.svg. Seconds are those of run.json: `embed`, `group` (all that follows for
the aspect, metrics too) and `report`; `after` is what comes after embedding as a share of it. `peak_memory` is the
highest of the process, `other_bytes` that less what grows by intent (embeddings, and with --keep_proxies proxies and
prompt embeddings). `sampled_ari`: the adjusted Rand index between groups found on all rows and on a tenth of them, for
the default's features and for proxies. Needs the extra `experiments` (matplotlib). About 11 minutes on two CPU cores.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import check_installed, dated, highest_memory_of_children, in_process
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
WORDS = ("daisy", "lily", "rose", "tulip")
PARTS = ("embed", "group", "report")
SMALL = 64


def define_flags() -> None:
    flags.DEFINE_string("out", "experiments/results/scaling", "folder for scaling.json and scaling.svg")
    flags.DEFINE_list("sizes", ["1000", "10000", "100000"], "numbers of images")
    flags.DEFINE_integer("drawn", 400, "different pictures", lower_bound=SMALL)
    flags.DEFINE_string("clip", "embedded", "checkpoint")


def link_pictures(drawn: Path, folder: Path, images: int) -> None:
    """`images` names for the pictures of `drawn`, over and over, and labels.csv for all of them."""
    with (drawn / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    folder.mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "species"])
        for i in range(images):
            row = rows[i % len(rows)]
            os.link(drawn / row["image"], folder / f"{i:08}.png")
            writer.writerow([f"{i:08}.png", row["species"]])


def run_command(folder: str, clip: str, out: str, keep_proxies: bool) -> dict:
    """What one run of `multimap` writes down of its time, and the highest memory of its process."""
    command = [sys.executable, "-m", "multimap_jax", f"--images={folder}", "--subject=flower", "--aspect=species"]
    command += [f"--words=species={','.join(WORDS)}", f"--labels={folder}/labels.csv", f"--clip={clip}", f"--out={out}"]
    command += ["--noprogress", *(["--keep_proxies"] if keep_proxies else [])]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    timings = json.loads((Path(out) / "run.json").read_text())["timings"]
    return {"seconds": timings, "peak_memory": highest_memory_of_children()}


def sampled_agreement(drawn: str, name: str, images: int) -> dict[str, float]:
    """ARI of k-means on a tenth of the rows with k-means on all, for both kinds of features. Every picture has one
    embedding and one proxy, however often it is named."""
    import multimap_jax as mm
    from multimap_jax.arrays.rows import ProjectedRows
    from multimap_jax.arrays.sampling import sample_indices
    from multimap_jax.clustering.kmeans import cluster
    from multimap_jax.features.span import fit_span

    clip, aspect = mm.load_clip(name), mm.Aspect("species", "flower", WORDS)
    pictures = clip.embed_images(drawn)
    again = np.arange(images) % len(pictures)
    embeddings = pictures[again]
    proxies = mm.fit_proxies(clip, pictures, aspect).proxies[again]
    span = fit_span(clip, embeddings, aspect, 4)
    rows = {"span": (ProjectedRows(embeddings, span.projection), span.labels), "proxy": (proxies, None)}
    tenth = sample_indices(range(images), 0, images // 10)
    pairs = {
        kind: (cluster(each, 4, begin=begin), cluster(each, 4, drawn=tenth, begin=begin))
        for kind, (each, begin) in rows.items()
    }
    return {kind: round(mm.evaluate(a.labels, b.labels)["ari"], 4) for kind, (a, b) in pairs.items()}


def measure_size(drawn: Path, base: Path, clip: str, images: int) -> list[dict]:
    """A row without and one with proxies."""
    import multimap_jax as mm

    folder, config = base / str(images), mm.load_clip(clip).config
    link_pictures(drawn, folder, images)
    agreement, rows = in_process(sampled_agreement, str(drawn), clip, images)[0], []
    for keep_proxies in (False, True):
        found = in_process(run_command, str(folder), clip, str(base / f"out{images}{keep_proxies}"), keep_proxies)[0]
        seconds = found["seconds"]
        widths = config.image.embed + (config.text.width + config.text.embed) * keep_proxies
        row = {"images": images, "keep_proxies": keep_proxies} | found
        row |= {"after": round((seconds["group"] + seconds["report"]) / seconds["embed"], 4)}
        row |= {"array_bytes": 4 * images * widths, "other_bytes": found["peak_memory"] - 4 * images * widths}
        rows.append(row | {"sampled_ari": agreement})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def plot(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    plain, kept = ([row for row in rows if row["keep_proxies"] == keep] for keep in (False, True))
    images = [row["images"] for row in plain]
    for part in PARTS:
        left.plot(images, [row["seconds"][part] for row in plain], "o-", label=part)
    left.plot(images, [row["seconds"]["group"] for row in kept], "o--", label="group, with proxies")
    for some, label in ((plain, "default"), (kept, "with proxies")):
        right.plot(images, [row["other_bytes"] / 2**20 for row in some], "o-", label=f"beyond the arrays, {label}")
        right.plot(images, [row["array_bytes"] / 2**20 for row in some], "o--", label=f"arrays, {label}")
    for axes, label in ((left, "seconds"), (right, "MiB at the highest")):
        axes.set(xlabel="images", ylabel=label, ylim=(0, None))
        axes.legend()
    figure.savefig(path)


def main(_):
    from multimap_jax.scenes import write_scenes

    check_installed("matplotlib")
    out, rows = Path(FLAGS.out), []
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        base, drawn = Path(folder), Path(folder) / "drawn"
        write_scenes(drawn, "flowers", seed=1, count=FLAGS.drawn)
        link_pictures(drawn, base / "small", SMALL)
        run_command(str(base / "small"), FLAGS.clip, str(base / "out"), True)
        for images in map(int, FLAGS.sizes):
            rows += measure_size(drawn, base, FLAGS.clip, images)
            content = dated({"machine": machine(), "clip": FLAGS.clip, "rows": rows})
            (out / "scaling.json").write_text(json.dumps(content, indent=1) + "\n")
    plot(rows, out / "scaling.svg")
    print(f"written: {out / 'scaling.json'}, {out / 'scaling.svg'}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
