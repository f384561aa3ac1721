"""MultiMaP by scikit-learn's conventions, saved and loaded."""

import json
import pickle
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import multimap_jax as mm
from multimap_jax.choices import FEATURES
from multimap_jax.features.table import FEATURE_KINDS
from tests.tiny import unit_rows

COLOR = mm.Aspect("color", subject="fruit", words=("red", "green", "yellow"))
CONFIG = mm.ProxyConfig(steps=10, block_size=8)


@pytest.fixture(scope="module")
def rows():
    return unit_rows(21, seed=3)


@pytest.fixture(scope="module")
def fitted(clip, rows):
    return mm.MultiMaP(COLOR, clip, config=CONFIG).fit(rows)


def test_attributes(fitted):
    assert fitted.labels_.shape == (21,) and set(fitted.labels_) == {0, 1, 2} and fitted.n_clusters_ == 3
    assert fitted.outliers_.dtype == bool and fitted.outliers_.shape == (21,)
    # No word of a random tower fits better than unrelated ones.
    assert len(set(fitted.cluster_names_)) == 3 and fitted.cluster_confidences_.shape == (3,)
    assert fitted.n_features_in_ == 32 and (np.diff(np.bincount(fitted.labels_)) <= 0).all()


OF_PROXIES = ("proxies_", "prompt_embeddings_", "reference_", "losses_", "loss_", "block_size_", "image_steps_")


@pytest.mark.slow
def test_proxies_are_learnt_only_where_they_are_needed_or_asked_for(clip, rows, fitted, monkeypatch):
    kept = clone(fitted).set_params(keep_proxies=True).fit(rows)
    assert (kept.labels_ == fitted.labels_).all() and (kept.predict(rows) == fitted.labels_).all()
    assert kept.proxies_.shape == (21, 32) and kept.prompt_embeddings_.shape == (21, 32)
    assert kept.losses_.shape == (10,) and kept.loss_.shape == (21,) and kept.image_steps_ == 210
    monkeypatch.setattr("multimap_jax.estimator.fit_proxies", lambda *_, **__: pytest.fail("proxies were learnt"))
    assert (clone(fitted).fit(rows).labels_ == fitted.labels_).all()
    for name in OF_PROXIES:
        with pytest.raises(AttributeError, match=rf"{name} is not available: features 'span' .*keep_proxies=True"):
            getattr(fitted, name)
        assert not hasattr(fitted, name)
        with pytest.raises(AttributeError, match="only available after fit"):
            getattr(clone(fitted), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing_'"):
        fitted.nothing_  # noqa: B018
    with pytest.raises(pytest.fail.Exception):
        clone(fitted).set_params(features="proxy").fit(rows)
    # What an earlier fit left is gone.
    assert not hasattr(kept.set_params(keep_proxies=False).fit(rows), "proxies_")


def test_parameters_and_clones(clip, fitted):
    parameters = fitted.get_params()
    assert parameters["clip"] is clip and parameters["n_clusters"] is None and parameters["features"] is None
    copy = clone(fitted)
    assert copy.clip is clip and copy.aspect == COLOR and not hasattr(copy, "labels_")
    assert copy.set_params(n_clusters=2).n_clusters == 2


def test_not_fitted(clip, rows, tmp_path):
    model = mm.MultiMaP(COLOR, clip)
    for call in (lambda: model.predict(rows), lambda: model.save(tmp_path)):
        with pytest.raises(NotFittedError):
            call()


@pytest.mark.parametrize("features", [kind for kind in FEATURES if not FEATURE_KINDS[kind].answers])
def test_predictions_are_the_labels_also_when_loaded(clip, rows, features, tmp_path):
    model = mm.MultiMaP(COLOR, clip, n_clusters=4, config=CONFIG, features=features, random_state=5).fit(rows)
    assert (model.predict(rows) == model.labels_).all()
    assert (model.predict(rows[4:7]) == model.labels_[4:7]).all()
    model.save(tmp_path)
    loaded = mm.load(tmp_path)
    assert (loaded.predict(rows[::-1]) == model.labels_[::-1]).all()
    assert (loaded.labels_ == model.labels_).all() and loaded.cluster_names_ == model.cluster_names_
    assert loaded.get_params()["random_state"] == 5 and loaded.config == CONFIG and loaded.aspect == COLOR


def test_what_is_saved_holds_no_pickle_and_no_checkpoint(fitted, tmp_path):
    fitted.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", "arrays.npz"}
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as arrays:
        assert (arrays["projection_"] == fitted.projection_).all() and "proxies_" not in arrays
    assert not hasattr(mm.load(tmp_path), "proxies_")
    assert json.loads((tmp_path / "model.json").read_text())["clip"]["hash"] == fitted.clip.hash


def test_a_pickled_model_finds_its_checkpoint_from_another_folder(clip, rows, tmp_path, monkeypatch):
    monkeypatch.chdir(clip.directory.parent)
    model = mm.MultiMaP(COLOR, mm.load_clip(clip.directory.name), config=CONFIG).fit(rows)
    written = pickle.dumps(model)
    assert len(written) < 100_000  # without the weights
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(written)
    assert (again.predict(rows) == model.labels_).all() and again.clip.hash == clip.hash


@pytest.mark.parametrize("name", ["preprocessor_config.json", "tokenizer_config.json", "vocab.json", "config.json"])
def test_another_file_beside_the_weights_is_another_checkpoint(clip, fitted, name, tmp_path):
    fitted.save(tmp_path / "model")
    shutil.copytree(clip.directory, tmp_path / "clip")
    path = tmp_path / "clip" / name
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3))
    with pytest.raises(ValueError, match="is not the encoder that"):
        mm.load(tmp_path / "model", clip=tmp_path / "clip")


