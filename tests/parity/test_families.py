"""The towers of SigLIP and MetaCLIP 2 against transformers on PyTorch, float32, to 1e-5."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from multimap_jax.encoders.clip.checkpoint import towers_from_arrays
from multimap_jax.encoders.clip.config import CLIPConfig
from multimap_jax.encoders.clip.slot import slot_encoder
from multimap_jax.encoders.siglip.checkpoint import SIGLIP, read_config
from multimap_jax.runtime.precision import matmul_precision
from tests.needed import needed
from tests.tiny import text_with_proxies, tiny_metaclip, tiny_siglip

torch = needed("torch")
pytestmark = pytest.mark.usefixtures("optimised")
TOLERANCE = 1e-5
PADDING = 1
IDS, SLOT = (5, 6, 7, 8, 9, 2), 3


def arrays_of(model):
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def siglip_towers(model):
    config = read_config(model.config.to_dict(), "config.json")
    config = dataclasses.replace(config, text=dataclasses.replace(config.text, padding=PADDING))
    return towers_from_arrays(arrays_of(model), config, "the test", SIGLIP)


def metaclip_towers(model):
    return towers_from_arrays(arrays_of(model), CLIPConfig.from_json(model.config.to_dict(), old_end=False), "the test")


FAMILIES = {
    "SigLIP": (tiny_siglip, siglip_towers),
    "SigLIP, patches that do not fill the image": (lambda: tiny_siglip(size=30), siglip_towers),
    "SigLIP, half precision": (lambda: tiny_siglip().half().float(), siglip_towers),
    "MetaCLIP 2": (tiny_metaclip, metaclip_towers),
    "MetaCLIP 2, another end": (lambda: tiny_metaclip(end=3), metaclip_towers),
}


@pytest.fixture(params=FAMILIES, scope="module")
def pair(request):
    """(PyTorch's model, our towers) with the same weights."""
    make, towers = FAMILIES[request.param]
    model = make()
    with matmul_precision("float32"):
        yield model, towers(model)


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert np.abs(np.asarray(ours) - theirs).max() <= TOLERANCE * max(1, np.abs(theirs).max())


def test_image_embeddings(pair):
    model, towers = pair
    size = model.config.vision_config.image_size
    pixels = np.random.default_rng(0).normal(size=(3, size, size, 3)).astype(np.float32)
    theirs = model.get_image_features(torch.tensor(pixels.transpose(0, 3, 1, 2))).pooler_output
    close(jax.vmap(towers.image)(pixels), theirs)


def test_text_embeddings(pair):
    model, towers = pair
    config = model.config.text_config
    ids = np.random.default_rng(0).integers(3, 60, (5, config.max_position_embeddings))
    end = PADDING if towers.text.config.padding is not None else config.eos_token_id
    for row, position in enumerate((1, 4, 9, 22, 23)):
        ids[row, position:] = end
    theirs = model.get_text_features(input_ids=torch.tensor(ids)).pooler_output
    close(jax.vmap(towers.text)(ids), theirs)


@pytest.mark.parametrize("plain", [False, True])
def test_gradient_at_the_slot(pair, plain):
    model, towers = pair
    padding = towers.text.config.padding
    ids = (*IDS[:-1], model.config.text_config.eos_token_id if padding is None else PADDING)
    proxy, target = np.random.default_rng(1).normal(size=(2, 32)).astype(np.float32)
    theirs = torch.tensor(proxy[None], requires_grad=True)
    embedded = text_with_proxies(model, ids, SLOT, theirs, plain, padding)
    (embedded[0] @ torch.tensor(target)).backward()
    encoder = slot_encoder(towers.text, ids, SLOT, not plain, not plain)

    def agreement(proxy):
        ours = encoder(proxy)
        return ours @ target, ours

    gradient, ours = jax.jit(jax.grad(agreement, has_aux=True))(jnp.asarray(proxy))
    close(ours, embedded[0])
    close(gradient, theirs.grad[0])
    assert np.abs(gradient).max() > 1e-3


def test_sigmoids_are_those_of_siglip():
    model = tiny_siglip()
    towers, ids = siglip_towers(model), np.full((4, 24), PADDING)
    ids[:, 0] = range(5, 9)
    pixels = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor(ids), pixel_values=torch.tensor(pixels.transpose(0, 3, 1, 2)))
    images, texts = np.asarray(jax.vmap(towers.image)(pixels)), np.asarray(jax.vmap(towers.text)(ids))
    images, texts = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts))
    logits = np.exp(towers.logit_scale[...]) * images @ texts.T + towers.logit_bias[...]
    close(expit(logits), torch.sigmoid(theirs.logits_per_image))
