"""Sizes and conventions of a CLIP, read from an open_clip_config.json; defaults are those of open_clip 3.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multimap_jax.encoders.clip import config as clip
from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig, TextConfig, image_problems, size_problems
from multimap_jax.encoders.open_clip.preprocessing import preprocess_problems, preprocess_settings
from multimap_jax.encoders.weights import AGAIN
from multimap_jax.errors import InputError
from multimap_jax.storage.reading import read_json

INSTEAD = (
    "use a plain ViT CLIP, such as laion/CLIP-ViT-B-32-laion2B-s34B-b79K, or a SigLIP in the Hugging Face layout, such "
    "as google/siglip-base-patch16-224"
)
SIZES: dict[str, dict[str, Any]] = {
    "vision_cfg": {"image_size": 224, "patch_size": 16, "width": 768, "layers": 12, "head_width": 64, "mlp_ratio": 4.0},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "layers": 12, "heads": 8, "mlp_ratio": 4.0},
}
LIMITS = {name: clip.LIMITS[name] for name in ("image_size", "patch_size", "vocab_size")}
LIMITS |= {"layers": clip.LIMITS["num_hidden_layers"], "context_length": clip.LIMITS["max_position_embeddings"]}
LIMITS |= dict.fromkeys(("width", "heads", "head_width", "embed_dim"), clip.LIMITS["hidden_size"])
# Settings that change what a tower computes -> the values that are supported.
OFF: tuple = (None, False, {})
SUPPORTED: dict[str, tuple] = dict.fromkeys(("ls_init_value", "act_kwargs", "norm_kwargs"), OFF)
SUPPORTED |= dict.fromkeys(("qk_norm", "scaled_cosine_attn", "scale_heads"), OFF)
SUPPORTED |= dict.fromkeys(("scale_attn_inner", "scale_attn", "scale_fc"), OFF)
SUPPORTED |= {"block_type": (None, "default")}
OF_TOWER: dict[str, dict[str, tuple]] = {
    "vision_cfg": SUPPORTED
    | {"attentional_pool": OFF, "no_ln_pre": OFF, "pool_type": ("tok",)}
    | {"pos_embed_type": ("learnable", "sin_cos_2d")},  # stored either way
    "text_cfg": SUPPORTED
    | dict.fromkeys(("embed_cls", "no_causal_mask", "proj_bias", "tokenizer_mode", "tokenizer_kwargs"), OFF)
    | {"pool_type": ("argmax", "eos"), "proj_type": ("linear",)},
}
# Settings without influence on what is computed here: of training, of outputs, and of parts that are off. eos_id counts
# with pool_type eos.
IDLE = {
    "model_cfg": ("custom_text", "init_logit_scale", "init_logit_bias", "nonscalar_logit_scale", "output_dict"),
    "vision_cfg": ("patch_dropout", "attn_pooler_queries", "attn_pooler_heads", "final_ln_after_pool", "output_tokens"),
    "text_cfg": ("eos_id", "pad_id", "hf_tokenizer_name", "final_ln_after_pool", "output_tokens"),
}
OF_OTHERS = ("timm_", "hf_")  # beginnings of settings of towers that another library makes


def read_config(path: Path) -> tuple[CLIPConfig, dict | None]:
    """(sizes, settings of the preprocessing, None if there are none) in the file at `path`. InputError lists every
    setting that is not supported."""
    content = read_json(path)
    model = section(content, "model_cfg", path)
    image, text = (SIZES[name] | section(model, name, path) for name in SIZES)
    if kind := other_architecture(model, image, text):
        raise InputError(f"{path} describes a model with {kind}, which is not supported: {INSTEAD}")
    problems = size_problems("model_cfg", {"embed_dim": model.get("embed_dim")}, LIMITS)
    if not isinstance(model.get("quick_gelu", False), bool):
        problems.append(f"model_cfg has quick_gelu {model['quick_gelu']!r:.60} (expected true or false)")
    problems += unknown("model_cfg", model, {*SIZES, "embed_dim", "quick_gelu"})
    image["image_size"], image["patch_size"] = side(image["image_size"]), side(image["patch_size"])
    image_sizes = tower_problems("vision_cfg", image)
    problems += image_sizes + tower_problems("text_cfg", text)
    problems += [] if image_sizes else image_problems(image, "vision_cfg")
    if type(text.get("eos_id", 2)) is not int:
        problems.append(f"text_cfg has eos_id {text['eos_id']!r:.60} (expected a whole number)")
    settings = preprocess_settings(section(content, "preprocess_cfg", path)) if content.get("preprocess_cfg") else None
    problems += preprocess_problems(settings) if settings else []
    if problems:
        raise InputError(f"{path} cannot be used: {'; '.join(problems)}. Instead, {INSTEAD}")
    text_config = TextConfig(
        vocabulary=text["vocab_size"],
        context=text["context_length"],
        heads=text["heads"],
        end_token=text.get("eos_id", 2) if text.get("pool_type") == "eos" else None,
        **tower_sizes(text, model),
    )
    heads = image["width"] // image["head_width"]
    image_config = ImageConfig(
        size=image["image_size"], patch=image["patch_size"], heads=heads, **tower_sizes(image, model)
    )
    return CLIPConfig(text_config, image_config), settings


def section(content: dict, name: str, path: Path) -> dict:
    """The object `name` within `content`. InputError for anything else."""
    found = content.get(name)
    if not isinstance(found, dict):
        raise InputError(f"{name} in {path} is {str(found)[:40]}, expected an object: {AGAIN}")
    return found


def other_architecture(model: dict, image: dict, text: dict) -> str:
    """What the model has that no CLIP with open_clip's own transformers has, "" if nothing."""
    if "multimodal_cfg" in model:
        return "a decoder of texts (CoCa)"
    if image.get("timm_model_name"):
        return f"an image tower of timm ({image['timm_model_name']!r:.60})"
    if isinstance(image["layers"], list):
        return "a ResNet as its image tower"
    if text.get("hf_model_name"):
        return f"a text tower of transformers ({text['hf_model_name']!r:.60})"
    return ""


