"""Figure 4 of the paper: embeddings in two dimensions, by color and by species, with the words as triangles.

    python -m experiments.paper.figure4 --out=experiments/results/figure4

Rows: the aspects. Columns: image embeddings coloured by the true labels, image embeddings coloured by the zero-shot
word (CLIP_GPT), the default recipe's proxies coloured by the groups that k-means makes of them. Two dimensions by
t-SNE, words and images laid out together. Writes figure4.svg; needs the extra `experiments` (matplotlib). About 1
minute on two CPU cores, on drawn fruit with the embedded encoder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import app, flags

import multimap_jax as mm
from experiments.benchmarks.measuring import check_installed
from experiments.evaluation import datasets, methods
from experiments.evaluation.case import Case, make_case
from experiments.evaluation.image_proxies import KINDS
from multimap_jax.clustering.kmeans import cluster
from multimap_jax.prompts.aspect import word_embeddings

FLAGS = flags.FLAGS
TITLES = ("true labels", "words (CLIP_GPT)", "Multi-MaP")


def flat(points: np.ndarray, words: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """points [images, d] and words [words, d] in two dimensions, [images, 2] and [words, 2]."""
    from sklearn.manifold import TSNE

    both = np.concatenate([points, words])
    placed = TSNE(perplexity=min(30, (len(both) - 1) / 3), init="pca", random_state=seed).fit_transform(both)
    return placed[: len(points)], placed[len(points) :]


def panels(case: Case, seed: int):
    """(points, words, label of every point) for each column."""
    texts = word_embeddings(case.clip, case.asked())
    images = flat(case.embeddings, texts, seed)
    proxies = KINDS["image proxies"](case)
    learnt = flat(proxies, case.clip.token_embeddings(case.words), seed)
    guessed = np.array(case.words)[methods.zero_shot(case)]
    groups = np.array([f"group {label + 1}" for label in cluster(proxies, case.clusters, seed).labels])
    return [(*images, case.truth), (*images, guessed), (*learnt, groups)]


def draw(axes, points, words, labels, names) -> None:
    for number, label in enumerate(sorted(set(labels))):
        members = labels == label
        axes.scatter(*points[members].T, s=9, alpha=0.7, label=label, color=f"C{number % 10}")
    axes.scatter(*words.T, marker="^", s=50, color="black")
    for place, name in zip(words, names):
        axes.annotate(name, place, fontsize=7, xytext=(3, 3), textcoords="offset points")
    axes.legend(fontsize=6, loc="best", framealpha=0.5)
    axes.set_xticks([])
    axes.set_yticks([])


def main(_):
    check_installed("matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    item, clip = datasets.find(FLAGS.dataset), mm.load_clip(FLAGS.clip)
    labelled = datasets.load_or_draw(FLAGS.dataset, FLAGS.data, FLAGS.images, FLAGS.seed, FLAGS.difficulty)
    embeddings, aspects = clip.embed_images(labelled.images), [a for a in FLAGS.aspects if a in labelled.labels]
    figure, grid = plt.subplots(len(aspects), 3, figsize=(12, 4 * len(aspects)), squeeze=False)
    for row, aspect in zip(grid, aspects):
        case = make_case(item, labelled, aspect, clip, embeddings, mm.ProxyConfig.paper(block_size=methods.BLOCK))
        for axes, title, (points, words, labels) in zip(row, TITLES, panels(case, FLAGS.seed)):
            draw(axes, points, words, labels, case.words)
            axes.set_title(f"{aspect}: {title}", fontsize=10)
    figure.tight_layout()
    out = Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "figure4.svg")
    print(f"written: {out / 'figure4.svg'}")


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "fruit", "which set")
    flags.DEFINE_list("aspects", ["color", "species"], "which aspects, one row each")
    flags.DEFINE_string("data", None, "where the real sets lie; without it the drawn twin")
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_string("out", "experiments/results/figure4", "folder")
    flags.DEFINE_integer("images", 300, "drawn pictures")
    flags.DEFINE_integer("difficulty", datasets.DIFFICULTY, "of the drawn pictures", lower_bound=0, upper_bound=3)
    flags.DEFINE_integer("seed", 0, "of pictures, t-SNE and k-means")
    app.run(main)
