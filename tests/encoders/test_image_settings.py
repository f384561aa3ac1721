"""Image towers in bf16 and images decoded fast: near the default, never taken for it, and so in every later command."""

import copy
import json
import pickle

import numpy as np
import pytest
from PIL import Image

import multimap_jax as mm
from multimap_jax.cli import main as cli
from multimap_jax.scenes import write_scenes


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fruit") / "fruit"
    write_scenes(folder, "fruit", seed=0, count=12)
    return folder


@pytest.fixture(scope="module")
def pair():
    return mm.load_clip(), mm.load_clip("embedded", image_precision="bf16")


def test_embeddings_are_near_and_texts_the_same(pair, fruit):
    wide, narrow = pair
    rows = [clip.embed_images(fruit) for clip in pair]
    assert rows[1].dtype == np.float32
    cosines = (rows[0] * rows[1]).sum(1)
    assert 0.999 < cosines.min() and not (rows[0] == rows[1]).any()
    texts = [clip.embed_texts(["a red fruit"]) for clip in pair]
    assert (texts[0] == texts[1]).all()


def test_it_is_another_encoder_and_copies_keep_it(pair):
    wide, narrow = pair
    assert wide.hash != narrow.hash
    assert repr(narrow) == "load_clip('embedded', image_precision='bf16')" and repr(wide) == "load_clip('embedded')"
    assert copy.deepcopy(narrow) is narrow
    assert pickle.loads(pickle.dumps(narrow)).hash == narrow.hash
    with pytest.raises(ValueError, match="image_precision is 'half', known: float32, bf16"):
        mm.load_clip("embedded", image_precision="half")


def test_fast_decoding_changes_large_jpegs_alone_and_little(tmp_path):
    clips = mm.load_clip(), mm.load_clip("embedded", decode="fast")
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 255, (12, 16, 3), np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)
    noise.save(tmp_path / "large.jpg", quality=90)
    noise.save(tmp_path / "large.png")
    noise.resize((250, 250)).save(tmp_path / "small.jpg")
    sizes, scaled = [], clips[1].preprocess

    def preprocess(picture):
        sizes.append(picture.size)
        return scaled(picture)

    clips[1].preprocess = preprocess
    exact, fast = (clip.embed_images(sorted(tmp_path.iterdir())) for clip in clips)
    clips[1].preprocess = scaled
    assert sorted(sizes) == [(250, 250), (320, 240), (640, 480)]  # an encoder of 64 pixels takes 128 or more
    assert ((exact * fast).sum(1) > 0.999).all()
    assert (exact == fast).all(1).tolist() == [False, True, True]
    assert clips[0].hash != clips[1].hash and repr(clips[1]) == "load_clip('embedded', decode='fast')"
    assert pickle.loads(pickle.dumps(clips[1])).hash == clips[1].hash
    both = mm.load_clip("embedded", image_precision="bf16", decode="fast")
    assert len({clip.hash for clip in (*clips, both, mm.load_clip("embedded", image_precision="bf16"))}) == 4
    with pytest.raises(ValueError, match="decode is 'quick', known: exact, fast"):
        mm.load_clip("embedded", decode="quick")


@pytest.mark.slow
def test_a_saved_model_embeds_as_it_was_fitted(pair, fruit, tmp_path):
    aspect = mm.Aspect("color", subject="fruit", words=("red", "green", "yellow"))
    clip = mm.load_clip("embedded", image_precision="bf16", decode="fast")
    model = mm.MultiMaP(aspect, clip=clip).fit(fruit)
    model.save(tmp_path / "model")
    loaded = mm.load(tmp_path / "model")
    assert loaded.clip.image_precision == "bf16" and loaded.clip.image_settings.decode == "fast"
    assert (loaded.predict(fruit) == model.predict(fruit)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("image_precision", "bf16"), ("decode", "fast")])
def test_every_later_command_uses_it(fruit, tmp_path, capsys, name, value):
    def run(*flags):
        return cli.main(["multimap", *flags, "--noprogress"])

    out, chosen, said = f"--out={tmp_path / 'out'}", f"--{name}={value}", name.replace("_", " ")
    wanted = ["--subject=fruit", "--aspect=color", "--words=color=red,green,yellow"]
    assert run(f"--images={fruit}", *wanted, out, chosen) == 0
    kept = json.loads((tmp_path / "out" / "run.json").read_text())
    assert kept["clip"][name] == value
    labels = (tmp_path / "out" / "labels.csv").read_text()
    assert f'["{said}","{value}"]' in (tmp_path / "out" / "report.html").read_text()

    assert run("apply", f"--run={tmp_path / 'out'}", f"--images={fruit}", f"--out={tmp_path / 'new'}") == 0
    assert (tmp_path / "new" / "labels.csv").read_text() == labels
    assert run(f"--config={tmp_path / 'out' / 'run.json'}", f"--out={tmp_path / 'again'}", *wanted[1:2]) == 0
    assert json.loads((tmp_path / "again" / "run.json").read_text())["clip"] == kept["clip"]
    assert run("suggest", f"--images={fruit}", "--subject=fruit", out, chosen) == 0
    assert chosen in capsys.readouterr().out.splitlines()[-1]

    assert run(f"--images={fruit}", *wanted, out) == 2
    assert "another configuration, precision, decoding or device" in capsys.readouterr().err
    assert run("embed", f"--images={fruit}", f"--out={tmp_path / 'rows'}", chosen) == 0
    ready = [f"--embeddings={tmp_path / 'rows'}", *wanted, f"--out={tmp_path / 'groups'}"]
    assert run(*ready) == 2
    assert "another configuration, precision or decoding of it" in capsys.readouterr().err
    assert run(*ready, chosen) == 0
