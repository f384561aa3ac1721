"""The paper's method in its recipes and ablations, and the cheap rivals, each as a function of one Case."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

import multimap_jax as mm
from experiments.case import SEEDS, Case
from experiments.released_eval import batch_order, released_eval
from multimap_jax.clustering import cluster
from multimap_jax.prompts import reference_words, word_embeddings, word_similarities
from multimap_jax.span import whitening, word_axes

RELEASED_TEMPLATE = "{subject} with a {name} of {word}"
BLOCK = 64  # images in a compiled call: the tables' 300 pictures waste few rows of it


def paper(case: Case, **changes) -> np.ndarray:
    """The paper's recipe; `changes` make its ablations."""
    config = dataclasses.replace(case.config, **changes)
    contrast = case.contrast if config.concept == "contrastive" else ()
    if config.concept == "contrastive" and not contrast:
        # Without another aspect the contrastive term is constantly 0.
        config = dataclasses.replace(config, concept="none")
    return mm.fit_proxies(case.clip, case.embeddings, case.asked(), contrast, config).proxies


def released(case: Case) -> np.ndarray:
    config = mm.ProxyConfig.released(block_size=BLOCK)
    return mm.fit_proxies(case.clip, case.embeddings, case.asked(RELEASED_TEMPLATE), config=config).proxies


def labels_by_seed(features: np.ndarray, matrix: Callable[[int], np.ndarray], case: Case) -> np.ndarray:
    """k-means on features @ matrix(seed), labels int [seeds, images]."""
    return np.stack([cluster(features @ matrix(seed), case.clusters, seed).labels for seed in range(SEEDS)])


def default(case: Case) -> np.ndarray:
    """What `mm.MultiMaP` gives without further arguments, once for each seed."""

    def labels(seed):
        model = mm.MultiMaP(case.asked(), case.clip, case.clusters, case.contrast, random_state=seed)
        return model.fit(case.embeddings).labels_

    return np.stack([labels(seed) for seed in range(SEEDS)])


def default_axes(case: Case) -> np.ndarray:
    """The first step of `fit_projection` alone."""
    texts = word_embeddings(case.clip, case.asked())
    return case.embeddings @ word_axes(texts, case.embeddings, case.clip.temperature_scale)


def default_round(case: Case) -> np.ndarray:
    """The first two steps of `fit_projection`: without words learnt for groups."""
    features = default_axes(case)
    return labels_by_seed(features, lambda seed: whitening(features, case.clusters, seed), case)


def default_proxies(case: Case) -> np.ndarray:
    """The default recipe's proxies, one for every image."""
    return mm.fit_proxies(case.clip, case.embeddings, case.asked()).proxies


def zero_shot(case: Case, names: bool = False) -> np.ndarray:
    """Labels: argmax over the candidate words (CLIP_GPT), or over the true names (CLIP_label)."""
    aspect = case.asked()
    return reference_words(
        case.clip, case.embeddings, dataclasses.replace(aspect, words=case.names) if names else aspect
    )


def image_kmeans(case: Case) -> np.ndarray:
    return case.embeddings


def crl(case: Case) -> np.ndarray:
    """Every image as its similarities to the words, rows normalised (arXiv 2510.04564)."""
    rows = word_similarities(case.clip, case.embeddings, case.asked())
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def in_span(case: Case) -> np.ndarray:
    """Image embeddings projected on the span of the words' centred prompt embeddings."""
    texts = word_embeddings(case.clip, case.asked())
    _, lengths, basis = np.linalg.svd(texts - texts.mean(0), full_matrices=False)
    return case.embeddings @ basis[lengths > 1e-5 * lengths[0]].T


def multi_sub(case: Case, epochs: int = 100) -> np.ndarray:
    """Multi-Sub's representation: proxies mixed from the words beside images whose projection learns with them."""
    order = batch_order(len(case.pooled), 20, epochs, seed=0)
    return released_eval(case.clip, case.pooled, case.asked(RELEASED_TEMPLATE), order).combined


METHODS: dict[str, Callable[[Case], np.ndarray]] = {
    "Multi-MaP": paper,
    "Multi-MaP released": released,
    "Multi-MaP default": default,
    "default: axes": default_axes,
    "default: axes and round groups": default_round,
    "default: proxies": default_proxies,
    "Multi-MaP_p": functools.partial(paper, reference_weight=0.0, concept_weight=0.0, concept="none"),
    "Multi-MaP_c": functools.partial(paper, reference_weight=0.0, concept="distance"),
    "Multi-MaP_r": functools.partial(paper, concept_weight=0.0, concept="none"),
    "Multi-MaP_cr": functools.partial(paper, concept="distance"),
    "CLIP_GPT": zero_shot,
    "CLIP_label": functools.partial(zero_shot, names=True),
    "image k-means": image_kmeans,
    "CRL": crl,
    "image in span": in_span,
    "Multi-Sub": multi_sub,
}


def find(name: str) -> Callable[[Case], np.ndarray]:
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]


def applies(name: str, case: Case) -> bool:
    """CLIP_label needs true names, Multi-Sub what the image tower pools; it and the released recipe a text width equal
    to the embedding dimension."""
    text = case.clip.config.text
    square = text.width == text.embed
    needs = {
        "CLIP_label": bool(case.names),
        "Multi-MaP released": square,
        "Multi-Sub": square and case.pooled is not None,
    }
    return needs.get(name, True)
