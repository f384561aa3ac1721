"""Errors of our towers against transformers on PyTorch, at the full size of ViT-B/32, with random weights.

    python -m experiments.benchmarks.parity_full_size

Prints one JSON line with the largest absolute and relative errors of image embeddings, text embeddings and the
gradient at the slot, float32. About 1 minute on two CPU cores and 3 GB of memory; needs the test extra (PyTorch).
"""

from __future__ import annotations

import json

import jax
import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import check_installed
from experiments.benchmarks.steps import IDS, SLOT
from multimap_jax.encoders.clip.checkpoint import towers_from_arrays
from multimap_jax.encoders.clip.config import CLIPConfig
from multimap_jax.encoders.clip.slot import slot_encoder, unit
from multimap_jax.encoders.clip.towers import Towers
from multimap_jax.runtime.precision import matmul_precision

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_integer("images", 4, "random images and texts to compare")
    flags.DEFINE_integer("seed", 0, "seed of weights and inputs")


def random_model():
    """transformers' default configuration is ViT-B/32; its initial weights are scaled up so that layers matter."""
    import torch
    from transformers import CLIPConfig as TransformersConfig
    from transformers import CLIPModel

    torch.manual_seed(FLAGS.seed)
    config = TransformersConfig(text_config={"eos_token_id": 49407}, vision_config={})
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def slot_gradient(model, image: np.ndarray) -> np.ndarray:
    """Gradient of −⟨image, text⟩ with respect to the token embedding at the slot, by PyTorch: [width]."""
    import torch

    kept = {}

    def keep(module, inputs, output):
        output.requires_grad_(True)
        output.retain_grad()
        kept["tokens"] = output

    hook = model.text_model.embeddings.token_embedding.register_forward_hook(keep)
    ids = torch.tensor([list(IDS) + [49407] * (77 - len(IDS))])
    text = torch.nn.functional.normalize(model.get_text_features(input_ids=ids).pooler_output)
    hook.remove()
    (-(text[0] * torch.tensor(image)).sum()).backward()
    return kept["tokens"].grad[0, SLOT].numpy()


def embed_both(towers: Towers, pixels, ids) -> dict[str, jax.Array]:
    """Embeddings of `pixels` [images, size, size, 3] and of `ids` [texts, t] by our towers, with exact products."""
    embed = jax.jit(lambda tower, inputs: jax.vmap(tower)(inputs))
    with matmul_precision("float32"):
        return {"image_embeddings": embed(towers.image, pixels), "text_embeddings": embed(towers.text, ids)}


def errors(ours, theirs) -> dict[str, float]:
    worst = float(np.abs(np.asarray(ours) - theirs).max())
    return {"absolute": worst, "relative": worst / float(np.abs(theirs).max())}


def main(_):
    check_installed("torch")
    import torch

    model, random = random_model(), np.random.default_rng(FLAGS.seed)
    arrays = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    towers = towers_from_arrays(arrays, CLIPConfig.from_json(model.config.to_dict()), "the PyTorch model")
    pixels = random.normal(size=(FLAGS.images, 224, 224, 3)).astype(np.float32)
    ids = random.integers(1, 49000, (FLAGS.images, 77))
    ids[:, 40] = 49407
    proxy = arrays["text_model.embeddings.token_embedding.weight"][IDS[SLOT]]
    with torch.no_grad():
        image = model.get_image_features(torch.tensor(pixels.transpose(0, 3, 1, 2))).pooler_output.numpy()
        text = model.get_text_features(input_ids=torch.tensor(ids)).pooler_output.numpy()
    target = np.asarray(unit(image[0]))
    ours = embed_both(towers, pixels, ids)
    result = {name: errors(ours[name], theirs) for name, theirs in zip(ours, (image, text))}
    with matmul_precision("float32"):
        encoder = slot_encoder(towers.text, IDS, SLOT)
        gradient = jax.jit(jax.grad(lambda proxy: -encoder(proxy) @ target))(proxy)
    print(json.dumps(result | {"slot_gradient": errors(gradient, slot_gradient(model, target))}))


if __name__ == "__main__":
    define_flags()
    app.run(main)
