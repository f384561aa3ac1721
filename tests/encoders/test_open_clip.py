"""open_clip's layout: pixels, embeddings and gradients are open_clip's, and what cannot be used says why.

`python -m experiments.training.open_clip_files` wrote the weights and what open_clip computed with them.
"""

import json
import os
import pickle
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import multimap_jax as mm
from experiments.training.open_clip_files import CASES, CONFIG, SLOT, TEXTS, WEIGHTS, pictures, texts, write_checkpoint
from multimap_jax.encoders.open_clip.preprocessing import make_preprocess, preprocess_settings
from multimap_jax.runtime.precision import matmul_precision
from multimap_jax.scenes import write_scenes
from multimap_jax.storage.paths import parse_path

FILES = Path(__file__).parent / "open_clip"
TOLERANCE = 1e-5


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """(a checkpoint, what open_clip computed with it)."""
    directory = tmp_path_factory.mktemp("case")
    write_checkpoint(directory, request.param, FILES)
    with np.load(FILES / "expected.npz") as arrays:
        expected = {name.split(": ")[1]: arrays[name] for name in arrays if name.startswith(f"{request.param}: ")}
    if CASES[request.param][-1] is not None:
        return mm.load_clip(directory), expected
    with pytest.warns(UserWarning, match="has no preprocess_cfg: images are scaled as OpenAI's CLIP") as caught:
        clip = mm.load_clip(directory)
    assert caught[0].filename == __file__
    return clip, expected


@pytest.fixture
def directory(tmp_path):
    """A checkpoint to be changed."""
    write_checkpoint(tmp_path / "clip", "shortest", FILES)
    return tmp_path / "clip"


def close(ours, theirs):
    assert np.abs(np.asarray(ours) - theirs).max() <= TOLERANCE * max(1, np.abs(theirs).max())


def test_pixels_embeddings_and_the_gradient_are_those_of_open_clip(case):
    clip, expected = case
    pixels = np.stack([clip.preprocess(Image.fromarray(picture)) for picture in pictures()])
    assert pixels.dtype == np.float32 and (pixels == expected["pixels"]).all()
    close(clip.embed_images(pictures(), normalize=False), expected["images"])
    ids = texts(clip.config.text.vocabulary)
    encoder = clip.slot_encoder(tuple(ids[1, : TEXTS[1]].tolist()), SLOT)

    def agreement(proxy):
        ours = encoder(proxy)
        return ours @ expected["target"], ours

    with matmul_precision("float32"):
        close(jax.jit(jax.vmap(clip.towers.text))(ids), expected["texts"])
        gradient, embedded = jax.jit(jax.grad(agreement, has_aux=True))(expected["proxy"])
    close(embedded, expected["with_proxy"])
    close(gradient, expected["gradient"])
    assert np.abs(gradient).max() > 1e-2
    assert clip.temperature_scale == pytest.approx(expected["scale"], rel=1e-6)


@pytest.mark.slow
def test_drawn_scenes_are_grouped(directory, tmp_path):
    write_scenes(tmp_path / "fruit", "fruit", seed=3, count=12)
    clip, color = mm.load_clip(directory), mm.Aspect("color", "fruit", ("red", "green", "yellow"))
    model = mm.MultiMaP(color, clip=clip, n_clusters=3).fit(clip.embed_images(tmp_path / "fruit"))
    assert model.labels_.shape == (12,) and pickle.loads(pickle.dumps(clip)).hash == clip.hash


def test_other_names_of_the_same_weights_are_the_same_towers(directory):
    towers, arrays = mm.load_clip(directory).towers, load_file(directory / WEIGHTS)
    outside = ("visual.", "logit_scale")
    custom = {name if name.startswith(outside) else f"text.{name}": value for name, value in arrays.items()}
    custom["logit_bias"], custom["logit_scale"] = np.float32([3]), arrays["logit_scale"].reshape(1)
    for other in (custom, {f"module.{name}": value for name, value in custom.items()}):
        save_file(other, directory / WEIGHTS)
        for ours, theirs in zip(jax.tree.leaves(towers), jax.tree.leaves(mm.load_clip(directory).towers)):
            assert (ours == theirs).all()


