"""Multi-DProxy (arXiv 2511.07274): proxies mixed from words that are pruned on the way, fused with the image by gates.

Followed, from a summary of the paper that has its equations: the proxy of an image is w_i = Σ_k α_ik c_k over the
candidates c_k, α a softmax of w′_i·c_k / τ_α, w′ learnt. T is the prompt with w_i in it, V the image; each attends to
the other, V¹ = V + σ(W_g [V; V_attn]) ⊙ V_attn and T¹ alike; F = λ T¹ + (1 − λ) V¹, λ = σ(cos(T¹, V¹) / τ).
L = mean of 1 − cos(F, V) + α(t) L_u + β(t) L_c with L_u the mean of ‖w_i − c̄‖², L_c the mean over i of
log Σ_{j≠i} exp(F_i·w_j / σ), α(t) = min(.5, .1 + .4 t/E), β(t) = .1 (1 − cos(π t/E)). Every R epochs k-means on the
proxies gives as many centroids as groups, and the half of the candidates with the largest mean cosine to them stays,
not fewer than groups. k-means on F at the end; Adam.

Chosen: an image and its prompt are one token each, so that attention among them is a linear map of the other, of one
layer here; unit rows go into it. Its weights begin small and learn at 1e-5, as what images share does in the released
evaluation of Multi-MaP: at the proxies' rate F becomes V, where L is lowest, and the words do not count. In L_c the
prompt of w_j stands for w_j, whose width is not F's. c·w′ are cosines, w′ starts at the word that zero-shot picks; c̄ is
the mean of the candidates. L_u is a mean over the width too, as the released Multi-MaP has it: its sum draws all
proxies to c̄. τ_α = τ = .1, σ = 1, rate .005. All images are one batch. The candidates are the case's words, pruned
after each quarter of the epochs but the last. 200 epochs, where the paper has 1,000: on a CPU those take minutes for an
aspect.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.baselines.task import k_means, unit_rows
from experiments.evaluation.case import Case, Learnt
from multimap_jax.encoders.clip.slot import slot_encoder, unit
from multimap_jax.prompts.aspect import make_prompt, reference_words
from multimap_jax.runtime.precision import matmul_precision

EPOCHS, FULL_EPOCHS, PARTS = 200, 1000, 4
MIXING, BALANCE, SPREAD = 0.1, 0.1, 1.0  # τ_α, τ, σ
RATE = 0.005
START = 0.01  # deviation of the fusion's weights
SHARED = 0.002  # their rate, as a share of the proxies'


def multi_dproxy(case: Case, epochs: int = EPOCHS) -> Learnt:
    """F [images, embed]."""
    aspect, images = case.asked(), jnp.asarray(case.embeddings)
    prompt, candidates = make_prompt(aspect, case.clip.tokenizer), case.clip.token_embeddings(list(aspect.words))
    with matmul_precision("float32"):
        encoder = slot_encoder(case.clip.towers.text, prompt.ids, prompt.slot)
        picked = reference_words(case.clip, case.embeddings, aspect)
        learnt = {"proxies": jnp.asarray(candidates[picked])} | gates(images.shape[1])
        state = optax.adam(RATE).init(learnt)
        kept = np.ones(len(candidates), bool)
        for part in range(PARTS):
            times = (jnp.arange(epochs // PARTS) + part * (epochs // PARTS)) / epochs
            learnt, state, losses = run(learnt, state, times, images, candidates, kept, encoder)
            mixed = jax.vmap(mix, (0, None, None))(learnt["proxies"], candidates, kept)
            if part + 1 < PARTS:
                kept = pruned(kept, candidates, np.asarray(mixed), case.clusters)
        fused = jax.vmap(fuse, (0, 0, None))(jax.vmap(encoder)(mixed), images, learnt)
    return Learnt(np.asarray(fused), epochs, {"all": float(losses[-1])})


def gates(width: int) -> dict:
    """Weights of the attention and of its gates, [embed, embed] and [2 · embed, embed], for images and for prompts."""
    keys = jax.random.split(jax.random.key(0), 4)
    sizes = {"to images": width, "to prompts": width, "gate of images": 2 * width, "gate of prompts": 2 * width}
    return {name: START * jax.random.normal(key, (rows, width)) for key, (name, rows) in zip(keys, sizes.items())}


def mix(proxy, candidates, kept):
    """w′ [width] -> w [width], mixed of the candidates [words, width] that are kept, bool [words]."""
    return jax.nn.softmax(unit(candidates) @ unit(proxy) / MIXING, where=kept) @ candidates


def fuse(prompt, image, learnt):
    """Unit rows of one prompt and one image [embed] -> F [embed]."""
    seen, said = prompt @ learnt["to images"], image @ learnt["to prompts"]
    image_side = image + jax.nn.sigmoid(jnp.concatenate([image, seen]) @ learnt["gate of images"]) * seen
    prompt_side = prompt + jax.nn.sigmoid(jnp.concatenate([prompt, said]) @ learnt["gate of prompts"]) * said
    share = jax.nn.sigmoid(unit(prompt_side) @ unit(image_side) / BALANCE)
    return share * prompt_side + (1 - share) * image_side


@functools.partial(jax.jit, donate_argnums=(0, 1))
def run(learnt, state, times, images, candidates, kept, encoder):
    """Adam over epochs at the given times in 0 … 1: (learnt, state, losses [epochs])."""

    def step(carry, time):
        learnt, state = carry
        value, gradients = jax.value_and_grad(loss)(learnt, time, images, candidates, kept, encoder)
        updates, state = optax.adam(RATE).update(gradients, state)
        updates = {name: each * (1 if name == "proxies" else SHARED) for name, each in updates.items()}
        return (optax.apply_updates(learnt, updates), state), value

    (learnt, state), losses = jax.lax.scan(step, (learnt, state), times)
    return learnt, state, losses


def loss(learnt, time, images, candidates, kept, encoder):
    proxies = jax.vmap(mix, (0, None, None))(learnt["proxies"], candidates, kept)
    prompts = jax.vmap(encoder)(proxies)
    fused = jax.vmap(fuse, (0, 0, None))(prompts, images, learnt)
    align = 1 - (unit(fused) * images).sum(1).mean()
    interest = jnp.square(proxies - candidates.mean(0, keepdims=True, where=kept[:, None])).mean()
    others = jnp.where(jnp.eye(len(images), dtype=bool), -jnp.inf, unit(fused) @ prompts.T / SPREAD)
    apart = jax.nn.logsumexp(others, axis=1).mean()
    return align + jnp.minimum(0.5, 0.1 + 0.4 * time) * interest + 0.1 * (1 - jnp.cos(jnp.pi * time)) * apart


def pruned(kept: np.ndarray, candidates: np.ndarray, proxies: np.ndarray, clusters: int) -> np.ndarray:
    """Of the candidates [words, width] that are kept, bool [words], the half nearest to the proxies' centroids, but at
    least `clusters`."""
    count = max(clusters, int(kept.sum()) // 2)
    if count >= kept.sum():
        return kept
    groups = k_means(proxies, min(clusters, len(np.unique(proxies, axis=0))), 0, starts=3)
    centroids = np.stack([proxies[groups == group].mean(0) for group in np.unique(groups)])
    near = np.where(kept, (unit_rows(candidates) @ unit_rows(centroids).T).mean(1), -np.inf)
    return np.isin(np.arange(len(kept)), np.argsort(-near, kind="stable")[:count])
