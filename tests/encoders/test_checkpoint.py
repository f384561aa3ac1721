"""Checkpoints: every format gives the same towers, and what cannot be read says why."""

import copy
import json
import os
import pickle
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
from flax.serialization import msgpack_serialize
from flax.traverse_util import unflatten_dict
from safetensors.numpy import load_file, save_file

import multimap_jax as mm
from multimap_jax.encoders import weights
from multimap_jax.encoders.clip import checkpoint
from multimap_jax.encoders.clip.checkpoint import arrays_from_towers, save_checkpoint
from multimap_jax.encoders.clip.model import EMBEDDED

TEXTS = ["a red fruit", "a fruit with the color of dark green"]


@pytest.fixture
def directory(clip, tmp_path):
    """A copy of the tiny checkpoint, to be changed."""
    shutil.copytree(clip.directory, tmp_path / "copy")
    return tmp_path / "copy"


def arrays_of(directory):
    return load_file(directory / "model.safetensors")


def flax_names(arrays):
    """The same arrays as FlaxCLIPModel stored them: kernels [in, out] and [row, column, in, out]."""
    tree = {}
    for name, value in arrays.items():
        *module, leaf = name.split(".")
        if leaf == "weight" and "embedding" in module[-1] and value.ndim == 2:
            leaf = "embedding"
        elif leaf == "weight" and value.ndim == 1:
            leaf = "scale"
        elif leaf == "weight":
            leaf, value = "kernel", value.T if value.ndim == 2 else value.transpose(2, 3, 1, 0)
        tree[*module, leaf] = value
    return unflatten_dict(tree)


def write_shards(directory, arrays):
    names = sorted(arrays)
    parts = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: arrays[name] for name in part}, directory / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def write_flax(directory, arrays):
    (directory / "flax_model.msgpack").write_bytes(msgpack_serialize(flax_names(arrays)))


@pytest.mark.parametrize("write", [write_shards, write_flax])
def test_every_format_gives_the_same_towers(clip, directory, write):
    arrays = arrays_of(directory)
    (directory / "model.safetensors").unlink()
    write(directory, arrays)
    other = mm.load_clip(directory)
    for ours, theirs in zip(jax.tree.leaves(clip.towers), jax.tree.leaves(other.towers)):
        assert (ours == theirs).all()
    assert (other.embed_texts(TEXTS) == clip.embed_texts(TEXTS)).all()


def test_other_layouts_of_the_same_weights_are_the_same_towers(clip, directory):
    arrays = {f"module.{name}": value for name, value in arrays_of(directory).items()}
    arrays["module.logit_scale"] = arrays["module.logit_scale"].reshape(1)
    save_file(arrays, directory / "model.safetensors")
    other = mm.load_clip(directory)
    for ours, theirs in zip(jax.tree.leaves(clip.towers), jax.tree.leaves(other.towers)):
        assert (ours == theirs).all()


def test_what_transformers_saves_is_read(clip, directory):
    from transformers import CLIPImageProcessorPil, CLIPProcessor, CLIPTokenizer

    tokenizer, images = (kind.from_pretrained(clip.directory) for kind in (CLIPTokenizer, CLIPImageProcessorPil))
    for name in ("preprocessor_config.json", "vocab.json", "merges.txt"):
        (directory / name).unlink()
    CLIPProcessor(images, tokenizer).save_pretrained(directory)
    other, picture = mm.load_clip(directory), np.random.default_rng(0).integers(0, 255, (50, 40, 3), np.uint8)
    assert (other.embed_texts(TEXTS) == clip.embed_texts(TEXTS)).all()
    assert (other.embed_images([picture]) == clip.embed_images([picture])).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_float32(directory, dtype):
    arrays = {name: value.astype(dtype) for name, value in arrays_of(directory).items()}
    save_file(arrays, directory / "model.safetensors")
    towers = mm.load_clip(directory).towers
    assert {leaf.dtype for leaf in jax.tree.leaves(towers)} == {np.dtype(np.float32)}
    table = arrays["text_model.embeddings.token_embedding.weight"].astype(np.float32)
    assert (np.asarray(towers.text.tokens[...]) == table).all()


