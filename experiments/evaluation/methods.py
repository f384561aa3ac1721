"""The paper's method in its recipes and ablations, and the cheap baselines, each as a function of one Case."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

import multimap_jax as mm
from experiments.baselines.multi_dproxy import multi_dproxy
from experiments.baselines.multi_sub import multi_sub
from experiments.baselines.od_crl import od_crl
from experiments.baselines.tgaicc import LIMIT, tgaicc
from experiments.evaluation.case import Case, Learnt, by_seed
from experiments.evaluation.image_proxies import KINDS
from experiments.paper.released_eval import RELEASED_TEMPLATE
from multimap_jax.clustering.kmeans import cluster
from multimap_jax.features.span import fit_span, whitening, word_axes, word_clusters
from multimap_jax.prompts.aspect import reference_words, word_embeddings, word_similarities

BLOCK = 64  # images in a compiled call: the tables' 300 pictures waste few rows of it


def paper(case: Case, **changes) -> np.ndarray:
    """The paper's recipe; `changes` make its ablations."""
    config = dataclasses.replace(case.config, **changes)
    contrast = case.contrast if config.concept == "contrastive" else ()
    if config.concept == "contrastive" and not contrast:
        # Without another aspect the contrastive term is constantly 0.
        config = dataclasses.replace(config, concept="none")
    return mm.fit_proxies(case.clip, case.embeddings, case.asked(), contrast=contrast, config=config).proxies


def released(case: Case) -> np.ndarray:
    config = mm.ProxyConfig.released(block_size=BLOCK)
    return mm.fit_proxies(case.clip, case.embeddings, case.asked(RELEASED_TEMPLATE), config=config).proxies


def default(case: Case) -> np.ndarray:
    """What `mm.MultiMaP` gives without further arguments, once for each seed."""

    def labels(seed):
        model = mm.MultiMaP(case.asked(), case.clip, case.clusters, contrast=case.contrast, random_state=seed)
        return model.fit(case.embeddings).labels_

    return by_seed(labels)


def default_words(case: Case) -> np.ndarray:
    """The groups that the words make (step 1 of `fit_span`): k-means on square roots of zero-shot probabilities."""
    texts = word_embeddings(case.clip, case.asked()).astype(np.float64)
    return by_seed(lambda seed: word_clusters(texts, case.embeddings, case.clusters, case.clip, seed))


def default_round(case: Case) -> np.ndarray:
    """Steps 1 to 3 of `fit_span`, without words learnt for groups."""
    features = in_span(case)

    def groups(words):
        matrix = whitening(features, words, case.clusters)
        return cluster(features @ matrix, case.clusters, begin=words).labels

    return np.stack([groups(words) for words in default_words(case)])


def default_images(case: Case) -> np.ndarray:
    """The groups that `fit_span` learns words for: found in image embeddings, round within the groups of the words."""
    k, images = case.clusters, case.embeddings
    rows = [images @ whitening(images, words, k) for words in default_words(case)]
    return np.stack([cluster(each, k, seed).labels for seed, each in enumerate(rows)])


def span_anywhere(case: Case) -> np.ndarray:
    """The default recipe's features, k-means started anywhere and not from the groups of the words."""

    def groups(seed):
        span = fit_span(case.clip, case.embeddings, case.asked(), case.clusters, case.contrast, seed=seed)
        return cluster(case.embeddings @ span.projection, case.clusters, seed).labels

    return by_seed(groups)


def zero_shot(case: Case, names: bool = False) -> np.ndarray:
    """Labels: argmax over the candidate words (CLIP_GPT), or over the true names (CLIP_label)."""
    aspect = case.asked()
    return reference_words(
        case.clip, case.embeddings, dataclasses.replace(aspect, words=case.names) if names else aspect
    )


def most_picked(case: Case) -> np.ndarray:
    """Labels: argmax over the words that most images pick, as many as there are groups."""
    similar = word_similarities(case.clip, case.embeddings, case.asked())
    picked = np.bincount(similar.argmax(1), minlength=similar.shape[1])
    kept = np.sort(np.argsort(-picked, kind="stable")[: case.clusters])
    return kept[similar[:, kept].argmax(1)]


def image_kmeans(case: Case) -> np.ndarray:
    return case.embeddings


def crl(case: Case) -> np.ndarray:
    """Every image as its similarities to the words, rows normalised (arXiv 2510.04564)."""
    rows = word_similarities(case.clip, case.embeddings, case.asked())
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def in_span(case: Case) -> np.ndarray:
    """Image embeddings projected on the span of the words' centred prompt embeddings."""
    return case.embeddings @ word_axes(word_embeddings(case.clip, case.asked()).astype(np.float64))


METHODS: dict[str, Callable[[Case], np.ndarray | Learnt]] = {
    "Multi-MaP": paper,
    "Multi-MaP released": released,
    "Multi-MaP default": default,
    "default: words": default_words,
    "default: round groups": default_round,
    "default: groups of images": default_images,
    "default: started anywhere": span_anywhere,
    **KINDS,
    "Multi-MaP_p": functools.partial(paper, reference_weight=0.0, concept_weight=0.0, concept="none"),
    "Multi-MaP_c": functools.partial(paper, reference_weight=0.0, concept="distance"),
    "Multi-MaP_r": functools.partial(paper, concept_weight=0.0, concept="none"),
    "Multi-MaP_cr": functools.partial(paper, concept="distance"),
    "CLIP_GPT": zero_shot,
    "most picked": most_picked,
    "CLIP_label": functools.partial(zero_shot, names=True),
    "image k-means": image_kmeans,
    "CRL": crl,
    "image in span": in_span,
    "OD-CRL": od_crl,
    "TGAICC": tgaicc,
    "Multi-Sub": multi_sub,
    "Multi-Sub as released": functools.partial(multi_sub, released=True),
    "Multi-DProxy": multi_dproxy,
}


def find(name: str) -> Callable[[Case], np.ndarray | Learnt]:
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]


def applies(name: str, case: Case) -> bool:
    """CLIP_label needs true names, TGAICC few enough images for arrays of all pairs, Multi-Sub what the image tower
    pools; it and the released recipe a text width equal to the embedding dimension."""
    text = case.clip.config.text
    square = text.width == text.embed
    needs = {
        "CLIP_label": bool(case.names),
        "Multi-DProxy": bool(case.words),
        "Multi-MaP released": square,
        "TGAICC": len(case.embeddings) <= LIMIT,
        "Multi-Sub": square and case.pooled is not None,
        "Multi-Sub as released": square and case.pooled is not None,
    }
    return needs.get(name, True)
