"""Nothing in a chunk of steps is for one kind of device only: it lowers for TPUs and GPUs on a machine with neither."""

import jax
import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax import proxies
from multimap_jax.blocks import run_chunk
from multimap_jax.descent import start
from multimap_jax.prompts import make_prompt, reference_words
from multimap_jax.sharding import matmul_precision
from tests.tiny import unit_rows

COLOR = mm.Aspect("color", subject="fruit", words=("red", "green"))
RECIPES = {
    "default": mm.ProxyConfig(),
    "paper": mm.ProxyConfig.paper(),
    "released": mm.ProxyConfig.released(weight_decay=1e-4, batch_size=3),
    "bf16": mm.ProxyConfig(precision="bf16"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_chunk_of_steps_lowers_for_tpu_and_cuda(clip, name):
    config, embeddings = RECIPES[name], unit_rows(8)
    prompt, reference = make_prompt(COLOR, clip.tokenizer), reference_words(clip, embeddings, COLOR)
    order = np.zeros((50, 3), np.int32) + np.arange(3, dtype=np.int32) if name == "released" else None
    with matmul_precision(config.precision):
        shared, targets = proxies.prepare(clip, embeddings, COLOR, ("species",), config, prompt, reference, order)
        carry = jax.vmap(start, in_axes=(None, 0))(shared, targets)
        # Weights are arguments: closed over, they would become constants of the program.
        exported = jax.export.export(jax.jit(lambda leaves: flat_chunk(leaves, structure)), platforms=["tpu", "cuda"])
        leaves, structure = jax.tree.flatten((shared, np.int32(0), np.int32(50), carry, targets))
        program = exported([np.asarray(leaf) for leaf in leaves])
    assert set(program.platforms) == {"tpu", "cuda"}
    assert "while" in program.mlir_module() and "custom_call" not in program.mlir_module()


def flat_chunk(leaves, structure):
    """`run_chunk` on leaves: exported programs take no classes of ours."""
    return jax.tree.leaves(run_chunk(*jax.tree.unflatten(structure, leaves)))
