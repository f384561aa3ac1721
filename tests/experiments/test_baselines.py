"""OD-CRL, TGAICC and Multi-Sub: subspaces known beforehand, planted clusterings, halves of equal weight."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

import multimap_jax as mm
from experiments.baselines import multi_sub, od_crl, tgaicc
from experiments.evaluation import methods
from experiments.evaluation.case import SEEDS, Case
from experiments.paper.released_eval import Evaluation
from multimap_jax.clustering.kmeans import cluster
from multimap_jax.encoders.zero_shot import RootProbabilities
from tests.zero_shot import AtScale

COLOR, SHAPE = mm.Aspect("color", "thing", ("red", "green", "blue")), mm.Aspect("shape", "thing", ("ball", "ring"))


class Known:
    """An encoder in eight dimensions: prompts share the first, colours have the next three, shapes the two after."""

    temperature_scale = 50.0
    config = SimpleNamespace(text=SimpleNamespace(width=8, embed=8))

    def embed_texts(self, texts):
        axes = {word: axis for axis, word in enumerate((*COLOR.words, *SHAPE.words), start=1)}
        own = [next(axis for word, axis in axes.items() if word in text.split()) for text in texts]
        return np.sqrt(0.5) * (np.eye(8)[own] + np.eye(8)[0])


@pytest.fixture(scope="module")
def case():
    """60 images whose shape is written larger than their colour, with noise in all directions."""
    random = np.random.default_rng(0)
    color, shape = random.integers(3, size=60), random.integers(2, size=60)
    rows = np.eye(8)[0] + np.eye(8)[1 + color] + 3 * np.eye(8)[4 + shape] + random.normal(scale=0.05, size=(60, 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    words = COLOR.words
    return Case(
        Known(), "thing", "color", rows, color, words, words, ("shape",), mm.ProxyConfig.paper(), rows, others=(SHAPE,)
    )


@pytest.mark.parametrize(
    "lengths, kept",
    [
        ((10, 9, 1, 0.9, 0.8), 2),
        ((10, 9.5, 9, 8.5, 1, 0.9, 0.8), 4),
        ((10, 1, 0.9, 0.8), 1),
        ((4, 3, 2, 1), 1),
        ((3, 1), 1),
    ],
)
def test_the_spectrum_is_cut_where_it_bends(lengths, kept):
    assert od_crl.before_the_bend(np.array(lengths)) == kept


def test_a_basis_is_orthonormal_and_as_long_as_asked():
    texts = np.random.default_rng(1).normal(size=(5, 16)) + 3
    for least in (1, 2, 4):
        basis = od_crl.cut_basis(texts, least)
        assert basis @ basis.T == pytest.approx(np.eye(len(basis)), abs=1e-6) and len(basis) >= least
    assert len(od_crl.cut_basis(texts[[0, 0, 1]], least=3)) == 2


def test_directions_of_the_other_aspect_vanish():
    rows, basis = np.random.default_rng(2).normal(size=(6, 8)), np.eye(8)
    cleared = od_crl.clear(rows, [basis[[2]], (basis[[2]] + basis[[3]]) / np.sqrt(2)])
    assert cleared[:, [2, 3]] == pytest.approx(0, abs=1e-12)
    kept = [0, 1, 4, 5, 6, 7]
    assert cleared[:, kept] == pytest.approx(rows[:, kept]) and od_crl.clear(rows, []) is rows


def test_od_crl_sees_the_color_under_a_larger_shape(case):
    features = od_crl.od_crl(case)
    assert features.shape == (60, 3) and np.linalg.norm(features, axis=1) == pytest.approx(1)
    assert mm.evaluate(case.truth, cluster(features, 3).labels)["nmi"] > 0.95


def noisy(truth, share, count, seed):
    """`count` clusterings [count, images] in which a share of the images got any label."""
    random = np.random.default_rng(seed)
    drawn = random.integers(truth.max() + 1, size=(count, len(truth)))
    return np.where(random.random((count, len(truth))) < share, drawn, truth)


@pytest.fixture(scope="module")
def planted():
    random = np.random.default_rng(3)
    return random.integers(4, size=120), random.integers(3, size=120)


@pytest.mark.parametrize("share, seed", [(0.02, 0), (0.05, 1), (0.08, 2)])
def test_clusterings_of_two_planted_aspects_are_told_apart(planted, share, seed):
    first, second = planted
    groups = tgaicc.alike(np.concatenate([noisy(first, share, 6, seed), noisy(second, share, 6, seed + 9)]), aspects=2)
    assert sorted(tuple(np.unique(group // 6)) for group in groups) == [(0,), (1,)]


def test_the_consensus_is_better_than_its_members(planted):
    members = noisy(planted[0], 0.25, 6, seed=4)
    found = mm.evaluate(planted[0], tgaicc.consensus(members, 4, seed=0))["nmi"]
    assert found > 0.9 > 0.2 + np.mean([mm.evaluate(planted[0], one)["nmi"] for one in members])


def test_members_are_the_group_with_most_prompts_of_the_aspect_or_all_of_these():
    owners = np.array([0, 0, 0, 1, 1, 1])
    groups = [np.array([0, 3, 4]), np.array([1, 2])]
    assert tgaicc.members_for(0, owners, groups).tolist() == [1, 2]
    assert tgaicc.members_for(1, owners, groups).tolist() == [0, 3, 4]
    assert tgaicc.members_for(1, owners, []).tolist() == [3, 4, 5]
    assert tgaicc.members_for(1, owners, [np.array([0, 1])]).tolist() == [3, 4, 5]
    even = [np.array([0, 3, 4]), np.array([1, 5])]
    assert tgaicc.members_for(0, owners, even).tolist() == [1, 5]


def test_no_threshold_fits_where_all_clusterings_are_one():
    assert tgaicc.alike(np.tile(np.arange(30) % 3, (6, 1)), aspects=2) == []


def test_the_consensus_of_equal_clusterings_is_theirs():
    labels = np.arange(30) % 3
    assert mm.evaluate(labels, tgaicc.consensus(np.tile(labels, (4, 1)), 3, seed=0))["nmi"] == pytest.approx(1)
    assert set(tgaicc.consensus(np.tile(labels, (4, 1)), 2, seed=0)) == {0, 1}


def test_square_roots_of_probabilities_have_unit_rows_however_large_the_logits():
    found = RootProbabilities(AtScale(1.0), np.array([[1e4], [0.0]], np.float32), np.array([[1.0], [0.0]], np.float32))[
        :
    ]
    assert found == pytest.approx(np.array([[1, 0], [np.sqrt(0.5)] * 2]))


@pytest.mark.slow
def test_tgaicc_answers_the_aspect_that_is_asked(case):
    labels = tgaicc.tgaicc(case)
    assert labels.shape == (SEEDS, 60) and np.issubdtype(labels.dtype, np.integer)
    assert np.mean([mm.evaluate(case.truth, each)["nmi"] for each in labels]) > 0.9
    alone = tgaicc.tgaicc(dataclasses.replace(case, others=()))
    assert np.mean([mm.evaluate(case.truth, each)["nmi"] for each in alone]) > 0.9


def test_both_halves_weigh_equally():
    random = np.random.default_rng(6)
    proxy, image = 0.4 + random.normal(scale=0.01, size=(40, 5)), 20 * random.normal(size=(40, 7))
    found = multi_sub.beside(proxy, image)
    assert found.shape == (40, 12) and found.mean(0) == pytest.approx(0, abs=1e-9)
    assert (found[:, :5] ** 2).sum() == pytest.approx((found[:, 5:] ** 2).sum())
    assert multi_sub.beside(1e-3 * proxy, 1e3 * image) == pytest.approx(found)
    assert (multi_sub.even(np.ones((4, 3))) == 0).all()


@pytest.fixture
def learnt(case, monkeypatch):
    """A case, and what the learning in it gives by rate: of .05 the lowest loss at the end."""
    random = np.random.default_rng(7)

    def learn(clip, pooled, aspect, order, rate):
        arrays = [rate * random.normal(size=(len(pooled), 4)) for _ in range(3)]
        return Evaluation(
            *arrays, image=20 * random.normal(size=(len(pooled), 4)), losses=np.array([0, abs(rate - 0.05)])
        )

    found = {rate: learn(None, case.pooled, None, None, rate) for rate in multi_sub.RATES}
    monkeypatch.setattr(multi_sub, "released_eval", lambda *given: found[given[4]])
    return case, found


def test_multi_sub_takes_the_rate_that_aligns_best_and_as_released_the_plain_concatenation(learnt):
    case, found = learnt
    assert multi_sub.multi_sub(case) == pytest.approx(multi_sub.beside(found[0.05].proxy, found[0.05].image))
    released = methods.find("Multi-Sub as released")(case)
    assert released == pytest.approx(np.concatenate([found[0.005].proxy, found[0.005].image], axis=1))


def test_where_the_rivals_apply(case):
    baselines = {"OD-CRL", "TGAICC", "Multi-Sub", "Multi-Sub as released"}

    def applying(**changes):
        return {name for name in baselines if methods.applies(name, dataclasses.replace(case, **changes))}

    assert applying() == baselines
    assert applying(pooled=None) == {"OD-CRL", "TGAICC"}
    assert applying(embeddings=np.zeros((tgaicc.LIMIT + 1, 8))) == baselines - {"TGAICC"}
