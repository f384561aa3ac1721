"""How shares over words are made from the independent probabilities of a SigLIP.

    python -m experiments.calibration.sigmoid_shares --json=experiments/results/sigmoid_shares.json

Trains a tiny SigLIP on drawings: it starts from the weights of the embedded CLIP, sees the same pictures and captions,
and is trained by independent sigmoids (Zhai et al. 2023, equation 2) with its own scale and bias. Then, on pictures of
another seed and asked with the true words of each aspect, compares two kinds of shares of a picture's words:

  odds: p / (1 - p), normalised: what holds if exactly one word is true. It is the softmax of the logits.
  probabilities: p, normalised.

Writes for each aspect the mean negative log-likelihood of the true word, the calibration error (10 bins of the largest
share) and the NMI of k-means on the square roots of the shares. About 12 minutes on two CPU cores.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from flax import nnx
from scipy.special import expit, softmax

import multimap_jax as mm
from experiments.benchmarks.measuring import print_result
from experiments.training import embedded_clip, embedded_files
from experiments.training.captions import TEMPLATE
from experiments.training.stream import COLUMNS, Pool
from multimap_jax.clustering.kmeans import cluster
from multimap_jax.encoders.clip.config import CLIPConfig, TextConfig
from multimap_jax.encoders.siglip.towers import SiglipTowers
from multimap_jax.runtime.machine import machine
from multimap_jax.scenes import SCENES

FLAGS = flags.FLAGS
CONTEXT = embedded_clip.TOKENS
KINDS = ("odds", "probabilities")
BINS = 10
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.98))


def define_flags() -> None:
    flags.DEFINE_integer("updates", 1500, "steps of the training", lower_bound=1)
    flags.DEFINE_integer("pictures", 64, "pictures in a step", lower_bound=2)
    flags.DEFINE_float("highest_rate", 5e-4, "highest learning rate")
    flags.DEFINE_integer(
        "tested", 500, "pictures of each scene that are asked about; a multiple of 100", lower_bound=100
    )
    flags.DEFINE_string("json", None, "file for the JSON line, besides printing it")


def initial_towers(clip: mm.Clip) -> SiglipTowers:
    """A SigLIP with the embedded CLIP's weights where both have such; the other ones are random."""
    text, image = clip.config.text, clip.config.image
    sizes = TextConfig(text.vocabulary, CONTEXT, text.width, text.layers, text.heads, text.mlp_width, text.embed,
                       text.activation, text.epsilon, padding=text.end_token)  # fmt: skip
    towers = SiglipTowers(CLIPConfig(sizes, image), nnx.Rngs(0))
    theirs = clip.towers
    towers.text.tokens[...] = theirs.text.tokens[...]
    towers.text.positions[...] = theirs.text.positions[...][:CONTEXT]
    towers.text.projection.kernel[...] = theirs.text.projection.kernel[...]
    towers.image.patches.kernel[...] = theirs.image.patches.kernel[...]
    towers.image.positions[...] = theirs.image.positions[...][1:]
    for ours, other in ((towers.text, theirs.text), (towers.image, theirs.image)):
        nnx.update(ours.layers, nnx.state(other.layers))
        nnx.update(ours.final_norm, nnx.state(other.final_norm))
    return towers


def embed(tower, rows: jax.Array) -> jax.Array:
    return embedded_clip.unit(jax.vmap(tower)(rows))


def pixels(pictures: jax.Array) -> jax.Array:
    return (pictures / 255.0 - jnp.array(embedded_files.MEAN)) / jnp.array(embedded_files.DEVIATION)


def logits(towers: SiglipTowers, pictures: jax.Array, ids: jax.Array) -> jax.Array:
    """[pictures, captions]."""
    cosines = embed(towers.image, pixels(pictures)) @ embed(towers.text, ids).T
    return jnp.exp(towers.logit_scale[...]) * cosines + towers.logit_bias[...]


def loss_function(towers: SiglipTowers, pictures: jax.Array, ids: jax.Array, true: jax.Array) -> jax.Array:
    """Zhai et al. 2023, equation 2, with as many true captions of a picture as there are; per picture."""
    signs = jnp.where(true, 1.0, -1.0)
    return jax.nn.softplus(-signs * logits(towers, pictures, ids)).sum(1).mean()


@functools.partial(jax.jit, donate_argnums=(0, 1))
def update(towers, state, batch, key, rate):
    pictures, ids, true = batch
    pictures = embedded_clip.shift_and_light(pictures, key)
    loss, gradient = jax.value_and_grad(loss_function)(towers, pictures, ids, true)
    step, state = OPTIMIZER.update(gradient, state, towers)
    return jax.tree.map(lambda value, change: value - rate * change, towers, step), state, loss


