"""Every image is decoded once: the thumbnails of the page come from the decoding that embeds."""

import base64
import json
import shutil

import pytest

from multimap_jax.images import decoding
from multimap_jax.images.thumbnails import thumbnails
from multimap_jax.scenes import write_scenes
from tests.command import multimap
from tests.pages import content

FLAGS = ["--subject=fruit", "--aspect=color", "--words=color=red,green,yellow", "--noprogress"]
SPECIES = ["--aspect=species", "--words=species=apple,banana,grape"]
STORED = "embeddings/thumbnails/thumbnails_*.npz"


def pictures(out):
    return [base64.b64decode(text) for text in content((out / "report.html").read_text())["pictures"]]


@pytest.fixture
def fruit(tmp_path):
    write_scenes(tmp_path / "fruit", "fruit", seed=3, count=40)
    return tmp_path / "fruit"


@pytest.fixture
def decoded(monkeypatch):
    """The names of the images that were decoded, since the last time it was cleared."""
    found, decode = [], decoding.decode

    def counted(image, *arguments):
        found.append(image.name)
        return decode(image, *arguments)

    monkeypatch.setattr(decoding, "decode", counted)
    return found


def expected(folder):
    return thumbnails(sorted(folder.glob("*.png")))


@pytest.mark.slow
def test_a_run_and_all_that_follow_it_decode_each_image_once(fruit, tmp_path, decoded):
    names, out = sorted(path.name for path in fruit.glob("*.png")), tmp_path / "out"
    assert multimap(f"--images={fruit}", f"--out={out}", *FLAGS) == 0
    assert sorted(decoded) == names and len(list(out.glob(STORED))) == len(list(out.glob("embeddings/img_emb/*")))
    decoded.clear()
    assert multimap(f"--images={fruit}", f"--out={out}", *FLAGS, *SPECIES) == 0
    (tmp_path / "edits.json").write_text(json.dumps({"edits": [{"aspect": "color", "rename": "red", "to": "warm"}]}))
    edit = ("edit", f"--run={out}", f"--edits={tmp_path / 'edits.json'}", f"--out={tmp_path / 'edited'}")
    assert multimap(*edit) == 0
    assert multimap(f"--embeddings={out}", f"--out={tmp_path / 'again'}", *FLAGS) == 0
    assert not decoded
    for each in ("out", "edited", "again"):
        assert pictures(tmp_path / each) == expected(fruit), each
    shutil.copytree(fruit, tmp_path / "new")
    decoded.clear()
    assert multimap("apply", f"--run={out}", f"--images={tmp_path / 'new'}", f"--out={tmp_path / 'applied'}") == 0
    assert sorted(decoded) == names and pictures(tmp_path / "applied") == expected(fruit)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["embed", "suggest"])
def test_what_embeds_keeps_thumbnails_for_the_command_after_it(fruit, tmp_path, decoded, first):
    out, subject = tmp_path / "out", ["--subject=fruit"] * (first == "suggest")
    assert multimap(first, f"--images={fruit}", f"--out={out}", *subject, "--noprogress") == 0
    assert len(decoded) == 40
    assert multimap(f"--images={fruit}", f"--out={out}", *FLAGS) == 0
    assert len(decoded) == 40 and len(pictures(out)) == 40 and all(pictures(out))


@pytest.mark.slow
def test_thumbnails_that_nobody_kept_are_made_for_the_page(fruit, tmp_path, decoded, monkeypatch):
    out = tmp_path / "out"
    assert multimap("embed", f"--images={fruit}", f"--out={out}", "--nothumbnails") == 0
    assert not list(out.glob(STORED)) and len(decoded) == 40
    assert multimap(f"--images={fruit}", f"--out={out}", *FLAGS) == 0
    assert len(decoded) == 80 and pictures(out) == expected(fruit)
    monkeypatch.setattr("multimap_jax.runs.cache.THUMBNAILS", 39)
    assert multimap("embed", f"--images={fruit}", f"--out={tmp_path / 'many'}") == 0
    assert not list((tmp_path / "many").glob(STORED))


@pytest.mark.slow
def test_damaged_thumbnails_are_made_again_and_nothing_is_embedded_again(fruit, tmp_path, decoded, capsys):
    out = tmp_path / "out"
    assert multimap(f"--images={fruit}", f"--out={out}", *FLAGS) == 0
    for path in out.glob(STORED):
        path.write_bytes(path.read_bytes()[:-40])
    decoded.clear()
    assert multimap(f"--images={fruit}", f"--out={out}", *FLAGS) == 0
    assert "all 40 images are embedded already" in capsys.readouterr().out
    assert len(decoded) == 40 and pictures(out) == expected(fruit)
    assert multimap(f"--images={fruit}", f"--out={out}", "--fresh", *FLAGS) == 0
    decoded.clear()
    assert multimap(f"--images={fruit}", f"--out={out}", *FLAGS) == 0 and not decoded
