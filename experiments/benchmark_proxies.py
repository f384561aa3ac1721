"""Time of one optimisation step of one image: ours beside the loop of the released program, in one run.

    python -m experiments.benchmark_proxies

Prints one JSON line: {"machine": …, "rows": [{"what": …, "precision": …, "tower": …, "ms_per_image_step": …}], …}.
"released_loop" is a PyTorch loop that does what the released program does at every step: all 77 tokens, the gradients
of the weights too, Adagrad over a dense table of proxies, batches of 20. "ours" is the compiled chunk of
`multimap_jax.fit_proxies`. Both on random weights of the tower's size. About 2 minutes on two CPU cores; needs the
test extra (PyTorch).
"""

import json
import os
import sys
import time
from datetime import date

import numpy as np
from absl import app, flags

from multimap_jax.clip.config import TextConfig
from multimap_jax.cost import machine

TOWERS = {
    "ViT-B/32": TextConfig(49408, 77, 512, 12, 8, 2048, 512, end_token=49407),
    "ViT-B/16": TextConfig(49408, 77, 512, 12, 8, 2048, 512, end_token=49407),
    "ViT-L/14": TextConfig(49408, 77, 768, 12, 12, 3072, 768, end_token=49407),
}
# "a fruit with the color of *": eight tokens before the slot, one after it.
IDS, SLOT = (49406, *range(1000, 1007), 265, 49407), 8

FLAGS = flags.FLAGS
flags.DEFINE_enum("tower", "ViT-B/32", list(TOWERS), "size of the text tower")
flags.DEFINE_integer("images", 256, "images; ours runs them in one block")
flags.DEFINE_integer("steps", 10, "timed steps of ours")
flags.DEFINE_integer("batches", 3, "timed batches of 20 of the released loop")


def torch_seconds(config: TextConfig, batches: int, batch: int = 20) -> float:
    """Seconds an image and step of the released program's loop."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    settings = CLIPTextConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        intermediate_size=config.mlp_width,
        projection_dim=config.embed,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        eos_token_id=config.end_token,
    )
    model = CLIPTextModelWithProjection(settings)
    ids = torch.tensor([list(IDS) + [49407] * (config.context - len(IDS))] * batch)
    proxies = torch.nn.Embedding(batch * (batches + 1), config.width)
    image = torch.nn.functional.normalize(torch.randn(batch, config.embed))
    optimizer = torch.optim.Adagrad(proxies.parameters(), lr=0.005)

    def step(start):
        rows = torch.arange(start, start + batch)
        inserted = proxies(rows)
        hook = model.text_model.embeddings.token_embedding.register_forward_hook(
            lambda module, inputs, output: torch.cat([output[:, :SLOT], inserted[:, None], output[:, SLOT + 1 :]], 1)
        )
        embedding = torch.nn.functional.normalize(model(input_ids=ids).text_embeds)
        hook.remove()
        loss = (1 - (embedding * image).sum(1)).mean() + 0.2 * inserted.square().mean()
        optimizer.zero_grad()
        model.zero_grad()
        loss.backward()
        optimizer.step()

    step(0)
    begin = time.perf_counter()
    for k in range(batches):
        step((k + 1) * batch)
    return (time.perf_counter() - begin) / (batches * batch)


def our_seconds(config: TextConfig, images: int, steps: int, precision: str = "float32") -> float:
    """Seconds an image and step of the compiled chunk, without compilation."""
    import jax

    from multimap_jax import proxies
    from multimap_jax.clip.slot import unit
    from multimap_jax.clip.towers import TextTower
    from multimap_jax.recipes import ProxyConfig
    from multimap_jax.sharding import compute_dtype, image_mesh, matmul_precision

    random, mesh = np.random.default_rng(0), image_mesh()

    def rows(*shape):
        return random.normal(size=shape, scale=0.02).astype(np.float32)

    with matmul_precision(precision):
        tower = jax.tree.map(lambda array: array.astype(compute_dtype(precision)), TextTower(config))
        encoder = proxies._encoder(tower, IDS, SLOT, True, True)
        numbers = jax.tree.map(np.float32, ProxyConfig.paper())
        shared = proxies.Shared(encoder, rows(2, config.width), np.float32(1), None, numbers)
        start = rows(images, config.width)
        image = np.asarray(unit(rows(images, config.embed)))
        targets = proxies.Target(image, start, start, np.zeros(images, np.int32), np.ones(images, np.float32))
        carry = proxies._start(mesh, shared, targets)
        carry, losses = jax.block_until_ready(proxies._run_chunk(mesh, shared, 0, 1, carry, targets))
        begin = time.perf_counter()
        jax.block_until_ready(proxies._run_chunk(mesh, shared, 1, steps, carry, targets))
        return (time.perf_counter() - begin) / (images * steps)


def main(_):
    config = TOWERS[FLAGS.tower]
    released = torch_seconds(config, FLAGS.batches)
    ours = our_seconds(config, FLAGS.images, FLAGS.steps)
    rows = [
        {"what": what, "precision": "float32", "tower": FLAGS.tower, "ms_per_image_step": round(1e3 * seconds, 4)}
        for what, seconds in (("released_loop", released), ("ours", ours))
    ]
    command = " ".join(["python -m experiments.benchmark_proxies", *sys.argv[1:]])
    result = {"machine": machine(), "rows": rows, "times_faster": round(released / ours, 1)}
    print(json.dumps(result | {"command": command, "date": date.today().isoformat()}, ensure_ascii=False))


if __name__ == "__main__":
    app.run(main)
