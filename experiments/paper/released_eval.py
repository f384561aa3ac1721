"""The authors' evaluation program, whose representation is close to Multi-Sub's (arXiv 2411.03978).

    python -m experiments.paper.released_eval --images=fruit --labels=fruit/labels.csv --subject=Fruit --aspect=color \
        --words=red,green,yellow

It is not the paper's method. The proxy of an image is softmax(v·Eᵀ)·E, a mixture of the mean token embeddings E of the
words; v starts at the unnormalised text embedding of "*"; the only loss is 1 − cos(image, prompt); Adagrad runs on v
and, at a rate of 1e-5, on the image tower's projection, which all images share. The text tower runs without position
embeddings and without the final layer norm. Text width must equal the embedding dimension.

Prints one JSON line: for each of five features the mean NMI, ARI and RI over k-means seeds 0 … 9 with n_init="auto".
Facts: Alexander-Yao/Multi-MaP, main_eval.py. 200 drawn pictures and the embedded encoder take about 1 minute on two
CPU cores.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

import multimap_jax as mm
from multimap_jax.encoders.clip.slot import SlotEncoder, slot_encoder, unit
from multimap_jax.images.decoding import stream_pixels
from multimap_jax.prompts.aspect import make_prompt
from multimap_jax.runtime.mesh import pad_rows
from multimap_jax.runtime.precision import compute_dtype, matmul_precision

FLAGS = flags.FLAGS
RELEASED_TEMPLATE = "{subject} with a {name} of {word}"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Features at the end: prompt [images, embed] unit rows, proxy [images, width], word (the prompt "*" with the proxy
    in it), image, both [images, embed] unnormalised; combined, proxy and image side by side. losses [epochs]."""

    prompt: np.ndarray
    proxy: np.ndarray
    word: np.ndarray
    image: np.ndarray
    losses: np.ndarray

    @property
    def combined(self) -> np.ndarray:
        return np.concatenate([self.proxy, self.image], axis=1)

    def features(self) -> dict[str, np.ndarray]:
        names = ("prompt", "proxy", "word", "image", "combined")
        return {name: getattr(self, name) for name in names}


def pool_images(clip: mm.Clip, images) -> np.ndarray:
    """What the image tower projects, float32 [images, image width]; every image must be readable."""
    pool, parts = jax.jit(lambda tower, pixels: jax.vmap(tower.pool)(pixels)), []
    with matmul_precision("float32"):
        for batch in stream_pixels(images, clip.preprocess, 32):
            parts.append(np.asarray(pool(clip.towers.image, pad_rows(np.stack(batch), 32)))[: len(batch)])
    return np.concatenate(parts)


def mix(v, words):
    """v [width] -> proxy [width]: the words' embeddings [words, width], weighed by a softmax."""
    return jax.nn.softmax(words @ v) @ words


def batch_loss(trained, pooled, rows, valid, encoder: SlotEncoder, words):
    """Mean of 1 − cos over a batch. rows int [batch] into the images, valid [batch]: 0 for the padding at the end."""
    prompts = jax.vmap(lambda v: encoder(mix(v, words)))(trained["v"][rows])
    images = unit(pooled[rows] @ trained["projection"])
    return jnp.sum(valid * (1 - (prompts * images).sum(-1))) / valid.sum()


@functools.partial(jax.jit, static_argnums=(7, 8))
def run_epochs(trained, pooled, order, encoder, words, rate, decay, batch: int, images: int):
    """order int [epochs, batches] -> (what was trained, losses [epochs])."""
    optimizer = optax.scale_by_rss(0.0, eps=1e-20)
    rates = {"v": rate, "projection": 1e-5}

    def step(carry, number):
        trained, state = carry
        rows = number * batch + jnp.arange(batch)
        valid = (rows < images).astype(pooled.dtype)
        rows = jnp.minimum(rows, images - 1)
        loss, gradients = jax.value_and_grad(batch_loss)(trained, pooled, rows, valid, encoder, words)
        gradients = jax.tree.map(lambda g, w: g + decay * w, gradients, trained)
        directions, state = optimizer.update(gradients, state)
        trained = {name: value - rates[name] * directions[name] for name, value in trained.items()}
        return (trained, state), loss

    def epoch(carry, numbers):
        carry, losses = jax.lax.scan(step, carry, numbers)
        return carry, losses.mean()

    (trained, _), losses = jax.lax.scan(epoch, (trained, optimizer.init(trained)), order)
    return trained, losses


