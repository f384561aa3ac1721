"""The optimisation: one shape, so that results repeat bit for bit; chunks; what is refused."""

import dataclasses
import os
import subprocess
import sys
import warnings

import jax
import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.clustering.kmeans import cluster
from multimap_jax.prompts.aspect import make_prompt, reference_words
from multimap_jax.proxies import fit as proxies
from multimap_jax.proxies.loss import proxy_loss
from multimap_jax.proxies.solver import DivergedError, check_finite, compiled_chunk
from multimap_jax.runtime.precision import matmul_precision
from multimap_jax.scenes import render_scene
from tests.proxies.devices import proxies_of_recipes
from tests.tiny import unit_rows

pytestmark = pytest.mark.usefixtures("optimised")  # equal bits are promised for the programs that users run
COLOR = mm.Aspect("color", subject="fruit", words=("red", "green", "yellow"))
CONFIG = mm.ProxyConfig(steps=60, block_size=8)


@pytest.fixture(scope="module")
def embeddings():
    return unit_rows(19, seed=7)


@pytest.fixture(scope="module")
def fit(clip, embeddings):
    return mm.fit_proxies(clip, embeddings, COLOR, config=CONFIG)


def test_shapes_and_types(fit):
    assert fit.proxies.shape == (19, 32) and fit.prompt_embeddings.shape == (19, 32)
    assert fit.reference.shape == (19,) and fit.losses.shape == (60,) and fit.loss.shape == (19,)
    assert fit.proxies.dtype == fit.losses.dtype == fit.loss.dtype == np.float32 and fit.block_size == 8
    assert np.abs(np.linalg.norm(fit.prompt_embeddings, axis=1) - 1).max() < 1e-5


def test_the_loss_falls_and_ends_at_loss(fit):
    assert fit.losses[-1] < fit.losses[0] - 0.05
    assert fit.loss.mean() == pytest.approx(fit.losses[-1], abs=1e-2)


def test_permuted_images_have_the_same_bits(clip, embeddings, fit):
    order = np.random.default_rng(0).permutation(19)
    permuted = mm.fit_proxies(clip, embeddings[order], COLOR, config=CONFIG)
    assert (permuted.proxies == fit.proxies[order]).all() and (permuted.loss == fit.loss[order]).all()


@pytest.mark.parametrize("count", [1, 5, 8, 9])
def test_half_filled_blocks_have_the_same_bits(clip, embeddings, fit, count):
    part = mm.fit_proxies(clip, embeddings[:count], COLOR, config=CONFIG)
    assert (part.proxies == fit.proxies[:count]).all()
    assert (part.prompt_embeddings == fit.prompt_embeddings[:count]).all()


