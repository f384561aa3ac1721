"""Proxies of single images as features: what was tried for the default recipe and found no place in it.

Besides the default recipe's proxies as they are: images moved to where the words are before proxies are fitted to them
(as `features.span.cluster_targets` does for groups), and proxies started from all words, mixed by zero-shot
probability, and held there, instead of from the best word.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings

import jax.numpy as jnp
import numpy as np
from scipy.special import softmax

import multimap_jax as mm
from experiments.evaluation.case import Case
from multimap_jax.features.span import cluster_targets
from multimap_jax.prompts.aspect import make_prompt, reference_words, word_embeddings, word_similarities
from multimap_jax.proxies.fit import prepare
from multimap_jax.proxies.solver import run_blocks
from multimap_jax.runtime.precision import matmul_precision


def image_proxies(case: Case, rows: str = "prompt_embeddings", moved: bool = False, mixed: bool = False) -> np.ndarray:
    """Features [images, d] of one kind: `rows` "proxies" or "prompt_embeddings"."""
    aspect, config = case.asked(), mm.ProxyConfig(block_size=64)
    images = move(case) if moved else case.embeddings
    reference = reference_words(case.clip, case.embeddings, aspect)
    with warnings.catch_warnings(), matmul_precision(config.precision):
        warnings.simplefilter("ignore")
        prompt = make_prompt(aspect, case.clip.tokenizer)
        common, targets = prepare(case.clip, images, aspect, case.contrast, config, prompt, reference)
        if mixed:
            similar = word_similarities(case.clip, case.embeddings, aspect)
            starts = softmax(case.clip.temperature_scale * similar, axis=1) @ np.asarray(common.words)
            common = dataclasses.replace(common, words=jnp.asarray(starts, jnp.float32))
            targets = dataclasses.replace(targets, word=np.arange(len(images), dtype=np.int32))
        return np.asarray(run_blocks(common, targets, int(config.steps), config.block_size, False)[rows])


def move(case: Case) -> np.ndarray:
    """Every image where the words are, unit rows [images, embed]: a group of its own."""
    texts = word_embeddings(case.clip, case.asked()).astype(np.float64)
    return cluster_targets(texts, case.embeddings, np.arange(len(case.embeddings)), case.clip)


KINDS = {
    "image proxies": functools.partial(image_proxies, rows="proxies"),
    "image prompts": image_proxies,
    "image proxies, moved": functools.partial(image_proxies, rows="proxies", moved=True),
    "image prompts, moved": functools.partial(image_proxies, moved=True),
    "image prompts, mixed": functools.partial(image_proxies, mixed=True),
    "image prompts, both": functools.partial(image_proxies, moved=True, mixed=True),
}
