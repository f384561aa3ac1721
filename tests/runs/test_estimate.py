"""What there is to compute, counted by hand; by images, devices and processes."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import multimap_jax as mm
from multimap_jax.prompts.aspect import Prompt
from multimap_jax.runs import estimate
from multimap_jax.runs import messages as say
from multimap_jax.runs.distributed.process_group import Processes
from multimap_jax.runs.job import Job
from multimap_jax.settings import Settings


def test_images_of_one_process_are_its_own_and_those_that_fill_the_last_block_up():
    assert estimate.padded(100, block=32, devices=1, processes=1) == 128
    assert estimate.padded(100, block=32, devices=8, processes=1) == 256
    assert estimate.padded(100, block=32, devices=1, processes=4) == 32
    assert estimate.padded(64, block=32, devices=2, processes=1) == 64


def test_seconds_grow_with_images_and_fall_with_the_rate():
    clip, prompt = mm.load_clip("embedded"), Prompt((1, 2, 3, 4), 2)
    once = estimate.embedding_seconds(clip, 100, 1e9)
    assert estimate.embedding_seconds(clip, 200, 4e9) == pytest.approx(once / 2)
    first = estimate.proxy_seconds(clip, [(prompt, 100)], 10, 1e9) - estimate.COMPILATION_SECONDS
    second = estimate.proxy_seconds(clip, [(prompt, 200)], 20, 4e9) - estimate.COMPILATION_SECONDS
    assert second == pytest.approx(first) and estimate.proxy_seconds(clip, [], 10, 1e9) == 0


def said(monkeypatch, rate=1e6, missing=1000, **fields):
    """What is said of 1,000 images at a rate that one device was measured at."""
    monkeypatch.setattr(say, "operations_per_second", lambda *_: rate)
    color = mm.Aspect("color", "fruit", ("red", "green"))
    settings = {"clusters": {"color": 2}, "contrast": {}, "config": mm.ProxyConfig(), "clip": ""}
    paths = {"images": Path("x"), "labels": None, "out": Path("x")}
    job = Job(aspects=(color,), **paths, **settings | fields)
    lines = []
    say.print_estimate(job, mm.load_clip("embedded"), 1000, missing, lines.append)
    return lines[1]


def test_estimates_are_of_one_process_and_count_proxies_only_where_they_are_learnt(monkeypatch):
    alone = said(monkeypatch)
    assert alone.endswith("to embed the images") and "step" not in alone
    minutes = int(alone.split()[1]) if "min" in alone else float(alone.split()[1]) * 60
    many = said(monkeypatch, processes=Processes("host:1", 10, 0))
    assert many.endswith("to embed the images of each process")
    part = int(many.split()[1]) if "min" in many else float(many.split()[1]) * 60
    assert part == pytest.approx(minutes * 128 / 1024, rel=0.1)  # 100 images of one process fill four blocks of 32
    assert said(monkeypatch, missing=0) == "all 1,000 images are embedded already"
    assert said(monkeypatch, missing=0, ready=True) == "the embeddings are given"
    assert said(monkeypatch, missing=12).endswith("to embed 12 of 1,000 images")
    assert said(monkeypatch, settings=Settings(keep_proxies=True)).endswith("for 80 steps of 1 aspect")
    assert said(monkeypatch, config=mm.ProxyConfig.paper()).endswith("for 1,000 steps of 1 aspect")
    assert said(monkeypatch, clusters={"color": 5}).endswith("for 80 steps of 1 aspect")  # words learnt for groups


@pytest.mark.slow
def test_the_rate_is_that_of_all_devices(tmp_path):
    script = (
        "import jax; from multimap_jax.runs import estimate; import multimap_jax.runtime.mesh as m; shapes = [];"
        "split = m.split_images; m.split_images = lambda f, mesh, n: shapes.append(mesh.size) or split(f, mesh, n);"
        "assert estimate.operations_per_second(32, 'float32', 0.01) > 0; assert shapes == [4], shapes"
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | flags)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_the_rate_is_measured_at_the_precision_that_is_said(precision, monkeypatch):
    asked = []
    whole = jax.default_matmul_precision
    monkeypatch.setattr(jax, "default_matmul_precision", lambda name: asked.append(name) or whole(name))
    assert estimate.operations_per_second(64, precision, seconds=0.01) > 1e6
    assert asked == [{"float32": "highest", "bf16": "default"}[precision]]
