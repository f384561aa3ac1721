"""MultiMaP by scikit-learn's conventions, saved and loaded."""

import json
import shutil

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import multimap_jax as mm
from multimap_jax.clustering import FEATURES
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
    assert fitted.proxies_.shape == (21, 32) and fitted.prompt_embeddings_.shape == (21, 32)
    assert sorted(fitted.cluster_names_) == ["green", "red", "yellow"] and fitted.cluster_confidences_.shape == (3,)
    assert fitted.n_features_in_ == 32 and fitted.losses_.shape == (10,) and fitted.loss_.shape == (21,)
    assert (np.diff(np.bincount(fitted.labels_)) <= 0).all()


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


@pytest.mark.parametrize("features", FEATURES)
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
        assert (arrays["proxies_"] == fitted.proxies_).all()
    assert json.loads((tmp_path / "model.json").read_text())["clip"]["hash"] == fitted.clip.hash


def test_another_checkpoint_is_noticed(clip, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    with pytest.raises(ValueError, match="another checkpoint"):
        mm.load(tmp_path / "model", clip="embedded")
    shutil.copytree(clip.directory, tmp_path / "moved")
    assert mm.load(tmp_path / "model", clip=tmp_path / "moved").clip.hash == clip.hash


def test_no_model_and_other_formats(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no model"):
        mm.load(tmp_path)
    fitted.save(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99, this version reads 2"):
        mm.load(tmp_path)


def test_embeddings_lists_and_images(clip, rows, fitted):
    assert (mm.MultiMaP(COLOR, clip, config=CONFIG).fit_predict(rows.tolist()) == fitted.labels_).all()
    images = list(np.random.default_rng(0).integers(0, 255, (6, 40, 40, 3), np.uint8))
    model = mm.MultiMaP(COLOR, clip, n_clusters=2, config=CONFIG).fit(images)
    assert (model.labels_ == clone(model).fit(clip.embed_images(images)).labels_).all()


def test_features_where_nothing_is_said(clip, rows, fitted):
    assert fitted.projection_.shape == (32, 2)  # three words span two directions
    assert (fitted.labels_ == clone(fitted).set_params(features="span").fit(rows).labels_).all()
    for aspect, config in ((COLOR, mm.ProxyConfig.paper(3)), (mm.Aspect("color", words=("red",)), CONFIG)):
        model = mm.MultiMaP(aspect, clip, n_clusters=3, config=config).fit(rows)
        assert model.projection_.shape == (32, 0) and model.cluster_centers_.shape == model.proxies_[:3].shape


def test_the_seed_repeats(clip, rows, fitted):
    again = clone(fitted).fit(rows)
    assert (again.labels_ == fitted.labels_).all() and (again.proxies_ == fitted.proxies_).all()


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"features": "magic"}, "known: span, proxy"),
        ({"features": "span", "aspect": mm.Aspect("color", words=("red",)), "n_clusters": 2}, "two words or more"),
        ({"features": "span", "config": mm.ProxyConfig.released()}, "do not go with the released recipe"),
        ({"n_clusters": 22}, "22 groups asked for among 21 images"),
        ({"n_clusters": -1}, "-1 groups asked for"),
        ({"n_clusters": 0}, "0 groups asked for"),
        ({"aspect": mm.Aspect("color")}, "say how many groups"),
    ],
)
def test_bad_settings(clip, rows, fields, message):
    with pytest.raises(ValueError, match=message):
        mm.MultiMaP(**{"aspect": COLOR, "clip": clip, "config": CONFIG} | fields).fit(rows)


def test_bad_input_for_predict(fitted, rows):
    with pytest.raises(ValueError, match="X has 5 features, fitted with 32"):
        fitted.predict(rows[:, :5])


def test_released_with_weight_decay_cannot_predict(clip, rows):
    for decay, allowed in ((0.0, True), (1e-4, False)):
        config = mm.ProxyConfig.released(3, weight_decay=decay, batch_size=5)
        model = mm.MultiMaP(COLOR, clip, config=config).fit(rows)
        if allowed:
            assert (model.predict(rows) == model.labels_).all()
        else:
            with pytest.raises(ValueError, match="new images cannot be predicted"):
                model.predict(rows)


def test_public_names_are_there():
    for name in mm.__all__:
        assert getattr(mm, name) is not None
    with pytest.raises(AttributeError):
        getattr(mm, "nothing")  # noqa: B009