def train(towers: SiglipTowers, captions: embedded_clip.Captions, pool: Pool) -> tuple[SiglipTowers, float]:
    """(the trained towers, the mean loss of the last 100 steps)."""
    state, generator, key, losses = OPTIMIZER.init(towers), np.random.default_rng(0), jax.random.key(0), []
    for step in range(FLAGS.updates):
        pictures, labels = pool.take(generator, FLAGS.pictures)
        ids, rows = captions.draw(generator, 30)
        batch = pictures, ids, embedded_clip.which_are_true(labels, rows)
        rate = FLAGS.highest_rate * min(1, (step + 1) / 100) * 0.5 * (1 + np.cos(np.pi * step / FLAGS.updates))
        towers, state, loss = update(towers, state, batch, jax.random.fold_in(key, step), rate)
        losses.append(float(loss))
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: loss {np.mean(losses[-100:]):.3f}", flush=True)
    return towers, float(np.mean(losses[-100:]))


def shares(found: np.ndarray, kind: str) -> np.ndarray:
    """Shares [pictures, words] of logits."""
    if kind == "odds":
        return softmax(found, axis=1)
    probable = expit(found)
    return probable / probable.sum(1, keepdims=True)


def calibration_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean over bins of the largest share of the distance between it and how often its word is the true one."""
    largest, right = found.max(1), found.argmax(1) == truth
    bins = np.minimum((BINS * largest).astype(int), BINS - 1)
    distances = [abs(largest[bins == k].sum() - right[bins == k].sum()) for k in range(BINS)]
    return float(sum(distances) / len(found))


def ratings(found: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, float]]:
    """{kind of shares: its figures} of logits [pictures, words] and the true words [pictures]."""
    rated = {}
    for kind in KINDS:
        each = shares(found.astype(np.float64), kind)
        groups = cluster(np.sqrt(each), found.shape[1]).labels
        rated[kind] = {
            "nll": float(-np.log(np.maximum(each[np.arange(len(truth)), truth], 1e-12)).mean()),
            "calibration_error": calibration_error(each, truth),
            "nmi": mm.evaluate(truth, groups)["nmi"],
        }
    return rated


def test(towers: SiglipTowers, captions: embedded_clip.Captions) -> dict[str, dict]:
    """{"fruit color": {"accuracy": …, "odds": …, "probabilities": …}} on pictures that training never sees."""
    ask, figures = jax.jit(logits), {}
    for name, (pictures, labels) in embedded_clip.test_pictures(list(SCENES), FLAGS.tested).items():
        scene, prompts = SCENES[name], [caption.text for caption in captions.templates]
        ids = captions.ids(captions.templates)
        parts = np.split(pictures, len(pictures) // 100)
        found = np.concatenate([np.asarray(ask(towers, part.astype(np.float32), ids)) for part in parts])
        for aspect, words in scene.aspects.items():
            asked = [TEMPLATE.format(subject=scene.subject, aspect=aspect, word=word) for word in words]
            numbers = {COLUMNS[1][aspect].index(word): place for place, word in enumerate(words)}
            truth = np.array([numbers[label] for label in labels[:, 1 + list(COLUMNS[1]).index(aspect)]])
            own = found[:, [prompts.index(text) for text in asked]]
            accuracy = float((own.argmax(1) == truth).mean())
            figures[f"{name} {aspect}"] = {"words": len(words), "accuracy": accuracy, **ratings(own, truth)}
            print(f"{name} {aspect}: {figures[f'{name} {aspect}']}", flush=True)
    return figures


def main(_) -> None:
    import tempfile

    clip, of_all = mm.load_clip("embedded"), embedded_clip.shares_of(list(SCENES))
    pool = Pool.start(8000, embedded_clip.SIZE, of_all, 0)
    with tempfile.TemporaryDirectory() as folder:
        captions = embedded_clip.Captions(embedded_files.write_tokenizer_files(folder, 77, of_all), of_all)
    pool.wait_for(2000)
    towers, loss = train(initial_towers(clip), captions, pool)
    pool.close()
    figures = test(towers, captions)
    mean = {
        kind: {name: float(np.mean([each[kind][name] for each in figures.values()])) for name in each_of}
        for kind in KINDS
        for each_of in [next(iter(figures.values()))[kind]]
    }
    scale = {"scale": float(jnp.exp(towers.logit_scale[...])), "bias": float(towers.logit_bias[...])}
    found = {"machine": machine(), "updates": FLAGS.updates, "loss": loss, **scale, "mean": mean, "aspects": figures}
    print_result(found, FLAGS.json)


if __name__ == "__main__":
    define_flags()
    app.run(main)
