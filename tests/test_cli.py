"""The command: what it writes, what it says, and its exit status on bad input."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from multimap_jax import cli
from multimap_jax.clip.images import open_image
from multimap_jax.scenes import write_scenes

ASPECTS = ["--subject=fruit", "--aspect=color", "--aspect=species"]
WORDS = ["--words=color=red,green,yellow", "--words=species=apple,banana,grape"]


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    """27 drawn fruit with their labels, one of them in a folder of its own, and one damaged file."""
    folder = tmp_path_factory.mktemp("photos") / "fruit"
    write_scenes(folder, "fruit", seed=5, count=27)
    (folder / "more").mkdir()
    shutil.move(folder / "fruit_0003.png", folder / "more" / "<b>&3.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    labels = (folder / "labels.csv").read_text().replace("fruit_0003.png", "more/<b>&3.png")
    (folder / "labels.csv").write_text(labels)
    return folder


@pytest.fixture(scope="module")
def run(fruit, tmp_path_factory):
    """The folder that one full run has written, and its exit status."""
    out = tmp_path_factory.mktemp("result") / "out"
    flags = [f"--images={fruit}", *ASPECTS, *WORDS, f"--labels={fruit / 'labels.csv'}", f"--out={out}"]
    return out, cli.main(["multimap", *flags])


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_exits_with_0_and_writes_all_files(run):
    out, status = run
    assert status == 0
    assert {path.name for path in out.iterdir()} == {"labels.csv", "run.json", "metrics.json", "report.html"}


def test_labels_name_every_readable_image_once_with_relative_paths(run, fruit):
    out, _ = run
    table = rows(out / "labels.csv")
    expected = {row["image"] for row in rows(fruit / "labels.csv")}
    assert {row["image"] for row in table} == expected and len(table) == 27
    assert list(table[0]) == ["image", "color", "species"]
    assert {row["color"] for row in table} == {"red", "green", "yellow"}


def test_groups_are_the_true_ones(run):
    out, _ = run
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics) == {"color", "species"}
    assert metrics["color"]["nmi"] > 0.9 and metrics["species"]["nmi"] > 0.8
    assert metrics["color"]["images"] == 27 and set(metrics["color"]["beside"]) == {"image_kmeans", "zero_shot"}


def test_run_json_records_settings_groups_and_skipped_files(run):
    out, _ = run
    record = json.loads((out / "run.json").read_text())
    assert [skipped["image"] for skipped in record["skipped"]] == ["broken.jpg"]
    assert record["images"]["read"] == 27 and record["clip"]["name"] == "embedded" and record["seed"] == 0
    assert record["config"]["steps"] <= 100 and record["block_size"] >= 1 and record["versions"]["jax"]
    sizes = {group["name"]: group["images"] for group in record["aspects"][0]["groups"]}
    table = [row["color"] for row in rows(out / "labels.csv")]
    assert sizes == {name: table.count(name) for name in set(table)}


def test_the_report_escapes_file_names_and_warns_of_the_embedded_encoder(run):
    report = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "more/&lt;b&gt;&amp;3.png" in report and "<b>&3" not in report
    assert "--clip=" in report and "trained on drawings" in report


def test_the_terminal_says_what_was_found_and_skipped(fruit, tmp_path, capsys):
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", WORDS[0], f"--out={tmp_path}", "--steps=2"]
    assert cli.main(["multimap", *flags]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The embedded encoder was trained on drawings")
    for part in ("about", "color: 3 groups", "images", "broken.jpg: not an image", str(tmp_path / "report.html")):
        assert part in said


def test_the_same_run_twice_gives_the_same_labels(run, fruit, tmp_path):
    assert cli.main(["multimap", f"--images={fruit}", *ASPECTS, *WORDS, f"--out={tmp_path}"]) == 0
    assert (tmp_path / "labels.csv").read_bytes() == (run[0] / "labels.csv").read_bytes()


def test_another_aspect_changes_nothing_for_the_first(run, fruit, tmp_path):
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", WORDS[0], f"--out={tmp_path}"]
    assert cli.main(["multimap", *flags]) == 0
    colors = {row["image"]: row["color"] for row in rows(run[0] / "labels.csv")}
    assert {row["image"]: row["color"] for row in rows(tmp_path / "labels.csv")} == colors


BAD = {
    "no images": (["--aspect=color"], "--images is missing"),
    "no aspect": (["--images={fruit}"], "--aspect is missing"),
    "no folder": (["--images={fruit}/nothing", *ASPECTS, *WORDS], "there is no folder"),
    "a file": (["--images={fruit}/labels.csv", *ASPECTS, *WORDS], "is a file"),
    "empty folder": (["--images={empty}", *ASPECTS, *WORDS], "no image files"),
    "only text": (["--images={text}", *ASPECTS, *WORDS], "files of other kinds there: 1"),
    "only damaged": (["--images={damaged}", "--subject=fruit", "--aspect=color", "--clusters=color=1"], "can be read"),
    "too many groups": (["--images={fruit}", *ASPECTS, *WORDS, "--clusters=color=99"], "99 groups asked for"),
    "no groups": (["--images={fruit}", "--aspect=color", "--clusters=color=0"], "expected a whole number"),
    "no number": (["--images={fruit}", "--aspect=color", "--clusters=color"], "expected --clusters=ASPECT=VALUE"),
    "no words": (["--images={fruit}", "--aspect=color"], "how many groups"),
    "other aspect": (["--images={fruit}", *ASPECTS, *WORDS, "--words=shape=round"], "'shape'"),
    "twice": (["--images={fruit}", "--aspect=color", "--aspect=color", WORDS[0]], "twice"),
    "same words": (["--images={fruit}", "--aspect=color", "--words=color=red,Red"], "repeated words"),
    "unknown flag": (["--imags=x"], "Did you mean"),
    "argument": (["photos"], "unexpected argument 'photos'"),
    "recipe": (["--images={fruit}", *ASPECTS, *WORDS, "--recipe=fast"], "--recipe=fast"),
    "features": (["--images={fruit}", *ASPECTS, *WORDS, "--features=magic"], "known: span, proxy"),
    "span": (["--images={fruit}", "--aspect=color", "--clusters=color=3", "--features=span"], "two words or more"),
    "template": (["--images={fruit}", *ASPECTS, *WORDS, "--template=a thing"], "holds {word} 0 times"),
    "steps": (["--images={fruit}", *ASPECTS, *WORDS, "--steps=-1"], "steps is -1"),
    "no checkpoint": (["--images={fruit}", *ASPECTS, *WORDS, "--clip=./no/such/clip"], "there is no directory"),
    "no weights": (["--images={fruit}", *ASPECTS, *WORDS, "--clip={weightless}"], "has no weights"),
    "out is a file": (["--images={fruit}", *ASPECTS, *WORDS, "--out={fruit}/labels.csv"], "cannot write into"),
    "no labels": (["--images={fruit}", *ASPECTS, *WORDS, "--labels={fruit}/no.csv"], "no labels file"),
    "other labels": (["--images={fruit}", *ASPECTS, *WORDS, "--labels={other}"], "has the columns"),
}


@pytest.fixture(scope="module")
def places(fruit, tmp_path_factory):
    """Folders and files that are wrong, by name."""
    base = tmp_path_factory.mktemp("bad")
    for name in ("empty", "text", "damaged", "weightless"):
        (base / name).mkdir()
    (base / "text" / "notes.txt").write_text("hello")
    (base / "damaged" / "one.png").write_bytes(b"")
    (base / "other.csv").write_text("file,suits\na.png,hearts\n")
    embedded = cli.Path(cli.__file__).parent / "clip" / "embedded"
    shutil.copy(embedded / "config.json", base / "weightless")
    return {path.stem: path for path in base.iterdir()} | {"fruit": fruit}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_and_status_2(name, places, tmp_path, capsys):
    flags, expected = BAD[name]
    flags = [f"--out={tmp_path / 'out'}", *(flag.format(**places, word="{word}") for flag in flags)]
    assert cli.main(["multimap", *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("multimap: ") and error.count("\n") == 1 and expected in error
    assert not (tmp_path / "out" / "labels.csv").exists()


def test_labels_of_other_images_are_refused_with_an_example(fruit, tmp_path, capsys):
    (tmp_path / "truth.csv").write_text("image,color\nelsewhere.png,red\n")
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", WORDS[0], f"--out={tmp_path}", "--steps=1"]
    assert cli.main(["multimap", *flags, f"--labels={tmp_path / 'truth.csv'}"]) == 2
    assert "elsewhere.png" in capsys.readouterr().err


def test_help_lists_every_flag_and_exits_with_0(capsys):
    assert cli.main(["multimap", "--help"]) == 0
    said = capsys.readouterr().out
    for name in cli.define_flags():
        assert name == "h" or f"--{name}:" in said


def test_help_loads_no_heavy_module():
    script = (
        "import sys; from multimap_jax import cli; cli.main(['multimap', '--help']);"
        "sys.exit(any(name in sys.modules for name in ('jax', 'transformers', 'sklearn', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


def test_scenes_are_images_that_the_command_reads(fruit):
    assert np.asarray(open_image(Image.open(fruit / "fruit_0000.png"))).shape[2] == 3


def test_compiled_programs_are_kept_by_the_command_alone(fruit, tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR")
    use = "import multimap_jax as mm; mm.load_clip('embedded').embed_texts(['a red fruit'])"
    subprocess.run([sys.executable, "-c", use], check=True, env=environment)
    assert not (tmp_path / "cache").exists()
    flags = [f"--images={fruit}", *ASPECTS, *WORDS, f"--out={tmp_path / 'out'}", "--steps=1"]
    subprocess.run([sys.executable, "-m", "multimap_jax.cli", *flags], check=True, env=environment)
    kept = list((tmp_path / "cache" / "multimap_jax").glob("*/*"))
    assert len(kept) > 3
