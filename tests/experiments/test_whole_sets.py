"""MSC, MCV, ENRC, iMClusts, AugDMC and Multi-DProxy: clusterings that were planted; cells of methods for whole sets."""

import dataclasses
import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

import multimap_jax as mm
from experiments.baselines import augdmc, enrc, handmade, imclusts, mcv, msc, multi_dproxy, process, task
from experiments.baselines.task import Found, Task
from experiments.evaluation import datasets, methods
from experiments.evaluation import whole_sets as set_cells
from experiments.evaluation.case import SEEDS, labellings, make_case

TWO = {"first": 3, "second": 3}
needs_scikit_image = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="needs scikit-image (extra experiments)"
)
needs_clustpy = pytest.mark.skipif(
    not os.environ.get("ENRC_PYTHON"), reason="needs ClustPy in an environment that ENRC_PYTHON names, see BUILD.md"
)


def planted(seed, images=120, noise=2):
    """Rows [images, 6 + noise], turned at random, with three groups in each of two subspaces, and the groups."""
    random = np.random.default_rng(seed)
    truths = {name: random.integers(3, size=images) for name in TWO}
    rows = [4 * np.eye(3)[truth] for truth in truths.values()] + [np.zeros((images, noise))]
    rows = np.concatenate(rows, axis=1) + random.normal(scale=0.5, size=(images, 6 + noise))
    return (rows @ np.linalg.qr(random.normal(size=(rows.shape[1],) * 2))[0]).astype(np.float32), truths


def given(rows, clusters=TWO, **more):
    return Task(np.zeros((len(rows), 4, 4, 3), np.uint8), rows, clusters, **more)


def mean_ari(labels, truth):
    """Of the best match, int [clusterings, seeds, images]."""
    best = set_cells.best_match(labels, truth)
    return np.mean([mm.evaluate(truth, each)["ari"] for each in best])


def check(found, truths, least):
    """Every planted clustering is found, and a random one is not as good."""
    random = np.random.default_rng(9)
    for name, truth in truths.items():
        labels = found.labels[name]
        assert labels.ndim == 3 and labels.shape[2] == len(truth) and np.issubdtype(labels.dtype, np.integer)
        reached = mean_ari(labels, truth)
        assert reached >= least, (name, reached)
        assert reached > mean_ari(random.integers(3, size=labels.shape), truth) + 0.5


@pytest.mark.slow
def test_msc_finds_two_stable_clusterings(monkeypatch):
    monkeypatch.setattr(msc, "STARTS", 20)
    random = np.random.default_rng(2)
    truths = {name: random.integers(3, size=90) for name in TWO}
    parts = [3 * random.normal(size=(3, 6))[truth] for truth in truths.values()]
    rows = np.concatenate([*parts, np.zeros((90, 6))], axis=1) + random.normal(size=(90, 18))
    found = msc.stable_clusterings(task.standardised(rows), given(rows))
    check(found, truths, 0.9)
    assert found.losses["eigengap of 3"] > 0.3 and len(found.labels["first"]) == 2


def test_the_slope_of_the_eigengap_is_its_difference():
    rows = task.standardised(planted(1, images=30)[0])
    weights = np.full(rows.shape[1], 1 / rows.shape[1], np.float32)
    values, vectors = msc.eigen(msc.similarity(weights, rows, 1.0), 4)
    slope = np.asarray(msc.gap_slope(weights, rows, 1.0, vectors[:, 1], vectors[:, 0]))
    moved = weights + 1e-3 * slope / np.linalg.norm(slope)
    after = msc.eigen(msc.similarity(moved, rows, 1.0), 4)[0]
    assert (after[1] - after[0]) - (values[1] - values[0]) == pytest.approx(1e-3 * np.linalg.norm(slope), rel=0.05)


def test_mcv_has_every_view_and_a_better_consensus():
    random = np.random.default_rng(4)
    truth = random.integers(3, size=90)
    views = {f"view {n}": np.eye(3)[truth] + random.normal(scale=0.45, size=(90, 3)) for n in range(5)}
    views["other"] = np.eye(3)[random.integers(3, size=90)] + random.normal(scale=0.05, size=(90, 3))
    found = mcv.of_views(views, {"first": 3})
    labels = found.labels["first"]
    assert labels.shape == (7, SEEDS, 90) and found.note.startswith("views: view 0, ")
    each = [np.mean([mm.evaluate(truth, one)["ari"] for one in clustering]) for clustering in labels]
    assert each[6] >= 0.9 > max(each[:6]) and each[5] < 0.1


