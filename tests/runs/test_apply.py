"""New images in the groups of a finished run."""

import csv
import json
import shutil

import numpy as np
import pytest

from multimap_jax.cli import main as cli
from multimap_jax.scenes import write_scenes
from tests.pages import content

FLAGS = ["--subject=fruit", "--aspect=color", "--aspect=species", "--words=color=red,green,yellow"]
FLAGS += ["--words=species=apple,banana,grape", "--noprogress"]


def apply(run, images, out, *more):
    return cli.main(["multimap", "apply", f"--run={run}", f"--images={images}", f"--out={out}", "--noprogress", *more])


def rows(path):
    return {row["image"]: row for row in csv.DictReader(path.read_text().splitlines())}


def test_the_same_images_get_the_same_groups(finished, tmp_path):
    images, run = finished
    assert apply(run, images, tmp_path, f"--labels={images / 'labels.csv'}") == 0
    assert rows(tmp_path / "labels.csv") == rows(run / "labels.csv")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["color"]["nmi"] > 0.9 and metrics["color"]["images"] == 40
    assert "New images, assigned to the existing groups of" in (tmp_path / "report.html").read_text()


def test_new_images_alone_are_embedded_and_no_model_is_fitted(finished, tmp_path, monkeypatch):
    images, run = finished
    write_scenes(tmp_path / "new", "fruit", seed=4, count=9)
    monkeypatch.setattr("multimap_jax.estimator.MultiMaP.fit", lambda *_, **__: pytest.fail("fitted"))
    assert apply(run, tmp_path / "new", tmp_path / "out") == 0
    found, truth = rows(tmp_path / "out" / "labels.csv"), rows(tmp_path / "new" / "labels.csv")
    assert sum(found[name]["color"] == truth[name]["color"] for name in truth) >= 8


@pytest.mark.slow
def test_results_say_where_the_words_of_the_run_came_from(finished, tmp_path):
    images, _ = finished
    words = ["--aspect=color", "--words=color=red,green,yellow", "--aspect=species", "--words=species=vocabulary"]
    flags = [f"--images={images}", "--subject=fruit", *words, f"--out={tmp_path / 'run'}", "--noprogress"]
    assert cli.main(["multimap", *flags]) == 0
    assert apply(tmp_path / "run", images, tmp_path / "out") == 0
    for name in ("run", "out"):
        color, species = json.loads((tmp_path / name / "run.json").read_text())["aspects"]
        assert (color["words_from"]["source"], species["words_from"]["source"]) == ("given", "vocabulary")
        told = content((tmp_path / name / "report.html").read_text())["aspects"]
        assert [aspect["words"].partition(":")[0] for aspect in told] == ["Words (given)", "Words (from vocabulary)"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [["--recipe=paper", "--steps=20"], ["--recipe=released", "--steps=5"]])
def test_recipes_with_proxies(finished, tmp_path, recipe):
    images, _ = finished
    assert cli.main(["multimap", f"--images={images}", f"--out={tmp_path / 'run'}", *FLAGS, *recipe]) == 0
    assert apply(tmp_path / "run", images, tmp_path / "out") == 0
    assert rows(tmp_path / "out" / "labels.csv") == rows(tmp_path / "run" / "labels.csv")


def test_images_of_something_else_are_marked(finished, tmp_path):
    import pyarrow.parquet as pq
    from PIL import Image

    _, run = finished
    (tmp_path / "new").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "new" / "noise.png")
    assert apply(run, tmp_path / "new", tmp_path / "out") == 0
    table = pq.read_table(tmp_path / "out" / "labels.parquet").to_pylist()[0]
    told = content((tmp_path / "out" / "report.html").read_text())
    warning = "1 of 1 image is unlike most images of the run (tab Outliers): noise.png"
    assert told["aspects"][0]["warnings"] == [warning]
    assert table["color: outlier"] and table["species: outlier"] and 0 < table["color: confidence"] <= 1


def test_a_verdict_of_the_run_stays_a_warning(finished, tmp_path):
    images, run = finished
    shutil.copytree(run, tmp_path / "run")
    color, *others = json.loads((run / "run.json").read_text())["aspects"]
    color["separability"] |= {"verdict": "hardly", "said": "This is noise."}
    edit(aspects=[color, *others])(tmp_path / "run")
    assert apply(tmp_path / "run", images, tmp_path / "out") == 0
    told = content((tmp_path / "out" / "report.html").read_text())["aspects"]
    assert [aspect["warnings"] for aspect in told] == [["This is noise."], []]


def tamper(name):
    def change(run):
        path = next((run / "models").glob(f"color*/{name}"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return change


def edit(**fields):
    def change(run):
        content = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(content | fields))

    return change


def drop_files(run):
    aspects = json.loads((run / "run.json").read_text())["aspects"]
    edit(aspects=[aspect | {"files": {}} for aspect in aspects])(run)


BAD = {
    "no run": (lambda run: shutil.rmtree(run), "there is no finished run in"),
    "a changed byte": (tamper("arrays.npz"), "changed since the run in"),
    "a changed setting": (tamper("model.json"), "changed since the run in"),
    "no model": (lambda run: shutil.rmtree(run / "models"), "changed since the run in"),
    "no JSON": (lambda run: (run / "run.json").write_text("{"), "is not JSON"),
    "no aspects": (edit(aspects=[]), "run.json cannot be read"),
    "other aspects": (edit(aspects=[{"name": "color"}]), "run.json cannot be read"),
    "no files": (drop_files, "does not list the files of a model"),
    "a hub id": (edit(clip={"name": "some/clip", "hash": "0"}), "(use --clip=some/clip)"),
    "another hash": (edit(clip={"name": "embedded", "hash": "0"}), "is not the encoder of"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_run_that_was_changed_is_a_sentence(finished, tmp_path, name, capsys):
    images, run = finished
    shutil.copytree(run, tmp_path / "run")
    change, message = BAD[name]
    change(tmp_path / "run")
    assert apply(tmp_path / "run", images, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not (tmp_path / "out" / "labels.csv").exists()


def test_the_run_itself_is_no_place_for_the_results(finished, tmp_path, capsys):
    images, run = finished
    assert apply(run, images, run) == 2 and "this would overwrite the run in" in capsys.readouterr().err
    shutil.copytree(run, tmp_path / "another")
    assert apply(run, images, tmp_path / "another") == 2 and "another finished run" in capsys.readouterr().err


def test_help_and_what_is_missing(capsys):
    assert cli.main(["multimap", "apply", "--help"]) == 0 and "--run: folder" in capsys.readouterr().out
    assert cli.main(["multimap", "apply", "--run=x"]) == 2 and "--images is missing" in capsys.readouterr().err
