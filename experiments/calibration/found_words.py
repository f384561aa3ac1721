"""What comes out where no words are given: words that images choose from the built-in vocabulary, and aspects.

    python -m experiments.calibration.found_words --data=../shared/data --models=../shared/models \
        --out=experiments/results/unasked.json

Every aspect of the drawn twins (of a seed that chose nothing) is grouped with its true words and with those that
`find_words` finds, by the same encoder, into the true number of groups; NMI are means over the estimator's seeds 0, 1
and 2. An aspect of a twin is seen where the groups of zero-shot with the true words have an AMI of .5 or more; of
photographs the checkpoints' READMEs say it. `suggest_aspects` is rated by the average precision of the set's own
aspects in its order, beside the mean of 1,000 random orders; seconds are those of one call, its texts not yet embedded.

With --data and --models photographs come after the twins: sets of labels.csv and images/, seen by the checkpoints
photo-mini and fashion-mini. Prints one JSON line. About 5 minutes on two CPU cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import print_result
from experiments.calibration.verdict_cases import NO_ASPECT, PHOTOGRAPHS, words_of

FLAGS = flags.FLAGS
SEEDS = (0, 1, 2)
ORDERS = 1000
SEEN = 0.5  # AMI of zero-shot groups of an aspect that is seen, at least


def define_flags() -> None:
    flags.DEFINE_integer("images", 300, "drawn pictures of each set", lower_bound=20)
    flags.DEFINE_integer("seed", 1007, "of the drawn sets", lower_bound=0)
    flags.DEFINE_string("clip", "embedded", "checkpoint that sees the drawn sets")
    flags.DEFINE_string("data", None, "folder of the photograph sets; without it or --models they are left out")
    flags.DEFINE_string("models", None, "folder of the checkpoints that see photographs")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def average_precision(order: Sequence[str], wanted: Sequence[str]) -> float:
    """Mean over `wanted` of the precision where the order comes to it; 0 for one that it lacks."""
    hits = np.isin(order, wanted)
    return float((hits.cumsum() / np.arange(1, len(order) + 1))[hits].sum() / len(wanted))


def random_precision(order: Sequence[str], wanted: Sequence[str]) -> float:
    """The mean average precision of random orders of the same names."""
    random = np.random.default_rng(0)
    return float(np.mean([average_precision(random.permutation(order), wanted) for _ in range(ORDERS)]))


def grouped(clip, embeddings: np.ndarray, asked, k: int, truth: np.ndarray) -> float:
    """Mean NMI of k groups over SEEDS."""
    import multimap_jax as mm

    fits = [mm.MultiMaP(asked, clip, k, random_state=seed).fit(embeddings) for seed in SEEDS]
    return float(np.mean([mm.evaluate(truth, fit.labels_)["nmi"] for fit in fits]))


def rate_aspect(clip, embeddings: np.ndarray, subject: str, aspect: str, truth: np.ndarray) -> dict:
    """A row: what true words and found ones are worth. `found` is None where the vocabulary has no words."""
    import multimap_jax as mm
    from multimap_jax.prompts.aspect import reference_words

    asked = mm.Aspect(aspect, subject, words_of(truth))
    k, zero_shot = len(asked.words), reference_words(clip, embeddings, asked)
    row = {"aspect": aspect, "clusters": k, "zero_shot_ami": mm.evaluate(truth, zero_shot)["ami"]}
    row |= {"true": grouped(clip, embeddings, asked, k, truth)}
    row |= {"true_verdict": mm.diagnose(clip, embeddings, asked).verdict, "found": None}
    try:
        found = mm.find_words(clip, embeddings, aspect, subject)
    except ValueError as error:  # no two words that the checkpoint knows
        return row | {"why": str(error).partition(":")[0]}
    words = found.aspect.words
    row |= {"words": words, "candidates": found.choice.candidates, "found_verdict": found.separability.verdict}
    row |= {"found": grouped(clip, embeddings, found.aspect, k, truth)}
    own = row["found"] if len(words) == k else grouped(clip, embeddings, found.aspect, len(words), truth)
    return row | {"found_own_number": own}


def rate_suggestions(clip, embeddings: np.ndarray, subject: str, seen: dict[str, bool]) -> dict:
    """Where `suggest_aspects` has the set's own aspects, those that the vocabulary has words for: all, and those that
    are seen. seen: {aspect: whether the encoder sees it}."""
    import multimap_jax as mm
    from multimap_jax.words.vocabulary import aspects_for, read_vocabulary, vocabulary_words

    begin = time.perf_counter()
    order = [each.aspect.name for each in mm.suggest_aspects(clip, embeddings, subject)]
    found = {"subject": subject, "order": order, "seconds": time.perf_counter() - begin}
    vocabulary = read_vocabulary(None)
    names = {id(words): name for name, words in aspects_for(vocabulary, subject).items()}
    lines = {aspect: id(vocabulary_words(vocabulary, aspect, subject)) for aspect in seen}
    wanted = {names[line]: seen[aspect] for aspect, line in lines.items() if line in names}
    for kind, asked in {"all": list(wanted), "seen": [name for name in wanted if wanted[name]]}.items():
        if asked:
            rates = {"precision": average_precision(order, asked), "random": random_precision(order, asked)}
            found[kind] = {"aspects": asked} | rounded(rates)
    return found


def twins(images: int, seed: int, clip) -> Iterator[tuple]:
    """(set, checkpoint, embeddings, subject, labels, which of its aspects are seen or None) of every drawn set."""
    from experiments.evaluation import datasets
    from multimap_jax.scenes import SCENES

    for name, scene in SCENES.items():
        drawn = datasets.twin(name, images, seed, datasets.DIFFICULTY)
        yield f"{name} twin", clip, clip.embed_images(drawn.images), scene.subject, drawn.labels, None


def photographs(data: Path, models: Path, load: Callable) -> Iterator[tuple]:
    """The same of every photograph set."""
    from experiments.evaluation import datasets

    for folder, (checkpoint, subject, seen) in PHOTOGRAPHS.items():
        clip = load(models / checkpoint)
        images, rows = datasets.read_table(data / folder)
        labels = {name: np.array([row[name] for row in rows]) for name in rows[0] if name not in NO_ASPECT}
        yield folder, clip, clip.embed_images(images), subject, labels, seen


def rounded(found: dict) -> dict:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}


def main(_):
    import multimap_jax as mm
    from experiments.evaluation import datasets
    from multimap_jax.runtime.compilation import use_compilation_cache
    from multimap_jax.runtime.machine import machine

    use_compilation_cache()
    sets, rows, suggested = [twins(FLAGS.images, FLAGS.seed, mm.load_clip(FLAGS.clip))], [], []
    if FLAGS.data and FLAGS.models:
        sets.append(photographs(Path(FLAGS.data), Path(FLAGS.models), mm.load_clip))
    for name, clip, embeddings, subject, labels, seen in (each for kind in sets for each in kind):
        place = {"set": name, "encoder": clip.name, "drawn": seen is None, "images": len(embeddings)}
        sees = {}
        for aspect, truth in labels.items():
            row = rate_aspect(clip, embeddings, subject, aspect, truth)
            sees[aspect] = row["zero_shot_ami"] >= SEEN if seen is None else aspect in seen
            rows.append(place | {"seen": sees[aspect]} | rounded(row))
        suggested.append(place | rounded(rate_suggestions(clip, embeddings, subject, sees)))
    found = {"machine": machine(), "images": FLAGS.images, "seed": FLAGS.seed, "difficulty": datasets.DIFFICULTY}
    print_result(found | {"rows": rows, "suggested": suggested}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