@needs_scikit_image
def test_colours_and_edges_tell_colours_and_edges():
    images = np.zeros((4, 32, 32, 3), np.uint8)
    images[:2, :, :, 0], images[2:, :, :, 1] = 200, 200
    images[::2, 8:24, :16] = 0
    images[1::2, :16, 8:24] = 0
    colours, edges = handmade.colours(images), handmade.edges(images)
    assert colours.shape == (4, 24) and edges.shape == (4, 128)
    assert np.allclose(colours[0], colours[1]) and np.abs(colours[0] - colours[2]).max() > 0.3
    assert np.allclose(edges[0], edges[2], atol=1e-4) and np.abs(edges[0] - edges[1]).max() > 0.3


@needs_clustpy
@pytest.mark.slow
def test_enrc_finds_planted_subspaces():
    rows, truths = planted(0, images=200)
    found, seconds = process.run("ENRC", given(rows), limit=300)
    check(found, truths, 0.9)
    assert found.labels["first"].shape == (2, 1, 200) and seconds > 0 and found.memory > 1e8


def test_enrc_sees_principal_components():
    rows = np.random.default_rng(5).normal(size=(30, 3)) @ np.ones((3, 100))
    assert enrc.components(task.standardised(rows)).shape == (30, 1)


@pytest.mark.slow
def test_imclusts_finds_planted_views():
    rows, truths = planted(3, noise=0)
    found = imclusts.attended_views(rows, given(rows))
    check(found, truths, 0.9)
    assert found.epochs == 200 and set(found.losses) == {"reconstruction", "redundancy", "clustering"}


def test_redundancy_of_heads_is_1_of_equal_ones_and_0_of_unrelated_ones():
    rows = np.linalg.qr(np.random.default_rng(6).normal(size=(40, 5)) - 1)[0]
    rows -= rows.mean(0)
    rows = np.linalg.qr(rows)[0]
    assert imclusts.hsic(rows[:, :2], rows[:, :2]) == pytest.approx(1, abs=1e-4)
    assert imclusts.hsic(rows[:, :2], rows[:, 2:4]) == pytest.approx(0, abs=1e-4)


@pytest.mark.slow
def test_augdmc_tells_color_and_shape_of_plain_scenes():
    drawn = [mm.render_scene("aloi", seed=0, index=index, difficulty=0) for index in range(100)]
    truths = {aspect: np.array([labels[aspect] for _, labels in drawn]) for aspect in ("color", "shape")}
    images = np.stack([picture for picture, _ in drawn])
    found = augdmc.augdmc(Task(images, np.zeros((100, 1)), dict.fromkeys(truths, 2)))
    check(found, truths, 0.8)
    # Each by its own encoder.
    assert [mean_ari(found.labels[a][[n]], truths[a]) > 0.8 for n, a in enumerate(("color", "shape"))] == [True, True]


def test_directions_that_stay_are_those_that_views_agree_in():
    random = np.random.default_rng(7)
    fixed, loose = random.normal(size=(1, 60, 1)), 5 * random.normal(size=(8, 60, 1))
    views = np.concatenate([np.broadcast_to(fixed, (8, 60, 1)) + 0.1 * random.normal(size=(8, 60, 1)), loose], axis=2)
    found = augdmc.stable(views)
    assert found.shape == (60, 2)
    assert abs(np.corrcoef(found[:, 0], fixed[0, :, 0])[0, 1]) > 0.99 and found[:, 0].std() > 3 * found[:, 1].std()


def test_a_turned_image_keeps_its_colors_and_a_grey_one_none():
    import jax

    images = np.zeros((3, 16, 16, 3), np.float32) + np.array([0.9, 0.2, 0.1], np.float32)
    turned = np.asarray(augdmc.keep_color(jax.random.key(0), images))
    assert turned == pytest.approx(images, abs=1e-5)
    images[:, 4:8] = 0.5
    grey = np.asarray(augdmc.keep_shape(jax.random.key(1), images))
    assert grey.shape == images.shape and np.ptp(grey, axis=-1).max() == 0


@pytest.fixture(scope="module")
def fruit():
    labelled, clip = datasets.twin("fruit", 36, seed=4), mm.load_clip("embedded")
    item, embeddings = datasets.find("fruit"), clip.embed_images(labelled.images)

    def case(aspect):
        made = make_case(item, labelled, aspect, clip, embeddings, mm.ProxyConfig.paper())
        return dataclasses.replace(made, words=tuple(dict.fromkeys((*made.names, *made.words[:6]))))

    return case


