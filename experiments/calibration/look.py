"""How good groups by a model's answers are (`mm.look`), beside the default features and zero-shot words.

    python -m experiments.calibration.look --data=DIR --models=DIR --out=experiments/results/look.json
    python -m experiments.calibration.look --data=DIR --models=DIR --look=http://localhost:11434/v1 --look_model=NAME

Without --look the answers are simulated (`experiments.evaluation.simulated_model`): true labels, of which a share is
wrong, in other words, in whole sentences, refused, or in another case. With --look a real model is asked once about
each image. Prints one JSON line: for each aspect the NMI of each kind of groups over all images, where those in no
group count as one more group, so that refusing does not pay. About 5 minutes on two CPU cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from sklearn.metrics import normalized_mutual_info_score

import multimap_jax as mm
from experiments.benchmarks.measuring import print_result
from experiments.evaluation.datasets import read_table
from experiments.evaluation.simulated_model import Noise, SimulatedModel, digests, serving
from multimap_jax.arrays.rows import unit_rows
from multimap_jax.clustering.kmeans import cluster
from multimap_jax.features.answers import match_answers
from multimap_jax.prompts.aspect import reference_words
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
# Folder of photographs -> what they show, and the aspects to ask about.
ASPECTS = {
    "cards": ("card", ("order", "suits")),
    "faces": ("face", ("emotion", "pose")),
    "cars": ("car", ("manufacturer",)),
    "flowers": ("flower", ("species",)),
}
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)
KINDS = ("wrong", "synonym", "chatty", "refused", "cased")
MIXED = Noise(wrong=0.05, synonym=0.1, chatty=0.1, refused=0.05, cased=0.1)


def define_flags() -> None:
    flags.DEFINE_string("data", None, "folder of photographs with labels", required=True)
    flags.DEFINE_string("models", None, "folder of the checkpoints that see them", required=True)
    flags.DEFINE_string("look", None, "address of a real model that sees images")
    flags.DEFINE_string("look_model", None, "name of that model")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def score(labels: Sequence, groups: np.ndarray) -> float:
    return round(float(normalized_mutual_info_score(labels, groups)), 4)


def beside(clip: mm.Clip, rows: np.ndarray, aspect: mm.Aspect, labels: Sequence[str]) -> dict[str, float]:
    """The NMI of groups without any answers."""
    found = {"default": mm.MultiMaP(aspect, clip).fit(rows).labels_, "zero_shot": reference_words(clip, rows, aspect)}
    return {name: score(labels, groups) for name, groups in found.items()}


def grouped(clip: mm.Clip, rows: np.ndarray, aspect: mm.Aspect, labels: Sequence[str], answers: mm.Answers) -> dict:
    """The NMI of groups by answers: with the words, with the number of groups alone, with neither, and with image
    embeddings beside the answers."""
    k, bare = len(aspect.words), mm.Aspect(aspect.name, aspect.subject)
    chosen = mm.MultiMaP(bare, clip, "auto").fit(rows, answers=answers)
    found = {
        "answer": mm.MultiMaP(aspect, clip).fit(rows, answers=answers).labels_,
        "answer, number": mm.MultiMaP(bare, clip, k).fit(rows, answers=answers).labels_,
        "answer, auto": chosen.labels_,
        "answer+image": beside_images(match_answers(clip, aspect, answers).rows()[:], rows, k),
    }
    scores = {name: score(labels, groups) for name, groups in found.items()}
    return scores | {"groups chosen": int(chosen.n_clusters_), "left out": int((found["answer"] < 0).sum())}


def beside_images(answers: np.ndarray, images: np.ndarray, k: int) -> np.ndarray:
    """Groups of answers and image embeddings side by side, both of the same variance."""
    parts = [unit_rows(rows) - unit_rows(rows).mean(0) for rows in (answers, images)]
    scaled = [part / max(np.sqrt(np.square(part).sum(1).mean()), 1e-9) for part in parts]
    return cluster(np.concatenate(scaled, axis=1), k, 0).labels


def noises() -> list[tuple[str, float, Noise]]:
    cases = [(kind, share, Noise(**{kind: share})) for kind in KINDS for share in SHARES if share or kind == "wrong"]
    return [*cases, ("mixed", 0.35, MIXED)]


def quiet(_: str) -> None:
    pass


def rows_of(clip: mm.Clip, folder: Path, subject: str, names: Sequence[str]) -> list[dict]:
    images, table = read_table(folder)
    labels = {name: [row[name] for row in table] for name in names}
    rows, found = clip.embed_images(images), []
    known = digests(images, labels)
    for name in names:
        aspect = mm.Aspect(name, subject, sorted(set(labels[name])))
        common = {"set": folder.name, "aspect": name, "images": len(images), **beside(clip, rows, aspect, labels[name])}
        if FLAGS.look:
            answers = mm.look(images, aspect, FLAGS.look, FLAGS.look_model, progress=True)
            found.append(common | grouped(clip, rows, aspect, labels[name], answers))
            continue
        for kind, share, noise in noises():
            with serving(SimulatedModel(known, noise)) as address:
                answers = mm.look(images, aspect, address, "simulated", say=quiet)
            case = {"noise": kind, "share": share}
            found.append(common | case | grouped(clip, rows, aspect, labels[name], answers))
        logging.info("%s by %s", folder.name, name)
    return found


def main(_):
    data, models = Path(FLAGS.data), Path(FLAGS.models)
    clip = mm.load_clip(models / "photo-mini")
    found = [
        row for folder, (subject, names) in ASPECTS.items() for row in rows_of(clip, data / folder, subject, names)
    ]
    asked = f"{FLAGS.look_model} at {FLAGS.look}" if FLAGS.look else "simulated"
    print_result({"machine": machine(), "model": asked, "encoder": clip.name, "rows": found}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
