"""Sizes and conventions of a CLIP, read from a configuration in the Hugging Face layout."""

from __future__ import annotations

import dataclasses

ACTIVATIONS = ("quick_gelu", "gelu")


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
        """From a `transformers.CLIPConfig`; ValueError lists every setting that the towers do not have."""
        text, image = config.text_config, config.vision_config
        problems = [
            f"{name} has hidden_act {part.hidden_act!r} (known: {', '.join(ACTIVATIONS)})"
            for name, part in (("text_config", text), ("vision_config", image))
            if part.hidden_act not in ACTIVATIONS
        ]
        if image.num_channels != 3:
            problems.append(f"vision_config has num_channels {image.num_channels} (expected 3)")
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
