"""The released recipe against arrays of the authors' program, and against a PyTorch writing of the same facts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.prompts.aspect import make_prompt
from multimap_jax.proxies.fit import embed_words
from tests.needed import needed

torch = needed("torch")
from tests.tiny import text_with_proxies, unit_rows  # noqa: E402

# The script that makes the weights leaves its files to be closed by the garbage collector.
pytestmark = [
    pytest.mark.usefixtures("optimised"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
VOCABULARY = GOLDEN.parent / "models" / "photo-mini"
NAMES = "apples oranges bananas strawberries grapes raspberries blueberries kiwi".split()
# name -> learning rate, alpha, beta, weight decay, batch size
SETTINGS = {
    "no_decay": (0.005, 0.2, 0.2, 0.0, 20),
    "no_decay_batches": (0.01, 0.1, 0.3, 0.0, 5),
    "decay_one_batch": (0.005, 0.3, 0.4, 5e-5, 20),
    "decay_batches": (0.005, 0.3, 0.4, 5e-5, 5),
}
TOLERANCE = 2e-3  # of the root mean square distance moved: Adagrad's first step is a sign


def moved_error(ours, theirs, start):
    rms = lambda x: np.sqrt(np.mean(np.square(x)))  # noqa: E731
    return rms(ours - theirs) / rms(theirs - start)


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """(the authors' arrays, the small CLIP that they were made with)."""
    if not (GOLDEN / "released.npz").exists() or not VOCABULARY.exists():
        pytest.skip("the arrays of the authors' program are not here")
    spec = importlib.util.spec_from_file_location("random_clip", GOLDEN / "random_clip.py")
    random_clip = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(random_clip)
    directory = tmp_path_factory.mktemp("golden")
    random_clip.write_hf(str(directory), str(VOCABULARY), seed=1)
    return np.load(GOLDEN / "released.npz"), mm.load_clip(directory), random_clip.images(14, seed=8)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_the_authors_program_is_met(golden, name):
    arrays, clip, images = golden
    theirs = {key.split("/")[1]: arrays[key] for key in arrays.files if key.startswith(f"{name}/")}
    embeddings = clip.embed_images(list(images))
    assert np.abs(embeddings - theirs["image_embeddings"]).max() <= 1e-5
    rate, alpha, beta, decay, batch = SETTINGS[name]
    config = mm.ProxyConfig.released(50, rate, alpha, beta, decay, batch)
    aspect = mm.Aspect("species", "Fruit", tuple(NAMES), "{subject} with a {name} of {word}")
    order = theirs["order"] if decay else None
    fit = mm.fit_proxies(clip, embeddings, aspect, config=config, batch_order=order)
    assert (fit.reference == theirs["reference"]).all()
    assert np.abs(clip.embed_texts(NAMES, normalize=False)[fit.reference] - theirs["init"]).max() <= 1e-5
    assert np.abs(clip.embed_texts(["species"], normalize=False) - theirs["concept"]).max() <= 1e-5
    assert moved_error(fit.proxies, theirs["proxies"], theirs["init"]) <= TOLERANCE
    assert np.abs(fit.losses - theirs["losses"]).max() <= 1e-5
    assert np.abs(fit.prompt_embeddings - theirs["prompt_embeddings"]).max() <= 1e-4
    words = embed_words(clip, fit.proxies, config)
    assert np.abs(words - theirs["word_embeddings"]).max() <= 1e-4 * np.abs(theirs["word_embeddings"]).max()


def released_in_torch(tiny, embeddings, aspect, order, rate, alpha, beta, decay, batch):
    """Adagrad over the dense table of proxies at every batch, weights of the tower frozen."""
    clip, model = tiny
    prompt = make_prompt(aspect, clip.tokenizer)

    def features(words):
        return torch.tensor(clip.embed_texts(words, normalize=False))

    words, concept = features(aspect.words), features([aspect.name])[0]
    image = torch.tensor(embeddings)
    reference = (image @ torch.nn.functional.normalize(words).T).argmax(1)
    table = torch.nn.Embedding.from_pretrained(words[reference].clone(), freeze=False)
    optimizer = torch.optim.Adagrad(table.parameters(), lr=rate, weight_decay=decay)
    losses = []
    for numbers in order:
        total = 0.0
        for k in numbers:
            rows = torch.arange(k * batch, min((k + 1) * batch, len(image)))
            w = table(rows)
            cosine = (text_with_proxies(model, prompt.ids, prompt.slot, w, plain=True) * image[rows]).sum(1)
            squares = torch.nn.functional.mse_loss
            loss = (1 - cosine).mean() + alpha * squares(w, concept.expand_as(w))
            loss = loss + beta * squares(w, words[reference[rows]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        losses.append(total / len(image))
    return table.weight.detach().numpy(), reference.numpy(), words[reference].numpy(), np.array(losses)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [20, 3])
@pytest.mark.parametrize("decay", [0.0, 1e-3])
def test_a_pytorch_writing_is_met(tiny, batch, decay):
    # Seven images in batches of three: the last batch is not full.
    embeddings, epochs = unit_rows(7, seed=5), 30
    aspect = mm.Aspect("color", "Fruit", ("red", "green", "dark yellow"), "{subject} with a {name} of {word}")
    batches = -(-7 // batch)
    order = np.stack([np.random.default_rng(e).permutation(batches) for e in range(epochs)])
    numbers = (0.01, 0.3, 0.4, decay, batch)
    theirs, reference, start, losses = released_in_torch(tiny, embeddings, aspect, order, *numbers)
    config = mm.ProxyConfig.released(epochs, *numbers)
    fit = mm.fit_proxies(tiny[0], embeddings, aspect, config=config, batch_order=order if decay else None)
    assert (fit.reference == reference).all()
    assert moved_error(fit.proxies, theirs, start) <= TOLERANCE
    assert np.abs(fit.losses - losses).max() <= 1e-4


@pytest.mark.slow
def test_the_order_of_batches_matters_with_weight_decay_only(tiny):
    embeddings = unit_rows(7, seed=5)
    aspect = mm.Aspect("color", "Fruit", ("red", "green"))
    for decay, same in ((0.0, True), (1e-2, False)):
        config = mm.ProxyConfig.released(10, weight_decay=decay, batch_size=3)
        first, second = (mm.fit_proxies(tiny[0], embeddings, aspect, config=config, seed=s).proxies for s in (0, 1))
        assert (first == second).all() == same
