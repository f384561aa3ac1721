"""Sizes and conventions of a CLIP, read from a config.json in the Hugging Face layout."""

from __future__ import annotations

import dataclasses

from multimap_jax.errors import InputError

ACTIVATIONS = ("quick_gelu", "gelu")
# The largest of every size: far above any CLIP, and small enough that nothing is asked for that no machine has.
LIMITS = {
    "vocab_size": 2**24,
    "max_position_embeddings": 2**16,
    "hidden_size": 2**16,
    "num_hidden_layers": 2**10,
    "num_attention_heads": 2**16,
    "intermediate_size": 2**18,
    "projection_dim": 2**16,
    "image_size": 2**10,
    "patch_size": 2**10,
}
MOST_PATCHES = 2**13  # of an image: attention takes memory by their square
# What transformers takes for a setting that is missing (openai/clip-vit-base-patch32).
DEFAULTS = {
    "text_config": {
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "hidden_size": 512,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "intermediate_size": 2048,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "eos_token_id": 49407,
    },
    "vision_config": {
        "image_size": 224,
        "patch_size": 32,
        "num_channels": 3,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
    "projection_dim": 512,
}


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """The text tower. `end_token` None: the end of a text is the largest id in it (configurations of before 2023)."""

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


# Field of both configurations -> setting in config.json.
TOWER = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "embed": "projection_dim",
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
}
TEXT = {"vocabulary": "vocab_size", "context": "max_position_embeddings", **TOWER}
IMAGE = {"size": "image_size", "patch": "patch_size", **TOWER}


@dataclasses.dataclass(frozen=True)
class CLIPConfig:
    text: TextConfig
    image: ImageConfig

    @classmethod
    def from_json(cls, content: dict, path="config.json") -> CLIPConfig:
        """From what the config.json at `path` holds. InputError lists every setting that the towers cannot have."""
        if content.get("model_type") != "clip":
            raise InputError(
                f"{path} describes a model of type {content.get('model_type')!r}, expected 'clip' (a CLIP with ViT "
                "image tower, such as openai/clip-vit-base-patch32); other architectures cannot be run here",
                "clip",
            )
        embed = {"projection_dim": content.get("projection_dim", DEFAULTS["projection_dim"])}
        text, image = (tower_settings(content, name, path) for name in ("text_config", "vision_config"))
        problems = size_problems("config.json", embed)
        problems += tower_problems("text_config", text) + tower_problems("vision_config", image)
        if image["num_channels"] != 3:
            problems.append(f"vision_config has num_channels {image['num_channels']!r} (expected 3)")
        if not problems and image["patch_size"] > image["image_size"]:
            problems.append(f"vision_config has patch_size {image['patch_size']} for image_size {image['image_size']}")
        patches = 0 if problems else (image["image_size"] // image["patch_size"]) ** 2
        if patches > MOST_PATCHES:
            problems.append(f"vision_config has {patches:,} patches (expected {MOST_PATCHES:,} at most)")
        end_token = text["eos_token_id"]
        if end_token is not None and type(end_token) is not int:
            problems.append(f"text_config has eos_token_id {end_token!r} (expected a whole number)")
        if problems:
            raise InputError(f"{path} cannot be used: {'; '.join(problems)}", "clip")
        text, image = text | embed, image | embed
        return cls(
            # Early conversions wrote eos_token_id 2, which is no end token; transformers too takes the argmax there.
            TextConfig(**{f: text[name] for f, name in TEXT.items()}, end_token=None if end_token == 2 else end_token),
            ImageConfig(**{f: image[name] for f, name in IMAGE.items()}),
        )

    def to_json(self) -> dict:
        """What `config.json` holds, as transformers and `from_json` read it."""
        text = {name: getattr(self.text, f) for f, name in TEXT.items()} | {"model_type": "clip_text_model"}
        if self.text.end_token is not None:
            end = self.text.end_token
            text |= {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
        image = {name: getattr(self.image, f) for f, name in IMAGE.items()}
        return {
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": self.text.embed,
            "text_config": text,
            "vision_config": image | {"model_type": "clip_vision_model", "num_channels": 3},
        }


def tower_settings(content: dict, name: str, path) -> dict:
    """What config.json says of one tower, with the defaults of what it leaves out.

    "text_config_dict", which old releases of transformers wrote, replaces "text_config" there, and so here.
    """
    key = name if content.get(f"{name}_dict") is None else f"{name}_dict"
    found = {} if content.get(key) is None else content[key]
    if not isinstance(found, dict):
        raise InputError(f"{key} in {path} is {str(found)[:40]}, expected an object: fetch or save it again", "clip")
    return DEFAULTS[name] | found


def tower_problems(name: str, found: dict) -> list[str]:
    """What is wrong with the settings of one tower."""
    problems = size_problems(name, found)
    epsilon = found["layer_norm_eps"]
    if found["hidden_act"] not in ACTIVATIONS:
        problems.append(f"{name} has hidden_act {found['hidden_act']!r} (known: {', '.join(ACTIVATIONS)})")
    if not isinstance(epsilon, float | int) or not 0 < epsilon < 1:
        problems.append(f"{name} has layer_norm_eps {epsilon!r} (expected a number above 0, below 1)")
    if not problems and found["hidden_size"] % found["num_attention_heads"]:
        problems.append(
            f"{name} has hidden_size {found['hidden_size']} for {found['num_attention_heads']} attention heads"
        )
    return problems


def size_problems(name: str, found: dict) -> list[str]:
    """What is wrong with those of LIMITS that are in `found`."""
    return [
        f"{name} has {size} {value!r} (expected a whole number of 1 to {LIMITS[size]:,})"
        for size, value in found.items()
        if size in LIMITS and (type(value) is not int or not 0 < value <= LIMITS[size])
    ]
