"""The whole command on a checkpoint of each family, and checkpoints of kinds that cannot be read."""

import csv
import json

import pytest

import multimap_jax as mm
from multimap_jax.cli import main as cli
from multimap_jax.scenes import write_scenes
from tests.needed import needed
from tests.siglip_files import write_siglip, write_siglip_2
from tests.tiny import tiny_metaclip, tiny_siglip

needed("torch")
pytest.importorskip("sentencepiece")
SQUARE = {"height": 32, "width": 32}


def write_preprocessing(folder, **settings):
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": SQUARE, "crop_size": SQUARE} | settings))


def siglip(folder, write):
    size = write(folder)
    tiny_siglip(vocabulary=size, context=64, eos_token_id=1, bos_token_id=None).save_pretrained(folder)
    write_preprocessing(folder, image_processor_type="SiglipImageProcessor")


def metaclip(folder):
    """With a tokenizer like XLM-V's: Unigram pieces of several languages, <s> and </s> around each text."""
    from transformers import XLMRobertaTokenizer

    pieces = ["▁" + word for word in "a fruit with the color of red rot rouge красный 赤 green grün yellow".split()]
    letters = sorted({*"▁abcdefghijklmnopqrstuvwxyzüкрасный赤."})
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(piece, -2.0) for piece in pieces] + [(letter, -9.0) for letter in letters]
    tokenizer = XLMRobertaTokenizer(vocab=vocabulary)
    tokenizer.save_pretrained(folder)
    tiny_metaclip(vocabulary=len(tokenizer)).save_pretrained(folder)
    write_preprocessing(folder, image_processor_type="CLIPImageProcessor")


FAMILIES = {
    "siglip": lambda folder: siglip(folder, write_siglip),
    "siglip of SigLIP 2": lambda folder: siglip(folder, write_siglip_2),
    "metaclip_2": metaclip,
}


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "encoder"
    folder.mkdir()
    FAMILIES[request.param](folder)
    return folder


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fruit")
    write_scenes(folder / "fruit", "fruit", seed=0, count=12)
    return folder / "fruit"


def test_words_of_other_languages_have_tokens_of_their_own(tmp_path):
    metaclip(tmp_path)
    clip = mm.load_clip(tmp_path)
    tokens = {word: clip.tokenizer.encode(word) for word in ("rot", "rouge", "красный", "赤", "grün")}
    assert all(len(ids) == 1 for ids in tokens.values()) and len(set(map(tuple, tokens.values()))) == 5
    assert clip.tokenizer.pad(["rot"]).tolist() == [[0, *tokens["rot"], 2, *[2] * 5]]
    assert clip.config.text.end_token == 2, "an end token of 2 is the end of a text"


@pytest.mark.slow
def test_the_command_groups_applies_and_suggests(checkpoint, fruit, tmp_path, capsys):
    flags = [f"--images={fruit}", f"--clip={checkpoint}", "--subject=fruit", "--noprogress"]
    words = ["--aspect=color", "--words=color=red,green,yellow"]
    assert cli.main(["multimap", *flags, *words, f"--out={tmp_path / 'out'}"]) == 0
    with (tmp_path / "out" / "labels.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 12
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    applied = ["apply", f"--run={tmp_path / 'out'}", f"--images={fruit}", f"--out={tmp_path / 'applied'}"]
    assert cli.main(["multimap", *applied, "--noprogress"]) == 0
    found = [(folder / "labels.csv").read_text() for folder in (tmp_path / "out", tmp_path / "applied")]
    assert found[0] == found[1]
    assert cli.main(["multimap", "suggest", *flags, f"--out={tmp_path / 'suggested'}"]) == 0
    assert "multimap --" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["paper", "default", "released"])
def test_every_recipe_learns_proxies(recipe, checkpoint, fruit):
    clip, aspect = mm.load_clip(checkpoint), mm.Aspect("color", subject="fruit", words=("red", "green", "yellow"))
    rows = clip.embed_images(fruit)
    config = getattr(mm.ProxyConfig, recipe, mm.ProxyConfig)(steps=3)
    fit = mm.fit_proxies(clip, rows, aspect, contrast=("species",), config=config)
    assert fit.prompt_embeddings.shape == rows.shape and fit.losses[-1] < fit.losses[0]


BAD = {
    "NaFlex": (
        {"model_type": "siglip2"},
        "describes a SigLIP 2 for images of any shape .NaFlex.: use one of",
    ),
    "another model": ({"model_type": "blip"}, "'blip', expected one of clip, "),
    "a SigLIP that calls itself CLIP": ({"model_type": "clip"}, "the tokenizer in .* cannot be read"),
    "other widths": ({"text_config": {"projection_size": 16}}, "projection_size 16"),
    "no pooling": ({"vision_config": {"vision_use_head": False}}, "vision_use_head false"),
    "a wrong size": ({"vision_config": {"num_hidden_layers": -1}}, "num_hidden_layers -1"),
    "text that is no object": ({"text_config": 3}, "text_config in .* is 3, expected an object"),
    "an activation": ({"text_config": {"hidden_act": "relu"}}, "hidden_act 'relu'"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_one_sentence(name, tmp_path):
    changes, message = BAD[name]
    siglip(tmp_path, write_siglip)
    content = json.loads((tmp_path / "config.json").read_text())
    for key, value in changes.items():
        content[key] = content[key] | value if isinstance(value, dict) else value
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        mm.load_clip(tmp_path)


@pytest.mark.parametrize("stored", ["float8_e4m3fn", "int8"])
def test_quantised_weights_are_one_sentence(stored, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    siglip(tmp_path, write_siglip)
    path = tmp_path / "model.safetensors"
    arrays = load_file(path)
    arrays["text_model.head.weight"] = arrays["text_model.head.weight"].to(getattr(torch, stored))
    save_file(arrays, path)
    with pytest.raises(ValueError, match="text_model.head.weight in .* is stored as [FI]8.*, expected one of F64, F32"):
        mm.load_clip(tmp_path)


def test_half_a_checkpoint_is_one_sentence(tmp_path):
    siglip(tmp_path, write_siglip)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        mm.load_clip(tmp_path)
