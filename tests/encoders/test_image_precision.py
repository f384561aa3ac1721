"""Image towers in bf16: near those in float32, never taken for them, and the same in every later command."""

import copy
import json
import pickle

import numpy as np
import pytest

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


@pytest.mark.slow
def test_a_saved_model_embeds_as_it_was_fitted(pair, fruit, tmp_path):
    aspect = mm.Aspect("color", subject="fruit", words=("red", "green", "yellow"))
    model = mm.MultiMaP(aspect, clip=pair[1]).fit(fruit)
    model.save(tmp_path / "model")
    loaded = mm.load(tmp_path / "model")
    assert loaded.clip.image_precision == "bf16"
    assert (loaded.predict(fruit) == model.predict(fruit)).all()


@pytest.mark.slow
def test_every_later_command_uses_it(fruit, tmp_path, capsys):
    def run(*flags):
        return cli.main(["multimap", *flags, "--noprogress"])

    out, wanted = f"--out={tmp_path / 'out'}", ["--subject=fruit", "--aspect=color", "--words=color=red,green,yellow"]
    assert run(f"--images={fruit}", *wanted, out, "--image_precision=bf16") == 0
    kept = json.loads((tmp_path / "out" / "run.json").read_text())
    assert kept["clip"]["image_precision"] == "bf16"
    labels = (tmp_path / "out" / "labels.csv").read_text()
    assert "image precision" in (tmp_path / "out" / "report.html").read_text()

    assert run("apply", f"--run={tmp_path / 'out'}", f"--images={fruit}", f"--out={tmp_path / 'new'}") == 0
    assert (tmp_path / "new" / "labels.csv").read_text() == labels
    assert run(f"--config={tmp_path / 'out' / 'run.json'}", f"--out={tmp_path / 'again'}", *wanted[1:2]) == 0
    assert json.loads((tmp_path / "again" / "run.json").read_text())["clip"] == kept["clip"]
    assert run("suggest", f"--images={fruit}", "--subject=fruit", out, "--image_precision=bf16") == 0
    assert "--image_precision=bf16" in capsys.readouterr().out.splitlines()[-1]

    assert run(f"--images={fruit}", *wanted, out) == 2
    assert "another configuration, precision or device" in capsys.readouterr().err
    assert run("embed", f"--images={fruit}", f"--out={tmp_path / 'rows'}", "--image_precision=bf16") == 0
    ready = [f"--embeddings={tmp_path / 'rows'}", *wanted, f"--out={tmp_path / 'groups'}"]
    assert run(*ready) == 2
    assert "another configuration or precision of it" in capsys.readouterr().err
    assert run(*ready, "--image_precision=bf16") == 0
