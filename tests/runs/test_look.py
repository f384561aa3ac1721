"""The command with a simulated model that sees images."""

import csv
import json
import signal
import time

import pyarrow.parquet as pq
import pytest

from tests.needed import needed

needed("httpx", reason="needs the extra llm: pip install '.[llm]'")

import multimap_jax as mm  # noqa: E402
from experiments.evaluation.simulated_model import Noise, SimulatedModel, digests, serving  # noqa: E402
from multimap_jax.scenes import write_scenes  # noqa: E402
from tests.chat_server import reply, serving_at_once  # noqa: E402
from tests.chat_server import serving as serving_plan  # noqa: E402
from tests.command import multimap  # noqa: E402
from tests.pages import content  # noqa: E402

SPECIES = "--words=species=apple,banana,grape"


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    """(a folder of 40 drawn fruit, one of 12 others, the true labels of all by their pixels)."""
    base, known = tmp_path_factory.mktemp("look"), {}
    for name, seed, count in (("fruit", 3, 40), ("new", 4, 12)):
        write_scenes(base / name, "fruit", seed=seed, count=count)
        rows = list(labels(base / name).values())
        paths = [base / name / row["image"] for row in rows]
        known |= digests(paths, {aspect: [row[aspect] for row in rows] for aspect in ("color", "species")})
    return base / "fruit", base / "new", known


@pytest.fixture
def model(fruit):
    """A simulated model and its address."""
    simulated = SimulatedModel(fruit[2])
    with serving(simulated) as address:
        yield simulated, address


def group(fruit, address, out, *more, aspects=("species",)):
    flags = [f"--images={fruit[0]}", "--subject=fruit", f"--out={out}", "--noprogress"]
    flags += [f"--aspect={aspect}" for aspect in aspects]
    return multimap(*flags, f"--look={address}", "--look_model=simulated", *more)


def labels(out):
    return {row["image"]: row for row in csv.DictReader((out / "labels.csv").read_text().splitlines())}


@pytest.mark.slow
def test_answers_give_groups_and_are_asked_once(fruit, model, tmp_path, capsys):
    simulated, address = model
    out, truth = tmp_path / "out", f"--labels={fruit[0] / 'labels.csv'}"
    assert group(fruit, address, out, SPECIES, truth) == 0
    said = capsys.readouterr().out
    assert f"sending 40 images (at most 512 pixels, without names and metadata) to {address}" in said
    assert "Grouped by the answers of the model simulated to: What is the species of this fruit?" in said
    assert "how clear an answer is, not whether it is right" in said
    assert json.loads((out / "metrics.json").read_text())["species"]["nmi"] > 0.999 and simulated.requests == 40
    run = json.loads((out / "run.json").read_text())
    (aspect,) = run["aspects"]
    assert aspect["features"] == "answer" and aspect["separability"] is None
    assert aspect["answers"] == {
        "question": "What is the species of this fruit? Answer with one of these only: apple, banana, grape.",
        "host": address,
        "model": "simulated",
        "size": 512,
        "images": 40,
        "left_out": 0,
    }
    table = pq.read_table(out / "labels.parquet").to_pydict()
    assert table["species: answer"] == table["species"]
    page = content((out / "report.html").read_text())["aspects"][0]["answers"]
    assert page["model"] == "simulated" and [page["texts"][i] for i in page["index"]] == table["species"]
    assert group(fruit, address, out, SPECIES) == 0 and simulated.requests == 40
    assert group(fruit, address, out, SPECIES, "--look_size=256") == 0 and simulated.requests == 80  # other pictures


