"""Sizes and conventions of a CLIP, read from a configuration in the Hugging Face layout."""

from __future__ import annotations

import dataclasses

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
PATCHES = 2**13  # of an image: attention takes memory by their square
# What is read of config.json, and of its two parts.
PARTS = ("text_config", "vision_config", "text_config_dict", "vision_config_dict")
TOP = ("model_type", "projection_dim", *PARTS)
TOWER = (*LIMITS, "hidden_act", "layer_norm_eps", "num_channels", "bos_token_id", "eos_token_id", "pad_token_id")


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


@dataclasses.dataclass(frozen=True)
class CLIPConfig:
    text: TextConfig
    image: ImageConfig

    @classmethod
    def from_transformers(cls, config) -> CLIPConfig:
        """From a `transformers.CLIPConfig`; ValueError lists every setting that the towers cannot have."""
        text, image = config.text_config, config.vision_config
        parts = (
            ("text_config", text, ("vocab_size", "max_position_embeddings", *OF_BOTH)),
            ("vision_config", image, ("image_size", "patch_size", *OF_BOTH)),
        )
        problems = [problem for name, part, sizes in parts for problem in problems_of(name, part, sizes)]
        problems += size_problems("config.json", {"projection_dim": config.projection_dim})
        if image.num_channels != 3:
            problems.append(f"vision_config has num_channels {image.num_channels!r} (expected 3)")
        if not problems and image.patch_size > image.image_size:
            problems.append(f"vision_config has patch_size {image.patch_size} for image_size {image.image_size}")
        patches = 0 if problems else (image.image_size // image.patch_size) ** 2
        if patches > PATCHES:
            problems.append(f"vision_config has {patches:,} patches (expected {PATCHES:,} at most)")
        if text.eos_token_id is not None and not isinstance(text.eos_token_id, int):
            problems.append(f"text_config has eos_token_id {text.eos_token_id!r} (expected a whole number)")
        if problems:
            raise ValueError("this CLIP cannot be run here: " + "; ".join(problems))
        # Early conversions wrote eos_token_id 2, which is no end token; transformers too takes the argmax there.
        end_token = None if text.eos_token_id == 2 else text.eos_token_id
        return cls(
            TextConfig(text.vocab_size, text.max_position_embeddings, *_sizes(text, config), end_token=end_token),
            ImageConfig(image.image_size, image.patch_size, *_sizes(image, config)),
        )

    def to_transformers(self) -> dict:
        """The dictionary that `config.json` holds, read by transformers and by `from_transformers`."""
        text = _tower(self.text) | {
            "model_type": "clip_text_model",
            "vocab_size": self.text.vocabulary,
            "max_position_embeddings": self.text.context,
        }
        if self.text.end_token is not None:
            end = self.text.end_token
            text |= {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
        image = _tower(self.image) | {
            "model_type": "clip_vision_model",
            "image_size": self.image.size,
            "patch_size": self.image.patch,
            "num_channels": 3,
        }
        return {
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": self.text.embed,
            "text_config": text,
            "vision_config": image,
        }


OF_BOTH = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


def problems_of(name: str, part, sizes: tuple[str, ...]) -> list[str]:
    """What is wrong with the settings of one tower."""
    problems = size_problems(name, {size: getattr(part, size) for size in sizes})
    if part.hidden_act not in ACTIVATIONS:
        problems.append(f"{name} has hidden_act {part.hidden_act!r} (known: {', '.join(ACTIVATIONS)})")
    if not isinstance(part.layer_norm_eps, float | int) or not 0 < part.layer_norm_eps < 1:
        problems.append(f"{name} has layer_norm_eps {part.layer_norm_eps!r} (expected a number above 0, below 1)")
    if not problems and part.hidden_size % part.num_attention_heads:
        problems.append(f"{name} has hidden_size {part.hidden_size} for {part.num_attention_heads} attention heads")
    return problems


def size_problems(name: str, found: dict) -> list[str]:
    """What is wrong with those of LIMITS that are in `found`."""
    return [
        f"{name} has {size} {value!r} (expected a whole number of 1 to {LIMITS[size]:,})"
        for size, value in found.items()
        if size in LIMITS and (type(value) is not int or not 0 < value <= LIMITS[size])
    ]


def _sizes(part, config):
    return (
        part.hidden_size,
        part.num_hidden_layers,
        part.num_attention_heads,
        part.intermediate_size,
        config.projection_dim,
        part.hidden_act,
        part.layer_norm_eps,
    )


def _tower(part) -> dict:
    return {
        "hidden_size": part.width,
        "num_hidden_layers": part.layers,
        "num_attention_heads": part.heads,
        "intermediate_size": part.mlp_width,
        "projection_dim": part.embed,
        "hidden_act": part.activation,
        "layer_norm_eps": part.epsilon,
    }
