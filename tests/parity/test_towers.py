"""Both towers against transformers.CLIPModel on PyTorch, float32, to 1e-5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from multimap_jax.encoders.clip.checkpoint import towers_from_arrays
from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig
from multimap_jax.encoders.clip.slot import slot_encoder, unit
from multimap_jax.encoders.clip.towers import multiply, stack_layers, unstack_layers
from multimap_jax.runtime.precision import matmul_precision
from tests.needed import needed

torch = needed("torch")
from tests.tiny import text_with_proxies, tiny_model  # noqa: E402

pytestmark = pytest.mark.usefixtures("optimised")
TOLERANCE = 1e-5
SETTINGS = {
    "plain": {},
    "gelu": {"activation": "gelu"},
    "other width": {"embed": 24},
    "old end token": {"end": 2},
    "patches that do not fill the image": {"size": 30},
    "small patches": {"patch": 4},
}


@pytest.fixture(params=SETTINGS, scope="module")
def pair(request):
    """(PyTorch's model, our towers) with the same weights."""
    model = tiny_model(**SETTINGS[request.param])
    arrays = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    with matmul_precision("float32"):
        yield model, towers_from_arrays(arrays, CLIPConfig.from_json(model.config.to_dict()), "the test")


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert np.abs(np.asarray(ours) - theirs).max() <= TOLERANCE * max(1, np.abs(theirs).max())


def random_ids(seed=0):
    """Texts [5, 77] that end at different places, with noise behind the end."""
    random = np.random.default_rng(seed)
    ids = random.integers(3, 590, (5, 77))
    ids[:, 0] = 598
    for row, end in enumerate((3, 10, 40, 75, 76)):
        ids[row, end] = 599
    return ids


def random_pixels(model, seed=0):
    size = model.config.vision_config.image_size
    return np.random.default_rng(seed).normal(size=(3, size, size, 3)).astype(np.float32)


def test_image_embeddings(pair):
    model, towers = pair
    pixels = random_pixels(model)
    theirs = model.get_image_features(torch.tensor(pixels.transpose(0, 3, 1, 2))).pooler_output
    close(jax.vmap(towers.image)(pixels), theirs)


@pytest.mark.slow
def test_text_embeddings_are_read_at_the_end_token(pair):
    model, towers = pair
    ids = random_ids()
    theirs = model.get_text_features(input_ids=torch.tensor(ids)).pooler_output
    close(jax.vmap(towers.text)(ids), theirs)
    # What stands behind the end does not matter, and what stands before does.
    assert np.abs(towers.text(ids[0]) - towers.text(np.where(np.arange(77) > 3, 5, ids[0]))).max() <= TOLERANCE
    assert np.abs(towers.text(ids[0]) - towers.text(np.where(np.arange(77) == 2, 5, ids[0]))).max() > 1e-3


def test_every_layer_of_both_towers(pair):
    model, towers = pair
    ids, pixels = random_ids()[0], random_pixels(model)[0]
    with torch.no_grad():
        text = model.text_model(input_ids=torch.tensor(ids[None]), output_hidden_states=True).hidden_states
        image = model.vision_model(torch.tensor(pixels.transpose(2, 0, 1)[None]), output_hidden_states=True)
    for tower, x, states, causal in (
        (towers.text, towers.text.embed_tokens(ids), text, True),
        (towers.image, towers.image.embed_patches(pixels), image.hidden_states, False),
    ):
        for layer, before, after in zip(unstack_layers(tower.layers), states, states[1:]):
            close(x, before[0])
            x, _ = layer(x, causal=causal)
            close(x, after[0])


def test_gradient_at_the_slot(pair):
    model, towers = pair
    ids, slot = (598, 5, 6, 7, 8, 9, 599), 4
    proxy = np.random.default_rng(1).normal(size=32).astype(np.float32)
    target = np.random.default_rng(2).normal(size=towers.text.config.embed).astype(np.float32)
    theirs = torch.tensor(proxy[None], requires_grad=True)
    embedded = text_with_proxies(model, ids, slot, theirs)
    (embedded[0] @ torch.tensor(target)).backward()
    encoder = slot_encoder(towers.text, ids, slot)

    def agreement(proxy):
        ours = encoder(proxy)
        return ours @ target, ours

    gradient, ours = jax.jit(jax.grad(agreement, has_aux=True))(proxy)
    close(ours, embedded[0])
    close(gradient, theirs.grad[0])
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("slot", [1, 3, 5])
@pytest.mark.parametrize("plain", [False, True])
def test_prefix_and_suffix_equal_the_whole_context(slot, plain):
    """In float64, gradients of the short evaluation and of all 77 tokens agree to 1e-6 relative (found: 1e-13)."""
    ids = (598, 5, 6, 7, 8, 9, 599)
    model = tiny_model().double()
    arrays = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    towers = towers_from_arrays(arrays, CLIPConfig.from_json(model.config.to_dict()), "the test")
    random = np.random.default_rng(slot)
    proxy, target = random.normal(size=32), random.normal(size=32)
    theirs = torch.tensor(proxy[None], requires_grad=True)
    (text_with_proxies(model, ids, slot, theirs, plain)[0] @ torch.tensor(target)).backward()
    with jax.enable_x64(True), matmul_precision("float64"):
        tower = jax.tree.map(lambda array: jnp.asarray(array, np.float64), towers.text)
        encoder = slot_encoder(tower, ids, slot, positions=not plain, final_norm=not plain)
        gradient = np.asarray(jax.jit(jax.grad(lambda proxy: encoder(proxy) @ target))(proxy))
    expected = theirs.grad[0].numpy()
    assert np.abs(gradient - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.slow
def test_attention_over_many_tokens_has_the_bits_and_gradients_of_that_over_few(monkeypatch):
    layer = unstack_layers(stack_layers(ImageConfig(32, 8, 128, 1, 2, 64, 16), nnx.Rngs(0)))[0]
    x, weights = jax.random.normal(jax.random.key(0), (2, 3, 196, 128))

    def outputs(x):
        return jax.vmap(lambda x: layer(x, causal=False)[0])(x)

    results = []
    for many in (196, 195):
        monkeypatch.setattr("multimap_jax.encoders.clip.towers.MANY", many)
        with matmul_precision("float32"):
            gradient = jax.jit(jax.grad(lambda x: (outputs(x) * weights).sum()))(x)  # noqa: B023
            results.append((np.asarray(jax.jit(lambda x: outputs(x))(x)), np.asarray(gradient)))
    assert (results[0][0] == results[1][0]).all()
    assert np.abs(results[0][1] - results[1][1]).max() <= 1e-5 * np.abs(results[0][1]).max()


def test_unit_vectors_have_norm_one():
    assert float(jnp.linalg.norm(unit(jnp.array([3.0, 4.0])))) == pytest.approx(1)


def test_products_in_bf16_and_their_gradients_are_those_of_float32():
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel, weights = (jax.random.normal(key, shape) for key, shape in zip(keys, [(6, 2, 16), (16, 24), (6, 2, 24)]))
    half = [array.astype(jnp.bfloat16) for array in (x, kernel)]

    def loss(x, kernel):
        return (jax.vmap(multiply, (0, None))(x, kernel) * weights.astype(jnp.bfloat16)).sum()

    (value, gradients), (exact, references) = (
        jax.value_and_grad(loss, argnums=(0, 1))(*pair) for pair in (half, [a.astype(jnp.float32) for a in half])
    )
    assert [gradient.dtype for gradient in gradients] == [jnp.bfloat16] * 2
    assert value == pytest.approx(float(exact), rel=1e-4)
    for gradient, reference in zip(gradients, references):
        assert np.abs(gradient.astype(np.float32) - reference).max() <= 2**-7 * np.abs(reference).max()
