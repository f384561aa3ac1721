"""What there is to compute, counted by hand; by images, devices and processes."""

import jax
import pytest

import multimap_jax as mm
from multimap_jax.prompts import Prompt
from multimap_jax.run import estimate


def test_images_of_one_process_are_its_own_and_those_that_fill_the_last_block_up():
    assert estimate.padded(100, block=32, devices=1, processes=1) == 128
    assert estimate.padded(100, block=32, devices=8, processes=1) == 256
    assert estimate.padded(100, block=32, devices=1, processes=4) == 32
    assert estimate.padded(64, block=32, devices=2, processes=1) == 64


def test_seconds_grow_with_images_and_fall_with_the_rate():
    clip, prompt = mm.load_clip("embedded"), Prompt((1, 2, 3, 4), 2)
    once = estimate.embedding_seconds(clip.config.image, 100, 1e9)
    assert estimate.embedding_seconds(clip.config.image, 200, 4e9) == pytest.approx(once / 2)
    first = estimate.proxy_seconds(clip.config, [prompt], 100, 10, 1e9) - estimate.COMPILATION_SECONDS
    second = estimate.proxy_seconds(clip.config, [prompt], 200, 20, 4e9) - estimate.COMPILATION_SECONDS
    assert second == pytest.approx(first) and estimate.proxy_seconds(clip.config, [], 100, 10, 1e9) == 0


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_rate_is_measured_at_the_precision_that_is_said(precision, monkeypatch):
    asked = []
    whole = jax.default_matmul_precision
    monkeypatch.setattr(jax, "default_matmul_precision", lambda name: asked.append(name) or whole(name))
    assert estimate.operations_per_second(64, precision, seconds=0.01) > 1e6
    assert asked == [{"float32": "highest", "bf16": "default"}[precision]]
