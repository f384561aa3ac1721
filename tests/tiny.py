"""A tiny CLIP with random weights, in PyTorch and in our layout, for tests."""

import json

import numpy as np

from experiments.training.byte_tokenizer import write_tokenizer
from experiments.training.embedded_files import preprocessing

WORDS = "a fruit with the color species shape of red green yellow dark".split()


def tiny_model(vocabulary=600, width=32, embed=32, activation="quick_gelu", size=32, patch=8, end=None, seed=0):
    """transformers.CLIPModel with weights large enough that every part of it matters."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(seed)
    tower = {"intermediate_size": 3 * width, "num_attention_heads": 4, "hidden_act": activation}
    text = tower | {"hidden_size": width, "num_hidden_layers": 3, "vocab_size": vocabulary}
    text |= {"max_position_embeddings": 77, "bos_token_id": vocabulary - 2, "eos_token_id": end or vocabulary - 1}
    image = tower | {"hidden_size": 40, "num_hidden_layers": 2, "image_size": size, "patch_size": patch}
    config = CLIPConfig(text_config=text, vision_config=image, projection_dim=embed)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model


def write_tiny(directory, **settings):
    """The same as a checkpoint directory with a byte-level tokenizer; returns the PyTorch model."""
    vocabulary = write_tokenizer(directory, WORDS, 77)
    model = tiny_model(vocabulary=vocabulary, **settings)
    model.save_pretrained(directory)
    size = model.config.vision_config.image_size
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessing(size)))
    return model


def unit_rows(images, embed=32, seed=0):
    rows = np.random.default_rng(seed).normal(size=(images, embed))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def text_with_proxies(model, ids, slot, proxies, plain=False):
    """Unit text embeddings [images, embed] by PyTorch, all tokens up to the context, a proxy of each image at the slot.

    `plain`: without position embeddings and final layer norm, as the released program runs the tower.
    """
    import torch

    ids = list(ids) + [ids[-1]] * (77 - len(ids))

    def insert(module, inputs, output):
        return torch.cat([output[:, :slot], proxies[:, None], output[:, slot + 1 :]], 1)

    text = model.text_model
    hooks = [text.embeddings.token_embedding.register_forward_hook(insert)]
    if plain:
        hooks.append(text.embeddings.position_embedding.register_forward_hook(lambda m, i, output: 0 * output))
        hooks.append(text.final_layer_norm.register_forward_hook(lambda m, i, output: i[0]))
    embedded = model.get_text_features(input_ids=torch.tensor([ids] * len(proxies))).pooler_output
    for hook in hooks:
        hook.remove()
    return torch.nn.functional.normalize(embedded)
