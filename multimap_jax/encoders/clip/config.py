"""Sizes and conventions of a CLIP, read from a config.json in the Hugging Face layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from multimap_jax.errors import InputError

ACTIVATIONS = ("quick_gelu", "gelu", "gelu_pytorch_tanh")
# Setting in config.json -> our field, and the defaults of transformers (openai/clip-vit-base-patch32) for the text and
# the image tower. None: this tower has no such setting.
CONFIG_KEYS = {
    "vocab_size": ("vocabulary", 49408, None),
    "max_position_embeddings": ("context", 77, None),
    "image_size": ("size", None, 224),
    "patch_size": ("patch", None, 32),
    "hidden_size": ("width", 512, 768),
    "num_hidden_layers": ("layers", 12, 12),
    "num_attention_heads": ("heads", 8, 12),
    "intermediate_size": ("mlp_width", 2048, 3072),
    "projection_dim": ("embed", 512, 512),
    "hidden_act": ("activation", "quick_gelu", "quick_gelu"),
    "layer_norm_eps": ("epsilon", 1e-5, 1e-5),
}
# Upper limits of sizes: far above any CLIP, and small enough to fit the memory of real machines.
LIMITS = dict.fromkeys(("image_size", "patch_size", "num_hidden_layers"), 2**10)
LIMITS |= dict.fromkeys(("max_position_embeddings", "hidden_size", "num_attention_heads", "projection_dim"), 2**16)
LIMITS |= {"vocab_size": 2**24, "intermediate_size": 2**18}
MOST_PATCHES = 2**13  # patches of an image: the memory of attention grows with their square
DEFAULTS = {
    tower: {name: row[column] for name, row in CONFIG_KEYS.items() if row[column] is not None}
    for column, tower in enumerate(("text_config", "vision_config"), 1)
}


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """The text tower. `end_token` None: the end of a text is the largest id in it (configurations from before 2023).
    `padding`: the token that fills a text up to the context, in a tower in which every token sees all others; None: the
    tower is causal, and what follows the end has no influence."""

    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    embed: int
    activation: str = "quick_gelu"
    epsilon: float = 1e-5
    end_token: int | None = None
    padding: int | None = None


@dataclasses.dataclass(frozen=True)
class ImageConfig:
    """The image tower: square images of `size` pixels cut into patches of `patch` pixels."""

    size: int
    patch: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    embed: int
    activation: str = "quick_gelu"
    epsilon: float = 1e-5


@dataclasses.dataclass(frozen=True)
class CLIPConfig:
    text: TextConfig
    image: ImageConfig

    @classmethod
    def from_json(cls, content: dict, path: str | Path = "config.json", old_end: bool = True) -> CLIPConfig:
        """Reads the content of the config.json at `path`. InputError lists every setting that is not supported.

        old_end: an end token of 2 is not one, and the end of a text is the largest id in it: early conversions wrote 2,
        and transformers takes it so for a CLIP.
        """
        embed = {"projection_dim": content.get("projection_dim", CONFIG_KEYS["projection_dim"][1])}
        text, image = (tower_settings(content, name, path) for name in DEFAULTS)
        end_token = text.get("eos_token_id", 49407)
        problems = size_problems("config.json", embed)
        problems += tower_problems("text_config", text) + tower_problems("vision_config", image)
        problems += [] if problems else image_problems(image)
        if end_token is not None and type(end_token) is not int:
            problems.append(f"text_config has eos_token_id {end_token!r} (expected a whole number)")
        if problems:
            raise InputError(f"{path} cannot be used: {'; '.join(problems)}")
        text, image = (
            {CONFIG_KEYS[name][0]: (found | embed)[name] for name in defaults}
            for found, defaults in zip((text, image), DEFAULTS.values())
        )
        end_token = None if old_end and end_token == 2 else end_token
        return cls(TextConfig(**text, end_token=end_token), ImageConfig(**image))

    def to_json(self) -> dict:
        """The content of a config.json that transformers and `from_json` can read."""
        text, image = (
            {name: getattr(tower, CONFIG_KEYS[name][0]) for name in defaults}
            for tower, defaults in zip((self.text, self.image), DEFAULTS.values())
        )
        text |= {"model_type": "clip_text_model"}
        if self.text.end_token is not None:
            end = self.text.end_token
            text |= {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
        return {
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": self.text.embed,
            "text_config": text,
            "vision_config": image | {"model_type": "clip_vision_model", "num_channels": 3},
        }


def tower_settings(content: dict, name: str, path: str | Path) -> dict:
    """The settings of one tower in config.json, with defaults for missing ones.

    Old releases of transformers wrote "text_config_dict", which replaces "text_config" as it does in transformers.
    """
    key = name if content.get(f"{name}_dict") is None else f"{name}_dict"
    found = {} if content.get(key) is None else content[key]
    if not isinstance(found, dict):
        raise InputError(f"{key} in {path} is {str(found)[:40]}, expected an object: fetch or save it again")
    return DEFAULTS[name] | found


def tower_problems(name: str, found: dict) -> list[str]:
    """The problems with the settings of one tower."""
    problems, epsilon = size_problems(name, found), found["layer_norm_eps"]
    if found["hidden_act"] not in ACTIVATIONS:
        problems.append(f"{name} has hidden_act {found['hidden_act']!r} (known: {', '.join(ACTIVATIONS)})")
    if not isinstance(epsilon, float | int) or not 0 < epsilon < 1:
        problems.append(f"{name} has layer_norm_eps {epsilon!r} (expected a number above 0, below 1)")
    width, heads = found["hidden_size"], found["num_attention_heads"]
    if not problems and width % heads:
        problems.append(f"{name} has hidden_size {width} (expected a multiple of its {heads} attention heads)")
    return problems


def image_problems(found: dict, name: str = "vision_config") -> list[str]:
    """The problems with the settings that only an image tower has, of valid sizes."""
    problems, channels, patch = [], found.get("num_channels", 3), found["patch_size"]
    if channels != 3:
        problems.append(f"{name} has num_channels {channels!r} (expected 3)")
    if patch > found["image_size"]:
        problems.append(f"{name} has patch_size {patch} for image_size {found['image_size']}")
    elif (patches := (found["image_size"] // patch) ** 2) > MOST_PATCHES:
        problems.append(f"{name} has {patches:,} patches (expected at most {MOST_PATCHES:,})")
    return problems


def size_problems(name: str, found: dict, limits: Mapping[str, int] = LIMITS) -> list[str]:
    """The problems with the sizes in `found` that have a limit."""
    return [
        f"{name} has {size} {value!r:.60} (expected a whole number of 1 to {limits[size]:,})"
        for size, value in found.items()
        if size in limits and (type(value) is not int or not 0 < value <= limits[size])
    ]
