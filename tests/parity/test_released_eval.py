"""The released evaluation program against a PyTorch writing of the same facts, in float64."""

import copy

import numpy as np
import pytest

import multimap_jax as mm
from experiments.paper.released_eval import batch_order, released_eval
from tests.needed import needed

torch = needed("torch")
IMAGES, BATCH, EPOCHS, RATE = 11, 4, 5, 0.01
WORDS = ("red", "green", "yellow", "dark purple")


@pytest.fixture(scope="module")
def clip():
    return mm.load_clip("embedded")


@pytest.fixture(scope="module")
def pooled(clip):
    return np.random.default_rng(3).normal(size=(IMAGES, clip.config.image.width)).astype(np.float32)


def load_torch(clip):
    """The checkpoint in PyTorch, float64, without position embeddings and final layer norm in the text tower."""
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(clip.directory).double().eval()
    plain = copy.deepcopy(model)
    plain.text_model.embeddings.position_embedding.weight.data.zero_()
    plain.text_model.final_layer_norm = torch.nn.Identity()
    for parameter in [*model.parameters(), *plain.parameters()]:
        parameter.requires_grad_(False)
    return model, plain


def encode(plain, ids, slot, proxies):
    """Text embeddings [images, embed] of one prompt with a proxy of each image at the slot."""

    def insert(module, inputs, output):
        return torch.cat([output[:, :slot], proxies[:, None], output[:, slot + 1 :]], 1)

    hook = plain.text_model.embeddings.token_embedding.register_forward_hook(insert)
    embedded = plain.get_text_features(input_ids=torch.tensor([ids] * len(proxies))).pooler_output
    hook.remove()
    return embedded


def run_torch(clip, pooled, aspect, order, decay):
    model, plain = load_torch(clip)
    encode_ids = clip.tokenizer.encode
    star = encode_ids("*")
    left, right = aspect.sides()
    ids = [clip.tokenizer.start, *encode_ids(left), *star, *encode_ids(right), clip.tokenizer.end]
    slot, alone = 1 + len(encode_ids(left)), [clip.tokenizer.start, *star, clip.tokenizer.end]
    table = plain.text_model.embeddings.token_embedding.weight
    words = torch.stack([table[encode_ids(word)].mean(0) for word in aspect.words])
    start = model.get_text_features(input_ids=torch.tensor([alone])).pooler_output
    v = torch.nn.Parameter(start.repeat(len(pooled), 1))
    projection = torch.nn.Parameter(model.visual_projection.weight.clone())
    groups = [{"params": [v]}, {"params": [projection], "lr": 1e-5}]
    optimizer = torch.optim.Adagrad(groups, lr=RATE, weight_decay=decay)
    losses = []
    for numbers in order:
        epoch = []
        for k in numbers:
            rows = slice(k * BATCH, (k + 1) * BATCH)
            proxies = torch.softmax(v[rows] @ words.T, 1) @ words
            images = torch.tensor(pooled[rows]).double() @ projection.T
            cosine = torch.nn.functional.cosine_similarity(images, encode(plain, ids, slot, proxies))
            loss = (1 - cosine).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            epoch.append(float(loss.detach()))
        losses.append(np.mean(epoch))
    with torch.no_grad():
        proxies = torch.softmax(v @ words.T, 1) @ words
        prompt = torch.nn.functional.normalize(encode(plain, ids, slot, proxies))
        image = torch.tensor(pooled).double() @ projection.T
        word = encode(plain, alone, 1, proxies)
    return {"prompt": prompt, "proxy": proxies, "word": word, "image": image, "losses": np.array(losses)}


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.0, 1e-3])
def test_all_five_features_and_the_losses(clip, pooled, decay):
    aspect = mm.Aspect("color", "Fruit", WORDS, "{subject} with a {name} of {word}")
    order = batch_order(IMAGES, BATCH, EPOCHS, seed=1)
    ours = released_eval(clip, pooled, aspect, order, RATE, decay, BATCH, precision="float64")
    theirs = run_torch(clip, pooled, aspect, order, decay)
    for name, expected in theirs.items():
        expected = np.asarray(expected)
        assert np.abs(getattr(ours, name) - expected).max() <= 1e-6 * np.abs(expected).max(), name
    assert ours.combined.shape == (IMAGES, ours.proxy.shape[1] + ours.image.shape[1])
    assert np.abs(ours.proxy - ours.proxy[0]).max() > 1e-3


def test_every_batch_comes_once_an_epoch():
    order = batch_order(IMAGES, BATCH, EPOCHS, seed=1)
    assert order.shape == (EPOCHS, 3) and (np.sort(order, 1) == np.arange(3)).all()
    assert (batch_order(IMAGES, BATCH, EPOCHS, seed=2) != order).any()
