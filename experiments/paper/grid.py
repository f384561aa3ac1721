"""Grid search over the recipe's numbers as ONE compiled program: settings are a batch axis beside the images.

    python -m experiments.paper.grid --scene=fruit --aspect=color --out=grid.csv

The paper chooses learning rate, weight decay, α and β by the lowest total training loss (its section 4). Taken
literally that always ends at α = β = 0: both regularisers are at least 0, so leaving them out can only lower the sum.
The csv shows it. Its column `unweighted_loss` is a criterion that does not: the three terms at equal weights, whatever
weights the proxies were learnt with, so that a setting is not paid for ignoring a term. Prints the best setting by
each. On 60 drawn pictures, 144 settings and 100 steps it takes about 2 minutes on two CPU cores.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import multimap_jax as mm
from experiments.evaluation import datasets
from experiments.evaluation.case import Case
from multimap_jax.prompts.aspect import make_prompt, reference_words
from multimap_jax.proxies import fit as proxies
from multimap_jax.proxies.loss import Common, Target, start
from multimap_jax.proxies.solver import CHUNK, finish, run_chunk
from multimap_jax.runtime.mesh import pad_rows
from multimap_jax.runtime.precision import matmul_precision

NUMBERS = ("learning_rate", "weight_decay", "reference_weight", "concept_weight")
# What the tables choose among; the loss weights stay as the recipe has them.
RATES_AND_DECAYS = tuple(itertools.product((0.05, 0.01, 0.005, 0.001), (0.0, 5e-4)))
RATES, DECAYS, WEIGHTS = (0.1, 0.01, 0.005, 0.0005), (0.0, 5e-5, 5e-4), (0.0, 0.3, 0.6, 1.0)

BLOCK = 32


@functools.partial(jax.jit, static_argnums=4)
def _losses(common: Common, settings, targets: Target, steps, chunks: int):
    """(total loss, loss at equal weights), each [settings, images], after `steps` steps."""

    def one(numbers):
        own = dataclasses.replace(common, config=dataclasses.replace(common.config, **numbers))
        carry = jax.vmap(start, in_axes=(None, 0))(own, targets)
        for chunk in range(chunks):
            first = chunk * CHUNK
            count = jnp.minimum(CHUNK, steps - first)
            carry, _ = run_chunk(own, first, count, carry, targets)
        equal = dataclasses.replace(
            own, config=dataclasses.replace(own.config, reference_weight=1.0, concept_weight=1.0)
        )
        return finish(own, carry[0], targets)[1], finish(equal, carry[0], targets)[1]

    return jax.vmap(one)(settings)


def grid_losses_by_criterion(case: Case, settings: dict[str, np.ndarray], steps: int) -> np.ndarray:
    """settings: number -> values [settings]. Mean over images of total and of unweighted loss, [2, settings]."""
    aspect, config, totals = case.asked(), case.config, 0.0
    prompt, reference = make_prompt(aspect, case.clip.tokenizer), reference_words(case.clip, case.embeddings, aspect)
    with matmul_precision(config.precision):
        common, targets = proxies.prepare(case.clip, case.embeddings, aspect, case.contrast, config, prompt, reference)
        settings = {name: jnp.asarray(values, jnp.float32) for name, values in settings.items()}
        for begin in range(0, len(reference), BLOCK):
            rows = jax.tree.map(lambda array, begin=begin: array[begin : begin + BLOCK], targets)
            valid = len(rows.image)
            rows = jax.tree.map(lambda array: pad_rows(array, BLOCK), rows)
            losses = _losses(common, settings, rows, steps, -(-steps // CHUNK))
            totals = totals + np.stack([np.asarray(loss)[:, :valid].sum(1) for loss in losses])
    return totals / len(reference)


def grid_losses(case: Case, rates_and_decays: Sequence[tuple[float, float]], steps: int) -> np.ndarray:
    """Mean total loss for each pair of learning rate and weight decay, [pairs]; not a number where it diverged."""
    rates, decays = np.array(rates_and_decays).T
    return grid_losses_by_criterion(case, {"learning_rate": rates, "weight_decay": decays}, steps)[0]


def main(_):
    item = datasets.find(FLAGS.scene)
    labelled, clip = datasets.twin(FLAGS.scene, FLAGS.images, FLAGS.seed), mm.load_clip(FLAGS.clip)
    if FLAGS.aspect not in item.aspects:
        raise app.UsageError(f"unknown aspect {FLAGS.aspect!r}; known: {', '.join(item.aspects)}")
    facts, embeddings = item.aspects[FLAGS.aspect], clip.embed_images(labelled.images)
    contrast = tuple(other for other in item.aspects if other != FLAGS.aspect)
    truth, config = labelled.labels[FLAGS.aspect], mm.ProxyConfig.paper(steps=FLAGS.steps)
    case = Case(clip, item.subject, FLAGS.aspect, embeddings, truth, facts.words, facts.labels, contrast, config)
    combinations = np.array(list(itertools.product(RATES, DECAYS, WEIGHTS, WEIGHTS)))
    losses = grid_losses_by_criterion(case, dict(zip(NUMBERS, combinations.T)), FLAGS.steps)
    with open(FLAGS.out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*NUMBERS, "total_loss", "unweighted_loss"])
        writer.writerows(np.column_stack([combinations, losses.T]).round(6).tolist())
    for name, values in zip(("total loss", "unweighted loss"), losses):
        best = dict(zip(NUMBERS, combinations[np.nanargmin(values)].tolist()))
        print(f"lowest {name}: {values[np.nanargmin(values)]:.4f} at {best}")


if __name__ == "__main__":
    FLAGS = flags.FLAGS
    flags.DEFINE_string("scene", "fruit", "which drawn twin")
    flags.DEFINE_string("aspect", "color", "which aspect")
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_string("out", "grid.csv", "where the losses are written")
    flags.DEFINE_integer("images", 60, "pictures")
    flags.DEFINE_integer("steps", 100, "Adam steps of each setting")
    flags.DEFINE_integer("seed", 0, "of the pictures")
    app.run(main)
