"""Preprocesses RGB images for a checkpoint, as its preprocessor_config.json says.

CLIP's and SigLIP's own processors are implemented here with Pillow and a table of 256 levels for each channel, and give
the same bits as `transformers.CLIPImageProcessorPil` and `SiglipImageProcessorPil`. Any other processor is run by
transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from multimap_jax.errors import InputError, MissingError
from multimap_jax.storage.reading import explained, read_json

ADVICE = "save it with CLIPImageProcessor.save_pretrained"
# Maximum pixels of a scaled image. The shorter side is scaled to a fixed size, so a narrow image could take any amount
# of memory.
SCALED_PIXELS = 2**24
# The defaults of transformers.CLIPImageProcessorPil for missing settings.
DEFAULTS = {
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": Image.Resampling.BICUBIC,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
# And of transformers.SiglipImageProcessorPil.
SIGLIP_DEFAULTS = DEFAULTS | {
    "size": {"height": 224, "width": 224},
    "do_center_crop": False,
    "crop_size": None,
    "image_mean": (0.5, 0.5, 0.5),
    "image_std": (0.5, 0.5, 0.5),
}
# The processors implemented here -> their defaults.
PROCESSORS = dict.fromkeys(
    (None, "CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor"), DEFAULTS
)
PROCESSORS |= dict.fromkeys(
    ("SiglipImageProcessor", "SiglipImageProcessorFast", "SiglipImageProcessorPil"), SIGLIP_DEFAULTS
)
# Steps, skipped if false or null, and the settings that each needs.
STEPS = {
    "do_resize": ("size", "resample"),
    "do_center_crop": ("crop_size",),
    "do_rescale": ("rescale_factor",),
    "do_normalize": ("image_mean", "image_std"),
}
SQUARE, EDGE = {"height", "width"}, {"shortest_edge"}


def read_preprocessing(directory: Path, size: int) -> Callable[[Image.Image], np.ndarray]:
    """A function RGB image -> float32 [size, size, 3] with the checkpoint's settings; tested here on a small image.

    Raises InputError for settings that cannot be used, MissingError if there are none.
    """
    path, settings = read_settings(directory)
    with explained(f"{path}", ADVICE):
        processor = settings.get("image_processor_type", settings.get("feature_extractor_type"))
        is_known = isinstance(processor, str | None) and processor in PROCESSORS
        settings = (PROCESSORS[processor] if is_known else {}) | settings
        absent = [name for step in STEPS if settings.get(step) for name in STEPS[step] if settings.get(name) is None]
        if is_known and absent:
            raise ValueError(f"it lacks {' and '.join(absent)}")
        for name, shape in (("size", EDGE), ("crop_size", SQUARE)):
            settings[name] = as_sides(settings.get(name), shape, 2 * size)
        if settings.get("do_pad"):
            raise ValueError("it pads images, which is not supported for CLIP")
        usual = is_known and (not settings["do_resize"] or set(settings["size"]) in (SQUARE, EDGE))
        # With these settings, a single edge means a square.
        usual = usual and not settings.keys() & {"use_square_size", "default_to_square"}
        scale = clip_processor(settings) if usual else other_processor(directory, settings)

    def preprocess(image: Image.Image) -> np.ndarray:
        pixels = scale(image)
        if pixels.shape != (size, size, 3):
            found, expected = (pixels.shape[-1:] + pixels.shape[:-1]), (3, size, size)
            raise ValueError(f"it makes images of shape {found}, but config.json says {expected}")
        return pixels

    with explained(f"{path}", ADVICE):
        with np.errstate(all="ignore"):
            tried = preprocess(Image.new("RGB", (5, 3), "white"))
        if not np.isfinite(tried).all():
            raise ValueError("its settings turn images into NaN or infinite numbers")
    return preprocess


def read_settings(directory: Path) -> tuple[Path, dict]:
    """The file with the preprocessing settings, and its content: processor_config.json if it has them (transformers 5
    writes and prefers it), otherwise preprocessor_config.json."""
    path = directory / "processor_config.json"
    settings = read_json(path).get("image_processor") if path.exists() else None
    if settings is not None:
        if not isinstance(settings, dict):
            raise InputError(f"image_processor in {path} is {str(settings)[:40]}, expected an object: {ADVICE}")
        return path, settings
    path = directory / "preprocessor_config.json"
    if not path.exists():
        raise MissingError(
            f"{directory} has no preprocessor_config.json (or processor_config.json with an image_processor in it), "
            f"which says how its images are scaled; {ADVICE}"
        )
    return path, read_json(path)


def as_sides(size: Any, shape: set[str], most: int) -> dict:
    """A size as an object, {} for none. Old files hold one number, which means `shape`, or [height, width].

    ValueError for a side above `most`, which no encoder needs and which could take any amount of memory.
    """
    if isinstance(size, list | tuple):
        size = dict(zip(("height", "width"), size, strict=True))
    elif not isinstance(size, dict):
        size = {} if size is None else dict.fromkeys(shape, size)
    wrong = [side for side in size.values() if side is not None and not (type(side) is int and 0 < side <= most)]
    if wrong:
        raise ValueError(f"it scales images to {wrong[0]!r} pixels, expected 1 to {most} for an encoder of {most // 2}")
    return size


def clip_processor(settings: dict) -> Callable[[Image.Image], np.ndarray]:
    """RGB image [h, w] -> float32 [height, width, 3]: resized, centre-cropped, rescaled, normalized."""
    table = levels(settings)
    crop = (settings["crop_size"]["width"], settings["crop_size"]["height"]) if settings["do_center_crop"] else None

    def scale(image: Image.Image) -> np.ndarray:
        if settings["do_resize"]:
            image = image.resize(target_size(image.size, settings["size"]), settings["resample"])
        if crop:
            left, top = (image.width - crop[0]) // 2, (image.height - crop[1]) // 2
            image = image.crop((left, top, left + crop[0], top + crop[1]))  # black outside the image
        return look_up(table, image)

    return scale


CHANNELS = np.array([0, 256, 512], np.uint16)  # where each channel's levels begin


def look_up(table: np.ndarray, image: Image.Image) -> np.ndarray:
    """RGB image -> float32 [height, width, 3] by the result of `levels`."""
    return np.take(table, np.asarray(image) + CHANNELS)


def levels(settings: dict) -> np.ndarray:
    """The results for the values 0 … 255 of each channel, float32 [3 * 256], rounded where transformers rounds."""
    values = np.arange(256).astype(np.float64)
    if settings["do_rescale"]:
        values = values * settings["rescale_factor"]
    values = np.repeat(values.astype(np.float32)[None], 3, axis=0)
    if settings["do_normalize"]:
        mean, deviation = (np.array(settings[name], np.float32) for name in ("image_mean", "image_std"))
        if not {mean.shape, deviation.shape} <= {(), (3,)}:  # one number, or one per channel
            found = f"image_mean {settings['image_mean']!r} and image_std {settings['image_std']!r}"
            raise ValueError(f"it has {found}, expected one or three numbers each")
        with np.errstate(all="ignore"):
            values = (values - mean[..., None]) / deviation[..., None]
    return values.reshape(-1)


def target_size(size: tuple[int, int], wanted: dict) -> tuple[int, int]:
    """The (width, height) to which an image of this size is resized. ValueError if it takes too much memory."""
    (width, height), edge = size, wanted.get("shortest_edge")
    if edge is None:
        target = wanted["width"], wanted["height"]
    else:
        target = (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)
    if target[0] * target[1] > SCALED_PIXELS:
        raise too_narrow(size)
    return target


def too_narrow(size: tuple[int, int]) -> ValueError:
    return ValueError(f"{size[0]:,} by {size[1]:,} pixels are too narrow for this encoder: crop the image")


def other_processor(directory: Path, settings: dict) -> Callable[[Image.Image], np.ndarray]:
    """The checkpoint's processor, run by transformers."""
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(
        directory, backend="pil", local_files_only=True, trust_remote_code=False
    )

    def scale(image: Image.Image) -> np.ndarray:
        if settings["size"].keys() >= EDGE:
            target_size(image.size, settings["size"])  # raises if it takes too much memory
        pixels = processor(image, return_tensors="np")["pixel_values"][0]
        return np.ascontiguousarray(np.moveaxis(pixels, 0, -1), np.float32)

    return scale