def test_another_checkpoint_is_noticed(clip, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    with pytest.raises(ValueError, match="is not the encoder that"):
        mm.load(tmp_path / "model", clip="embedded")
    shutil.copytree(clip.directory, tmp_path / "moved")
    assert mm.load(tmp_path / "model", clip=tmp_path / "moved").clip.hash == clip.hash


def test_no_model_and_other_formats(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no model in"):
        mm.load(tmp_path)
    fitted.save(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99, expected 5"):
        mm.load(tmp_path)


def test_embeddings_lists_and_images(clip, rows, fitted):
    assert (mm.MultiMaP(COLOR, clip, config=CONFIG).fit_predict(rows.tolist()) == fitted.labels_).all()
    images = list(np.random.default_rng(0).integers(0, 255, (6, 40, 40, 3), np.uint8))
    model = mm.MultiMaP(COLOR, clip, n_clusters=2, config=CONFIG).fit(images)
    assert (model.labels_ == clone(model).fit(clip.embed_images(images)).labels_).all()


@pytest.mark.slow
def test_features_where_nothing_is_said(clip, rows, fitted):
    assert fitted.projection_.shape == (32, 2)  # three words span two directions
    assert (fitted.labels_ == clone(fitted).set_params(features="span").fit(rows).labels_).all()
    for aspect, config in ((COLOR, mm.ProxyConfig.paper(3)), (mm.Aspect("color", words=("red",)), CONFIG)):
        model = mm.MultiMaP(aspect, clip, n_clusters=3, contrast=("species",), config=config).fit(rows)
        assert model.projection_.shape == (32, 0) and model.cluster_centers_.shape == model.proxies_[:3].shape
        assert model.features_ == "proxy"


def test_the_seed_repeats(clip, rows, fitted):
    again = clone(fitted).fit(rows)
    assert (again.labels_ == fitted.labels_).all() and (again.projection_ == fitted.projection_).all()


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"features": "magic"}, "known: span, proxy"),
        ({"features": "span", "aspect": mm.Aspect("color", words=("red",)), "n_clusters": 2}, "2 words or more"),
        ({"features": "span", "config": mm.ProxyConfig.released()}, "do not work with the released recipe"),
        ({"n_clusters": 22}, "22 groups requested for 21 images"),
        ({"n_clusters": -1}, "-1 groups requested, expected 1 or more"),
        ({"n_clusters": 0}, "0 groups requested, expected 1 or more"),
        ({"leftover": 1.0}, "leftover is 1.0, expected a number from 0 to less than 1, such as 0.05 for 5%"),
        ({"leftover": -0.1}, "expected a number from 0 to less than 1"),
        ({"aspect": mm.Aspect("color")}, "give the number of groups"),
        ({"random_state": -1}, "the seed is -1, expected a whole number from 0 to 4,294,967,295"),
        ({"random_state": 2**32}, "the seed is 4294967296, expected"),
        ({"contrast": ("color",)}, "the aspect itself"),
        ({"aspect": mm.Aspect("color", words=("red", "green " * 90))}, "a text has .* tokens, the context holds 77"),
    ],
)
def test_bad_settings_are_found_before_an_image_is_embedded(clip, fields, message, monkeypatch):
    monkeypatch.setattr(type(clip), "embed_readable", lambda *_, **__: pytest.fail("images were embedded"))
    model = mm.MultiMaP(**{"aspect": COLOR, "clip": clip, "config": CONFIG} | fields)
    with pytest.raises(ValueError, match=message):
        model.fit([np.zeros((4, 4, 3), np.uint8)] * 21)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"aspect": "color"}, r"expected an Aspect, such as mm.Aspect\(.color.\), found 'color'"),
        ({"contrast": "species"}, "expected a sequence of aspect names"),
        ({"contrast": CONFIG}, "expected a sequence of aspect names, such as .* found ProxyConfig"),
        ({"config": "paper"}, r"expected a ProxyConfig, such as mm.ProxyConfig.paper\(\), found 'paper'"),
        ({"n_clusters": 2.5}, 'expected a whole number, None or "auto", found 2.5'),
        ({"n_clusters": "many"}, "expected a whole number, None or .auto., found 'many'"),
        ({"leftover": "5%"}, "leftover is '5%', expected a number"),
        ({"random_state": 0.5}, "expected a whole number, None or a RandomState, found 0.5"),
    ],
)
def test_settings_of_another_type(clip, rows, fields, message):
    with pytest.raises(TypeError, match=message):
        mm.MultiMaP(**{"aspect": COLOR, "clip": clip, "config": CONFIG} | fields).fit(rows)


