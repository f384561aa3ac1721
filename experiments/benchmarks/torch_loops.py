"""The same optimisation step in PyTorch, three ways, for the benchmark: what others do, or could do.

Each function gives a callable `step()` that moves the proxies of a batch once, on random weights of the tower's size;
`images` is how many proxies a step moves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from multimap_jax.encoders.clip.config import TextConfig

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def use_all_cores() -> None:
    if hasattr(os, "sched_getaffinity"):
        torch.set_num_threads(len(os.sched_getaffinity(0)))


def full_prompt(config: TextConfig, ids: Sequence[int], slot: int, images: int, frozen: bool) -> Callable[[], None]:
    """All 77 tokens through the model of transformers. Not `frozen`: gradients of the weights too, and Adagrad, as the
    released program has it; `frozen`: gradients of the proxies alone, and Adam."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    settings = CLIPTextConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        intermediate_size=config.mlp_width,
        projection_dim=config.embed,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        eos_token_id=config.end_token,
    )
    model = CLIPTextModelWithProjection(settings).to(DEVICE).requires_grad_(not frozen)
    padded = [*ids, *[config.end_token] * (config.context - len(ids))]
    tokens = torch.tensor([padded] * images, device=DEVICE)
    proxies = torch.nn.Parameter(0.02 * torch.randn(images, config.width, device=DEVICE))
    target = functional.normalize(torch.randn(images, config.embed, device=DEVICE))
    optimizer = (torch.optim.Adam if frozen else torch.optim.Adagrad)([proxies], lr=0.005)

    def insert(module, inputs, output):
        return torch.cat([output[:, :slot], proxies[:, None], output[:, slot + 1 :]], 1)

    model.text_model.embeddings.token_embedding.register_forward_hook(insert)

    def step():
        embedding = functional.normalize(model(input_ids=tokens).text_embeds)
        loss = (1 - (embedding * target).sum(1)).mean() + 0.2 * proxies.square().mean()
        optimizer.zero_grad()
        model.zero_grad()
        loss.backward()
        optimizer.step()

    return step


class Suffix(torch.nn.Module):
    """The tokens from the slot to the end [images, t, width] against keys and values of the tokens before, computed
    once. In the last layer only the end token is carried on."""

    def __init__(self, config: TextConfig, before: int):
        super().__init__()
        width, heads = config.width, config.heads
        self.heads, self.size = heads, width // heads
        make = torch.nn.ModuleList
        self.norm_1 = make(torch.nn.LayerNorm(width) for _ in range(config.layers))
        self.norm_2 = make(torch.nn.LayerNorm(width) for _ in range(config.layers))
        self.qkv = make(torch.nn.Linear(width, 3 * width) for _ in range(config.layers))
        self.out = make(torch.nn.Linear(width, width) for _ in range(config.layers))
        self.up = make(torch.nn.Linear(width, config.mlp_width) for _ in range(config.layers))
        self.down = make(torch.nn.Linear(config.mlp_width, width) for _ in range(config.layers))
        self.final_norm = torch.nn.LayerNorm(width)
        self.projection = torch.nn.Linear(width, config.embed, bias=False)
        self.register_buffer("past", 0.1 * torch.randn(config.layers, 2, 1, heads, before, self.size))

    def forward(self, x):
        images, tokens, width = x.shape
        before, layers = self.past.shape[4], len(self.qkv)
        mask = torch.ones(tokens, before + tokens, dtype=torch.bool, device=x.device).tril(before)
        for i in range(layers):
            q, k, v = (
                self.qkv[i](self.norm_1[i](x)).view(images, tokens, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
            )
            seen = mask
            if i == layers - 1:
                x, q, seen = x[:, -1:], q[:, :, -1:], mask[-1:]
            k, v = (torch.cat([p.expand(images, -1, -1, -1), own], 2) for p, own in zip(self.past[i], (k, v)))
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
            x = x + self.out[i](mixed.transpose(1, 2).reshape(images, -1, width))
            hidden = self.up[i](self.norm_2[i](x))
            x = x + self.down[i](hidden * torch.sigmoid(1.702 * hidden))
        return self.projection(self.final_norm(x[:, 0]))


def suffix(
    config: TextConfig, ids: Sequence[int], slot: int, images: int, precision: str, compiled: bool
) -> Callable[[], None]:
    """A good baseline: frozen weights, only the tokens from the slot on, all images at once, Adam, `precision`
    "float32" or "bf16" (proxies, loss and moments stay float32)."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = Suffix(config, slot).to(DEVICE, dtype).requires_grad_(False)
    after = (0.02 * torch.randn(1, len(ids) - slot - 1, config.width, device=DEVICE)).to(dtype)
    proxies = torch.nn.Parameter(0.02 * torch.randn(images, config.width, device=DEVICE))
    target = functional.normalize(torch.randn(images, config.embed, device=DEVICE))
    optimizer = torch.optim.Adam([proxies], lr=0.005)

    def loss_of(proxies):
        x = torch.cat([proxies.to(dtype)[:, None], after.expand(images, -1, -1)], 1)
        embedding = functional.normalize(model(x).float())
        return (1 - (embedding * target).sum(1)).sum() + 0.3 * proxies.square().sum()

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step():
        optimizer.zero_grad()
        loss_of(proxies).backward()
        optimizer.step()

    return step


def synchronize() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def exact_products(exact: bool) -> None:
    """Whether products of float32 are exact, as they are where nothing is said, or may be TF32."""
    torch.set_float32_matmul_precision("highest" if exact else "high")


def forget_peak() -> None:
    """`peak_memory` is that of what follows."""
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int | None:
    """Bytes on the accelerator at their highest; None on a CPU."""
    return torch.cuda.max_memory_allocated() if DEVICE == "cuda" else None


def product(size: int, precision: str) -> Callable[[], None]:
    """A plain matrix product of size³, for the machine's peak."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=DEVICE).to(dtype) for _ in range(2))
    return lambda: torch.matmul(a, b)