def side(size: Any) -> Any:
    """The side of a square, which may be written as two equal ones."""
    return size[0] if isinstance(size, list) and len(size) == 2 and size[0] == size[1] else size


def tower_problems(name: str, found: dict) -> list[str]:
    """The problems with the settings of one tower."""
    problems, supported = size_problems(name, found, LIMITS), OF_TOWER[name]
    for setting, value in found.items():
        if setting in supported and value not in supported[setting]:
            expected = "none" if supported[setting] == OFF else " or ".join(map(repr, supported[setting]))
            problems.append(f"{name} has {setting} {value!r:.60} (expected {expected})")
    problems += unknown(name, found, {*supported, *SIZES[name]})
    if problems:
        return problems
    # Compared before it is multiplied, because a number in JSON can have any number of digits.
    width, ratio, most = found["width"], found["mlp_ratio"], clip.LIMITS["intermediate_size"]
    if type(ratio) not in (int, float) or not 0 < ratio <= most or not 0 < int(width * ratio) <= most:
        problems.append(f"{name} has mlp_ratio {ratio!r:.60} (expected an MLP with a width of 1 to {most:,})")
    part = "head_width" if "head_width" in SIZES[name] else "heads"
    if width % found[part]:
        problems.append(f"{name} has width {width} (expected a multiple of its {part}, {found[part]})")
    return problems


def unknown(name: str, found: dict, known: set[str]) -> list[str]:
    """A problem for each setting that is neither in `known` nor without influence."""
    return [
        f"{name} has {setting!r:.60} (not supported)"
        for setting in found
        if setting not in known and setting not in IDLE[name] and not setting.startswith(OF_OTHERS)
    ]


def tower_sizes(found: dict, model: dict) -> dict[str, Any]:
    """What the configurations of both towers have."""
    return {
        "width": found["width"],
        "layers": found["layers"],
        "mlp_width": int(found["width"] * found["mlp_ratio"]),
        "embed": model["embed_dim"],
        "activation": "quick_gelu" if model.get("quick_gelu") else "gelu",
    }