BAD_ROWS = {
    "another width": (lambda rows: rows[:, :5], r"shape \[images, 32\], .* of shape \[21, 5\]"),
    "one row": (lambda rows: rows[0], r"shape \[32\]. Reshape your data if it is one image"),
    "no columns": (lambda rows: rows[:, :0], r"found float32 of shape \[21, 0\]"),
    "one row as a list": (lambda rows: rows[0].tolist(), r"found float64 of shape \[32\]"),
    "no rows": (lambda rows: rows[:0], r"1 image or more, found float32 of shape \[0, 32\]"),
    "an empty list": (lambda rows: [], r"1 image or more"),
    "not a number": (
        lambda rows: np.where(np.arange(21)[:, None] == 4, np.nan, rows),
        r"row 4 holds NaN or inf \(such rows: 1",
    ),
    "infinite": (
        lambda rows: np.where(np.arange(21)[:, None] > 4, np.inf, rows),
        r"row 5 holds NaN or inf \(such rows: 16",
    ),
    "complex": (lambda rows: rows + 0j, "Complex data not supported: embeddings are complex64, expected real numbers"),
    "sparse": (csr_array, "expected embeddings as a dense array, found a sparse csr_array: use its toarray"),
    "whole numbers": (lambda rows: np.ones((21, 32), int), "row 0 has norm 5.657"),
    "objects": (lambda rows: np.full((21, 32), {}), "expected embeddings as numbers, found other values"),
    "scaled": (lambda rows: 2 * rows, "row 0 has norm 2"),
    "a little off": (lambda rows: 1.002 * rows, "row 0 has norm 1.002"),
    "half precision off": (lambda rows: (1.02 * rows).astype(np.float16), "row 0 has norm 1.02"),
}


