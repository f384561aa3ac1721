"""How time and memory grow with the number of images: the whole job without its files, at several sizes.

    python -m experiments.scaling --out=experiments/results/scaling_cpu
    python -m experiments.scaling --sizes=1000,10000,100000,1000000 --clip=DIRECTORY --out=scaling_gpu

At every size, in a process of its own: images are decoded and embedded, a proxy is learnt for each, and the default
features are clustered, for one aspect of drawn flowers. --drawn pictures are drawn and saved beforehand and read over
and over (decoding is part of the job, drawing is not). Then, as the costliest k-means there is, the proxies are
clustered too. Writes scaling.json and scaling.svg: seconds of each part, and the highest memory of the process before
that, less what grows by intent (embeddings, proxies and prompt embeddings). Straight lines, and a flat one for the rest
of the memory, are what should come out. `sampled_ari`: the adjusted Rand index between groups found on all rows and on
a tenth of them, for both kinds of features. Needs the extra `experiments` (matplotlib).
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarking import dated, highest_memory, in_process
from multimap_jax.machine import machine

FLAGS = flags.FLAGS
PARTS = ("embed", "proxies", "cluster", "cluster_proxies")


def define_flags() -> None:
    flags.DEFINE_string("out", "experiments/results/scaling", "folder for scaling.json and scaling.svg")
    flags.DEFINE_list("sizes", ["1000", "10000", "100000"], "numbers of images")
    flags.DEFINE_integer("drawn", 400, "different pictures", lower_bound=1)
    flags.DEFINE_string("clip", "embedded", "checkpoint")


def job(folder: str, name: str, images: int) -> dict[str, float]:
    """Seconds of each part at `images` images, bytes of the arrays that grow with them and of the rest (before the
    proxies are clustered), and how well k-means on a tenth of the rows agrees with k-means on all."""
    from sklearn.metrics import adjusted_rand_score

    import multimap_jax as mm
    from multimap_jax.clustering import cluster, project
    from multimap_jax.span import fit_projection

    clip = mm.load_clip(name)
    aspect = mm.Aspect("species", "flower", ("daisy", "lily", "rose", "tulip"))
    paths = sorted(Path(folder).glob("*.png"))
    # Compilation is not what this is about.
    mm.fit_proxies(clip, clip.embed_images(paths[:2]), aspect)
    times = [time.perf_counter()]
    embeddings = clip.embed_images([paths[i % len(paths)] for i in range(images)])
    times.append(time.perf_counter())
    fit = mm.fit_proxies(clip, embeddings, aspect)
    times.append(time.perf_counter())
    features = project(embeddings, fit_projection(clip, embeddings, aspect, 4))
    spans = cluster(features, 4).labels
    times.append(time.perf_counter())
    highest = highest_memory()
    groups = cluster(fit.proxies, 4).labels
    times.append(time.perf_counter())
    pairs = {"span": (features, spans), "proxy": (fit.proxies, groups)}
    agreement = {
        kind: round(adjusted_rand_score(labels, cluster(rows, 4, sample=images // 10).labels), 4)
        for kind, (rows, labels) in pairs.items()
    }
    grows = embeddings.nbytes + fit.proxies.nbytes + fit.prompt_embeddings.nbytes
    memory = {"array_bytes": grows, "other_bytes": highest - grows}
    return dict(zip(PARTS, np.diff(times).round(3).tolist())) | memory | {"sampled_ari": agreement}


def plot(rows: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    images = [row["images"] for row in rows]
    for part in PARTS:
        left.plot(images, [row[part] for row in rows], "o-", label=part)
    right.plot(images, [row["other_bytes"] / 2**20 for row in rows], "o-", label="beyond the arrays")
    right.plot(images, [row["array_bytes"] / 2**20 for row in rows], "o-", label="embeddings, proxies, prompts")
    for axes, label in ((left, "seconds"), (right, "MiB at the highest")):
        axes.set(xlabel="images", ylabel=label, ylim=(0, None))
        axes.legend()
    figure.savefig(path)


def main(_):
    from multimap_jax.scenes import write_scenes

    out, rows = Path(FLAGS.out), []
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder), "flowers", seed=1, count=FLAGS.drawn)
        for images in map(int, FLAGS.sizes):
            rows.append({"images": images} | in_process(job, folder, FLAGS.clip, images)[0])
            print(json.dumps(rows[-1]), flush=True)
    content = dated({"machine": machine(), "clip": FLAGS.clip, "rows": rows})
    (out / "scaling.json").write_text(json.dumps(content, indent=1) + "\n")
    plot(rows, out / "scaling.svg")
    print(f"written: {out / 'scaling.json'}, {out / 'scaling.svg'}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
