"""What comes out where neither words nor the number of groups are given, and how good the numbers, confidences and
outliers of `multimap_jax` are.

    python -m experiments.calibration.model_selection --data=../shared/data --models=../shared/models \
        --out=experiments/results/number.json

  * Runs: every aspect of the drawn twins, easy and hard (difficulties 0 and 2), and of the photographs, from a subject
    and an aspect alone: the number found beside the true one, the best by silhouette (of the same rows, 2 to 24
    groups) and the number of words; NMI beside that with true words and the true number; with a second seed, ARI with
    the first. Every number is also found from the true words.
  * Subsets: of every aspect of the twins with groups taken away, so that 1, 2, 5, 8 or 12 are left where it has more.
  * Fashion's color and type with 4, 6 and 10 groups, of those with the most images.
  * Confidence: on hard twins of --pictures pictures and on fashion, true words and number: accuracy in five bins, from
    the least sure to the surest; the area under the ROC curve of confidence and of −distance against right and wrong,
    each group's label being the one that the best matching gives it.
  * Outliers: in each twin 5% of the pictures of each other subject; flowers in fashion. Found at 5% false alarms, and
    found and falsely found by `outliers_`.
  * Seconds to find the number among 10,000 images, with ten words and without.

The twins are of a seed that chose nothing; what was chosen (`clustering.selection.WORD_PENALTY`, the power in
`clustering.kmeans.nearest`, the numbers of `clustering.outliers`) was chosen on the seeds 17 and 33. Prints one JSON
line. About 15 minutes on two CPU cores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import print_result
from experiments.calibration.verdict_cases import NO_ASPECT, PHOTOGRAPHS, words_of
from multimap_jax.clustering.metrics import matched

FLAGS = flags.FLAGS
EASY, HARD = 0, 2
SUBSETS, COUNTS = (1, 2, 5, 8, 12), (4, 6, 10)
STRANGE, ALARMS = 0.05, 0.05
SILHOUETTE = 24


def define_flags() -> None:
    flags.DEFINE_integer("images", 300, "pictures of each twin", lower_bound=40)
    flags.DEFINE_integer("pictures", 1000, "pictures of each twin that confidences are measured on", lower_bound=40)
    flags.DEFINE_integer("seed", 1007, "of the drawn sets", lower_bound=0)
    flags.DEFINE_string("data", None, "folder of the photograph sets; without it or --models they are left out")
    flags.DEFINE_string("models", None, "folder of the checkpoints that see photographs")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def fit(clip, embeddings: np.ndarray, aspect, k="auto", seed: int = 0):
    import multimap_jax as mm

    return mm.MultiMaP(aspect, clip, k, random_state=seed).fit(embeddings)


def found_aspect(clip, embeddings: np.ndarray, aspect: str, subject: str):
    """As the command finds it: with the vocabulary's words that images pick, or without words."""
    import multimap_jax as mm

    try:
        return mm.find_words(clip, embeddings, aspect, subject).aspect
    except ValueError:
        return mm.Aspect(aspect, subject)


