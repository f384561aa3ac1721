"""Checkpoints of a hub: what is fetched, which commit, and what goes wrong. The hub is a server on this machine."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from experiments.training.open_clip_files import write_checkpoint
from multimap_jax.encoders.load import SMALL_FILES
from multimap_jax.scenes import write_scenes
from tests.encoders.hub import COMMITS, REFUSALS, hub
from tests.encoders.test_families import FAMILIES
from tests.encoders.test_open_clip import FILES
from tests.needed import needed
from tests.tiny import write_tiny

needed("torch")
pytestmark = pytest.mark.slow
NAME = "someone/some-clip"
UNNEEDED = ("pytorch_model.bin", "tf_model.h5", "README.md", "model.onnx", "flax_model.msgpack")
BARS = {"HF_HUB_DISABLE_PROGRESS_BARS": None}  # as users have them
LOADED = "import sys, multimap_jax as mm; print(mm.load_clip(sys.argv[1]).place)"
# Runs several commands, given as lines of arguments, and stops at the first that fails.
COMMANDS = """
import shlex, sys
from multimap_jax.cli.main import main
for line in sys.argv[1:]:
    if main(["multimap", *shlex.split(line)]):
        sys.exit(line)
"""
SAID = """
import sys, multimap_jax as mm
for name in sys.argv[1:]:
    try:
        mm.load_clip(name)
    except Exception as error:
        print(type(error).__name__, str(error).replace("\\n", "|"))
"""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """{"ID@commit": folder}: two commits of a checkpoint, with files that nobody needs beside it."""
    found = {}
    for seed, commit in enumerate(COMMITS.values()):
        folder = tmp_path_factory.mktemp("repository")
        write_tiny(folder, seed=seed)
        for name in UNNEEDED:
            (folder / name).write_text("x")
        found[f"{NAME}@{commit}"] = folder
    pickled = tmp_path_factory.mktemp("pickled")
    for path in folder.iterdir():
        if path.name in (*SMALL_FILES, "pytorch_model.bin"):
            shutil.copy(path, pickled)
    return found | {f"pickled/model@{COMMITS['main']}": pickled}


def child(address, cache, *arguments, **environment):
    hub_of_tests = {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    hub_of_tests |= dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "0") | environment
    variables = {name: value for name, value in (os.environ | hub_of_tests).items() if value is not None}
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=variables, timeout=200)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_run_records_the_commit_and_fetches_what_it_needs_once(repositories, tmp_path):
    write_scenes(tmp_path / "fruit", "fruit", seed=0, count=6)
    with hub(repositories) as (address, asked):
        flags = [f"--images={tmp_path / 'fruit'}", "--subject=fruit", "--aspect=color", "--words=color=red,green"]
        flags += [f"--clip={NAME}@older", f"--out={tmp_path / 'out'}", "--noprogress"]
        status, said = child(address, tmp_path / "cache", "-m", "multimap_jax", *flags, **BARS)
        assert status == 0 and "Fetching" not in said, said
        needed = {path.name for path in repositories[f"{NAME}@{COMMITS['older']}"].iterdir()} - set(UNNEEDED)
        assert sorted(asked) == sorted(needed)
        run = json.loads((tmp_path / "out" / "run.json").read_text())
        assert run["clip"]["name"] == f"{NAME}@{COMMITS['older']}"
    applied = ["apply", f"--run={tmp_path / 'out'}", f"--images={tmp_path / 'fruit'}", f"--out={tmp_path / 'new'}"]
    status, said = child("http://127.0.0.1:9", tmp_path / "cache", "-m", "multimap_jax", *applied)
    assert status == 2 and f"{NAME}@{COMMITS['older']}" in said, "what stands in a file is not fetched"
    applied.append(f"--clip={NAME}@{COMMITS['older']}")
    status, said = child("http://127.0.0.1:9", tmp_path / "cache", "-m", "multimap_jax", *applied, "--noprogress")
    assert status == 0, said  # without the server, from the cache


@pytest.mark.parametrize("family", [*FAMILIES, "open_clip"])
def test_the_commands_run_on_each_family_from_the_hub(family, tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    FAMILIES[family](folder) if family in FAMILIES else write_checkpoint(folder, "shortest", FILES)
    write_scenes(tmp_path / "fruit", "fruit", seed=0, count=8)
    images, clip = f"--images={tmp_path / 'fruit'} --noprogress", f"--clip={NAME}@main"
    asked_for = f"--subject=fruit {images} {clip}"
    words = "--aspect=color --words=color=red,green"
    commands = [
        f"{asked_for} {words} --out={tmp_path / 'out'}",
        f"{asked_for} {words} --out={tmp_path / 'paper'} --recipe=paper --steps=2",
        f"apply --run={tmp_path / 'out'} {images} {clip} --out={tmp_path / 'applied'}",
    ]
    if family in FAMILIES:  # the context of the other is too short for the prompts of suggest
        commands.append(f"suggest {asked_for} --out={tmp_path / 'out'}")
    with hub({f"{NAME}@{COMMITS['main']}": folder}) as (address, asked):
        status, said = child(address, tmp_path / "cache", "-c", COMMANDS, *commands)
    assert status == 0, said
    assert ("next: multimap" in said or "separates the words of none" in said) == (family in FAMILIES)
    assert len(asked) == len(set(asked)), "no file is fetched twice"
    labels = [(tmp_path / name / "labels.csv").read_text() for name in ("out", "paper", "applied")]
    assert all(text.count("\n") == 9 for text in labels) and labels[0] == labels[2]
    assert all((tmp_path / name / "report.html").exists() for name in ("out", "paper", "applied"))


def test_the_newest_commit_is_used_unless_another_is_named(repositories, tmp_path):
    with hub(repositories) as (address, _):
        said = [child(address, tmp_path, "-c", LOADED, name, **BARS)[1] for name in (NAME, f"{NAME}@older")]
    assert all("Fetching" in text for text in said), "a bar is shown in Python"
    places = [next(line for line in text.splitlines() if line.startswith(NAME)) for text in said]
    assert places == [f"{NAME}@{COMMITS['main']}", f"{NAME}@{COMMITS['older']}"]


def test_what_goes_wrong_is_one_sentence(repositories, tmp_path):
    names = [*REFUSALS, f"{NAME}@nowhere", "pickled/model", f"{NAME}@../..", f"{NAME}@"]
    with hub(repositories) as (address, asked):
        status, said = child(address, tmp_path, "-c", SAID, *names)
    assert status == 0
    lines = [line for line in said.splitlines() if "Error" in line]
    expected = [
        "the hub answered 404 (no such model)",
        "the hub answered 403 (no access)",
        "the hub answered 500 (an error)",
        "the hub has no such commit, branch or tag of it",
        "only pickled weights",
        "there is no directory",
        "there is no directory",
    ]
    assert len(lines) == len(names) and all(text in line for text, line in zip(expected, lines)), said
    assert "pytorch_model.bin" not in asked and "|" not in said
    status, said = child("http://127.0.0.1:9", tmp_path, "-c", SAID, "someone/else")
    assert "the hub could not be reached: check the id and the network" in said
    status, said = child("http://127.0.0.1:9", tmp_path, "-c", SAID, "someone/else", HF_HUB_OFFLINE="1")
    assert "the hub's local cache does not have it (HF_HUB_OFFLINE is set): check" in said
