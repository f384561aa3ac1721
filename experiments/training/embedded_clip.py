"""Train the checkpoint that the package carries: a small CLIP, on drawings, on a CPU.

    python -m experiments.training.embedded_clip --minutes=55 --out=multimap_jax/encoders/embedded

Draws scenes in processes of their own while it trains. At every evaluation it writes the checkpoint and prints a line;
at the end it prints one line of JSON: the zero-shot accuracy on pictures of another seed, for each scene and aspect,
asked with "a {subject} with the {aspect} of {word}".

Loss: contrastive with several positives. Every caption that is true of a picture is a positive; each of them is set
against the captions that are false of it, never against the other true ones, and the same from captions to pictures.
In the first part of the training the image tower sees a random part of the patches, which costs as much less
(Li et al. 2023, arXiv 2212.00794).
"""

import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from flax import nnx

from experiments.training import embedded_files
from experiments.training.captions import TEMPLATE, draw_caption, template_captions
from experiments.training.stream import COLUMNS, Pool, encode_labels, label_width, shrink
from multimap_jax import load_clip
from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig, TextConfig
from multimap_jax.encoders.clip.towers import Towers, run_layers
from multimap_jax.scenes import SCENES, render_scene
from multimap_jax.scenes.registry import find_scene

MINUTES = flags.DEFINE_float("minutes", 48, "Time to train for; the learning rate falls to 0 over it.", lower_bound=0.1)
STEPS = flags.DEFINE_integer("steps", 1_000_000, "Stop after so many steps even if there is time left.", lower_bound=1)
BATCH = flags.DEFINE_integer("batch", 128, "Pictures in a step.", lower_bound=2)
CAPTIONS = flags.DEFINE_integer("captions", 60, "Random captions in a step, besides half of the package's own prompts.")
KEPT = flags.DEFINE_integer("kept_patches", 40, "Patches of a picture that the first part of the training looks at.")
DROPPING = flags.DEFINE_float("dropping", 0.6, "That first part, of the whole.", lower_bound=0, upper_bound=1)
START = flags.DEFINE_string("start", None, "A checkpoint of this program to go on from; its words keep their vectors.")
RATE = flags.DEFINE_float("learning_rate", 1e-3, "Highest learning rate.")
POOL = flags.DEFINE_integer("pool", 80_000, "Pictures kept; older ones are replaced.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the weights, the pictures and the captions.", lower_bound=0)
EVERY = flags.DEFINE_integer("evaluate_every", 500, "Steps between evaluations.", lower_bound=1)
OUT = flags.DEFINE_string("out", "multimap_jax/encoders/embedded", "Where the checkpoint is written.")

SCENE_NAMES = flags.DEFINE_list("scenes", list(SCENES), "Families of scenes to train on.")

SIZE, PATCH, CONTEXT, WIDTH = 64, 8, 77, 128
TOKENS = 16  # longest caption; the text tower is causal, so that padding need not be computed
WARM_UP = 200
# How much of the pictures, relative to a family of two easy aspects: ranks and faces take the longest to learn.
WEIGHTS = {"card": 1.5, "cmuface": 4.0}
TEST_SEED = 1_000_003  # pictures that no training process draws: those use other generators altogether
WORD_NOISE = 0.03


def shares_of(names):
    """{family: its share of the pictures}; ValueError for an unknown one."""
    weights = {find_scene(name).name: WEIGHTS.get(name, 1.0) for name in names}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def clip_config(vocabulary):
    """The sizes of the checkpoint. Text width = embedding dimension, so that every recipe of the package can use it."""
    text = TextConfig(vocabulary, CONTEXT, WIDTH, 3, 4, 4 * WIDTH, WIDTH, end_token=vocabulary - 1)
    return CLIPConfig(text, ImageConfig(SIZE, PATCH, WIDTH, 4, 4, 4 * WIDTH, WIDTH))


