"""What the public functions say of a wrong argument: one sentence that names an argument of that function, or none."""

import inspect
import re

import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.errors import InputError

COLOR = mm.Aspect("color", "fruit", ("red", "green"))


@pytest.fixture(scope="module")
def clip():
    return mm.load_clip("embedded")


@pytest.fixture(scope="module")
def rows(clip):
    return clip.embed_images([mm.render_scene("fruit", index=i)[0] for i in range(6)])


def model(clip, **settings):
    return mm.MultiMaP(settings.pop("aspect", COLOR), clip, **settings)


def with_nan(rows):
    return np.where(np.arange(rows.size).reshape(rows.shape) == 0, np.nan, rows)


FIT = mm.MultiMaP.fit
# Call with a Clip and unit rows -> (the function that is called, what it says).
WRONG = {
    "no clip": (lambda c, X: mm.diagnose(X, c, COLOR), mm.diagnose, "found an array of shape [6, 128] (see"),
    "no rows": (lambda c, X: mm.find_words(c, "photos", "color"), mm.find_words, "clip.embed_images first (see"),
    "wide rows": (lambda c, X: mm.diagnose(c, X[:, :5], COLOR), mm.diagnose, "shape [images, 128]"),
    "one row": (lambda c, X: mm.find_words(c, X[0], "color"), mm.find_words, "X.reshape(1, -1)"),
    "long rows": (lambda c, X: mm.find_words(c, 2 * X, "color"), mm.find_words, "row 0 has norm 2"),
    "NaN": (lambda c, X: mm.diagnose(c, with_nan(X), COLOR), mm.diagnose, "row 0 holds NaN"),
    "suggest": (lambda c, X: mm.suggest_aspects(c, 2 * X), mm.suggest_aspects, "(see embeddings=)"),
    "no words": (lambda c, X: mm.diagnose(c, X, mm.Aspect("color")), mm.diagnose, "found 0: add words (see a"),
    "aspect": (lambda c, X: mm.find_words(c, X, COLOR), mm.find_words, "expected a string, found Aspect("),
    "source": (lambda c, X: mm.find_words(c, X, "vibe"), mm.find_words, "(see source=)"),
    "endpoint": (lambda c, X: mm.find_words(c, X, "a", source="llm"), mm.find_words, "(see sources=)"),
    "names": (lambda c, X: mm.find_words(c, X, "color", names=["a"]), mm.find_words, "each of 6 images, found 1"),
    "X": (lambda c, X: model(c).fit(2 * X), FIT, "divide each row by its norm (see X=)"),
    "no images": (lambda c, X: model(c).fit(5), FIT, "images or paths, found 5 (see X=)"),
    "text": (lambda c, X: model(c).fit("a red apple"), FIT, "no folder a red apple"),
    "on_error": (lambda c, X: model(c).fit(["a.png"] * 2), FIT, "a.png: no such file"),
    "groups": (lambda c, X: model(c, n_clusters=9).fit(X), FIT, "(see n_clusters=)"),
    "checkpoint": (lambda c, X: model(5).fit(X), FIT, "found 5 (see clip=)"),
    "span": (lambda c, X: model(c, aspect=mm.Aspect("a"), n_clusters=2, features="span").fit(X), FIT, "(see aspect=)"),
    "proxies": (lambda c, X: model(c).fit(X, proxies=X), FIT, "result of fit_proxies"),
    "vocabulary": (lambda c, X: model(c).fit(X, vocabulary="a.txt"), FIT, "(see vocabulary=)"),
    "fit_proxies": (lambda c, X: mm.fit_proxies(c, ["a.png"], COLOR), mm.fit_proxies, "(see embeddings=)"),
    "contrast": (lambda c, X: mm.fit_proxies(c, X, COLOR, contrast="a"), mm.fit_proxies, "(see contrast=)"),
    "load_clip": (lambda c, X: mm.load_clip("./nowhere"), mm.load_clip, "(see name=)"),
    "open_run": (lambda c, X: mm.open_run("nowhere"), mm.open_run, "(see folder=)"),
    "show": (lambda c, X: mm.show("nowhere"), mm.show, "(see run=)"),
    "evaluate": (lambda c, X: mm.evaluate([1], [1, 2]), mm.evaluate, "(see labels=)"),
    "texts": (lambda c, X: c.embed_texts([5]), mm.Clip.embed_texts, "a list of texts, found [5]"),
    "images": (lambda c, X: c.embed_images(None), mm.Clip.embed_images, "found None (see images=)"),
    "Aspect": (lambda c, X: mm.Aspect(""), mm.Aspect, "(see name=)"),
    "words": (lambda c, X: mm.Aspect("color", words=5), mm.Aspect, "found 5 (see words=)"),
    "paper": (lambda c, X: mm.ProxyConfig.paper(alpha=-1), mm.ProxyConfig.paper, "alpha is -1, expected a number"),
    "released": (lambda c, X: mm.ProxyConfig.released(alpha="x"), mm.ProxyConfig.released, "alpha is 'x'"),
    "field": (lambda c, X: mm.ProxyConfig.paper(reference_weight=1), mm.ProxyConfig.paper, "(see alpha=)"),
    "lr": (lambda c, X: mm.ProxyConfig.paper(lr=1), mm.ProxyConfig.paper, "no setting lr, known: steps, learn"),
    "rate": (lambda c, X: mm.ProxyConfig(learning_rate=-1), mm.ProxyConfig, "learning_rate is -1, expected a number"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_error_names_an_argument_of_the_function_that_was_called(name, clip, rows):
    call, function, said = WRONG[name]
    with pytest.raises(InputError) as raised:
        call(clip, rows)
    text = str(raised.value)
    assert said in text and len(text) < 400
    known = {*inspect.signature(function).parameters}
    known |= {*inspect.signature(mm.MultiMaP).parameters} if function is FIT else set()
    assert set(re.findall(r"\((?:see|use) (\w+)=", text)) <= known


def test_every_public_function_names_its_own_arguments():
    functions = [getattr(mm, name) for name in mm.__all__ if inspect.isfunction(getattr(mm, name))]
    assert len(functions) > 8 and all(hasattr(function, "__wrapped__") for function in functions)


def test_the_command_still_finds_the_parameter(clip, rows):
    with pytest.raises(InputError) as raised:
        mm.diagnose(clip, rows, mm.Aspect("color"))
    assert raised.value.parameter == "words" and raised.value.argument == "aspect"


@pytest.mark.slow
def test_the_proxies_of_fit_are_of_its_images(clip, rows):
    proxies = mm.fit_proxies(clip, rows[:4], COLOR, config=mm.ProxyConfig(steps=1))
    with pytest.raises(ValueError, match="expected proxies of these 6 images, found 4"):
        mm.MultiMaP(COLOR, clip).fit(rows, proxies=proxies)


def test_a_checkpoint_may_be_given_by_name(clip, rows):
    assert mm.diagnose("embedded", rows, COLOR) == mm.diagnose(clip, rows, COLOR)
    assert (
        mm.find_words("embedded", rows, "color", "fruit").aspect == mm.find_words(clip, rows, "color", "fruit").aspect
    )
