"""How often a group gets a wrong name with a confidence above .8.

    python -m experiments.calibration.group_names --data=../shared/data --models=../shared/models \
        --out=experiments/results/group_names.json

Each aspect of drawn sets (easy and hard) and, with --data and --models, of photographs is asked with six lists of
words: the true words; those that the command finds; half of the true words; half of them replaced by other words of
the vocabulary for the aspect; only such others; words of something else ("guitar" for the color). As many groups as
there are true values, or, for found words, as the command chooses. A name is right if it is the commonest true value in
its group; "burgundy", which the vocabulary does not have, can only be named wrongly.

Prints one JSON line. About 5 minutes on two CPU cores.
"""

from __future__ import annotations

import collections
import warnings
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import print_result

FLAGS = flags.FLAGS
CONFIDENT = 0.8
DIFFICULTIES = (0, 2)
UNRELATED_LISTS = ("species of dog", "instrument", "cuisine", "sport", "furniture", "occupation", "species of fish")
# Set of photographs: checkpoint, subject, aspects.
PHOTOGRAPHS = {
    "cards": ("photo-mini", "card", ("order", "suits")),
    "flowers": ("photo-mini", "flower", ("color", "species")),
    "cars": ("photo-mini", "car", ("color", "manufacturer", "type")),
    "faces": ("photo-mini", "face", ("emotion", "glass", "pose")),
    "fashion": ("fashion-mini", "product", ("color", "type")),
}
NO_WORDS = ("identity",)  # aspects whose values are no words
MOST_PHOTOGRAPHS = 600


def define_flags() -> None:
    flags.DEFINE_integer("images", 300, "pictures of each drawn set", lower_bound=20)
    flags.DEFINE_integer("seed", 23, "of the drawn sets and of the word lists", lower_bound=0, upper_bound=999)
    flags.DEFINE_string("data", None, "folder of photographs with labels; none: drawings only")
    flags.DEFINE_string("models", None, "folder of the checkpoints that see them")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def word_lists(truth: tuple[str, ...], others: list[str], random: np.random.Generator, turn: int) -> dict:
    """Kind of list -> words; None for those that the images choose."""
    from multimap_jax.words.vocabulary import read_vocabulary

    half = list(random.permutation(truth)[: max(2, len(truth) // 2)])
    lists = {"true": truth, "found": None}
    if len(truth) > len(half):
        lists["half of them"] = half
    if len(others) >= len(truth):
        mixed = list(random.permutation(others))
        lists |= {"half replaced": half + mixed[: len(truth) - len(half)], "others of the aspect": mixed[: len(truth)]}
    unrelated = read_vocabulary(None)[UNRELATED_LISTS[turn % len(UNRELATED_LISTS)]]
    lists["of something else"] = list(random.permutation(unrelated)[: len(truth)])
    return lists


def named_groups(clip, embeddings: np.ndarray, aspect: str, subject: str, words, truth: np.ndarray) -> list[dict]:
    """For each group its name, the name's confidence, and whether it is right; [] where no words are found."""
    import multimap_jax as mm
    from multimap_jax.prompts.normalize import normal_form
    from multimap_jax.words.find import seen_words
    from multimap_jax.words.vocabulary import read_vocabulary, vocabulary_words

    clusters: int | str = len(set(truth.tolist()))
    if words is None:
        known = vocabulary_words(read_vocabulary(None), aspect, subject)
        if len(seen_words(clip, mm.Aspect(aspect, subject, known)).words) < 2:
            return []
        words, clusters = mm.find_words(clip, embeddings, aspect, subject).aspect.words, "auto"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mm.MultiMaP(mm.Aspect(aspect, subject, tuple(words)), clip, clusters).fit(embeddings)
    rows = []
    for group, (name, confidence) in enumerate(zip(model.cluster_names_, model.cluster_confidences_)):
        (commonest, _), *_ = collections.Counter(truth[model.labels_ == group].tolist()).most_common(1)
        right = normal_form(name.split(",")[0].rstrip(" 0123456789")) == normal_form(commonest)
        rows.append({"name": name, "confidence": round(float(confidence), 4), "right": right, "true": commonest})
    return rows


def rated(clip, embeddings, labels: dict, subject: str, about: dict, random: np.random.Generator) -> list[dict]:
    import multimap_jax as mm
    from multimap_jax.prompts.normalize import unique_words
    from multimap_jax.words.find import usable_words
    from multimap_jax.words.vocabulary import read_vocabulary, vocabulary_words

    rows = []
    for turn, (aspect, truth) in enumerate(labels.items()):
        words = tuple(sorted(set(truth.tolist())))
        others = unique_words(vocabulary_words(read_vocabulary(None), aspect, subject), without=words)
        others = list(usable_words(clip, mm.Aspect(aspect, subject, tuple(others))).words)
        for kind, given in word_lists(words, others, random, turn).items():
            for row in named_groups(clip, embeddings, aspect, subject, given, truth):
                rows.append(about | {"aspect": aspect, "words": kind} | row)
    return rows


def summary(rows: list[dict]) -> list[dict]:
    """A row for each kind of list and for all: groups, names with a confidence above .8, the wrong ones of these."""
    kinds = {
        kind: [row for row in rows if row["words"] == kind] for kind in dict.fromkeys(row["words"] for row in rows)
    }
    table = []
    for kind, of in {**kinds, "all": rows, "all but true": [row for row in rows if row["words"] != "true"]}.items():
        confident = [row for row in of if row["confidence"] > CONFIDENT]
        wrong, named = [row for row in confident if not row["right"]], [row for row in of if row["confidence"] > 0]
        table.append(
            {"words": kind, "groups": len(of), "named": len(named), "confident": len(confident), "wrong": len(wrong)}
        )
    return table


def main(_):
    import multimap_jax as mm
    from experiments.evaluation import datasets
    from multimap_jax.runtime.machine import machine
    from multimap_jax.scenes import SCENES

    random, rows, clip = np.random.default_rng(FLAGS.seed), [], mm.load_clip("embedded")
    for difficulty in DIFFICULTIES:
        for name, scene in SCENES.items():
            drawn = datasets.twin(name, FLAGS.images, FLAGS.seed, difficulty)
            labels = {aspect: truth for aspect, truth in drawn.labels.items() if aspect not in NO_WORDS}
            about = {"set": f"{name} twin", "difficulty": difficulty}
            rows += rated(clip, clip.embed_images(drawn.images), labels, scene.subject, about, random)
    for name, (model, subject, aspects) in (PHOTOGRAPHS if FLAGS.data and FLAGS.models else {}).items():
        clip = mm.load_clip(str(Path(FLAGS.models) / model))
        images, facts = datasets.read_table(Path(FLAGS.data) / name)
        which = np.sort(random.permutation(len(images))[:MOST_PHOTOGRAPHS])
        labels = {aspect: np.array([facts[i][aspect] for i in which]) for aspect in aspects}
        embeddings = clip.embed_images([images[i] for i in which])
        rows += rated(clip, embeddings, labels, subject, {"set": name}, random)
    found = {"machine": machine(), "images": FLAGS.images, "seed": FLAGS.seed, "confident": CONFIDENT}
    print_result(found | {"summary": summary(rows), "rows": rows}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