def grid_positions(side, width):
    """Sines and cosines of rows and columns, [1 + side * side, width]: the tower starts out knowing its neighbours."""
    frequency = 10.0 ** -np.linspace(0, 1.5, width // 4)
    angles = np.arange(side)[:, None] * frequency
    line = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    rows, columns = np.repeat(line, side, axis=0), np.tile(line, (side, 1))
    return np.concatenate([np.zeros((1, width)), np.concatenate([rows, columns], axis=1)]).astype(np.float32)


def initial_towers(config, seed):
    """Random towers. Words start far from each other (norm about 1), so that an optimised proxy stays near its word."""
    towers = Towers(config, nnx.Rngs(seed))
    towers.text.tokens[...] = 5.0 * towers.text.tokens[...]
    towers.image.positions[...] = 0.2 * grid_positions(config.image.size // config.image.patch, config.image.width)
    return towers


def take_over(towers, tokenizer, directory):
    """`towers` with the weights of a checkpoint of the same sizes; words that are new to it keep their random vectors.

    ValueError where the sizes differ.
    """
    old, words = load_clip(directory).towers, json.loads((Path(directory) / "vocab.json").read_text(encoding="utf-8"))
    tokens = np.array(towers.text.tokens[...])
    for word, number in tokenizer.get_vocab().items():
        if word in words:
            tokens[number] = old.text.tokens[...][words[word]]
    old.text.tokens = nnx.Param(jnp.asarray(tokens))
    arrays, wanted = jax.tree.leaves(old), jax.tree.leaves(towers)
    if [array.shape for array in arrays] != [array.shape for array in wanted]:
        raise ValueError(f"{directory} is a checkpoint of other sizes than this program trains: leave --start out")
    return jax.tree.unflatten(jax.tree.structure(towers), map(jnp.float32, arrays))


def unit(rows):
    return rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)


def embed_pictures(towers, pictures, kept=None):
    """[pictures, size, size, 3] -> unit rows [pictures, embed]; kept int [pictures, patches]: those to look at."""
    mean, deviation = jnp.array(embedded_files.MEAN), jnp.array(embedded_files.DEVIATION)

    def embed(pixels, kept):
        tower = towers.image
        x = tower.embed_patches((pixels / 255.0 - mean) / deviation)
        x = x if kept is None else x[jnp.concatenate([jnp.zeros(1, int), 1 + kept])]
        hidden, _ = run_layers(tower.layers, x, causal=False, unroll=tower.config.layers)
        return tower.projection(tower.final_norm(hidden[0]))

    return unit(jax.vmap(embed, in_axes=(0, None if kept is None else 0))(pictures.astype(jnp.float32), kept))


def embed_captions(towers, ids, noise):
    """Token ids [captions, tokens] -> unit rows [captions, embed]; noise [captions, tokens, width] moves the words."""

    def embed(ids, noise):
        tower = towers.text
        x = tower.embed_tokens(ids) + noise
        hidden, _ = run_layers(tower.layers, x, causal=True, unroll=tower.config.layers)
        return tower.projection(tower.final_norm(hidden[tower.end_position(ids)]))

    return unit(jax.vmap(embed)(ids, noise))


def several_positives(logits, true):
    """Mean over true pairs of −log( e^s / (e^s + Σ e^s of the row's false pairs) ); logits, true [rows, columns]."""
    false = jax.nn.logsumexp(jnp.where(true, -1e9, logits), axis=1, keepdims=True)
    rows = jnp.sum(jnp.where(true, jax.nn.softplus(false - logits), 0), axis=1) / jnp.maximum(true.sum(1), 1)
    return jnp.sum(rows) / jnp.maximum(jnp.any(true, axis=1).sum(), 1)


def loss_function(towers, pictures, kept, ids, true, key):
    """Pictures [p, size, size, 3], ids [c, tokens], true bool [p, c] -> the loss."""
    noise = WORD_NOISE * jax.random.normal(key, (*ids.shape, WIDTH))
    scale = jnp.exp(jnp.minimum(towers.logit_scale[...], jnp.log(100.0)))
    logits = scale * embed_pictures(towers, pictures, kept) @ embed_captions(towers, ids, noise).T
    return several_positives(logits, true) + several_positives(logits.T, true.T)


def shift_and_light(pictures, key, reach=3):
    """Move each picture by up to `reach` pixels and make it brighter or darker: a picture is used several times."""

    def change(picture, key):
        where, light = jax.random.split(key)
        top, left = jax.random.randint(where, (2,), 0, 2 * reach + 1)
        wide = jnp.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
        picture = jax.lax.dynamic_slice(wide, (top, left, 0), picture.shape)
        return jnp.clip(picture * jax.random.uniform(light, minval=0.85, maxval=1.1), 0, 255)

    return jax.vmap(change)(pictures.astype(jnp.float32), jax.random.split(key, len(pictures)))


def keep_patches(generator, pictures, count):
    """Random places of patches, int [pictures, count], in order."""
    ranks = generator.random((pictures, (SIZE // PATCH) ** 2)).argsort(axis=1)
    return np.sort(ranks[:, :count], axis=1)


OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b2=0.98), optax.add_decayed_weights(0.01))


@functools.partial(jax.jit, donate_argnums=(0, 1))
def update(towers, state, batch, key, learning_rate):
    """One step of AdamW on (pictures, kept patches or None, ids, true). Returns towers, optimiser state, loss."""
    pictures, kept, ids, true = batch
    light, noise = jax.random.split(key)
    pictures = shift_and_light(pictures, light)
    loss, gradient = jax.value_and_grad(loss_function)(towers, pictures, kept, ids, true, noise)
    step, state = OPTIMIZER.update(gradient, state, towers)
    return jax.tree.map(lambda value, change: value - learning_rate * change, towers, step), state, loss


class Captions:
    """Captions as arrays: ids int [captions, TOKENS]; rows int [captions, labels], -1 for "any", -2 for "none fits"."""

    def __init__(self, tokenizer, shares):
        self.tokenizer, self.shares = tokenizer, shares
        self.templates = template_captions(shares)

    def rows(self, captions):
        nothing = [-2] + [-1] * (label_width() - 1)
        return np.array([nothing if c.labels is None else encode_labels(c.subject, c.labels) for c in captions])

    def ids(self, captions):
        texts = [caption.text for caption in captions]
        length = {"padding": "max_length", "max_length": TOKENS, "truncation": True}
        return self.tokenizer(texts, return_tensors="np", **length).input_ids

    def draw(self, generator, count):
        """Half of the package's own prompts and `count` random captions: (ids, rows)."""
        scenes = generator.choice(list(self.shares), size=count, p=list(self.shares.values()))
        own = generator.choice(len(self.templates), size=len(self.templates) // 2, replace=False)
        captions = [self.templates[i] for i in own] + [draw_caption(generator, SCENES[name]) for name in scenes]
        return self.ids(captions), self.rows(captions)


def which_are_true(labels, rows):
    """Label rows of pictures [p, labels] and of captions [c, labels] -> bool [p, c]."""
    return np.all((labels[:, None] == rows) | (rows == -1), axis=-1)


def test_pictures(names, count):
    """{scene: (pictures uint8 [count, size, size, 3], label rows [count, labels])} that training never sees."""
    sets = {}
    for name in names:
        scene = SCENES[name]
        drawn = [render_scene(name, seed=TEST_SEED, index=index) for index in range(count)]
        pictures = np.stack([shrink(picture, SIZE) for picture, _ in drawn])
        sets[name] = pictures, np.array([encode_labels(scene.subject, labels) for _, labels in drawn])
    return sets


def zero_shot(towers, captions, tests):
    """{"fruit color": accuracy, …}: the best of the aspect's own words, asked with the package's own prompt."""
    embed = jax.jit(embed_pictures)
    ids = captions.ids(captions.templates)
    texts = np.asarray(embed_captions(towers, ids, 0.0 * ids[..., None]))
    figures = {}
    for name, (pictures, labels) in tests.items():
        rows = np.concatenate([np.asarray(embed(towers, part)) for part in np.split(pictures, len(pictures) // 100)])
        scene, prompts = SCENES[name], [caption.text for caption in captions.templates]
        for aspect, words in scene.aspects.items():
            asked = [TEMPLATE.format(subject=scene.subject, aspect=aspect, word=word) for word in words]
            guess = np.argmax(rows @ texts[[prompts.index(text) for text in asked]].T, axis=1)
            column = 1 + list(COLUMNS[1]).index(aspect)
            true = [COLUMNS[1][aspect].index(word) for word in words]
            figures[f"{name} {aspect}"] = float(np.mean(np.array(true)[guess] == labels[:, column]))
    return figures


def learning_rate_at(step, part):
    """Warm-up over steps, then a cosine over the part of the time that has gone."""
    return RATE.value * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + np.cos(np.pi * min(part, 1.0)))


def train(towers, captions, pool, tests, report):
    """Train until the time or the steps are used up; calls report(step, seconds, towers, loss) at every evaluation."""
    state, generator, key = OPTIMIZER.init(towers), np.random.default_rng(SEED.value), jax.random.key(SEED.value)
    start, step, part, losses = time.monotonic(), 0, 0.0, []
    while step < STEPS.value and part < 1:
        pictures, labels = pool.take(generator, BATCH.value)
        ids, rows = captions.draw(generator, CAPTIONS.value)
        kept = keep_patches(generator, len(pictures), KEPT.value) if part < DROPPING.value else None
        batch = pictures, kept, ids, which_are_true(labels, rows)
        rate = learning_rate_at(step, part)
        towers, state, loss = update(towers, state, batch, jax.random.fold_in(key, step), rate)
        losses.append(float(loss))
        step += 1
        seconds = time.monotonic() - start
        part = max(seconds / (60 * MINUTES.value), step / STEPS.value)
        if step % EVERY.value == 0 or part >= 1:
            report(step, seconds, towers, np.mean(losses[-100:]))
    return towers


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"expected flags only, found {' '.join(arguments[1:])}")
    shares = shares_of(SCENE_NAMES.value)
    pool = Pool.start(POOL.value, SIZE, shares, SEED.value)
    tokenizer = embedded_files.write_tokenizer_files(OUT.value, CONTEXT, shares)
    captions, tests = Captions(tokenizer, shares), test_pictures(shares, 1000)
    towers = initial_towers(clip_config(len(tokenizer)), SEED.value)
    if START.value:
        towers = take_over(towers, tokenizer, START.value)
    figures, before = {}, embedded_files.trainings(START.value) if START.value else []

    def report(step, seconds, towers, loss):
        figures.update(zero_shot(towers, captions, tests), steps=step, minutes=round(seconds / 60, 1))
        accuracies = "  ".join(f"{name} {figures[name]:.3f}" for name in figures if " " in name)
        progress = f"step {step}  {seconds / 60:.1f} min  loss {loss:.3f}  drawn {pool.drawn.sum()}"
        print(f"{progress}  {accuracies}", flush=True)
        embedded_files.write_weights(OUT.value, towers, figures, shares, before)

    pool.wait_for(4000)
    train(towers, captions, pool, tests, report)
    pool.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    app.run(main)
