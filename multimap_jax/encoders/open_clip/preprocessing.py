"""Preprocesses RGB images as open_clip does, to the last bit, with Pillow and CLIP's table of levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from multimap_jax.encoders.clip import preprocessing as clip
from multimap_jax.encoders.clip.preprocessing import levels, look_up, target_size, too_narrow

DEFAULTS: dict[str, Any] = {
    "mode": "RGB",
    "mean": clip.DEFAULTS["image_mean"],
    "std": clip.DEFAULTS["image_std"],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}
CHOICES = {
    "mode": ("RGB",),
    "interpolation": ("bicubic", "bilinear"),
    "resize_mode": ("shortest", "longest", "squash"),
    "fill_color": range(256),
}
RANGES = {"mean": (-1000, 1000), "std": (0.001, 1000)}


def preprocess_settings(found: dict) -> dict:
    """The settings in a preprocess_cfg, with defaults. open_clip takes the size from the image tower and ignores what
    it does not know."""
    return {name: usual if found.get(name) is None else found[name] for name, usual in DEFAULTS.items()}


def preprocess_problems(settings: dict) -> list[str]:
    """The problems with the result of `preprocess_settings`."""
    problems = []
    for name, known in CHOICES.items():
        if type(settings[name]) is not type(DEFAULTS[name]) or settings[name] not in known:
            expected = "a whole number of 0 to 255" if name == "fill_color" else " or ".join(map(repr, known))
            problems.append(f"preprocess_cfg has {name} {settings[name]!r:.60} (expected {expected})")
    for name, (least, most) in RANGES.items():
        values = settings[name] if isinstance(settings[name], list | tuple) else [settings[name]] * 3
        if len(values) != 3 or not all(type(value) in (int, float) and least <= value <= most for value in values):
            found = f"preprocess_cfg has {name} {settings[name]!r:.60}"
            problems.append(f"{found} (expected one or three numbers of {least:,} to {most:,})")
    return problems


def make_preprocess(settings: dict, size: int) -> Callable[[Image.Image], np.ndarray]:
    """A function RGB image -> float32 [size, size, 3]."""
    table = levels(clip.DEFAULTS | {"image_mean": settings["mean"], "image_std": settings["std"]})
    resample, mode = Image.Resampling[settings["interpolation"].upper()], settings["resize_mode"]
    fill = (settings["fill_color"],) * 3

    def preprocess(image: Image.Image) -> np.ndarray:
        if mode == "squash":
            return look_up(table, image.resize((size, size), resample))
        if mode == "longest":
            padded, image = Image.new("RGB", (size, size), fill), image.resize(longest(image.size, size), resample)
            padded.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
            return look_up(table, padded)
        image = image.resize(target_size(image.size, {"shortest_edge": size}), resample)
        # Half pixels are rounded to even ones, as by torchvision; clip.preprocessing, like transformers, rounds down.
        left, top = round((image.width - size) / 2), round((image.height - size) / 2)
        return look_up(table, image.crop((left, top, left + size, top + size)))

    return preprocess


def longest(found: tuple[int, int], size: int) -> tuple[int, int]:
    """The (width, height) of an image whose longer side is scaled to `size`. ValueError if nothing is left of it."""
    ratio = max(found) / size
    width, height = (round(side / ratio) for side in found)
    if not width or not height:
        raise too_narrow(found)
    return width, height