@pytest.mark.slow
def test_images_without_an_answer_are_in_no_group(fruit, model, tmp_path, capsys):
    simulated, address = model
    simulated.noise = Noise(refused=0.2)
    out = tmp_path / "out"
    assert group(fruit, address, out, SPECIES) == 0
    assert "in no group, for example: the model refused: I'm sorry" in capsys.readouterr().out
    rows, run = labels(out), json.loads((out / "run.json").read_text())
    left_out = {item["image"]: item["reason"] for item in run["aspects"][0]["left_out"]}
    unassigned = {name for name, row in rows.items() if row["species"] == "(unassigned)"}
    assert unassigned == set(left_out) and 2 <= len(left_out) <= 16
    table = pq.read_table(out / "labels.parquet").to_pydict()
    for i, name in enumerate(table["image"]):
        assert (table["species: distance"][i] is None) == (name in left_out)
        assert (table["species: group"][i] == -1) == (name in left_out)
    page = content((out / "report.html").read_text())
    reasons = {page["names"][int(i)]: reason for i, reason in page["aspects"][0]["answers"]["reasons"].items()}
    assert reasons == left_out
    # A refusal is not asked about again, unless everything is.
    assert group(fruit, address, out, SPECIES) == 0 and simulated.requests == 40
    assert group(fruit, address, out, SPECIES, "--fresh") == 0 and simulated.requests == 80


def test_some_aspects_alone_and_without_words(fruit, model, tmp_path):
    simulated, address = model
    out = tmp_path / "out"
    flags = ["--look_aspects=species", "--words=color=red,green,yellow"]
    assert group(fruit, address, out, *flags, aspects=("color", "species")) == 0
    color, species = json.loads((out / "run.json").read_text())["aspects"]
    assert (color["features"], species["features"]) == ("span", "answer") and simulated.requests == 40
    assert sorted(group["name"] for group in species["groups"]) == ["apple", "banana", "grape"]
    assert species["answers"]["question"].endswith("Answer in at most three words.") and species["words"] == []


@pytest.mark.slow
def test_a_limit_on_images_may_be_raised_later(fruit, model, tmp_path):
    simulated, address = model
    out = tmp_path / "out"
    for most, requests in ((10, 10), (25, 25), (25, 25), (99, 40)):
        assert group(fruit, address, out, SPECIES, f"--look_most={most}") == 0 and simulated.requests == requests
        left = [row for row in labels(out).values() if row["species"] == "(unassigned)"]
        assert len(left) == 40 - requests
        listed = json.loads((out / "run.json").read_text())["aspects"][0]["left_out"]
        assert len(listed) == len(left) and all(f"only {most} images" in item["reason"] for item in listed)


@pytest.mark.slow
def test_groups_are_exported(fruit, model, tmp_path):
    simulated, address = model
    simulated.noise = Noise(refused=0.1)
    out, table = tmp_path / "out", tmp_path / "table.parquet"
    assert group(fruit, address, out, SPECIES) == 0
    assert multimap("export", f"--run={out}", "--aspect=species", f"--to={tmp_path / 'folders'}", "--noprogress") == 0
    groups = {path.parent.name for path in (tmp_path / "folders").rglob("*.png")}
    assert {"apple", "banana", "grape"} <= groups
    assert multimap("export", f"--run={out}", f"--to={table}", "--noprogress") == 0
    written = pq.read_table(table).to_pydict()
    assert written["species"] == pq.read_table(out / "labels.parquet").to_pydict()["species"]
    assert [distance is None for distance in written["species: distance"]] == [
        name == "(unassigned)" for name in written["species"]
    ]
    more = ["apply", f"--run={out}", f"--images={fruit[1]}", f"--out={tmp_path / 'more'}", f"--look={address}"]
    assert multimap(*more, "--look_model=simulated", "--noprogress") == 0
    asked = simulated.requests
    to = tmp_path / "new.parquet"
    assert multimap("export", f"--run={tmp_path / 'more'}", f"--to={to}", "--noprogress") == 0
    assert pq.read_table(to).num_rows == 12 and simulated.requests == asked
    sizes = {group.name: group.size for group in mm.open_run(out).groups("species", 3)}
    assert sizes == {name: written["species"].count(name) for name in sizes}


@pytest.mark.slow
def test_new_images_are_asked_about_where_the_address_is_typed_again(fruit, model, tmp_path, capsys):
    simulated, address = model
    out, more = tmp_path / "out", tmp_path / "more"
    assert group(fruit, address, out, SPECIES) == 0
    apply = ["apply", f"--run={out}", f"--images={fruit[1]}", f"--out={more}", "--noprogress"]
    assert multimap(*apply) == 2 and simulated.requests == 40
    assert "come from a model's answers" in capsys.readouterr().err
    assert multimap(*apply, f"--look={address}", "--look_model=simulated") == 0 and simulated.requests == 52
    truth = {name: row["species"] for name, row in labels(fruit[1]).items()}
    assert {name: row["species"] for name, row in labels(more).items()} == truth


