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
    return with_large_weights(CLIPModel(config))


def with_large_weights(model):
    """The model with weights large enough that every part of it matters, ready to be used."""
    import torch

    with torch.no_grad():
        for parameter in model.eval().parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return model


def tiny_siglip(vocabulary=60, width=32, size=32, patch=8, context=24, seed=0, **text):
    """A transformers.SiglipModel, whose context is shorter than the usual 64."""
    import torch
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(seed)
    tower = {"hidden_size": width, "intermediate_size": 3 * width, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = tower | {"vocab_size": vocabulary, "max_position_embeddings": context, "projection_size": width} | text
    image = tower | {"image_size": size, "patch_size": patch}
    model = with_large_weights(SiglipModel(SiglipConfig(text_config=text, vision_config=image)))
    model.logit_scale.data.fill_(2.0)
    model.logit_bias.data.fill_(-3.0)
    return model


def tiny_metaclip(vocabulary=60, end=2, width=32, seed=0):
    """A transformers.MetaClip2Model; its activation is the plain GELU, as in the smaller ones that were released."""
    import torch
    from transformers import MetaClip2Config, MetaClip2Model

    torch.manual_seed(seed)
    tower = {"intermediate_size": 3 * width, "num_attention_heads": 4, "num_hidden_layers": 2, "hidden_act": "gelu"}
    text = tower | {"hidden_size": width, "vocab_size": vocabulary, "eos_token_id": end, "bos_token_id": 0}
    image = tower | {"hidden_size": 40, "image_size": 32, "patch_size": 8}
    text, image = text | {"projection_dim": width}, image | {"projection_dim": width}
    config = MetaClip2Config(text_config=text, vision_config=image, projection_dim=width)
    return with_large_weights(MetaClip2Model(config))


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


def text_with_proxies(model, ids, slot, proxies, plain=False, padding=None):
    """Unit text embeddings [images, embed] by PyTorch, all tokens up to the context, a proxy of each image at the slot.

    `plain`: without position embeddings and final layer norm, as the released program runs the tower. `padding`: the id
    behind the text; None: its last one.
    """
    import torch

    context = model.config.text_config.max_position_embeddings
    ids = list(ids) + [ids[-1] if padding is None else padding] * (context - len(ids))

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