def test_many_rows_are_read_in_parts(clip, directory, monkeypatch):
    monkeypatch.setattr(checkpoint, "ROWS", 7)
    parts = mm.load_clip(directory).towers
    for ours, theirs in zip(jax.tree.leaves(parts), jax.tree.leaves(clip.towers)):
        assert ours.shape == theirs.shape and (ours == theirs).all()
    arrays = arrays_of(directory)
    name = "text_model.encoder.layers.1.mlp.fc1.weight"
    arrays[name][20, 3] = np.nan
    save_file(arrays, directory / "model.safetensors")
    with pytest.raises(ValueError, match=rf"hold NaN or infinite numbers.*\n  {name}"):
        mm.load_clip(directory)


def test_all_that_does_not_fit_is_listed_at_once(directory):
    arrays = arrays_of(directory)
    del arrays["text_projection.weight"]
    arrays["something.else"] = np.zeros(3, np.float32)
    arrays["vision_model.post_layernorm.bias"] = np.zeros(7, np.float32)
    arrays["text_model.embeddings.position_ids"] = np.arange(77)[None]
    save_file(arrays, directory / "model.safetensors")
    with pytest.raises(ValueError, match="3 arrays") as raised:
        mm.load_clip(directory)
    lines = str(raised.value).splitlines()
    assert "missing: text_projection.weight" in lines[1]
    assert "unknown: something.else (3,)" in lines[2]
    assert "post_layernorm.bias has shape (7,), expected (40,)" in lines[3]


def change_config(directory, **changes):
    config = json.loads((directory / "config.json").read_text())
    for key, value in changes.items():
        part, _, name = key.rpartition("__")
        (config[part] if part else config)[name] = value
    (directory / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "blip"}, "'blip', expected one of clip, "),
        ({"text_config__hidden_act": "relu", "vision_config__hidden_act": "tanh"}, "text_config .*; vision_config"),
        ({"vision_config__num_channels": 1}, "num_channels 1"),
        ({"text_config__vocab_size": 500}, "has shape|config.json says 500"),
    ],
)
def test_other_architectures(directory, changes, message):
    change_config(directory, **changes)
    with pytest.raises(ValueError, match=message):
        mm.load_clip(directory)


def test_pickled_weights_are_refused(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(ValueError, match="unpickling runs code.*save_pretrained"):
        mm.load_clip(directory)


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("model.safetensors", FileNotFoundError, "has no weights"),
        ("config.json", FileNotFoundError, "has no config.json"),
        ("preprocessor_config.json", FileNotFoundError, "has no preprocessor_config.json"),
        ("merges.txt", FileNotFoundError, "merges.txt missing"),
    ],
)
def test_missing_files(directory, name, error, message):
    (directory / name).unlink()
    (directory / "tokenizer.json").unlink(missing_ok=True)
    with pytest.raises(error, match=message):
        mm.load_clip(directory)