def change(directory, changes):
    """Changes settings, by their place such as "model_cfg.text_cfg.width"."""
    content = json.loads((directory / CONFIG).read_text())
    for place, value in changes.items():
        *parts, name = place.split(".")
        found = content
        for part in parts:
            found = found[part]
        found[name] = value
    (directory / CONFIG).write_text(json.dumps(content))


VISION, TEXT, SCALING = "model_cfg.vision_cfg", "model_cfg.text_cfg", "preprocess_cfg"
INSTEAD = "which is not supported: use a plain ViT CLIP, such as laion/"
REFUSED = {
    "timm": ({f"{VISION}.timm_model_name": "convnext_base"}, f"an image tower of timm ('convnext_base'), {INSTEAD}"),
    "a ResNet": ({f"{VISION}.layers": [3, 4, 6, 3]}, f"a ResNet as its image tower, {INSTEAD}"),
    "transformers": ({f"{TEXT}.hf_model_name": "mt5"}, f"a text tower of transformers ('mt5'), {INSTEAD}"),
    "CoCa": ({"model_cfg.multimodal_cfg": {}}, f"a decoder of texts (CoCa), {INSTEAD}"),
    "attention pooling": ({f"{VISION}.attentional_pool": True}, "attentional_pool True (expected none)"),
    "mean pooling": (
        {f"{VISION}.pool_type": "avg"},
        "vision_cfg has pool_type 'avg' (expected 'tok'). Instead, use a plain ViT CLIP, such as laion/",
    ),
    "pooling of the last token": ({f"{TEXT}.pool_type": "last"}, "pool_type 'last' (expected 'argmax' or 'eos')"),
    "no first norm": ({f"{VISION}.no_ln_pre": True}, "no_ln_pre True"),
    "layer scale": ({f"{VISION}.ls_init_value": 1e-4}, "ls_init_value 0.0001"),
    "another activation": ({f"{TEXT}.act_kwargs": {"approximate": "tanh"}}, "act_kwargs {'approximate': 'tanh'}"),
    "another epsilon": ({f"{TEXT}.norm_kwargs": {"eps": 1e-6}}, "norm_kwargs"),
    "norms of queries": ({f"{TEXT}.qk_norm": True}, "qk_norm True"),
    "other layers": ({f"{VISION}.block_type": "custom"}, "block_type 'custom' (expected None or 'default')"),
    "not causal": ({f"{TEXT}.no_causal_mask": True}, "no_causal_mask True"),
    "a class token of texts": ({f"{TEXT}.embed_cls": True}, "embed_cls True"),
    "no projection": ({f"{TEXT}.proj_type": "none"}, "proj_type 'none'"),
    "another cleaning of texts": ({f"{TEXT}.tokenizer_kwargs": {"clean": "canonicalize"}}, "tokenizer_kwargs"),
    "an unknown setting": ({f"{TEXT}.windows": 3}, "text_cfg has 'windows' (not supported)"),
    "an unknown setting of both": ({"model_cfg.windows": 3}, "model_cfg has 'windows' (not supported)"),
    "all at once": (
        {f"{VISION}.width": 0, f"{TEXT}.heads": "4", f"{SCALING}.std": 0},
        "vision_cfg has width 0 (expected a whole number of 1 to 65,536); text_cfg has heads '4' (expected a whole "
        "number of 1 to 65,536); preprocess_cfg has std 0 (expected one or three numbers of 0.001 to 1,000)",
    ),
    "no model": ({"model_cfg": None}, "model_cfg in"),
    "no tower": ({TEXT: []}, "text_cfg in"),
    "no embedding": ({"model_cfg.embed_dim": None}, "embed_dim None (expected a whole number"),
    "half an activation": ({"model_cfg.quick_gelu": 0.5}, "quick_gelu 0.5 (expected true or false)"),
    "an image of a million": ({f"{VISION}.image_size": 10**6}, "image_size 1000000 (expected a whole number of 1 to"),
    "a rectangle": ({f"{VISION}.image_size": [33, 40]}, "image_size [33, 40]"),
    "many patches": ({f"{VISION}.image_size": 1000, f"{VISION}.patch_size": 1}, "1,000,000 patches"),
    "patch above the image": ({f"{VISION}.patch_size": 64}, "patch_size 64 for image_size 33"),
    "heads that do not fit": ({f"{VISION}.head_width": 7}, "width 32 (expected a multiple of its head_width, 7)"),
    "no MLP": ({f"{TEXT}.mlp_ratio": 0.01}, "mlp_ratio 0.01 (expected an MLP with a width of 1 to 262,144)"),
    "an endless MLP": ({f"{TEXT}.mlp_ratio": float("inf")}, "mlp_ratio inf"),
    "an MLP of words": ({f"{VISION}.mlp_ratio": "4"}, "mlp_ratio '4'"),
    "a long number": ({f"{VISION}.mlp_ratio": 10**400}, "mlp_ratio 1000"),
    "an end of words": ({f"{TEXT}.eos_id": "end"}, "eos_id 'end'"),
    "another end": ({f"{TEXT}.eos_id": 2, f"{TEXT}.pool_type": "eos"}, "open_clip_config.json says 2"),
    "another tokenizer": ({f"{TEXT}.vocab_size": 540}, "open_clip_config.json says 540"),
    "larger vocabulary": ({f"{TEXT}.vocab_size": 5000}, "expected (5000, 32) by open_clip_config.json"),
    "many layers": ({f"{TEXT}.layers": 1000}, "arrays are too few for 1002 layers"),
    "scaling at random": ({f"{SCALING}.interpolation": "random"}, "'random' (expected 'bicubic' or 'bilinear')"),
    "another scaling": ({f"{SCALING}.resize_mode": ["squash"]}, "resize_mode ['squash'] (expected 'shortest' or"),
    "no RGB": ({f"{SCALING}.mode": "L"}, "mode 'L' (expected 'RGB')"),
    "a filling above white": ({f"{SCALING}.fill_color": 256}, "fill_color 256 (expected a whole number of 0 to 255)"),
    "two means": ({f"{SCALING}.mean": [0.5, 0.5]}, "mean [0.5, 0.5] (expected one or three numbers of -1,000 to"),
    "no scaling": ({SCALING: "usual"}, "preprocess_cfg in"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_one_sentence(name, directory):
    changes, said = REFUSED[name]
    change(directory, changes)
    with pytest.raises(ValueError) as raised:
        mm.load_clip(directory)
    assert said in str(raised.value) and str(directory) in str(raised.value)


HARMLESS = {
    f"{VISION}.patch_dropout": 0.5, f"{VISION}.output_tokens": True, f"{VISION}.image_size": [33, 33],
    f"{VISION}.timm_model_name": None, f"{VISION}.final_ln_after_pool": True, f"{TEXT}.pool_type": "argmax",
    f"{TEXT}.hf_tokenizer_name": "openai/clip-vit-base-patch32", "model_cfg.init_logit_scale": 1,
    f"{SCALING}.size": 224, f"{SCALING}.interpolation": None, f"{SCALING}.comment": "x",
}  # fmt: skip


def test_settings_without_influence_are_read_over(directory):
    before = mm.load_clip(directory)
    change(directory, HARMLESS)
    after = mm.load_clip(directory)
    assert (after.embed_images(pictures()) == before.embed_images(pictures())).all()


def test_a_text_can_end_at_a_certain_id(directory):
    end = mm.load_clip(directory).tokenizer.end
    change(directory, {f"{TEXT}.pool_type": "eos", f"{TEXT}.eos_id": end})
    assert mm.load_clip(directory).config.text.end_token == end


def test_an_image_that_is_too_narrow_is_refused(monkeypatch):
    monkeypatch.setattr("multimap_jax.encoders.clip.preprocessing.SCALED_PIXELS", 32 * 64)
    for mode, narrow in (("shortest", (10, 21)), ("longest", (1, 90))):
        preprocess = make_preprocess(preprocess_settings({"resize_mode": mode}), 32)
        preprocess(Image.new("RGB", (10, 20)))
        with pytest.raises(ValueError, match="pixels are too narrow for this encoder: crop the image"):
            preprocess(Image.new("RGB", narrow))


@pytest.mark.parametrize(
    "act, error, said",
    [
        (lambda folder: (folder / WEIGHTS).unlink(), FileNotFoundError, f"has no weights: expected {WEIGHTS}; save"),
        (lambda folder: (folder / WEIGHTS).rename(folder / "open_clip_pytorch_model.bin"), ValueError,
         r"only pickled weights \(open_clip_pytorch_model.bin\).*PyTorch: safetensors.torch.save_file\(open_clip"),
        (lambda folder: (folder / CONFIG).unlink(), FileNotFoundError,
         f"or in open_clip's .{CONFIG}, {WEIGHTS}, …., found {WEIGHTS}"),
        (lambda folder: (folder / CONFIG).write_text("{"), ValueError, f"{CONFIG} is not JSON"),
        (lambda folder: ((folder / CONFIG).unlink(), os.mkfifo(folder / CONFIG)), ValueError, "not a regular file"),
        (lambda folder: os.truncate(folder / WEIGHTS, 9999), ValueError, "is not a complete safetensors file"),
        (lambda folder: (folder / "merges.txt").unlink(), FileNotFoundError, "merges.txt missing"),
        (lambda folder: save_file({name: array for name, array in load_file(folder / WEIGHTS).items()
                                   if "visual" not in name}, folder / WEIGHTS),
         ValueError, f"do not fit its {CONFIG}"),
    ],
    ids=["no weights", "pickled", "no configuration", "torn configuration", "pipe", "torn", "no tokenizer", "half"],
)  # fmt: skip
def test_files_that_are_missing_or_damaged(directory, act, error, said):
    act(directory)
    with pytest.raises(error, match=said):
        mm.load_clip(directory)


def test_the_hash_follows_every_file(directory):
    hashes = [mm.load_clip(directory).hash]
    arrays = load_file(directory / WEIGHTS)
    save_file(arrays | {"logit_scale": np.array(arrays["logit_scale"] + 1)}, directory / WEIGHTS)
    hashes.append(mm.load_clip(directory).hash)
    for name in (CONFIG, "vocab.json", "merges.txt", "tokenizer_config.json"):
        (directory / name).write_text((directory / name).read_text() + "\n")
        hashes.append(mm.load_clip(directory).hash)
    assert len(set(hashes)) == 6


def test_a_checkpoint_in_a_subfolder_is_named(directory):
    with pytest.raises(FileNotFoundError, match=f"give the subfolder that has one: {directory}"):
        mm.load_clip(directory.parent)


@pytest.fixture
def both(directory, clip):
    """A folder with both layouts, of different models, without Hugging Face's weights."""
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(clip.directory / name, directory)
    return directory


def test_a_folder_with_both_layouts(both, clip):
    (both / "pytorch_model.bin").write_bytes(b"pickled")
    assert mm.load_clip(both).files == (both / CONFIG, both / WEIGHTS)
    shutil.copy(clip.directory / "model.safetensors", both)
    assert mm.load_clip(both).files == (both / "config.json", both / "model.safetensors")
    (both / "config.json").write_text(json.dumps({"architecture": "vit_base_patch32_clip_224"}))  # timm's
    assert mm.load_clip(both).files == (both / CONFIG, both / WEIGHTS)


def test_the_hub_is_asked_for_open_clip_where_there_is_nothing_else(both, clip, monkeypatch):
    asked, there = [], both

    def fetch(name, revision, allow_patterns):
        asked.append({*allow_patterns} & {"model.safetensors", "flax_model.msgpack", CONFIG, WEIGHTS})
        return str(there)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert mm.load_clip("someone/some-clip").files[1] == both / WEIGHTS
    assert asked == [{"model.safetensors"}, {CONFIG, WEIGHTS}]
    there = clip.directory
    assert mm.load_clip("someone/some-clip").hash == clip.hash and asked[2:] == [{"model.safetensors"}]


def test_a_store_is_asked_for_open_clip_where_there_is_nothing_else(both, clip):
    def loaded(name):
        for path in both.iterdir():
            (parse_path(f"memory://{name}") / path.name).write_bytes(path.read_bytes())
        found = mm.load_clip(f"memory://{name}")
        return found, {path.name for path in found.directory.iterdir()} & {WEIGHTS, "README.md", "model.safetensors"}

    (both / "README.md").write_text("a card")
    found, fetched = loaded("open-clip/one")
    assert found.hash == mm.load_clip(both).hash and fetched == {WEIGHTS}
    shutil.copy(clip.directory / "model.safetensors", both)
    found, fetched = loaded("open-clip/both")
    assert found.hash == mm.load_clip(both).hash and fetched == {"model.safetensors"}
