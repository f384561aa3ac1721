"""The table of features: what each kind needs, and its rows."""

import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax import choices
from multimap_jax.features.table import FEATURE_KINDS, Material, choose
from multimap_jax.proxies.fit import ProxyFit

WORDS = mm.Aspect("color", words=("red", "green"))


def test_the_table_has_every_name_that_flags_know():
    assert tuple(FEATURE_KINDS) == choices.FEATURES


def test_rows_of_each_kind():
    proxies, prompts, images = np.array([[3.0, 4.0]]), np.ones((1, 2)), np.array([[0.0, 1.0]])
    fit = ProxyFit(proxies, prompts, np.zeros(1, int), np.zeros(1), np.zeros(1), 1, 1)
    material = Material(None, mm.ProxyConfig(), images, fit, 3 * np.eye(2))
    assert FEATURE_KINDS["proxy"].rows(material) is proxies and FEATURE_KINDS["prompt"].rows(material) is prompts
    assert FEATURE_KINDS["image"].rows(material) is images
    assert np.allclose(FEATURE_KINDS["span"].rows(material)[:], [[0.0, 3.0]])
    assert np.allclose(FEATURE_KINDS["proxy+image"].rows(material)[:], [[0.6, 0.8, 0.0, 1.0]])


def test_where_nothing_is_said_the_recipe_and_the_words_decide():
    assert choose(None, WORDS, mm.ProxyConfig()) == "span"
    assert choose(None, mm.Aspect("color", words=("red",)), mm.ProxyConfig()) == "proxy"
    assert choose(None, WORDS, mm.ProxyConfig.paper()) == choose(None, WORDS, mm.ProxyConfig.released()) == "proxy"
    assert choose("image", WORDS, mm.ProxyConfig.released()) == "image"


@pytest.mark.parametrize(
    "kind, aspect, config, message",
    [
        ("magic", WORDS, mm.ProxyConfig(), "known: span, proxy, prompt, word, image, proxy\\+image"),
        (
            "span",
            mm.Aspect("color", words=("red",)),
            mm.ProxyConfig(),
            "need 2 words or more, but aspect 'color' has 1",
        ),
        ("span", WORDS, mm.ProxyConfig.released(), "do not work with the released recipe"),
    ],
)
def test_what_does_not_go_together(kind, aspect, config, message):
    with pytest.raises(ValueError, match=message):
        choose(kind, aspect, config)
