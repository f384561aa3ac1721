"""The command: what it writes, what it says, and its exit status on bad input."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import multimap_jax
from multimap_jax.cli import group
from multimap_jax.cli import main as cli
from multimap_jax.cli.flags import make_flags
from multimap_jax.encoders.clip import model
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.images.decoding import opened_image
from multimap_jax.scenes import write_scenes
from tests.pages import content

RESULTS = ["labels.csv", "metrics.json", "report.html", "labels.parquet", "run.json"]
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
    assert {path.name for path in out.iterdir()} == {*RESULTS, "plan", "embeddings", "models", ".multimap"}
    assert json.loads((out / "run.json").read_text())["files"] == [name for name in RESULTS if name != "run.json"]


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
    assert metrics["color"]["images"] == metrics["color"]["of"] == 27 and set(metrics["color"]["beside"]) == {
        "image_kmeans",
        "zero_shot",
    }


def test_run_json_records_settings_groups_and_skipped_files(run):
    out, _ = run
    record = json.loads((out / "run.json").read_text())
    assert [skipped["image"] for skipped in record["skipped"]] == ["broken.jpg"]
    assert (
        record["images"]["read"] == 27
        and record["clip"]["name"] == "embedded"
        and record["settings"]["random_state"] == 0
    )
    assert record["config"]["steps"] <= 100 and record["image_block_size"] >= 1 and record["versions"]["jax"]
    shown = dict(content((out / "report.html").read_text())["settings"])["versions"]
    assert shown == ", ".join(f"{name} {number}" for name, number in record["versions"].items()) and "jax 0." in shown
    assert set(record["timings"]) == {"load", "estimate", "embed", "words", "proxies", "group", "report", "total"}
    assert all("image_steps" not in aspect and aspect["seconds"] > 0 for aspect in record["aspects"])
    sizes = {group["name"]: group["images"] for group in record["aspects"][0]["groups"]}
    table = [row["color"] for row in rows(out / "labels.csv")]
    assert sizes == {name: table.count(name) for name in set(table)}


def test_the_report_escapes_file_names_and_warns_of_the_embedded_encoder(run):
    report = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "more/<b>&3.png" in content(report)["names"] and "<b>&3" not in report
    assert "--clip=" in report and "knows drawings only" in report


def test_the_terminal_says_what_was_found_and_skipped(fruit, tmp_path, capsys):
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", WORDS[0], f"--out={tmp_path}", "--steps=2"]
    assert cli.main(["multimap", *flags]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The embedded encoder knows drawings only")
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


ONE = ["--images={fruit}", "--subject=fruit", "--aspect=color"]
BAD = {
    "no images": (["--aspect=color"], "--images is missing"),
    "no aspect": (["--images={fruit}"], "--aspect is missing"),
    "no folder": (["--images={fruit}/nothing", *ASPECTS, *WORDS], "there is no folder"),
    "a file": (["--images={fruit}/fruit_0000.png", *ASPECTS, *WORDS], "is a file"),
    "empty folder": (["--images={empty}", *ASPECTS, *WORDS], "no image files"),
    "only text": (["--images={text}", *ASPECTS, *WORDS], "number of other files: 1"),
    "only damaged": (
        ["--images={damaged}", "--subject=fruit", "--aspect=color", "--clusters=color=1"],
        "cannot read any of 1 image",
    ),
    "too many groups": (["--images={fruit}", *ASPECTS, *WORDS, "--clusters=color=99"], "99 groups requested"),
    "no groups": (["--images={fruit}", "--aspect=color", "--clusters=color=0"], "expected a whole number"),
    "no number": (["--images={fruit}", "--aspect=color", "--clusters=color"], "such as --clusters=color=3"),
    "words unknown": (["--images={fruit}", "--aspect=vibe", "--words=vibe=vocabulary"], "has no words for 'vibe'"),
    "words unseen": (["--images={fruit}", "--subject=dog", "--aspect=species"], "knows fewer than two of the words"),
    "no vocabulary": ([*ONE, "--vocabulary=none.txt"], "there is no vocabulary none.txt"),
    "no WordNet": ([*ONE, "--words=color=wordnet", "--wordnet={empty}"], "there is no WordNet in"),
    "no model": ([*ONE, "--llm=https://host/v1"], "--llm and --llm_model must be given together"),
    "no address": ([*ONE, "--words=color=llm"], "no language model for the words of"),
    "other aspect": (["--images={fruit}", *ASPECTS, *WORDS, "--words=shape=round"], "'shape'"),
    "twice": (["--images={fruit}", "--aspect=color", "--aspect=color", WORDS[0]], "twice"),
    "twice, in capitals": (["--images={fruit}", "--aspect=color", "--aspect=Color", WORDS[0]], "twice"),
    "unknown words": (["--images={fruit}", "--aspect=vibe", "--words=Vibe=Vocabulary"], "has no words for 'vibe'"),
    "same words": (["--images={fruit}", "--aspect=color", "--words=color=red,Red"], "repeated words"),
    "unknown flag": (["--imags=x"], "did you mean --images?"),
    "argument": (["photos"], "unexpected argument 'photos'"),
    "recipe": (["--images={fruit}", *ASPECTS, *WORDS, "--recipe=fast"], "--recipe=fast"),
    "features": (["--images={fruit}", *ASPECTS, *WORDS, "--features=magic"], "--features=magic"),
    "span": (
        ["--images={fruit}", "--aspect=color", "--words=color=none", "--clusters=color=3", "--features=span"],
        "2 words or more",
    ),
    "two in one": (["--images={fruit}", "--aspect=color,species", WORDS[0]], "--aspect=color --aspect=species"),
    "aspect image": (
        ["--images={fruit}", "--aspect=image", "--clusters=image=2"],
        "rename it (see --aspect)",
    ),
    "long word": ([*ONE, "--words=color=red,{long}"], "the context holds 77"),
    "template": (["--images={fruit}", *ASPECTS, *WORDS, "--template=a thing"], "has {word} 0 times"),
    "steps": (["--images={fruit}", *ASPECTS, *WORDS, "--steps=-1"], "steps is -1"),
    "no checkpoint": (["--images={fruit}", *ASPECTS, *WORDS, "--clip=./no/such/clip"], "there is no directory"),
    "no weights": (["--images={fruit}", *ASPECTS, *WORDS, "--clip={weightless}"], "has no weights"),
    "out is a file": (["--images={fruit}", *ASPECTS, *WORDS, "--out={fruit}/labels.csv"], "cannot write into"),
    "no labels": (["--images={fruit}", *ASPECTS, *WORDS, "--labels={fruit}/no.csv"], "no labels file"),
    "other labels": (["--images={fruit}", *ASPECTS, *WORDS, "--labels={other}"], "has the columns"),
    "labels of others": ([*ONE, WORDS[0], "--labels={elsewhere}"], "such as broken.jpg, found elsewhere.png"),
    "no rows": ([*ONE, WORDS[0], "--labels={rowless}"], "found no row"),
    "empty column": ([*ONE, WORDS[0], "--labels={hollow}"], "the column color of"),
    "image twice": ([*ONE, WORDS[0], "--labels={double}"], "has the image fruit_0000.png twice, in lines 2 and 4"),
    "column twice": ([*ONE, WORDS[0], "--labels={columns}"], "has the column color 2 times"),
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
    (base / "elsewhere.csv").write_text("image,color\nelsewhere.png,red\n")
    (base / "rowless.csv").write_text("image,color\n")
    (base / "hollow.csv").write_text("image,color\nfruit_0000.png,\n\n")
    (base / "double.csv").write_text("image,color\nfruit_0000.png,red\nfruit_0001.png,red\nfruit_0000.png,green\n")
    (base / "columns.csv").write_text("image,color,color\nfruit_0000.png,red,green\n")
    embedded = model.EMBEDDED
    shutil.copy(embedded / "config.json", base / "weightless")
    return {path.stem: path for path in base.iterdir()} | {"fruit": fruit, "long": "green " * 90}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_and_status_2(name, places, tmp_path, capsys, monkeypatch):
    flags, expected = BAD[name]
    if name != "only damaged":
        monkeypatch.setattr(Clip, "embed_readable", lambda *_, **__: pytest.fail("found after images were embedded"))
    flags = [flag.format(**places, word="{word}") for flag in flags]
    flags += [f"--out={tmp_path / 'out'}"] * (not any(flag.startswith("--out=") for flag in flags))
    assert cli.main(["multimap", *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("multimap: ") and error.count("\n") == 1 and expected in error
    assert re.search(r"--\w", error), f"no flag to change: {error}"
    assert not (tmp_path / "out" / "labels.csv").exists()


def test_help_lists_every_flag_and_exits_with_0(capsys):
    assert cli.main(["multimap", "--help"]) == 0
    said = capsys.readouterr().out
    for name in make_flags(group.FLAGS):
        assert name == "h" or f"--{name}:" in said
    for part in ("what to group by, such as color (repeatable)", "(default: 0)", "span, proxy, prompt"):
        assert part in said
    assert said.count("(repeatable)") == 3


def test_version(capsys):
    assert cli.main(["multimap", "--version"]) == 0
    assert capsys.readouterr().out == f"multimap {multimap_jax.__version__}\n"


@pytest.mark.parametrize("flags", [["--help"], ["--version"]])
def test_a_reader_that_goes_away_is_no_failure(flags):
    command = [sys.executable, "-m", "multimap_jax", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 0


@pytest.mark.slow
def test_a_terminal_that_knows_ascii_alone_ends_no_run(fruit, tmp_path):
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", "--words=color=grün,röt,gelb", "--noprogress"]
    run = subprocess.run(
        [sys.executable, "-m", "multimap_jax", *flags, f"--out={tmp_path}"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert b"Words" not in run.stderr and b"was not trained on the words gr?n, r?t, gelb, so" in run.stderr
    assert json.loads((tmp_path / "run.json").read_text())["aspects"][0]["words"][0] == "grün"
    assert len({row["color"] for row in rows(tmp_path / "labels.csv")}) == 3  # named by what fits the images


def test_help_loads_no_heavy_module():
    script = (
        "import sys; from multimap_jax.cli import main as cli; cli.main(['multimap', '--help']);"
        "sys.exit(any(name in sys.modules for name in ('jax', 'transformers', 'sklearn', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


def test_scenes_are_images_that_the_command_reads(fruit):
    with opened_image(fruit / "fruit_0000.png") as opened:
        assert np.asarray(opened).shape[2] == 3


@pytest.mark.slow
def test_compiled_programs_are_kept_by_the_command_alone(fruit, tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR")
    use = "import multimap_jax as mm; mm.load_clip('embedded').embed_texts(['a red fruit'])"
    subprocess.run([sys.executable, "-c", use], check=True, env=environment)
    assert not (tmp_path / "cache").exists()
    flags = [f"--images={fruit}", *ASPECTS, *WORDS, f"--out={tmp_path / 'out'}", "--steps=1", "--keep_proxies"]
    subprocess.run([sys.executable, "-m", "multimap_jax", *flags], check=True, env=environment)
    kept = list((tmp_path / "cache" / "multimap_jax").glob("*/*"))
    assert len(kept) >= 2


def test_lines_of_labels_end_as_a_shell_reads_them(run):
    assert b"\r" not in (run[0] / "labels.csv").read_bytes()


def test_an_aspect_called_total_overwrites_no_timing(fruit, tmp_path):
    flags = [f"--images={fruit}", "--aspect=total", "--clusters=total=2", "--features=image", f"--out={tmp_path}"]
    assert cli.main(["multimap", *flags]) == 0
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["timings"]["total"] >= record["timings"]["embed"] + record["aspects"][0]["seconds"]


def test_metrics_say_over_how_many_images(fruit, tmp_path, capsys):
    lines = (fruit / "labels.csv").read_text().splitlines()
    (tmp_path / "some.csv").write_text("\n".join(lines[:6]))
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", WORDS[0], f"--labels={tmp_path / 'some.csv'}"]
    assert cli.main(["multimap", *flags, f"--out={tmp_path}"]) == 0
    assert "compared with your labels (5 of 27 images)" in capsys.readouterr().out
    assert json.loads((tmp_path / "metrics.json").read_text())["color"]["images"] == 5
    told = content((tmp_path / "report.html").read_text())["aspects"][0]["metrics"]
    assert (told["images"], told["of"]) == (5, 27)


@pytest.mark.slow
def test_proxies_are_learnt_where_they_are_asked_for_and_estimates_count_them(run, fruit, tmp_path, capsys):
    flags = [f"--images={fruit}", "--subject=fruit", "--aspect=color", WORDS[0], "--steps=3", f"--out={tmp_path}"]
    assert cli.main(["multimap", *flags, "--keep_proxies"]) == 0
    assert "for 3 steps of 1 aspect" in capsys.readouterr().out
    proxies = json.loads((tmp_path / "run.json").read_text())["aspects"][0]
    assert proxies["image_steps"] == 3 * 27 and proxies["block_size"] >= 1 and proxies["final_loss"] < 0
    whole = {row["image"]: row["color"] for row in rows(run[0] / "labels.csv")}
    assert {row["image"]: row["color"] for row in rows(tmp_path / "labels.csv")} == whole
    assert cli.main(["multimap", *flags]) == 0
    assert "steps of" not in capsys.readouterr().out
    assert "image_steps" not in json.loads((tmp_path / "run.json").read_text())["aspects"][0]


def test_one_image_is_one_image(tmp_path, capsys):
    write_scenes(tmp_path / "one", "fruit", seed=1, count=1)
    flags = [f"--images={tmp_path / 'one'}", "--aspect=color", "--clusters=color=1", "--features=image"]
    assert cli.main(["multimap", *flags, f"--out={tmp_path / 'out'}"]) == 0
    said = capsys.readouterr().out
    assert "1 image by color" in said and "1 group\n" in said and "1 images" not in said


def test_command_and_library_have_one_default_subject():
    assert multimap_jax.Aspect("color").subject == make_flags(group.FLAGS)["subject"].default