@pytest.mark.slow
@pytest.mark.parametrize("features", ["span", "image", "proxy"])
@pytest.mark.parametrize("name", BAD_ROWS)
def test_one_check_of_embeddings_serves_fit_and_predict(clip, rows, name, features, request):
    model = request.getfixturevalue("fitted") if features == "span" else None
    model = model or mm.MultiMaP(COLOR, clip, config=CONFIG, features=features).fit(rows)
    change, message = BAD_ROWS[name]
    for call in (model.predict, clone(model).fit):
        with pytest.raises(ValueError, match=message):
            call(change(rows))


def test_embeddings_of_other_libraries_and_precisions(fitted, rows):
    assert (fitted.predict(jnp.asarray(rows)) == fitted.labels_).all()
    assert (clone(fitted).fit(jnp.asarray(rows)).labels_ == fitted.labels_).all()
    assert (fitted.predict(list(jnp.asarray(rows))) == fitted.labels_).all()
    assert (fitted.predict(rows.astype(np.float64)) == fitted.labels_).all()
    for half in (rows.astype(np.float16), jnp.asarray(rows, jnp.bfloat16)):
        assert (fitted.predict(half) == fitted.labels_).mean() > 0.9


@pytest.mark.parametrize("state", [np.int64(3), np.random.RandomState(5), None])
def test_a_model_is_saved_whatever_numbers_it_was_made_with(clip, rows, state, tmp_path):
    config = mm.ProxyConfig(steps=np.int64(5), learning_rate=np.float32(0.01), tolerance=jnp.float32(0.5))
    model = mm.MultiMaP(COLOR, clip, np.int64(3), config=config, random_state=state, keep_proxies=True).fit(rows)
    model.save(tmp_path)
    loaded = mm.load(tmp_path)
    assert (loaded.predict(rows) == model.labels_).all() and loaded.n_clusters == 3
    assert loaded.image_steps_ == model.image_steps_ and loaded.random_state == model.seed_
    assert (clone(loaded).fit(rows).labels_ == model.labels_).all()


def test_nothing_is_written_of_a_model_that_cannot_be_saved(clip, rows, tmp_path):
    model = mm.MultiMaP(COLOR, clip, config=CONFIG).fit(rows)
    model.cluster_names_ = [object()]
    with pytest.raises(ValueError, match="has unreadable names"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_that_cannot_be_written(fitted, tmp_path):
    (tmp_path / "model").write_text("")
    with pytest.raises(OSError, match=r"^cannot write into .*model \(File exists\).* \(see directory=\)"):
        fitted.save(tmp_path / "model")


def test_a_folder_called_embedded_is_not_taken_for_the_checkpoint(tmp_path, monkeypatch):
    clip = mm.load_clip("embedded")
    rows = unit_rows(9, clip.config.image.embed)
    (tmp_path / "embedded").mkdir()
    monkeypatch.chdir(tmp_path)
    mm.MultiMaP(COLOR, clip, features="image").fit(rows).save(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "model.json").read_text())["clip"]["name"] == "embedded"
    assert mm.load(tmp_path / "model").clip.embedded