@pytest.mark.parametrize("name", ["model.safetensors", "flax_model.msgpack"])
def test_torn_files(directory, name):
    content = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").unlink()
    (directory / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is not a complete"):
        mm.load_clip(directory)


def test_a_shard_that_is_not_there(directory):
    write_shards(directory, arrays_of(directory))
    (directory / "model.safetensors").unlink()
    (directory / "model-2-of-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="names missing shards: model-2-of-2.safetensors"):
        mm.load_clip(directory)


def test_what_is_saved_is_read_back_and_by_transformers_too(tiny, clip, directory):
    from transformers import CLIPModel

    torch = pytest.importorskip("torch")
    save_checkpoint(directory, clip.towers)
    assert all((arrays_from_towers(clip.towers)[k] == v).all() for k, v in arrays_of(directory).items())
    assert (mm.load_clip(directory).embed_texts(TEXTS) == clip.embed_texts(TEXTS)).all()
    ids = torch.tensor(clip.tokenizer.pad(TEXTS))
    ours = CLIPModel.from_pretrained(directory).get_text_features(input_ids=ids).pooler_output
    assert torch.equal(ours, tiny[1].float().get_text_features(input_ids=ids).pooler_output)


def test_a_checkpoint_is_called_by_its_folder_and_found_by_its_path(directory, monkeypatch):
    monkeypatch.chdir(directory)
    for source in (directory, f"{directory}/", ".", "../copy"):
        loaded = mm.load_clip(source)
        assert (loaded.name, loaded.place) == ("copy", str(directory.resolve()))
        assert pickle.loads(pickle.dumps(loaded)).hash == loaded.hash
    embedded = mm.load_clip("embedded")
    assert (embedded.name, embedded.place) == ("embedded", "embedded")


def test_the_hub_is_asked_for_what_is_needed(clip, monkeypatch):
    asked = []

    def fetch(name, revision, allow_patterns):
        asked.append((name, allow_patterns))
        return str(clip.directory)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    loaded = mm.load_clip("someone/some-clip")
    assert loaded.name == loaded.place == "someone/some-clip" and loaded.hash == clip.hash
    assert [name for name, _ in asked] == ["someone/some-clip"]
    assert "model.safetensors" in asked[0][1] and not any("bin" in pattern or pattern == "*" for pattern in asked[0][1])


def test_no_network_is_one_sentence(monkeypatch):
    def fail(*_, **__):
        raise OSError("a very long story\nof many lines")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ConnectionError, match="check the id and the network") as raised:
        mm.load_clip("someone/some-clip")
    assert "\n" not in str(raised.value)


def test_a_path_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="there is no directory ./no/such/place"):
        mm.load_clip("./no/such/place")


def test_a_file_for_its_folder(directory):
    with pytest.raises(ValueError, match=f"model.safetensors is a file.*give {directory}"):
        mm.load_clip(directory / "model.safetensors")


def test_a_checkpoint_is_looked_for_in_a_few_folders_alone(tmp_path, monkeypatch):
    looked, below = [], [tmp_path / str(i) / "b" / "c" / "d" / "e" for i in range(30)]
    for folder in below:
        folder.mkdir(parents=True)
    (below[0] / "config.json").write_text("{}")  # five folders below
    monkeypatch.setattr(weights, "FOLDERS", 100)
    monkeypatch.setattr(
        "pathlib.Path.iterdir", lambda self: looked.append(self) or map(self.joinpath, os.listdir(self))
    )
    assert weights.checkpoints_below(tmp_path) == "" and len(looked) == 100


def test_copies_share_the_weights(clip):
    assert copy.deepcopy(clip) is clip and mm.load_clip(clip) is clip
    assert pickle.loads(pickle.dumps(clip)).hash == clip.hash


def test_the_hash_follows_the_weights(clip, directory):
    assert mm.load_clip(directory).hash == clip.hash
    arrays = arrays_of(directory)
    arrays["logit_scale"] = np.array(arrays["logit_scale"] + 1)
    save_file(arrays, directory / "model.safetensors")
    assert mm.load_clip(directory).hash != clip.hash


def test_the_embedded_checkpoint_fits_every_recipe_and_is_small():
    embedded = mm.load_clip("embedded")
    assert embedded.embedded and embedded.config.text.width == embedded.config.text.embed
    assert sum(path.stat().st_size for path in embedded.directory.iterdir()) <= 12e6


@pytest.mark.parametrize(
    "status, errno, said",
    [(404, None, "the hub answered 404 (no such model)"), (500, None, "the hub answered 500 (an error)"),
     (None, 28, "its files could not be downloaded (No space left on device)"), (None, None, "could not be reached")],
)  # fmt: skip
def test_why_the_hub_failed(status, errno, said, monkeypatch):
    from types import SimpleNamespace

    from multimap_jax.encoders.load import hub_problem

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    error = OSError(errno, os.strerror(errno)) if errno else OSError()
    error.response = SimpleNamespace(status_code=status)
    assert said in hub_problem(error)


def test_the_tokenizer_may_be_as_long_as_that_of_siglip_2(tmp_path):
    from transformers import CLIPTokenizer

    shutil.copytree(EMBEDDED, tmp_path, dirs_exist_ok=True)
    CLIPTokenizer.from_pretrained(EMBEDDED).save_pretrained(tmp_path)
    with (tmp_path / "tokenizer.json").open("a") as file:
        file.write(" " * 35_000_000)
    assert mm.load_clip(tmp_path).tokenizer.encode("red")
