"""ENRC (Miklautz, Mautz, Altinigneli, Böhm, Plant; AAAI 2020): an auto-encoder whose latent space is rotated and softly
split among the clusterings.

The method is ClustPy's (`clustpy.deep.ENRC`), by its authors: latent z is rotated by an orthogonal V; softmax weights
β of every rotated dimension say how much it belongs to each clustering; the loss is the reconstruction's and, for each
clustering, Σ β² (Vᵀz − Vᵀμ)² to the nearest centre μ. NrKmeans starts it on the pretrained latent space.

Chosen: it sees image embeddings, standardised, reduced to at most 64 principal components; an auto-encoder of
128-64-latent units, latent two for every group asked for, 10 to 20, learns in a CPU's minute, where the paper has
500-500-2000-latent. Of several starts that differ in their seed the one is kept whose clusterings leave the least
scatter, each in its own subspace, as a share of the whole, since one start often ends with two clusterings in one
subspace. Groups are ENRC's own, one labelling and not ten by k-means seeds.

It runs in an environment of its own (`ENRC_PYTHON`, see BUILD.md): ClustPy needs torchvision, with which the rest of
this package does not load. Where PyTorch is the CPU's, PyPI's torchvision finds no operator `nms`; an empty one does.
"""

from __future__ import annotations

import contextlib
import io

import numpy as np

from experiments.baselines.task import Found, Task, standardised

COMPONENTS = 64
LAYERS, FULL_LAYERS = (128, 64), (500, 500, 2000)
EPOCHS, FULL_EPOCHS = (40, 40), (100, 150)  # before and with the clusterings
STARTS = 6
KEPT: list = []  # operators that vanish with the library that defined them


def enrc(task: Task) -> Found:
    return subspace_clusterings(task.embeddings, task)


def subspace_clusterings(rows: np.ndarray, task: Task) -> Found:
    """On rows [images, d]."""
    rows = components(standardised(rows))
    clusters = list(task.clusters.values())
    if len(clusters) < 2:
        clusters = [*clusters, 1]  # a subspace of what is no structure, as ClustPy has it
    with contextlib.redirect_stdout(io.StringIO()):  # ClustPy prints every epoch
        started = [one_start(rows, clusters, task, task.seed + number) for number in range(STARTS)]
    labels, cost = min(started, key=lambda each: each[1])
    each = labels.T[:, None]  # every clustering may be any aspect's
    epochs = sum(FULL_EPOCHS if task.full else EPOCHS)
    return Found(dict.fromkeys(task.clusters, each), epochs, {"cost": cost}, f"best of {STARTS} starts")


def components(rows: np.ndarray) -> np.ndarray:
    """The first principal components of rows [images, d], scaled alike; float32 [images, at most COMPONENTS]."""
    _, lengths, basis = np.linalg.svd(rows, full_matrices=False)
    found = rows @ basis[: min(COMPONENTS, int((lengths > 1e-4 * lengths[0]).sum()))].T
    return (found / found.std()).astype(np.float32)


def one_start(rows: np.ndarray, clusters: list[int], task: Task, seed: int) -> tuple[np.ndarray, float]:
    """(labels int [images, clusterings], their cost)."""
    import torch

    load_torchvision(torch)
    from clustpy.deep import ENRC
    from clustpy.deep.neural_networks import FeedforwardAutoencoder

    torch.manual_seed(seed)
    latent = min(max(10, 2 * sum(clusters)), 20, rows.shape[1])
    layers = [rows.shape[1], *(FULL_LAYERS if task.full else LAYERS), latent]
    before, during = FULL_EPOCHS if task.full else EPOCHS
    model = ENRC(
        clusters, neural_network=FeedforwardAutoencoder(layers), embedding_size=latent, pretrain_epochs=before,
        clustering_epochs=during, batch_size=min(128, len(rows)), random_state=seed, device=torch.device("cpu"),
    )  # fmt: skip
    model.fit(rows)
    labels = np.asarray(model.labels_)
    return labels[:, : len(task.clusters)], unexplained(model, rows, labels)


def unexplained(model, rows: np.ndarray, labels: np.ndarray) -> float:
    """Squared distances to the centroids, each clustering's in its own subspace, over those to the common mean."""
    within = 0.0
    for number, groups in enumerate(labels.T):
        part = np.asarray(model.transform_subspace(rows, number))
        within += sum(part[groups == group].var(0).sum() * (groups == group).sum() for group in np.unique(groups))
    whole = np.asarray(model.transform_full_space(rows))
    return float(within / (whole.var(0).sum() * len(whole)))


def load_torchvision(torch) -> None:
    """Lets torchvision be imported beside another build of PyTorch than its own; ClustPy imports it and takes nothing
    from it that is used here."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:  # operator torchvision::nms does not exist
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        KEPT.append(library)