@pytest.mark.slow
@pytest.mark.parametrize("aspect", ["color", "species"])
def test_multi_dproxy_answers_the_aspect_that_is_asked(fruit, aspect):
    case = fruit(aspect)
    learnt = multi_dproxy.multi_dproxy(case, epochs=60)
    labels = labellings(learnt, case)
    assert len(labels) == SEEDS and learnt.epochs == 60 and np.isfinite(learnt.losses["all"])
    assert np.mean([mm.evaluate(case.truth, each)["ari"] for each in labels]) >= 0.9


def test_candidates_are_halved_to_those_near_the_proxies_but_not_below_the_groups():
    candidates, every = np.eye(8, dtype=np.float32), np.ones(8, bool)
    proxies = candidates[[1, 1, 4, 4, 6]]
    first = multi_dproxy.pruned(every, candidates, proxies, 3)
    assert first.sum() == 4 and first[[1, 4, 6]].all()
    second = multi_dproxy.pruned(first, candidates, proxies, 3)
    assert np.flatnonzero(second).tolist() == [1, 4, 6]
    assert (multi_dproxy.pruned(second, candidates, proxies, 3) == second).all()


def test_what_is_given_and_found_passes_through_files(tmp_path):
    rows = planted(8, images=12)[0]
    before = given(rows, {"color": 2, "a/b c": 3}, views={"middle layer": rows[:, :2]}, full=True, seed=3)
    task.save_task(before, tmp_path / "task.npz")
    after = task.load_task(tmp_path / "task.npz")
    assert after.clusters == before.clusters and after.full and after.seed == 3
    assert (after.views["middle layer"] == rows[:, :2]).all() and (after.embeddings == rows).all()
    found = Found(task.group([rows, rows[:, :2]], before.clusters), 5, {"loss": 0.5}, "a note")
    task.save_found(found, tmp_path / "found.npz")
    again = task.load_found(tmp_path / "found.npz")
    assert (again.epochs, again.losses, again.note) == (5, {"loss": 0.5}, "a note")
    assert {aspect: each.shape for aspect, each in again.labels.items()} == dict.fromkeys(
        before.clusters, (2, SEEDS, 12)
    )


def test_the_best_match_is_the_clustering_that_agrees_most():
    truth = np.arange(12) % 3
    labels = np.stack([np.stack([truth // 2] * 2), np.stack([truth, truth]), np.stack([truth, truth * 0])])
    assert (set_cells.best_match(labels, truth) == truth).all()


@pytest.mark.slow
def test_a_method_runs_in_its_own_process_and_says_why_it_gave_nothing(monkeypatch):
    rows, truths = planted(3, images=60, noise=0)
    found, seconds = process.run("iMClusts", given(rows), limit=300)
    assert found.labels["first"].shape == (2, SEEDS, 60) and seconds > 0 and 5e7 < found.memory < 4e9
    with pytest.raises(process.NotRunError, match="iMClusts took too long"):
        process.run("iMClusts", given(rows), limit=0.2)
    with pytest.raises(process.NotRunError, match="iMClusts failed: .*Error"):
        process.run("iMClusts", given(rows[:, :0]), limit=300)
    monkeypatch.delenv("ENRC_PYTHON", raising=False)
    with pytest.raises(process.NotRunError, match="ENRC needs an environment of its own: ENRC_PYTHON"):
        process.run("ENRC", given(rows), limit=300)


def test_the_process_of_clustpy_needs_neither_jax_nor_this_library():
    code = "import sys; sys.modules['jax'] = sys.modules['multimap_jax'] = None;"
    code += "from experiments.baselines.__main__ import find; find('ENRC')"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=process.PACKAGES)


def test_layers_of_the_checkpoint_are_views(fruit):
    labelled, clip = datasets.twin("fruit", 5, seed=4), mm.load_clip("embedded")
    found = set_cells.make_task(labelled, clip, clip.embed_images(labelled.images), full=False)
    assert found.images.shape == (5, task.SIDE, task.SIDE, 3) and found.clusters.keys() == labelled.labels.keys()
    assert {view.shape for view in found.views.values()} == {(5, clip.config.image.width)}
    assert methods.find("Multi-DProxy") is multi_dproxy.multi_dproxy