def best_silhouette(clip, embeddings: np.ndarray, aspect) -> int:
    """Of 2 to 24 groups, on the rows that `find_number` looks at."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    from multimap_jax.encoders.zero_shot import RootProbabilities
    from multimap_jax.prompts.aspect import word_embeddings

    rows = embeddings
    if aspect.words:
        rows = RootProbabilities(clip, embeddings, word_embeddings(clip, aspect).astype(float))[:]
    ks = range(2, min(SILHOUETTE, len(rows) - 1) + 1)
    labels = [KMeans(k, n_init=3, random_state=0).fit_predict(rows) for k in ks]
    return max(zip(ks, labels), key=lambda each: silhouette_score(rows, each[1], sample_size=2000, random_state=0))[0]


def number_row(clip, embeddings: np.ndarray, aspect, truth: np.ndarray, model=None) -> dict:
    """The number that is found with an aspect's words, beside the true one and others. model: `fit` with them, where it
    is there."""
    table = (model or fit(clip, embeddings, aspect)).n_clusters_table_
    found = {"true": len(set(truth.tolist())), "found": table[0].groups, "strength": round(table[0].strength, 3)}
    return found | {"words": len(aspect.words), "silhouette": best_silhouette(clip, embeddings, aspect)}


def run_row(clip, embeddings: np.ndarray, subject: str, aspect: str, truth: np.ndarray) -> dict:
    """From a subject and an aspect alone, beside true words and number."""
    import multimap_jax as mm

    asked, true = found_aspect(clip, embeddings, aspect, subject), mm.Aspect(aspect, subject, words_of(truth))
    model, second = fit(clip, embeddings, asked), fit(clip, embeddings, asked, seed=1)
    best, given = fit(clip, embeddings, true, len(true.words)), fit(clip, embeddings, true)
    row = {"aspect": aspect} | number_row(clip, embeddings, asked, truth, model)
    row |= {"nmi": mm.evaluate(truth, model.labels_)["nmi"], "nmi_true": mm.evaluate(truth, best.labels_)["nmi"]}
    row |= {"again": mm.evaluate(model.labels_, second.labels_)["ari"], "with_true_words": given.n_clusters_}
    row |= {"next": [each.groups for each in model.n_clusters_table_[1:3]]}
    row |= {"stability": float(model.cluster_stability_.min()), "outliers": float(model.outliers_.mean())}
    return rounded(row | {"names": model.cluster_names_})


def subset_rows(clip, embeddings: np.ndarray, subject: str, aspect: str, truth: np.ndarray) -> Iterator[dict]:
    """With groups taken away."""
    random, names = np.random.default_rng(0), words_of(truth)
    for k in (k for k in SUBSETS if k < len(names)):
        kept = np.isin(truth, random.choice(names, k, replace=False))
        if kept.sum() >= 20:
            asked = found_aspect(clip, embeddings[kept], aspect, subject)
            yield {"aspect": aspect} | number_row(clip, embeddings[kept], asked, truth[kept])


def count_rows(clip, embeddings: np.ndarray, subject: str, labels: dict) -> Iterator[dict]:
    """Of the most frequent groups of color and type so many."""
    for aspect in ("color", "type"):
        names, sizes = np.unique(labels[aspect], return_counts=True)
        for k in (k for k in COUNTS if k <= len(names)):
            kept = np.isin(labels[aspect], names[np.argsort(-sizes, kind="stable")[:k]])
            asked = found_aspect(clip, embeddings[kept], aspect, subject)
            yield {"aspect": aspect} | number_row(clip, embeddings[kept], asked, labels[aspect][kept])


def confidence_row(clip, embeddings: np.ndarray, subject: str, aspect: str, truth: np.ndarray) -> dict:
    from sklearn.metrics import roc_auc_score

    import multimap_jax as mm

    names = words_of(truth)
    model = fit(clip, embeddings, mm.Aspect(aspect, subject, names), len(names))
    right, sure = matched(truth, model.labels_), model.confidence_
    bins = [float(right[some].mean()) for some in np.array_split(np.lexsort((-model.distances_, sure)), 5)]
    fall = max(bins[i] - bins[j] for i in range(5) for j in range(i + 1, 5))
    row = {"aspect": aspect, "images": len(truth), "accuracy": float(right.mean()), "confidence": float(sure.mean())}
    row |= {"bins": [round(each, 3) for each in bins], "fall": fall}
    if right.all() or not right.any():
        return rounded(row)
    return rounded(
        row | {"auroc": roc_auc_score(right, sure), "auroc_distance": roc_auc_score(right, -model.distances_)}
    )


def stranger_row(embeddings: np.ndarray, strangers: np.ndarray) -> dict:
    """5% strangers among images: the share found at 5% false alarms, and what the fence finds, rightly and falsely."""
    from multimap_jax.clustering.outliers import fit_inliers

    strangers = strangers[: max(1, round(len(embeddings) * STRANGE))]
    bulk = fit_inliers(np.concatenate([embeddings, strangers]))
    own, others = bulk.distances(embeddings), bulk.distances(strangers)
    row = {"found": float((others > np.quantile(own, 1 - ALARMS)).mean())}
    return rounded(row | {"flagged": float((others > bulk.fence).mean()), "falsely": float((own > bulk.fence).mean())})


def seconds_row(embeddings: np.ndarray, words: int) -> dict:
    """Seconds of `find_number` among 10,000 images that are made from those given."""
    from scipy.special import softmax

    from multimap_jax.clustering.selection import select_n_clusters

    random = np.random.default_rng(0)
    rows = embeddings[random.integers(len(embeddings), size=10_000)]
    rows = np.sqrt(softmax(100 * rows @ rows[:words].T, axis=1)) if words else rows
    begin = time.perf_counter()
    most = max(each.groups for each in select_n_clusters(rows, float(words)))
    return {"images": 10_000, "words": words, "most": most, "seconds": round(time.perf_counter() - begin, 2)}


def rounded(row: dict) -> dict:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def on_twins(clip, images: int, pictures: int, seed: int) -> dict[str, list]:
    from experiments.evaluation import datasets
    from multimap_jax.scenes import SCENES

    found: dict[str, list] = {"runs": [], "subsets": [], "confidences": [], "outliers": []}
    embedded = {}
    for name, scene in SCENES.items():
        for difficulty in (EASY, HARD):
            drawn = datasets.twin(name, images, seed, difficulty)
            rows, of = clip.embed_images(drawn.images), {"set": f"{name} twin", "difficulty": difficulty}
            embedded[name, difficulty] = rows
            for aspect, truth in drawn.labels.items():
                found["runs"].append(of | run_row(clip, rows, scene.subject, aspect, truth))
                found["subsets"] += [of | row for row in subset_rows(clip, rows, scene.subject, aspect, truth)]
        drawn = datasets.twin(name, pictures, seed, HARD)
        rows = clip.embed_images(drawn.images)
        for aspect, truth in drawn.labels.items():
            row = confidence_row(clip, rows, scene.subject, aspect, truth)
            found["confidences"].append({"set": f"{name} twin"} | row)
    for (name, difficulty), rows in embedded.items():
        for other in (other for other in SCENES if SCENES[other].subject != SCENES[name].subject):
            of = {"set": f"{name} twin", "difficulty": difficulty, "strangers": other}
            found["outliers"].append(of | stranger_row(rows, embedded[other, difficulty]))
    return found


def on_photographs(data: Path, models: Path) -> dict[str, list]:
    import multimap_jax as mm
    from experiments.evaluation.datasets import read_table

    found: dict[str, list] = {"runs": [], "counts": [], "confidences": [], "outliers": [], "seconds": []}
    for name, (model, subject, seen) in PHOTOGRAPHS.items():
        clip, (images, table) = mm.load_clip(str(models / model)), read_table(data / name)
        rows, of = clip.embed_images(images), {"set": name, "encoder": model}
        labels = {aspect: np.array([row[aspect] for row in table]) for aspect in table[0] if aspect not in NO_ASPECT}
        for aspect, truth in labels.items():
            found["runs"].append(of | {"seen": aspect in seen} | run_row(clip, rows, subject, aspect, truth))
        if name == "fashion":
            found["counts"] += [of | row for row in count_rows(clip, rows, subject, labels)]
            found["confidences"] += [
                of | confidence_row(clip, rows, subject, aspect, labels[aspect]) for aspect in seen
            ]
            flowers = clip.embed_images(read_table(data / "flowers")[0])
            found["outliers"].append(of | {"strangers": "flowers"} | stranger_row(rows, flowers))
            found["seconds"] += [seconds_row(rows, 10), seconds_row(rows, 0)]
    return found


def main(_):
    import multimap_jax as mm
    from multimap_jax.runtime.compilation import use_compilation_cache
    from multimap_jax.runtime.machine import machine

    use_compilation_cache()
    found = {"machine": machine(), "images": FLAGS.images, "seed": FLAGS.seed}
    found["twins"] = on_twins(mm.load_clip("embedded"), FLAGS.images, FLAGS.pictures, FLAGS.seed)
    if FLAGS.data and FLAGS.models:
        found["photographs"] = on_photographs(Path(FLAGS.data), Path(FLAGS.models))
    print_result(found, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