def test_edits_keep_the_answers(fruit, model, tmp_path):
    simulated, address = model
    simulated.noise = Noise(refused=0.1)
    out, edited = tmp_path / "out", tmp_path / "edited"
    assert group(fruit, address, out, SPECIES) == 0
    alone = next(name for name, row in labels(out).items() if row["species"] == "(unassigned)")
    edits = [
        {"aspect": "species", "merge": ["apple", "grape"], "into": "round"},
        {"aspect": "species", "move": [alone], "to": "banana"},
    ]
    (tmp_path / "edits.json").write_text(json.dumps({"edits": edits}))
    flags = [f"--run={out}", f"--edits={tmp_path / 'edits.json'}", f"--out={edited}", "--noprogress"]
    assert multimap("edit", *flags) == 0 and simulated.requests == 40
    before, after = labels(out), labels(edited)
    assert after[alone]["species"] == "banana"
    names = {"apple": "round", "grape": "round", "banana": "banana", "(unassigned)": "(unassigned)"}
    assert all(after[name]["species"] == names[row["species"]] for name, row in before.items() if name != alone)
    table = pq.read_table(edited / "labels.parquet").to_pydict()
    assert dict(zip(table["image"], table["species: answer"]))[alone].startswith("I'm sorry")
    (tmp_path / "split.json").write_text(json.dumps({"edits": [{"aspect": "species", "split": "round", "into": 2}]}))
    flags = [f"--run={edited}", f"--edits={tmp_path / 'split.json'}", f"--out={tmp_path / 'again'}", "--noprogress"]
    assert multimap("edit", *flags) == 0


@pytest.mark.slow
def test_a_killed_run_asks_only_about_the_rest(fruit, tmp_path, begin):
    simulated = SimulatedModel(fruit[2])
    say = simulated.say
    simulated.say = lambda body: (time.sleep(0.2), say(body))[1]
    out = tmp_path / "out"
    with serving(simulated) as address:
        flags = [f"--images={fruit[0]}", "--subject=fruit", "--aspect=species", SPECIES, f"--out={out}", "--noprogress"]
        flags += [f"--look={address}", "--look_model=simulated"]
        process = begin([*flags, "--look_requests=2"])
        while simulated.requests < 12:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 130
        asked = simulated.requests
        assert asked < 30
        assert multimap(*flags) == 0
        # Those on their way when it ended are asked about again.
        assert 40 <= simulated.requests <= 40 + 2 and simulated.requests - asked < 40


