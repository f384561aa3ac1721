"""The compiled optimisation on several devices: no communication between them."""

import os
import subprocess
import sys

import numpy as np

from multimap_jax import proxies
from multimap_jax.blocks import compiled_start
from multimap_jax.prompts import Aspect, make_prompt, reference_words
from multimap_jax.recipes import ProxyConfig
from multimap_jax.sharding import image_mesh, matmul_precision
from tests.tiny import unit_rows

COLOR = Aspect("color", subject="fruit", words=("red", "green", "yellow"))
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective")
CONFIGS = {
    "default": ProxyConfig(),
    "paper": ProxyConfig.paper(),
    "released": ProxyConfig.released(weight_decay=1e-4, batch_size=3),
    "bf16": ProxyConfig(precision="bf16"),
}


def arguments(clip, config, images):
    """What `_run_chunk` takes."""
    rows, mesh = unit_rows(images, seed=0), image_mesh()
    released = config.recipe == "released"
    prompt, reference = make_prompt(COLOR, clip.tokenizer), reference_words(clip, rows, COLOR, bare=released)
    order = np.tile(np.arange(-(-images // 3)), (50, 1)) if released else None
    with matmul_precision(config.precision):
        shared, targets = proxies.prepare(clip, rows, COLOR, ("species",), config, prompt, reference, order)
        return mesh, shared, 0, 50, compiled_start(mesh, shared, targets), targets


SCRIPT = """
import sys
import jax
import multimap_jax as mm
from multimap_jax.blocks import compiled_chunk
from tests import test_sharding
assert jax.device_count() == 8
clip = mm.load_clip(sys.argv[1])
for config in test_sharding.CONFIGS.values():
    print(compiled_chunk.lower(*test_sharding.arguments(clip, config, 24)).compile().as_text())
"""


def test_devices_do_not_talk_in_the_loop(clip):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    run = [sys.executable, "-c", SCRIPT, str(clip.directory)]
    text = subprocess.run(run, check=True, env=os.environ | flags, capture_output=True, text=True).stdout
    assert text.count("ENTRY") == len(CONFIGS) and "num_partitions=8" in text
    assert [word for word in COLLECTIVES if word in text] == []
