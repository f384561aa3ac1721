"""Flags from a file: a run repeated to the byte, what is typed taking precedence, and what a file may not ask for."""

import json

import pytest

from multimap_jax.persistence import ARRAYS
from tests.command import multimap

FIRST = """
images = "{images}"
subject = "fruit"
aspect = ["color", "species"]
leftover = 0.1
keep_proxies = true
steps = 3
contrast = ["shape", "material"]
[words]
color = ["red", "green", "yellow"]
[clusters]
species = 2
"""


@pytest.fixture(scope="module")
def first(finished, tmp_path_factory):
    """The run that a TOML file describes."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "first.toml").write_text(FIRST.format(images=finished[0]))
    assert multimap(f"--config={folder / 'first.toml'}", f"--out={folder / 'out'}", f"--labels={labels(finished)}") == 0
    return folder / "out"


def labels(finished):
    return finished[0] / "labels.csv"


def content(run):
    return json.loads((run / "run.json").read_text())


def test_a_toml_file_says_what_flags_say(first, finished):
    said = content(first)
    assert [aspect["name"] for aspect in said["aspects"]] == ["color", "species"]
    assert said["aspects"][0]["words"] == ["red", "green", "yellow"]
    assert said["aspects"][0]["contrast"] == ["shape", "material"]
    assert [aspect["model_selection"]["asked"] for aspect in said["aspects"]] == [3, 2]
    assert said["settings"]["leftover"] == 0.1 and said["settings"]["keep_proxies"] and said["config"]["steps"] == 3
    assert "--config" not in said["command"] and f"--images={finished[0]}" in said["command"]


@pytest.mark.slow
def test_a_run_is_repeated_byte_for_byte_from_anywhere(first, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert multimap(f"--config={first / 'run.json'}", "--out=again") == 0
    for name in ("labels.csv", "labels.parquet", "metrics.json"):
        assert (tmp_path / "again" / name).read_bytes() == (first / name).read_bytes(), name
    before, after = content(first), content(tmp_path / "again")
    arrays = [[aspect["files"][ARRAYS] for aspect in said["aspects"]] for said in (before, after)]
    assert arrays[0] == arrays[1] and after["flags"] == before["flags"]


def test_typed_flags_take_precedence(first, tmp_path):
    typed = ["--aspect=color", "--clusters=color=2", "--noprogress", "--steps=2", f"--out={tmp_path / 'other'}"]
    assert multimap(f"--config={first / 'run.json'}", *typed) == 0
    said = content(tmp_path / "other")
    (aspect,) = said["aspects"]  # what the file has for the species is not asked for
    assert aspect["words"] == ["red", "green", "yellow"] and aspect["model_selection"]["asked"] == 2
    assert said["config"]["steps"] == 2 and said["settings"]["leftover"] == 0.1


def test_embeddings_take_the_place_of_images(first, tmp_path):
    assert multimap(f"--config={first / 'run.json'}", f"--embeddings={first}", f"--out={tmp_path / 'ready'}") == 0
    assert (tmp_path / "ready" / "labels.csv").read_bytes() == (first / "labels.csv").read_bytes()


TYPED_ONLY = {
    "out": "x", "fresh": True, "llm": "https://host/v1", "llm_model": "m", "distributed": True, "coordinator": "h:1",
    "processes": 2, "process": 0, "profile": "x", "log": "json", "progress": False, "config": "x", "heartbeat": 9,
    "look": "https://host/v1", "look_model": "m", "look_size": 64, "look_most": 9, "look_requests": 1, "yes": True,
}  # fmt: skip


@pytest.mark.parametrize("name", TYPED_ONLY)
def test_a_file_does_not_set_what_writes_deletes_or_asks_others(name, tmp_path, capsys):
    (tmp_path / "run.json").write_text(json.dumps({"flags": {"aspect": ["color"], name: TYPED_ONLY[name]}}))
    assert multimap(f"--config={tmp_path / 'run.json'}", "--aspect=color") == 2
    assert f"type --{name}" in capsys.readouterr().err


def test_every_flag_is_allowed_in_a_file_or_has_to_be_typed():
    from multimap_jax.cli import config, group
    from multimap_jax.cli.flags import make_flags

    assert set(make_flags(group.FLAGS)) <= {*config.ALLOWED, *TYPED_ONLY, "help", "h", "version"}


@pytest.mark.parametrize(
    "name, value",
    [
        ("images", "s3://bucket/photos"),
        ("embeddings", "https://host/embeddings"),
        ("labels", "hf://datasets/a/b.csv"),
        ("vocabulary", ["builtin", "https://host/words.txt"]),
        ("wordnet", "gs://bucket/wordnet"),
        ("clip", "openai/clip-vit-base-patch32"),
        ("clip", "s3://bucket/clip"),
    ],
)
def test_addresses_and_hub_ids_have_to_be_typed(name, value, tmp_path, capsys):
    (tmp_path / "run.json").write_text(json.dumps({"flags": {"aspect": ["color"], name: value}}))
    assert multimap(f"--config={tmp_path / 'run.json'}", f"--out={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert "is not a file or folder on this machine" in error and f"use --{name}=" in error
    assert not (tmp_path / "out").exists()


def test_a_list_that_only_a_file_names_leads_to_no_address(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("image\nhttp://127.0.0.1:9/a.png\n")
    (tmp_path / "a.toml").write_text(f'images = "{tmp_path / "list.csv"}"\naspect = ["color"]\n')
    assert multimap(f"--config={tmp_path / 'a.toml'}", f"--out={tmp_path / 'out'}") == 2
    assert "names http://127.0.0.1:9/a.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, said",
    [
        ("steps = ", "cannot be read"),
        ('steps = "many"', "steps cannot be many: expected a whole number, such as"),
        ("steps = [1, 2]", "cannot be read"),
        ("stps = 3", "'stps', which is not a flag"),
        ('words = "red"', "expected a table"),
        ("subject = {a = 1}", "expected one value"),
        ("aspect = 1979-05-27", "cannot be read"),
        ("a = " + "[" * 5000, "cannot be read"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(text, said, tmp_path, capsys):
    (tmp_path / "a.toml").write_text(text)
    assert multimap(f"--config={tmp_path / 'a.toml'}", f"--out={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error


def test_runs_that_found_no_groups_are_not_repeated(tmp_path, capsys):
    (tmp_path / "run.json").write_text('{"aspects": []}')
    assert multimap(f"--config={tmp_path / 'run.json'}") == 2
    assert "has no flags to repeat: give the run.json of the original run" in capsys.readouterr().err
    assert multimap(f"--config={tmp_path / 'none.json'}") == 2
    assert "there is no file" in capsys.readouterr().err