DAMAGE = {
    "not JSON": (lambda folder: (folder / "model.json").write_text("{"), "is not JSON"),
    "a list": (lambda folder: (folder / "model.json").write_text("[]"), "Expected `object`, got `array`"),
    "no format": (lambda folder: (folder / "model.json").write_text('{"format": null}'), "expected 5"),
    "nothing else": (lambda folder: (folder / "model.json").write_text('{"format": 5}'), "is damaged"),
    "another field": (lambda folder: change(folder, aspect={"name": "color", "colour": 1}), "is damaged"),
    "another recipe": (lambda folder: change(folder, config={"recipe": "fast"}), "is damaged"),
    "torn arrays": (lambda folder: (folder / "arrays.npz").write_bytes(b"PK\x03\x04 torn"), "is damaged"),
    "no labels": (lambda folder: np.savez(folder / "arrays.npz", distances_=np.zeros(1)), "is damaged"),
    "labels out of range": (lambda folder: swap(folder, labels_=np.full(21, 3)), "expected whole numbers from 0 to 2"),
    "labels of words": (
        lambda folder: swap(folder, labels_=np.full(21, "a")),
        "labels_ has values that are not finite numbers",
    ),
    "other distances": (lambda folder: swap(folder, distances_=np.zeros(20)), r"distances_ has shape \[20\]"),
    "other centroids": (lambda folder: swap(folder, cluster_centers_=np.zeros((2, 2))), r"expected \[3, any\]"),
    "no numbers": (
        lambda folder: swap(folder, cluster_centers_=np.full((3, 2), np.nan)),
        "values that are not finite numbers",
    ),
    "another projection": (lambda folder: swap(folder, projection_=np.zeros((5, 2))), r"expected \[32, any\]"),
    "another confidence": (lambda folder: swap(folder, confidence_=np.zeros(3)), r"confidence_ has shape \[3\]"),
    "another bulk": (lambda folder: swap(folder, inliers_axes=np.zeros((5, 2))), "inliers_axes has shape"),
    "a bulk without spread": (lambda folder: swap(folder, inliers_spread=np.zeros(0)), "inliers_spread has shape"),
    "a threshold of words": (lambda folder: change(folder, least=["a", "b"]), "is damaged"),
    "exemplars of fewer groups": (lambda folder: change(folder, exemplars=[[1]]), "exemplars has 1, expected 3"),
    "candidates of words": (lambda folder: change(folder, n_clusters_table=["a"]), "is damaged"),
    "stability of others": (
        lambda folder: change(folder, cluster_stability=[1.0]),
        "cluster_stability has 1, expected 3",
    ),
    "pickled": (lambda folder: np.savez(folder / "arrays.npz", labels_=np.array([{}])), "is damaged"),
}


def swap(folder, **others):
    with np.load(folder / "arrays.npz") as arrays:
        np.savez(folder / "arrays.npz", **dict(arrays) | others)


def change(folder, **fields):
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(content | fields))


@pytest.mark.parametrize("name", DAMAGE)
def test_a_model_that_is_none_gets_a_sentence(fitted, name, tmp_path):
    fitted.save(tmp_path)
    damage, message = DAMAGE[name]
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        mm.load(tmp_path)


def test_no_array_of_a_file_becomes_a_method(fitted, tmp_path):
    fitted.save(tmp_path)
    with np.load(tmp_path / "arrays.npz") as arrays:
        np.savez(tmp_path / "arrays.npz", **arrays, predict=np.zeros(1), _loaded=np.zeros(2))
    assert callable(mm.load(tmp_path).predict)


@pytest.mark.slow
def test_released_with_weight_decay_cannot_predict(clip, rows):
    for decay, allowed in ((0.0, True), (1e-4, False)):
        config = mm.ProxyConfig.released(3, weight_decay=decay, batch_size=5)
        model = mm.MultiMaP(COLOR, clip, config=config).fit(rows)
        if allowed:
            assert (model.predict(rows) == model.labels_).all()
        else:
            with pytest.raises(ValueError, match="cannot predict new images"):
                model.predict(rows)


def test_what_is_worth_a_warning_is_said_once(rows):
    clip, said = mm.load_clip("embedded"), mm.Aspect("color", "fruit", ("red", "quaggy"))
    model = mm.MultiMaP(said, clip, config=mm.ProxyConfig.paper(2), contrast=("species",))
    with pytest.warns(UserWarning, match="was not trained on the word quaggy, so groups by it mean little") as caught:
        model.fit(unit_rows(4, clip.config.image.embed))
    assert len(caught) == 1


@pytest.mark.slow
@pytest.mark.parametrize("call", ["fit", "check", "fit_proxies"])
def test_a_warning_points_to_the_line_of_the_caller(clip, rows, call):
    config = mm.ProxyConfig.paper(1)
    model = mm.MultiMaP(COLOR, clip, config=config)
    calls = {
        "fit": lambda: model.fit(rows),
        "check": model.check,
        "fit_proxies": lambda: mm.fit_proxies(clip, rows, COLOR, config=config),
    }
    with pytest.warns(UserWarning, match="without contrast aspects") as caught:
        calls[call]()
    assert [warning.filename for warning in caught] == [__file__]


def test_public_names_are_there():
    for name in mm.__all__:
        assert getattr(mm, name) is not None
    with pytest.raises(AttributeError):
        getattr(mm, "nothing")  # noqa: B009
