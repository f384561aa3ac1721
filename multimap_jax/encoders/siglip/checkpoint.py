"""Under which names a SigLIP is stored in the Hugging Face layout, and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multimap_jax.encoders.clip.checkpoint import (
    LAYER,
    LINEAR,
    NORM,
    PATCHES,
    SAME,
    TRANSPOSED,
    Layout,
)
from multimap_jax.encoders.clip.config import (
    CONFIG_KEYS,
    CLIPConfig,
    ImageConfig,
    TextConfig,
    image_problems,
    tower_problems,
)
from multimap_jax.encoders.siglip.towers import SiglipTowers
from multimap_jax.errors import InputError

# [1, 1, d] <-> [d]
FLAT = (lambda a: a.reshape(-1), lambda a: a.reshape(1, 1, -1))
POOLING = "vision_model.head"
TOP = {
    "logit_scale": ("logit_scale", SAME),
    "logit_bias": ("logit_bias", SAME),
    "text_model.embeddings.token_embedding.weight": ("text.tokens", SAME),
    "text_model.embeddings.position_embedding.weight": ("text.positions", SAME),
    "text_model.head.weight": ("text.projection.kernel", TRANSPOSED),
    "text_model.head.bias": ("text.projection.bias", SAME),
    "vision_model.embeddings.position_embedding.weight": ("image.positions", SAME),
    "vision_model.embeddings.patch_embedding.weight": ("image.patches.kernel", PATCHES),
    "vision_model.embeddings.patch_embedding.bias": ("image.patches.bias", SAME),
    f"{POOLING}.probe": ("image.pooling.query", FLAT),
    f"{POOLING}.attention.in_proj_weight": ("image.pooling.qkv_kernel", TRANSPOSED),
    f"{POOLING}.attention.in_proj_bias": ("image.pooling.qkv_bias", SAME),
}
MODULES = {
    "attention.out_proj": ("out", LINEAR),
    "layernorm": ("norm", NORM),
    "mlp.fc1": ("up", LINEAR),
    "mlp.fc2": ("down", LINEAR),
}
TOP |= {
    f"{POOLING}.{stored}{name}": (f"image.pooling.{ours}.{path}", change)
    for stored, (ours, arrays) in MODULES.items()
    for name, (path, change) in arrays.items()
}
NORMS = {
    "text_model.final_layer_norm": "text.final_norm",
    "vision_model.post_layernorm": "image.final_norm",
}
SIGLIP = Layout(SiglipTowers, TOP, NORMS, LAYER, singles=("logit_scale", "logit_bias"))
# The defaults of transformers.SiglipConfig (google/siglip-base-patch16-224), which are the same for both towers.
USUAL: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "text_config": USUAL | {"vocab_size": 32000, "max_position_embeddings": 64},
    "vision_config": USUAL | {"image_size": 224, "patch_size": 16},
}


def read_config(content: dict, path: Path) -> CLIPConfig:
    """The sizes in the config.json at `path`. InputError lists every setting that is not supported."""
    towers, problems = {}, []
    for name, usual in DEFAULTS.items():
        found = content.get(name) or {}
        if not isinstance(found, dict):
            raise InputError(f"{name} in {path} is {str(found)[:40]}, expected an object: fetch or save it again")
        towers[name] = usual | found
        problems += tower_problems(name, towers[name])
    text, image = towers.values()
    embed = image["hidden_size"]
    problems += [] if problems else image_problems(image)
    if not image.get("vision_use_head", True):
        problems.append("vision_config has vision_use_head false (expected true: an attention pooling)")
    wide = text["hidden_size"] if text.get("projection_size") is None else text["projection_size"]
    if not problems and wide != embed:
        problems.append(f"text_config has projection_size {wide!r} (expected {embed}, the image tower's hidden_size)")
    if problems:
        raise InputError(f"{path} cannot be used: {'; '.join(problems)}")
    text, image = (
        {CONFIG_KEYS[name][0]: found[name] for name in usual} | {"embed": embed}
        for found, usual in zip((text, image), DEFAULTS.values())
    )
    return CLIPConfig(TextConfig(**text), ImageConfig(**image))
