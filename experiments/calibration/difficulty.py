"""Which difficulty the drawn sets of all tables have.

    python -m experiments.calibration.difficulty --out=experiments/results/difficulty.json

The rule: the lowest at which zero-shot with the true words has a mean NMI between .5 and .8 over the aspects of all
sets, on pictures of a seed below 1000. Prints one JSON line. About 2 minutes on two CPU cores.
"""

from __future__ import annotations

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import print_result

FLAGS = flags.FLAGS
LOW, HIGH = 0.5, 0.8


def define_flags() -> None:
    flags.DEFINE_integer("images", 300, "pictures of each set", lower_bound=20)
    flags.DEFINE_integer("seed", 0, "of the drawn sets", lower_bound=0, upper_bound=999)
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def zero_shot_means(clip, difficulty: int, images: int, seed: int) -> dict[str, float]:
    """{"fruit color": NMI}; identity, which has no words, is left out."""
    import multimap_jax as mm
    from experiments.evaluation import datasets
    from multimap_jax.prompts.aspect import reference_words
    from multimap_jax.scenes import SCENES

    found = {}
    for name, scene in SCENES.items():
        drawn = datasets.twin(name, images, seed, difficulty)
        embeddings = clip.embed_images(drawn.images)
        for aspect, truth in drawn.labels.items():
            if aspect != "identity":
                asked = mm.Aspect(aspect, scene.subject, tuple(sorted(set(truth.tolist()))))
                labels = reference_words(clip, embeddings, asked)
                found[f"{name} {aspect}"] = mm.evaluate(truth, labels)["nmi"]
    return found


def chosen(means: dict[int, float]) -> int | None:
    """The lowest difficulty whose mean lies between LOW and HIGH."""
    return next((level for level in sorted(means) if LOW <= means[level] <= HIGH), None)


def main(_):
    import multimap_jax as mm
    from multimap_jax.runtime.machine import machine

    clip, means = mm.load_clip(FLAGS.clip), {}
    for level in range(4):
        means[level] = round(float(np.mean(list(zero_shot_means(clip, level, FLAGS.images, FLAGS.seed).values()))), 4)
    found = {"machine": machine(), "clip": FLAGS.clip, "images": FLAGS.images, "seed": FLAGS.seed}
    print_result(found | {"means": means, "chosen": chosen(means)}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
