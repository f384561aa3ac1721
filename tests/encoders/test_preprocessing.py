"""Pixels are those of transformers' processors to the last bit, for any size of image and any setting."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multimap_jax.encoders.clip import preprocessing
from multimap_jax.encoders.clip.model import EMBEDDED
from multimap_jax.encoders.clip.preprocessing import read_preprocessing
from multimap_jax.images.decoding import opened_image
from tests.needed import needed

needed("torch")
transformers = needed("transformers")

SIZE = 32
USUAL = json.loads((EMBEDDED / "preprocessor_config.json").read_text()) | {
    "size": {"shortest_edge": SIZE},
    "crop_size": {"height": SIZE, "width": SIZE},
}
SQUARE = {"height": SIZE, "width": SIZE}
SETTINGS = {
    "CLIP's": {},
    "sizes as numbers": {"size": SIZE, "crop_size": SIZE},
    "sizes as lists": {"size": [SIZE, SIZE], "crop_size": [SIZE, SIZE]},
    "stretched": {"size": SQUARE},
    "stretched, not cut": {"size": SQUARE, "do_center_crop": False},
    "cut out of more": {"size": {"shortest_edge": 40}},
    "cut out of less": {"size": {"shortest_edge": 21}},
    "cut out of a narrow rectangle": {"size": {"height": 45, "width": 19}},
    "odd": {"size": {"shortest_edge": 37}},
    "nearest": {"resample": 0},
    "Lanczos": {"resample": 1},
    "bilinear": {"resample": 2},
    "box": {"resample": 4},
    "Hamming": {"resample": 5},
    "not resized": {"do_resize": False},
    "not rescaled": {"do_rescale": False},
    "not normalized": {"do_normalize": False},
    "neither": {"do_rescale": False, "do_normalize": False},
    "another factor": {"rescale_factor": 1 / 127.5},
    "one mean": {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
    "nothing of its kind": {"image_processor_type": None, "feature_extractor_type": "CLIPFeatureExtractor"},
    "nulls": {"do_rescale": None, "rescale_factor": None},
    "no size": {"do_resize": None, "size": None, "resample": None},
}
SIGLIP = {
    "SigLIP's": {"size": SQUARE},
    "SigLIP 2's": {"size": SQUARE, "resample": 2, "image_processor_type": "SiglipImageProcessorFast"},
    "cut": {"size": SQUARE, "do_center_crop": True, "crop_size": SQUARE},
    "the shorter edge, cut": {"size": {"shortest_edge": SIZE}, "do_center_crop": True, "crop_size": SQUARE},
}
SHAPES = [(32, 32), (5, 3), (3, 5), (40, 61), (333, 218), (64, 32), (50, 1), (1, 49), (1, 1), (1000, 707), (31, 33)]


def both(folder, changes):
    content = {name: value for name, value in (USUAL | changes).items()}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return read_preprocessing(folder, SIZE), transformers.CLIPImageProcessorPil.from_pretrained(folder)


def pixels(theirs, image):
    return theirs(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)


def check(ours, theirs, image):
    with opened_image(image) as opened:
        found, expected = ours(opened), pixels(theirs, image)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    assert found.shape == expected.shape and (found == expected.astype(np.float32)).all()


@pytest.fixture
def used(monkeypatch):
    """Fails where transformers' processor is asked for."""
    monkeypatch.setattr(preprocessing, "other_processor", lambda *_: pytest.fail("transformers was used"))


@pytest.mark.parametrize("name", SETTINGS)
def test_pixels_are_those_of_transformers(name, tmp_path, used):
    ours, theirs = both(tmp_path, SETTINGS[name])
    random = np.random.default_rng(0)
    for shape in SHAPES:
        check(ours, theirs, Image.fromarray(random.integers(0, 256, (*shape, 3), np.uint8)))
        check(ours, theirs, Image.fromarray(random.integers(0, 256, shape, np.uint8)))


@pytest.mark.parametrize("name", SIGLIP)
def test_pixels_of_siglip_are_those_of_transformers(name, tmp_path, used):
    content = {"image_processor_type": "SiglipImageProcessor"} | SIGLIP[name]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    ours, theirs = read_preprocessing(tmp_path, SIZE), transformers.SiglipImageProcessorPil.from_pretrained(tmp_path)
    random = np.random.default_rng(0)
    for shape in SHAPES:
        check(ours, theirs, Image.fromarray(random.integers(0, 256, (*shape, 3), np.uint8)))


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)).filter(lambda shape: max(shape) <= 50 * min(shape)),
    size=st.one_of(
        st.fixed_dictionaries({"shortest_edge": st.integers(1, 64)}),
        st.fixed_dictionaries({"height": st.integers(1, 64), "width": st.integers(1, 64)}),
    ),
    resample=st.integers(0, 5),
    factor=st.sampled_from([1 / 255, 1 / 256, 0.1, 2.5]),
    mean=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    deviation=st.lists(st.floats(0.01, 2), min_size=3, max_size=3),
)
def test_any_settings_give_the_pixels_of_transformers(tmp_path_factory, shape, size, resample, factor, mean, deviation):
    changes = {"size": size, "resample": resample, "rescale_factor": factor}
    changes |= {"image_mean": mean, "image_std": deviation}
    ours, theirs = both(tmp_path_factory.mktemp("settings"), changes)
    check(ours, theirs, Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)))


@pytest.mark.parametrize("name", ["size", "resample", "crop_size", "rescale_factor", "image_mean", "image_std"])
def test_a_step_without_its_setting_is_one_sentence(name, tmp_path):
    with pytest.raises(ValueError, match=f"preprocessor_config.json cannot be read .it lacks {name}"):
        both(tmp_path, {name: None})


def test_settings_within_processor_config_come_first(tmp_path, used):
    both(tmp_path, {"resample": 0})
    content = {"image_processor": USUAL | {"resample": 2}, "processor_class": "CLIPProcessor"}
    (tmp_path / "processor_config.json").write_text(json.dumps(content))
    ours, theirs = read_preprocessing(tmp_path, SIZE), transformers.CLIPImageProcessorPil.from_pretrained(tmp_path)
    check(ours, theirs, Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)))


def test_other_processors_are_left_to_transformers(tmp_path):
    shutil.copy(EMBEDDED / "config.json", tmp_path)
    content = {"image_processor_type": "ViTImageProcessor", "size": SQUARE, "resample": 2, "do_resize": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    ours = read_preprocessing(tmp_path, SIZE)
    theirs = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    assert "ViT" in type(theirs).__name__
    check(ours, theirs, Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8)))


def test_an_image_that_would_be_scaled_to_too_many_pixels_is_refused(tmp_path, monkeypatch):
    ours, _ = both(tmp_path, {})
    monkeypatch.setattr(preprocessing, "SCALED_PIXELS", 32 * 64)
    ours(Image.new("RGB", (10, 20)))
    with pytest.raises(ValueError, match="10 by 21 pixels are too narrow for this encoder: crop the image"):
        ours(Image.new("RGB", (10, 21)))