def test_a_server_that_goes_away_ends_the_run_and_the_answers_are_kept(fruit, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    with serving_at_once(monkeypatch) as server:
        server.plan[:] = [reply("banana")] * 20 + [(503, b"out of memory", {})]
        assert group(fruit, server.address, out, SPECIES) == 2
        error = capsys.readouterr().err
        assert "answered 503 (out of memory)" in error and "answers so far are kept" in error
        assert len(error.splitlines()) == 1 or "Traceback" not in error
        before = len(server.requests)
        server.plan[:] = [reply("apple")]
        assert group(fruit, server.address, out, SPECIES) == 0 and len(server.requests) == before + 20
    assert sorted(row["species"] for row in labels(out).values()) == ["apple"] * 20 + ["banana"] * 20


def test_failures_of_single_images_are_asked_about_again(fruit, tmp_path):
    out = tmp_path / "out"
    with serving_plan() as server:
        server.plan[:] = [reply("banana")] * 5 + [(400, b"not this one", {}), reply("banana")]
        assert group(fruit, server.address, out, SPECIES) == 0
        (left,) = json.loads((out / "run.json").read_text())["aspects"][0]["left_out"]
        assert "not this one" in left["reason"] and len(server.requests) == 40
        assert group(fruit, server.address, out, SPECIES) == 0 and len(server.requests) == 41
        assert json.loads((out / "run.json").read_text())["aspects"][0]["left_out"] == []


@pytest.mark.slow
@pytest.mark.parametrize("column, value", [(None, None), ("again", [3] * 40), ("answer", ["x" * 201] * 40)])
def test_damaged_answers_are_asked_about_again(fruit, model, tmp_path, capsys, column, value):
    simulated, address = model
    out = tmp_path / "out"
    assert group(fruit, address, out, SPECIES) == 0
    (shard,) = (out / "answers").glob("*/answers_*.parquet")
    if column is None:
        shard.write_bytes(b"PAR1 damaged")
    else:
        table = pq.read_table(shard)
        pq.write_table(table.set_column(table.schema.get_field_index(column), column, [value]), shard)
    assert group(fruit, address, out, SPECIES) == 0 and simulated.requests == 80
    assert "damaged" in capsys.readouterr().err


def test_answers_are_data(fruit, tmp_path, capsys):
    out, hostile = tmp_path / "out", "../../etc/passwd <img src=x onerror=alert(1)> \x1b[31m=cmd|calc"
    with serving_plan() as server:
        server.plan[:] = [reply(hostile)] * 20 + [reply("=1+1")]
        assert group(fruit, server.address, out, "--clusters=species=2") == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "<img" not in (out / "report.html").read_text()
    assert not [path for path in out.rglob("*") if "passwd" in path.name]
    assert not [row for row in labels(out).values() if row["species"].startswith("=")]


@pytest.mark.parametrize(
    "flags, part",
    [
        (["--look=http://localhost:1/v1"], "--look and --look_model must be given together"),
        (["--look_model=small"], "--look and --look_model must be given together"),
        (["--look_most=5"], "--look_most needs --look"),
        (["--look_aspects=species"], "--look_aspects needs --look"),
        (["--look=localhost:1", "--look_model=small"], "expected an address like https://host/v1"),
        (["--look=http://localhost:1/v1", "--look_model=small", "--look_size=1"], "(see --look_size)"),
        (["--look=http://localhost:1/v1", "--look_model=small", "--look_aspects=shape"], "not an aspect of this"),
        (["--features=answer"], "need a model to ask: give its address (see --look)"),
        (
            ["--look=https://192.0.2.1/v1", "--look_model=small"],
            "up to 40 images to 192.0.2.1, which is not this machine: allow that, or give",
        ),
        (
            ["--look=https://192.0.2.1/v1", "--look_model=small", "--look_most=7"],
            "up to 7 images to 192.0.2.1",
        ),
    ],
)
def test_flags_that_will_not_do(fruit, tmp_path, capsys, flags, part):
    given = [f"--images={fruit[0]}", "--subject=fruit", "--aspect=species", SPECIES, f"--out={tmp_path / 'out'}"]
    assert multimap(*given, *flags) == 2
    error = capsys.readouterr().err
    assert part in error and "Traceback" not in error


def test_other_features_send_nothing(fruit, model, tmp_path, capsys):
    simulated, address = model
    assert group(fruit, address, tmp_path / "out", SPECIES, "--features=image") == 0
    assert simulated.requests == 0 and "nothing is sent" in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_names_no_host(fruit, model, tmp_path, capsys):
    simulated, address = model
    out, again = tmp_path / "out", f"--out={tmp_path / 'again'}"
    assert group(fruit, address, out, SPECIES) == 0
    kept = json.loads((out / "run.json").read_text())["flags"]
    assert kept["look_aspects"] == ["species"] and not {"look", "look_model", "yes"} & set(kept)
    assert multimap(f"--config={out / 'run.json'}", again, "--noprogress") == 2
    assert "--look_aspects needs --look" in capsys.readouterr().err and simulated.requests == 40
    flags = [f"--look={address}", "--look_model=simulated", "--noprogress"]
    assert multimap(f"--config={out / 'run.json'}", again, *flags) == 0 and simulated.requests == 80
    (tmp_path / "flags.toml").write_text(f'images = "{fruit[0]}"\naspect = ["species"]\nlook = "{address}"\n')
    assert multimap(f"--config={tmp_path / 'flags.toml'}", again) == 2
    assert "a file cannot set look" in capsys.readouterr().err
