"""Recipes: their choices, what is refused, and that their numbers are leaves."""

import dataclasses

import jax
import pytest

from multimap_jax import ProxyConfig


def test_the_named_recipes():
    default, paper, released = ProxyConfig(), ProxyConfig.paper(), ProxyConfig.released()
    assert default.recipe == "default" and default.steps <= 100 and default.schedule == "linear"
    assert (paper.steps, paper.learning_rate, paper.reference_weight, paper.concept_weight) == (1000, 0.005, 0.3, 0.3)
    assert (paper.concept, paper.optimizer, paper.schedule) == ("contrastive", "adam", "constant")
    assert (released.steps, released.optimizer, released.concept, released.batch_size) == (
        50,
        "adagrad",
        "distance",
        20,
    )
    assert [ProxyConfig.named(name) for name in ("default", "paper", "released")] == [default, paper, released]
    with pytest.raises(ValueError, match="recipe is 'papr', known: default, paper, released"):
        ProxyConfig.named("papr")


def test_alpha_and_beta_swap_their_roles():
    paper, released = ProxyConfig.paper(alpha=0.1, beta=0.2), ProxyConfig.released(alpha=0.1, beta=0.2)
    assert (paper.reference_weight, paper.concept_weight) == (0.1, 0.2)
    assert (released.reference_weight, released.concept_weight) == (0.2, 0.1)


def test_every_ablation_is_a_matter_of_fields():
    base = ProxyConfig.paper()
    dataclasses.replace(base, reference_weight=0.0, concept="none", concept_weight=0.0)
    dataclasses.replace(base, concept="distance", reference_weight=0.0)
    assert ProxyConfig.paper(concept="distance", init="aspect").init == "aspect"


def test_numbers_are_leaves_and_choices_are_not():
    leaves, structure = jax.tree.flatten(ProxyConfig.paper())
    assert leaves == [1000, 0.005, 0.0, 0.3, 0.3, 0.0]
    assert jax.tree.structure(ProxyConfig.paper(learning_rate=0.1, steps=3)) == structure
    assert jax.tree.structure(ProxyConfig.paper(concept="none")) != structure
    assert jax.tree.unflatten(structure, [object()] * 6).concept == "contrastive"


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"recipe": "mine"}, "known: default, paper, released"),
        ({"concept": "both"}, "known: contrastive"),
        ({"precision": "int8"}, "known: float32"),
        ({"schedule": "cosine"}, "known: constant, linear"),
        ({"steps": -1}, "steps is -1"),
        ({"steps": 1.5}, "expected a whole number"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"block_size": 0}, "expected a whole number of 1 or more"),
        ({"batch_size": 20}, "belongs to the released recipe"),
    ],
)
def test_bad_values(fields, message):
    with pytest.raises(ValueError, match=message):
        ProxyConfig(**fields)


def test_it_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ProxyConfig().steps = 3
