"""Loss, gradient and 50 Adam steps against a PyTorch writing of the paper's equations."""

import contextlib
import dataclasses

import jax
import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.prompts.aspect import make_prompt, reference_words
from multimap_jax.proxies import fit as proxies
from multimap_jax.proxies.loss import proxy_loss
from multimap_jax.runtime.precision import matmul_precision
from tests.needed import needed

torch = needed("torch")
from tests.tiny import text_with_proxies, unit_rows  # noqa: E402

IMAGES, STEPS = 6, 50
COLOR = mm.Aspect("color", subject="fruit", words=("red", "green", "dark yellow"))
CONTRASTS = {"none": (), "one": ("species",), "two": ("species", "shape")}


class Equations:
    """Everything that the losses need, by PyTorch in float64."""

    def __init__(self, tiny, contrast, config):
        clip, self.model = tiny[0], tiny[1]
        self.config, self.embeddings = config, unit_rows(IMAGES)
        self.prompt = make_prompt(COLOR, clip.tokenizer)
        table = self.model.text_model.embeddings.token_embedding.weight.detach().double()
        mean = lambda word: table[clip.tokenizer.encode(word)].mean(0)  # noqa: E731
        self.words = torch.stack([mean(word) for word in COLOR.words])
        self.concepts = torch.stack([mean(word) for word in (COLOR.name, *contrast)])
        self.reference = reference_words(clip, self.embeddings, COLOR)
        relative = config.recipe == "default"
        self.scale = self.words.norm(dim=1).mean() if relative else torch.tensor(1.0).double()

    def loss(self, w):
        """w [images, width] -> [images]."""
        config, unit_area = self.config, self.scale**2
        model = self.model.double()
        prompts = text_with_proxies(model, self.prompt.ids, self.prompt.slot, w)
        align = -(prompts * torch.tensor(self.embeddings).double()).sum(1)
        reference = (w - self.words[self.reference]).square().sum(1)
        if config.concept == "contrastive":
            scores = (w @ self.concepts.T).exp()
            concept = -(scores[:, 0] / scores.sum(1)).log()
        else:
            concept = (w - self.concepts[0]).square().sum(1) * (config.concept == "distance")
        return align + (config.reference_weight * reference + config.concept_weight * concept) / unit_area

    def adam(self):
        w = torch.nn.Parameter(self.words[self.reference].clone())
        rate = float(self.config.learning_rate * self.scale)
        optimizer = torch.optim.Adam([w], lr=rate, weight_decay=self.config.weight_decay)
        losses = []
        for step in range(STEPS):
            if self.config.schedule == "linear":
                optimizer.param_groups[0]["lr"] = rate * (1 - step / STEPS)
            loss = self.loss(w)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
            losses.append(float(loss.mean().detach()))
        return w.detach().numpy(), np.array(losses), self.loss(w).detach().numpy()


@pytest.fixture(autouse=True)
def single_precision_again(tiny):
    yield
    tiny[1].float()


ABLATIONS = {
    "full": mm.ProxyConfig.paper(),
    "p": mm.ProxyConfig.paper(alpha=0.0, concept="none"),
    "c": mm.ProxyConfig.paper(alpha=0.0, concept="distance"),
    "r": mm.ProxyConfig.paper(concept="none"),
    "cr": mm.ProxyConfig.paper(concept="distance"),
    "default": mm.ProxyConfig(),
    "default with concept": mm.ProxyConfig(concept="contrastive", concept_weight=0.2),
}
CONTRASTIVE = ("full", "default with concept")


# Contrast plays a part in the contrastive concept only.
CASES = [(name, contrast) for name in ABLATIONS for contrast in CONTRASTS if contrast == "one" or name in CONTRASTIVE]


@pytest.mark.slow
@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-5), ("float64", 1e-8)])
@pytest.mark.parametrize("name, contrast", CASES)
def test_loss_and_gradient(tiny, name, contrast, precision, tolerance):
    clip, contrast = tiny[0], CONTRASTS[contrast]
    config = dataclasses.replace(ABLATIONS[name], precision=precision)
    equations = Equations(tiny, contrast, config)
    moved = np.random.default_rng(4).normal(size=(IMAGES, 32), scale=0.3)
    w = torch.tensor(moved, requires_grad=True)
    expected = equations.loss(w)
    expected.sum().backward()
    with jax.enable_x64(True) if precision == "float64" else contextlib.nullcontext(), matmul_precision(precision):
        common, targets = proxies.prepare(
            clip, equations.embeddings, COLOR, contrast, config, equations.prompt, equations.reference
        )
        run = jax.jit(jax.vmap(jax.value_and_grad(proxy_loss), in_axes=(0, 0, None)))
        loss, gradient = run(moved.astype(targets.image.dtype), targets, common)
    for ours, theirs in ((loss, expected.detach().numpy()), (gradient, w.grad.numpy())):
        assert np.abs(np.asarray(ours) - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.slow
@pytest.mark.parametrize("name, decay", [("full", 0.0), ("full", 5e-4), ("cr", 5e-4), ("default", 0.0)])
def test_fifty_adam_steps_in_float64(tiny, name, decay):
    changes = {"steps": STEPS, "weight_decay": decay, "precision": "float64"}
    config = dataclasses.replace(ABLATIONS[name], **changes)
    equations = Equations(tiny, ("species",), config)
    w, losses, loss = equations.adam()
    fit = mm.fit_proxies(tiny[0], equations.embeddings, COLOR, contrast=("species",), config=config)
    moved = np.abs(w - equations.words[equations.reference].numpy()).max()
    assert moved > 0.01
    assert np.abs(fit.proxies - w).max() <= 1e-6 * np.abs(w).max()
    assert np.abs(fit.losses - losses).max() <= 1e-6 * np.abs(losses).max()
    assert np.abs(fit.loss - loss).max() <= 1e-6 * np.abs(loss).max()
    prompts = text_with_proxies(
        tiny[1].double(), equations.prompt.ids, equations.prompt.slot, torch.tensor(fit.proxies)
    )
    assert np.abs(fit.prompt_embeddings - prompts.detach().numpy()).max() <= 1e-6


@pytest.mark.slow
def test_without_words_there_is_no_reference(tiny):
    fit = mm.fit_proxies(tiny[0], unit_rows(IMAGES), mm.Aspect("color", "fruit"), config=mm.ProxyConfig(steps=0))
    start = tiny[0].token_embeddings(["color"])[0]
    assert (fit.reference == -1).all() and (fit.proxies == start).all()
    weighted = mm.ProxyConfig(steps=5, reference_weight=9.0)
    free = mm.fit_proxies(tiny[0], unit_rows(IMAGES), mm.Aspect("color", "fruit"), config=mm.ProxyConfig(steps=5))
    assert (
        mm.fit_proxies(tiny[0], unit_rows(IMAGES), mm.Aspect("color", "fruit"), config=weighted).proxies == free.proxies
    ).all()
