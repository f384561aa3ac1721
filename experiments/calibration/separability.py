"""Measures the thresholds of `multimap_jax.prompts.separability` again, and judges its verdicts on photographs.

    python -m experiments.calibration.separability --stages=DIR,DIR,DIR --data=../shared/data \
        --models=../shared/models --out=experiments/results/sight.json

The rule: over aspects of drawn scenes that are seen (zero-shot groups agree with the labels by an adjusted mutual
information, AMI, of .5 or more) the threshold of each criterion is its 5% quantile, so that 19 of 20 reach it. Asked
with the true words, of pictures of easy and of hard sets, by the embedded checkpoint and by those of --stages, which
see less: what `experiments.training.embedded_clip` had written when it was stopped early, in folders named by minutes
("stages/2"). Those of the recorded run are one of --minutes=2, and what one of --minutes=10 --evaluate_every=150 had
written after 4.8 and 9.2 minutes; `trained` is what a checkpoint's own README says.

Controls, in which there is nothing to tell apart, so that "cannot" is right: words with their letters shuffled, words
of random syllables, pictures of noise, and pictures that all have the first word.

Judged on photographs of --data seen by checkpoints of --models, from which no threshold comes; without both, or where
they are not there, these rows are left out. Which aspects those checkpoints see is what their READMEs say.

Prints one JSON line. About 5 minutes on two CPU cores.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from absl import app, flags, logging

from experiments.benchmarks.measuring import print_result

FLAGS = flags.FLAGS
DIFFICULTIES = (0, 2)
# AMI of an aspect that is seen, at least, and of one that is not, at most; the quantile of the rule.
SEEN, UNSEEN, QUANTILE = 0.5, 0.25, 0.05
CRITERIA = ("information", "structure")
# Set of photographs: checkpoint, subject, and the aspects that the checkpoint's README says it sees.
PHOTOGRAPHS = {
    "cards": ("photo-mini", "card", ("order", "suits")),
    "flowers": ("photo-mini", "flower", ("color", "species")),
    "cars": ("photo-mini", "car", ("color",)),
    "faces": ("photo-mini", "face", ("identity", "pose")),
    "fashion": ("fashion-mini", "product", ("color", "type", "gender")),
}
NO_ASPECT = ("core", "half")  # columns of labels.csv


def define_flags() -> None:
    flags.DEFINE_list("stages", [], "checkpoints besides the embedded one, folders named by minutes of training")
    flags.DEFINE_integer("images", 300, "pictures of each set", lower_bound=20)
    flags.DEFINE_integer("seed", 17, "of the drawn sets and of the controls", lower_bound=0, upper_bound=999)
    flags.DEFINE_string("data", None, "folder of photographs with labels; none: judge nothing")
    flags.DEFINE_string("models", None, "folder of the checkpoints that see them")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def look(clip, embeddings: np.ndarray, aspect: str, subject: str, words, truth=None) -> dict:
    """What `diagnose` finds; with labels `truth` [images], also the AMI of zero-shot."""
    import multimap_jax as mm
    from multimap_jax.prompts.aspect import reference_words
    from multimap_jax.prompts.separability import diagnose

    asked = mm.Aspect(aspect, subject, tuple(words))
    sight = diagnose(clip, embeddings, asked)
    row = {"aspect": aspect, "words": len(asked.words), "images": len(embeddings), "clear": sight.verdict == "clear"}
    row |= {name: round(getattr(sight, name), 4) for name in CRITERIA}
    if truth is not None:
        row["ami"] = round(mm.evaluate(truth, reference_words(clip, embeddings, asked))["ami"], 4)
    return row


def words_of(truth: np.ndarray) -> tuple[str, ...]:
    return tuple(sorted(set(truth.tolist())))


def shuffled(words, random: np.random.Generator) -> tuple[str, ...]:
    """The words with their letters in another order; a letter more where there is none that is new."""
    made = []
    for word in words:
        letters, found = list(word.replace(" ", "")), word
        for _ in range(20):
            if found in (*words, *made):
                found = "".join(random.permutation(letters))
        while found in (*words, *made):
            found += "x"
        made.append(found)
    return tuple(made)


def noise(random: np.random.Generator) -> list[np.ndarray]:
    return list(random.integers(0, 256, (200, 64, 64, 3), dtype=np.uint8))


def calibrate(clip, twins: dict, seed: int) -> tuple[list[dict], list[dict]]:
    """(aspects asked with their true words, controls) of `twins`: {(set, difficulty): its pictures and labels}."""
    from multimap_jax.prompts.separability import random_words
    from multimap_jax.scenes import SCENES

    random, rows, controls = np.random.default_rng(seed), [], []
    blank = clip.embed_images(noise(random))
    for (name, difficulty), drawn in twins.items():
        embeddings, subject = clip.embed_images(drawn.images), SCENES[name].subject
        for aspect, truth in drawn.labels.items():
            words, of = words_of(truth), {"set": name, "difficulty": difficulty}
            rows.append(of | look(clip, embeddings, aspect, subject, words, truth))
            asked = {
                "letters shuffled": (embeddings, shuffled(words, random)),
                "words of random syllables": (embeddings, random_words(len(words), random)),
                "pictures of noise": (blank, words),
                "pictures alike in the aspect": (embeddings[truth == words[0]], words),
            }
            if difficulty != DIFFICULTIES[0]:  # the noise is the same at each
                del asked["pictures of noise"]
            for control, (pictures, given) in asked.items():
                controls.append({"control": control} | of | look(clip, pictures, aspect, subject, given))
    return rows, controls


def thresholds(rows: list[dict]) -> dict[str, float]:
    """Of each criterion by the rule; ValueError where no aspect is seen."""
    seen = [row for row in rows if row["ami"] >= SEEN]
    if not seen:
        raise ValueError(
            f"none of {len(rows)} aspects has an AMI of {SEEN} or more: expected some to take quantiles of"
        )
    return {name: round(float(np.quantile([row[name] for row in seen], QUANTILE)), 4) for name in CRITERIA}


def counts(rows: list[dict]) -> dict[str, int]:
    """How many aspects are seen, unseen and neither, and how many of each are called clear."""
    kinds = {
        "seen": [row for row in rows if row["ami"] >= SEEN],
        "unseen": [row for row in rows if row["ami"] < UNSEEN],
        "between": [row for row in rows if UNSEEN <= row["ami"] < SEEN],
    }
    found = {kind: len(of) for kind, of in kinds.items()}
    return found | {f"{kind}_clear": sum(row["clear"] for row in of) for kind, of in kinds.items()}


def summary(controls: list[dict]) -> list[dict]:
    """A row for each control: cases, how many are called clear, and which."""
    return [
        {"control": name, "cases": len(of), "clear": len(clear), "which": clear}
        for name in dict.fromkeys(row["control"] for row in controls)
        for of in [[row for row in controls if row["control"] == name]]
        for clear in [[row for row in of if row["clear"]]]
    ]


def judge(data: Path, models: Path) -> list[dict]:
    """A row for each aspect of the photographs, with `seen`, what is true of it."""
    import multimap_jax as mm
    from experiments.evaluation.datasets import read_table

    rows = []
    for name, (model, subject, seen) in PHOTOGRAPHS.items():
        clip, (images, labels) = mm.load_clip(str(models / model)), read_table(data / name)
        embeddings = clip.embed_images(images)
        for aspect in labels[0]:
            if aspect not in NO_ASPECT:
                truth = np.array([label[aspect] for label in labels])
                row = look(clip, embeddings, aspect, subject, words_of(truth), truth)
                rows.append({"set": name, "encoder": model} | row | {"seen": aspect in seen})
    return rows


def judgement(rows: list[dict]) -> dict:
    """The rows, the share of right verdicts among them, and how many of those that are not seen are called clear."""
    unseen = [row for row in rows if not row["seen"]]
    right = round(float(np.mean([row["clear"] == row["seen"] for row in rows])), 4)
    return {"right": right, "unseen": len(unseen), "unseen_clear": sum(row["clear"] for row in unseen), "rows": rows}


def trained(clip) -> str:
    """ "2.0 minutes (137 steps)": the last training that the checkpoint's README tells of; "" where it tells none."""
    readme = clip.directory / "README.md"
    found = re.findall(r"for ([\d.]+ minutes \([\d,]+ steps\))", readme.read_text() if readme.exists() else "")
    return found[-1] if found else ""


