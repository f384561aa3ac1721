"""Cells of methods that group a whole set at once: one run for all aspects, each answered by its best match."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import multimap_jax as mm
from experiments.baselines.augdmc import augdmc
from experiments.baselines.enrc import enrc
from experiments.baselines.imclusts import imclusts
from experiments.baselines.mcv import mcv
from experiments.baselines.msc import msc
from experiments.baselines.process import run, small_images
from experiments.baselines.task import Task
from experiments.benchmarks.measuring import table
from experiments.evaluation.case import rate_labels
from experiments.evaluation.datasets import Labelled
from multimap_jax.encoders.clip.towers import unstack_layers
from multimap_jax.images.decoding import stream_pixels
from multimap_jax.runtime.mesh import pad_rows
from multimap_jax.runtime.precision import matmul_precision

# The functions are what the digest of a cell's code knows; they run in processes of their own.
METHODS = {"MSC": msc, "MCV": mcv, "ENRC": enrc, "iMClusts": imclusts, "AugDMC": augdmc}
BLOCK = 32


def make_task(labelled: Labelled, clip: mm.Clip, embeddings: np.ndarray, full: bool) -> Task:
    """What all the methods are given of a set embedded by a checkpoint."""
    clusters = {aspect: len(set(labels.tolist())) for aspect, labels in labelled.labels.items()}
    views = layers(clip, labelled.images)
    return Task(small_images(labelled.images), embeddings, clusters, views, full)


def layers(clip: mm.Clip, images) -> dict[str, np.ndarray]:
    """Means of an image's tokens after the middle and the last layer of the image tower, [images, width] each."""

    def see(tower, pixels):
        hidden, means = tower.embed_patches(pixels), []
        for layer in unstack_layers(tower.layers):
            hidden, _ = layer(hidden, causal=False)
            means.append(hidden.mean(0))
        return jnp.stack([means[(len(means) - 1) // 2], means[-1]])

    compiled, parts = jax.jit(lambda tower, pixels: jax.vmap(see, (None, 0))(tower, pixels)), []
    with matmul_precision("float32"):
        for batch in stream_pixels(images, clip.preprocess, BLOCK):
            parts.append(np.asarray(compiled(clip.towers.image, pad_rows(np.stack(batch), BLOCK)))[: len(batch)])
    found = np.concatenate(parts)
    return {"checkpoint's middle layer": found[:, 0], "checkpoint's last layer": found[:, 1]}


def run_cell(name: str, task: Task, labelled: Labelled, seed: int, limit: float) -> dict:
    """The record of a cell: aspect -> scores of its best match, and what the run cost.

    Raises process.NotRunError.
    """
    found, seconds = run(name, task, limit)
    aspects = {
        aspect: rate_labels(best_match(labels, labelled.labels[aspect]), labelled.labels[aspect], seed)
        for aspect, labels in found.labels.items()
    }
    cost = {"epochs": found.epochs, "losses": dict(found.losses), "seconds": seconds, "memory": found.memory}
    return {"aspects": aspects, "note": found.note, **cost}


def best_match(labels: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of labels int [clusterings, seeds, images] those of the clustering with the highest mean NMI, [seeds, images]."""
    return max(labels, key=lambda each: np.mean([mm.evaluate(truth, one)["nmi"] for one in each]))


def cost_table(costs: dict[tuple[str, str], dict[str, dict]]) -> list[str]:
    """Lines of markdown of (title of the set, method) -> {aspect, or "all": record of a cell}, {} for no cells."""
    rows = []
    for (title, name), records in costs.items():
        if not records:
            continue
        losses = [
            f"{what if aspect == 'all' else aspect} {value:.3g}"
            for aspect, record in records.items()
            for what, value in record.get("losses", {}).items()
        ]
        last = list(records.values())[-1]
        memory = f"{last['memory'] / 1e6:,.0f}" if last.get("memory") else "–"
        seconds = sum(record["seconds"] for record in records.values())
        epochs = str(last.get("epochs", "–"))
        rows.append([title, name, epochs, ", ".join(losses), f"{seconds:.1f}", memory, last["note"]])
    return table(["data set", "method", "epochs", "last losses", "seconds", "memory, MB", "note"], rows)


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(methods that answer one aspect, methods that group a whole set)."""
    return [name for name in names if name not in METHODS], [name for name in names if name in METHODS]