def released_eval(
    clip: mm.Clip,
    pooled: np.ndarray,
    aspect: mm.Aspect,
    order: np.ndarray,
    learning_rate: float = 0.005,
    weight_decay: float = 0.0,
    batch_size: int = 20,
    precision: str = "float32",
) -> Evaluation:
    """Runs the program on pooled images [images, image width], batches in the given order, int [epochs, batches]."""
    width, embed = clip.config.text.width, clip.config.text.embed
    if width != embed:
        raise ValueError(f"text width {width} and embedding dimension {embed} must be equal: give another checkpoint")
    prompt, tokenizer = make_prompt(aspect, clip.tokenizer), clip.tokenizer
    star = tokenizer.whole(tokenizer.placeholder())
    dtype, wide = compute_dtype(precision), precision == "float64"
    with jax.enable_x64(True) if wide else contextlib.nullcontext(), matmul_precision(precision):
        tower = jax.tree.map(lambda array: jnp.asarray(array, dtype), clip.towers.text)
        encoder = slot_encoder(tower, prompt.ids, prompt.slot, positions=False, final_norm=False)
        alone = slot_encoder(tower, star, 1, positions=False, final_norm=False)
        table, pooled = tower.tokens[...], jnp.asarray(pooled, dtype)
        words = jnp.stack([table[jnp.asarray(tokenizer.encode(word))].mean(0) for word in aspect.words])
        start = jnp.tile(tower(jnp.asarray(star)), (len(pooled), 1))
        projection = jnp.asarray(clip.towers.image.projection.kernel[...], dtype)
        trained = {"v": start, "projection": projection}
        trained, losses = run_epochs(
            trained, pooled, jnp.asarray(order), encoder, words, learning_rate, weight_decay, batch_size, len(pooled)
        )
        proxies = jax.vmap(mix, in_axes=(0, None))(trained["v"], words)
        prompts, embedded = jax.vmap(encoder)(proxies), jax.vmap(alone.embed)(proxies)
        images = pooled @ trained["projection"]
    return Evaluation(*map(np.asarray, (prompts, proxies, embedded, images, losses)))


def batch_order(images: int, batch_size: int, epochs: int, seed: int) -> np.ndarray:
    """A random order of the batches for every epoch, int [epochs, batches]."""
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(-(-images // batch_size)) for _ in range(epochs)])


def score(features: np.ndarray, true_labels, clusters: int) -> dict[str, float]:
    """Mean over k-means seeds 0 … 9 with n_init="auto", as the released program has it."""
    from sklearn.cluster import KMeans

    runs = [KMeans(clusters, random_state=seed, n_init="auto").fit(features).labels_ for seed in range(10)]
    scores = [mm.evaluate(true_labels, labels) for labels in runs]
    return {name: float(np.mean([score[name] for score in scores])) for name in ("nmi", "ari", "ri")}


def main(_):
    with open(FLAGS.labels, newline="", encoding="utf-8") as file:
        truth = {row["image"]: row[FLAGS.aspect] for row in csv.DictReader(file)}
    clip, names = mm.load_clip(FLAGS.clip), list(truth)
    aspect = mm.Aspect(FLAGS.aspect, FLAGS.subject, tuple(FLAGS.words), RELEASED_TEMPLATE)
    pooled = pool_images(clip, [Path(FLAGS.images) / name for name in names])
    order = batch_order(len(names), FLAGS.batch_size, FLAGS.epochs, FLAGS.seed)
    result = released_eval(clip, pooled, aspect, order, FLAGS.learning_rate, FLAGS.weight_decay, FLAGS.batch_size)
    true_labels = list(truth.values())
    scores = {name: score(features, true_labels, len(set(true_labels))) for name, features in result.features().items()}
    print(json.dumps({"aspect": FLAGS.aspect, "images": len(names), "loss": float(result.losses[-1])} | scores))


if __name__ == "__main__":
    flags.DEFINE_string("images", None, "folder of images", required=True)
    flags.DEFINE_string("labels", None, "csv with a column image and one for the aspect", required=True)
    flags.DEFINE_string("subject", "Fruit", "what is in the images")
    flags.DEFINE_string("aspect", "color", "what to group by")
    flags.DEFINE_list("words", None, "candidate words", required=True)
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_integer("epochs", 100, "epochs (the released program evaluates every 100)")
    flags.DEFINE_float("learning_rate", 0.005, "of the proxies")
    flags.DEFINE_float("weight_decay", 0.0, "L2, on everything that is trained, at every batch")
    flags.DEFINE_integer("batch_size", 20, "images in a batch")
    flags.DEFINE_integer("seed", 0, "of the order of the batches")
    app.run(main)
