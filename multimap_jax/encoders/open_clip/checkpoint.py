"""Under which names open_clip stores a CLIP."""

from __future__ import annotations

from multimap_jax.encoders.clip.checkpoint import LINEAR, NORM, PATCHES, SAME, TRANSPOSED, Layout
from multimap_jax.encoders.clip.towers import Towers
from multimap_jax.encoders.weights import OPEN_CLIP_CONFIG

LAYER = {
    "ln_1": ("norm_1", NORM, None),
    "ln_2": ("norm_2", NORM, None),
    "attn.in_proj": ("qkv", {"_weight": ("kernel", TRANSPOSED), "_bias": ("bias", SAME)}, None),
    "attn.out_proj": ("out", LINEAR, None),
    "mlp.c_fc": ("up", LINEAR, None),
    "mlp.c_proj": ("down", LINEAR, None),
}


def layout_with(text: str) -> Layout:
    """The names of a checkpoint whose names of the text tower begin with `text`."""
    return Layout(
        Towers,
        {
            "logit_scale": ("logit_scale", SAME),
            f"{text}token_embedding.weight": ("text.tokens", SAME),
            f"{text}positional_embedding": ("text.positions", SAME),
            f"{text}text_projection": ("text.projection.kernel", SAME),
            "visual.class_embedding": ("image.class_token", SAME),
            "visual.positional_embedding": ("image.positions", SAME),
            "visual.conv1.weight": ("image.patches.kernel", PATCHES),
            "visual.proj": ("image.projection.kernel", SAME),
        },
        {
            f"{text}ln_final": "text.final_norm",
            "visual.ln_pre": "image.first_norm",
            "visual.ln_post": "image.final_norm",
        },
        LAYER,
        stacks=(f"{text}transformer.resblocks", "visual.transformer.resblocks"),
        ignored=("logit_bias",),  # of a sigmoid loss; a softmax is the same without it
        singles=("logit_scale",),
        config=OPEN_CLIP_CONFIG,
    )


PLAIN, CUSTOM_TEXT = layout_with(""), layout_with("text.")
