"""What a compiled chunk of steps holds: nothing for one kind of device only, and no talk between devices."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.prompts.aspect import make_prompt, reference_words
from multimap_jax.proxies import fit as proxies
from multimap_jax.proxies.loss import start
from multimap_jax.proxies.solver import run_chunk
from multimap_jax.runtime.precision import matmul_precision
from tests.tiny import unit_rows

COLOR = mm.Aspect("color", subject="fruit", words=("red", "green"))
RECIPES = {
    "default": mm.ProxyConfig(),
    "paper": mm.ProxyConfig.paper(),
    "released": mm.ProxyConfig.released(weight_decay=1e-4, batch_size=3),
    "bf16": mm.ProxyConfig(precision="bf16"),
}
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective")


def arguments(clip, config, images):
    """What `run_chunk` takes."""
    embeddings = unit_rows(images)
    prompt, reference = make_prompt(COLOR, clip.tokenizer), reference_words(clip, embeddings, COLOR)
    batches = np.arange(-(-images // 3), dtype=np.int32)
    order = np.tile(batches, (50, 1)) if config.recipe == "released" else None
    common, targets = proxies.prepare(clip, embeddings, COLOR, ("species",), config, prompt, reference, order)
    return common, np.int32(0), np.int32(50), jax.vmap(start, in_axes=(None, 0))(common, targets), targets


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_chunk_of_steps_lowers_for_tpu_and_cuda(clip, name, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")  # bf16 is written out for CPUs alone
    with matmul_precision(RECIPES[name].precision):
        leaves, structure = jax.tree.flatten(arguments(clip, RECIPES[name], 8))
        # Weights are arguments: closed over, they would become constants of the program.
        exported = jax.export.export(jax.jit(lambda leaves: flat_chunk(leaves, structure)), platforms=["tpu", "cuda"])
        program = exported([np.asarray(leaf) for leaf in leaves])
    assert set(program.platforms) == {"tpu", "cuda"}
    assert "while" in program.mlir_module() and "custom_call" not in program.mlir_module()


def flat_chunk(leaves, structure):
    """`run_chunk` on leaves: exported programs take no classes of ours."""
    return jax.tree.leaves(run_chunk(*jax.tree.unflatten(structure, leaves)))


SCRIPT = """
import sys
import jax
import multimap_jax as mm
from multimap_jax.proxies.solver import compiled_chunk
from multimap_jax.runtime.mesh import image_mesh
from multimap_jax.runtime.precision import matmul_precision
from tests.runtime import test_platforms
assert jax.device_count() == 8
clip = mm.load_clip(sys.argv[1])
for config in test_platforms.RECIPES.values():
    with matmul_precision(config.precision):
        arguments = test_platforms.arguments(clip, config, 24)
    print(compiled_chunk.lower(image_mesh(), *arguments).compile().as_text())
"""


@pytest.mark.slow
def test_devices_do_not_talk_in_the_loop(clip):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    run = [sys.executable, "-c", SCRIPT, str(clip.directory)]
    text = subprocess.run(run, check=True, env=os.environ | flags, capture_output=True, text=True).stdout
    assert text.count("ENTRY") == len(RECIPES) and "num_partitions=8" in text
    assert [word for word in COLLECTIVES if word in text] == []