def start_on(devices, clip, rows, found):
    """A process with so many simulated devices that writes the proxies of three recipes, [recipes, images, width]."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    flags |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    arguments = [str(clip.directory), str(rows), str(found), str(devices)]
    return subprocess.Popen([sys.executable, "-m", "tests.proxies.devices", *arguments], env=os.environ | flags)


@pytest.mark.slow
def test_any_number_of_devices_gives_the_same_bits(clip, embeddings, fit, tmp_path):
    np.save(tmp_path / "rows.npy", embeddings)
    files = {devices: tmp_path / f"{devices}.npy" for devices in (3, 8)}
    processes = [start_on(devices, clip, tmp_path / "rows.npy", found) for devices, found in files.items()]
    one = proxies_of_recipes(clip, embeddings)
    assert [process.wait() for process in processes] == [0, 0]
    assert all((np.load(found) == one).all() for found in files.values())
    assert (one[0] == fit.proxies).all()


@pytest.mark.slow
def test_steps_are_the_same_steps_however_many_there_are(clip, embeddings):
    constant = dataclasses.replace(CONFIG, schedule="constant")
    few, many = (
        mm.fit_proxies(clip, embeddings, COLOR, config=dataclasses.replace(constant, steps=steps))
        for steps in (70, 101)
    )
    assert (many.losses[:70] == few.losses).all() and len(many.losses) == 101
    none = mm.fit_proxies(clip, embeddings, COLOR, config=dataclasses.replace(constant, steps=0))
    assert (none.proxies == clip.token_embeddings(COLOR.words)[none.reference]).all() and len(none.losses) == 0


def test_images_at_rest_leave_and_the_others_end_as_without(clip, embeddings):
    config = dataclasses.replace(CONFIG, steps=130, schedule="constant")
    whole = mm.fit_proxies(clip, embeddings, COLOR, config=config)
    assert whole.image_steps == 130 * len(embeddings)
    # Nobody's loss falls by 10: all leave after the first 50 steps.
    first = mm.fit_proxies(clip, embeddings, COLOR, config=dataclasses.replace(config, tolerance=10.0))
    assert first.image_steps == 50 * len(embeddings) and (first.losses[:50] == whole.losses[:50]).all()
    assert (first.losses[50:] == first.losses[50]).all() and first.losses[50] == pytest.approx(first.losses[49])
    # About half of their losses fall by less than this between steps 90 and 100.
    halves = [
        mm.fit_proxies(clip, embeddings, COLOR, config=dataclasses.replace(config, steps=steps)) for steps in (90, 100)
    ]
    tolerance = float(np.median(halves[0].loss - halves[1].loss))
    some = mm.fit_proxies(clip, embeddings, COLOR, config=dataclasses.replace(config, tolerance=tolerance))
    same = (some.proxies == whole.proxies).all(1)
    assert 0 < same.sum() < len(embeddings)
    assert some.image_steps <= 130 * len(embeddings) - 30 * (~same).sum()
    assert np.abs(some.loss - whole.loss).max() < 0.1


@pytest.mark.slow
def test_default_labels_hold_in_bf16_and_with_early_leaving():
    """Drawn pictures and the embedded encoder: adjusted Rand index at least 0.99, mean losses within 1e-2."""
    clip, aspect = mm.load_clip("embedded"), mm.Aspect("species", "flower", ("daisy", "lily", "rose"))
    rows = clip.embed_images([render_scene("flowers", seed=4, index=i)[0] for i in range(80)])

    def fit(**fields):
        return mm.MultiMaP(aspect, clip, 4, config=mm.ProxyConfig(**fields), keep_proxies=True).fit(rows)

    exact, coarse, early = fit(), fit(precision="bf16"), fit(tolerance=0.015)
    for other in (coarse, early):
        assert mm.evaluate(exact.labels_, other.labels_)["ari"] >= 0.99
        assert np.abs(other.losses_ / exact.losses_ - 1).max() <= 1e-2
        first, second = (cluster(model.proxies_, 4).labels for model in (exact, other))
        assert mm.evaluate(first, second)["ari"] >= 0.9
    assert early.image_steps_ < exact.image_steps_


@pytest.mark.slow
def test_one_gradient_is_equal_across_block_shapes(clip, embeddings):
    prompt, reference = make_prompt(COLOR, clip.tokenizer), reference_words(clip, embeddings, COLOR)
    with matmul_precision("float32"):
        common, targets = proxies.prepare(clip, embeddings, COLOR, (), CONFIG, prompt, reference)
        gradient = jax.jit(jax.vmap(jax.grad(proxy_loss), in_axes=(0, 0, None)))
        whole = np.asarray(gradient(common.words[targets.word], targets, common))
        for size in (1, 4, 7):
            rows = jax.tree.map(lambda array, size=size: array[:size], targets)
            part = np.asarray(gradient(common.words[rows.word], rows, common))
            assert np.abs(part - whole[:size]).max() <= 1e-6 * np.abs(whole).max()


@pytest.mark.slow
def test_default_labels_agree_between_two_block_shapes():
    """On drawn pictures with the embedded encoder: the adjusted Rand index is at least 0.99."""
    clip, words = mm.load_clip("embedded"), ("clubs", "diamonds", "hearts", "spades")
    rows = clip.embed_images([render_scene("card", seed=3, index=i)[0] for i in range(104)])
    suits = mm.Aspect("suits", "card", words)
    fits = [mm.fit_proxies(clip, rows, suits, config=mm.ProxyConfig(block_size=size)) for size in (16, 52)]
    first, second = (cluster(fit.proxies, 4).labels for fit in fits)
    assert mm.evaluate(first, second)["ari"] >= 0.99


def test_another_learning_rate_does_not_compile_again(clip, embeddings):
    mm.fit_proxies(clip, embeddings, COLOR, config=CONFIG)
    before = compiled_chunk._cache_size()
    slower = dataclasses.replace(CONFIG, learning_rate=0.003, reference_weight=0.7, steps=55)
    assert (mm.fit_proxies(clip, embeddings, COLOR, config=slower).losses[5] > -2).all()
    assert compiled_chunk._cache_size() == before


@pytest.mark.slow
@pytest.mark.parametrize("precision, tolerance", [("tf32", 1e-3), ("bf16", 5e-2)])
def test_lower_precisions_stay_close(clip, embeddings, fit, precision, tolerance):
    config = dataclasses.replace(CONFIG, precision=precision)
    lower = mm.fit_proxies(clip, embeddings, COLOR, config=config)
    assert lower.proxies.dtype == np.float32
    assert np.abs(lower.losses[0] - fit.losses[0]) <= tolerance and np.abs(lower.loss - fit.loss).mean() <= tolerance


@pytest.mark.parametrize("tolerance", [0.0, 1e-3])
@pytest.mark.parametrize("images", [19, 3])
def test_divergence_is_said_and_never_grouped(clip, embeddings, tolerance, images):
    config = mm.ProxyConfig(steps=130, learning_rate=1e30, schedule="constant", tolerance=tolerance, block_size=8)
    expected = (
        rf"'color' diverged: the loss of \d+ or more of {images} images is not finite at step \d+; "
        "use a learning rate below 1e"
    )
    with pytest.raises(ValueError, match=expected):
        mm.fit_proxies(clip, embeddings[:images], COLOR, config=config)
    with pytest.raises(ValueError, match="diverged"):
        mm.MultiMaP(COLOR, clip, config=config, features="proxy").fit(embeddings[:images])


def test_the_step_of_divergence_is_the_first_bad_loss():
    losses = np.zeros((4, 6))
    check_finite(losses, 50)
    losses[2, 3:], losses[1, 4] = np.nan, np.inf
    with pytest.raises(DivergedError) as caught:
        check_finite(losses, 50)
    assert (caught.value.step, caught.value.images) == (53, 1)


@pytest.mark.slow
def test_the_concept_of_an_aspect_without_contrast_warns(clip, embeddings):
    with pytest.warns(UserWarning, match="always 0"):
        mm.fit_proxies(clip, embeddings[:2], COLOR, config=mm.ProxyConfig.paper(steps=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mm.fit_proxies(clip, embeddings[:2], COLOR, contrast=("species",), config=mm.ProxyConfig.paper(steps=1))


BAD = {
    "one row": (lambda rows: rows[0], {}, "shape \\[images, 32\\]"),
    "no rows": (lambda rows: rows[:0], {}, "1 image or more"),
    "another width": (lambda rows: rows[:, :5], {}, "shape \\[images, 32\\]"),
    "not unit": (lambda rows: 2 * rows, {}, "row 0 has norm 2"),
    "not a number": (lambda rows: np.where(np.arange(19)[:, None] == 4, np.nan, rows), {}, "row 4 holds NaN or inf"),
    "own aspect": (lambda rows: rows, {"contrast": ("color",)}, "the aspect itself"),
    "order": (lambda rows: rows, {"batch_order": np.zeros((1, 1))}, "only for the released recipe with weight decay"),
    "order's shape": (
        lambda rows: rows,
        {"batch_order": np.zeros((2, 5)), "config": mm.ProxyConfig.released(2, weight_decay=1e-3)},
        "expected \\[2, 1\\]",
    ),
    "order's content": (
        lambda rows: rows,
        {"batch_order": np.ones((2, 2)), "config": mm.ProxyConfig.released(2, weight_decay=1e-3, batch_size=10)},
        "each row a permutation",
    ),
    "an image that is not there": (lambda rows: rows, {"only": [3, 99]}, r"0 to 18, found 99 \(see only=\)"),
    "a mask": (lambda rows: rows, {"only": [True, False]}, "whole numbers from 0 to 18, found True"),
    "no image": (lambda rows: rows, {"only": []}, "whole numbers from 0 to 18, found none"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(clip, embeddings, name):
    change, arguments, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        mm.fit_proxies(clip, change(embeddings), COLOR, **arguments)


def test_a_list_of_images(clip, embeddings):
    assert len(mm.fit_proxies(clip, embeddings, COLOR, config=CONFIG, only=[4, 2]).proxies) == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"contrast": "species"}, "expected a sequence of aspect names, such as .* found 'species'"),
        ({"contrast": CONFIG}, "expected a sequence of aspect names, such as .* found ProxyConfig"),
        ({"contrast": (COLOR,)}, "expected a sequence of aspect names"),
        ({"config": ("species",)}, r"expected a ProxyConfig, such as mm.ProxyConfig.paper\(\), found"),
        ({"aspect": "color"}, r"expected an Aspect, such as mm.Aspect\(.color.\), found 'color'"),
    ],
)
def test_arguments_of_another_type(clip, embeddings, arguments, message):
    with pytest.raises(TypeError, match=message):
        mm.fit_proxies(clip, embeddings, **{"aspect": COLOR} | arguments)


def test_what_follows_the_aspect_is_named(clip, embeddings):
    with pytest.raises(TypeError, match="3 positional arguments"):
        mm.fit_proxies(clip, embeddings, COLOR, CONFIG)


@pytest.mark.slow
def test_the_released_recipe_needs_equal_widths(tmp_path):
    from tests.tiny import write_tiny

    write_tiny(tmp_path, embed=24)
    other = mm.load_clip(tmp_path)
    assert mm.fit_proxies(other, unit_rows(3, 24), COLOR, config=CONFIG).proxies.shape == (3, 32)
    with pytest.raises(ValueError, match="where both widths are equal"):
        mm.fit_proxies(other, unit_rows(3, 24), COLOR, config=mm.ProxyConfig.released(2))


@pytest.mark.slow
def test_word_features_are_the_star_alone(clip, fit):
    from multimap_jax.encoders.clip.slot import slot_encoder

    tokens = clip.tokenizer
    words = proxies.embed_words(clip, fit.proxies, CONFIG)
    with matmul_precision("float32"):
        encoder = slot_encoder(clip.towers.text, (tokens.start, *tokens.encode("*"), tokens.end), 1)
        expected = encoder.embed(fit.proxies[3])
    assert words.shape == (19, 32) and np.abs(words[3] - expected).max() <= 1e-5