def main(_):
    import multimap_jax as mm
    from experiments.evaluation import datasets
    from multimap_jax.prompts.separability import INFORMATION, STRUCTURE
    from multimap_jax.runtime.machine import machine
    from multimap_jax.scenes import SCENES

    sets = [(name, difficulty) for difficulty in DIFFICULTIES for name in SCENES]
    twins = {of: datasets.twin(of[0], FLAGS.images, FLAGS.seed, of[1]) for of in sets}
    places = {f"stopped after {Path(folder).name} minutes": folder for folder in FLAGS.stages}
    rows, controls, encoders = [], [], []
    for name, place in {**places, "embedded": "embedded"}.items():
        clip = mm.load_clip(place)
        asked, controlled = calibrate(clip, twins, FLAGS.seed)
        encoders.append({"encoder": name, "trained": trained(clip)} | counts(asked))
        rows += [{"encoder": name} | row for row in asked]
        controls += [{"encoder": name} | row for row in controlled]
    found = {"machine": machine(), "images": FLAGS.images, "seed": FLAGS.seed, "difficulties": DIFFICULTIES}
    found |= {"code": {"information": INFORMATION, "structure": STRUCTURE}, "found": thresholds(rows)}
    found |= {"calibration": counts(rows), "encoders": encoders, "controls": summary(controls)}
    wanted = [Path(folder) for folder in (FLAGS.data, FLAGS.models) if folder]
    missing = [folder for folder in wanted if not folder.is_dir()]
    if missing:
        logging.warning("no photographs are judged: %s is not there", ", ".join(map(str, missing)))
    elif len(wanted) == 2:
        found["photographs"] = judgement(judge(*wanted))
    print_result(found | {"rows": rows}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
