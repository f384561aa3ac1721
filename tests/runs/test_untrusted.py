"""A run that came from a stranger: its names lead nowhere else, its addresses are not asked, nothing is lost."""

import csv
import hashlib
import http.server
import json
import os
import shutil
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import multimap_jax as mm
from multimap_jax.clustering.kmeans import merge_order
from multimap_jax.editing.edits_file import read_edits
from multimap_jax.runs.export import write_whole
from multimap_jax.runs.models import file_hashes, model_name
from multimap_jax.scenes import write_scenes
from multimap_jax.storage.encoding import as_csv
from multimap_jax.storage.reading import read_table
from tests.command import multimap

WORDS = "--words=color=red,green,yellow"


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "fruit"
    write_scenes(folder, "fruit", seed=3, count=16)
    return folder


@pytest.fixture(scope="module")
def finished(fruit, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "out"
    assert multimap(f"--images={fruit}", "--subject=fruit", "--aspect=color", WORDS, f"--out={out}") == 0
    return out


@pytest.fixture
def hostile(finished, tmp_path):
    """A copy of the run beside documents that it must not touch, and edits for it."""
    (tmp_path / "documents" / "deep").mkdir(parents=True)
    (tmp_path / "documents" / "deep" / "my-novel.txt").write_text("mine")
    edits = {"edits": [{"aspect": "color", "rename": "red", "to": "warm"}]}
    (tmp_path / "edits.json").write_text(json.dumps(edits))
    return shutil.copytree(finished, tmp_path / "run")


def change_run(run, change):
    content = json.loads((run / "run.json").read_text())
    change(content)
    (run / "run.json").write_text(json.dumps(content))


def snapshot(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


MODELS = [
    "..",
    ".",
    "",
    "/",
    "*",
    "**/*-",
    "../../documents/**/*-",
    "/etc",
    "a/b",
    "a\\b",
    ".hidden",
    "color-[0-9]",
    "color-0123456z-0123456789ab",
    "color-01234567-0123456789ab",
    "color-01234567-0123456789ab\n",
    "c:color-01234567-0123456789ab",
    "x" * 5000,
    None,
    3,
    ["color"],
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: ascii(model)[:30])
@pytest.mark.parametrize("verb", ["edit", "apply", "export"])
def test_models_of_other_names_are_a_sentence(model, verb, hostile, fruit, tmp_path, capsys):
    change_run(hostile, lambda content: content["aspects"][0].update(model=model))
    before, more = snapshot(tmp_path), tmp_path / "more"
    flags = {
        "edit": [f"--edits={tmp_path / 'edits.json'}", f"--out={more}"],
        "apply": [f"--images={fruit}", f"--out={more}"],
        "export": [f"--to={more}.csv"],
    }
    assert multimap(verb, f"--run={hostile}", *flags[verb]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "run.json" in said and "run multimap again" in said
    assert snapshot(tmp_path) == before


def test_a_model_that_was_changed_with_its_hashes_is_another_model(hostile, fruit, tmp_path, capsys):
    folder = next((hostile / "models").iterdir())
    (folder / "model.json").write_text((folder / "model.json").read_text() + " ")
    digest = hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
    change_run(hostile, lambda content: content["aspects"][0]["files"].update({"model.json": digest}))
    assert multimap("apply", f"--run={hostile}", f"--images={fruit}", f"--out={tmp_path / 'more'}") == 2
    assert "has an unexpected name" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["models", "..", "."])
def test_edits_leave_what_lies_in_out(folder, hostile, tmp_path):
    """Whatever a stranger calls his models: files of the user in --out stay."""
    out = tmp_path / "work"
    for name in (".env.next", ".123.new/a.txt", ".company-0123456789abcdef/a", "thesis.txt", "models/mine/a.txt"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    mine = snapshot(out)
    for _ in range(2):
        assert multimap("edit", f"--run={hostile}", f"--edits={tmp_path / 'edits.json'}", f"--out={out}") == 0
    assert mine.items() <= snapshot(out).items()


@pytest.mark.slow
def test_what_a_user_puts_into_out_survives_every_command(fruit, tmp_path):
    out = tmp_path / "out"
    run = [f"--images={fruit}", "--subject=fruit", "--aspect=color", f"--out={out}"]
    assert multimap(*run, WORDS) == 0
    model = next((out / "models").iterdir()).name
    names = (
        ".env.next",
        ".labels.csv.0123abcd.new",
        ".42.new/a.txt",
        ".company-0123456789abcdef/a.txt",
        "thumbnails-0123456789ab/1.jpg",
        f"models/{model[:-12]}aaaaaaaaaaaa/notes.txt",
        f"models/{model}/notes.txt",
        "embeddings/img_emb/img_emb_000099 copy.npy",
        "embeddings/notes.txt",
        "plan/plan_of_mine.parquet",
        "proxies/color-0123456789abcdef/proxies_000000.npz",
    )
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"mine")
    assert multimap(*run, "--words=color=red,green", "--fresh") == 0
    assert multimap("embed", f"--images={fruit}", f"--out={out}") == 0
    assert all((out / name).read_bytes() == b"mine" for name in names)


# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def beacon():
    """(address of a web server, what it was asked)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def names_of(run):
    return [row["image"] for row in csv.DictReader((run / "labels.csv").read_text("utf-8").splitlines())]


def as_list(run, rows):
    (run / "list.csv").write_text("\n".join(["image", *rows]) + "\n")
    return run / "list.csv"


def as_table(run, rows):
    pq.write_table(pa.table({"path": rows}), run / "list.parquet")
    return run / "list.parquet"


def as_held(run, rows):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(
        pa.table({"image": pa.array([{"bytes": None, "path": row} for row in rows], kind)}), run / "h.parquet"
    )
    return run / "h.parquet"


@pytest.mark.parametrize("verb", ["export", "edit"])
@pytest.mark.parametrize("listed", [as_list, as_table, as_held])
def test_addresses_in_the_list_of_a_run_are_not_asked(verb, listed, hostile, beacon, tmp_path):
    address, asked = beacon
    place = listed(hostile, [*names_of(hostile), f"{address}/folder/beacon.jpg"])
    change_run(hostile, lambda content: content["images"].update(place=str(place)))
    if verb == "export":
        assert multimap("export", f"--run={hostile}", f"--to={tmp_path / 'to'}") == 2
    else:
        assert (
            multimap("edit", f"--run={hostile}", f"--edits={tmp_path / 'edits.json'}", f"--out={tmp_path / 'o'}") == 0
        )
    assert not asked


@pytest.mark.parametrize("key", ["images", "embeddings", "clip", "applied"])
@pytest.mark.parametrize("verb", ["export", "edit", "apply"])
def test_addresses_in_run_json_are_not_asked(key, verb, hostile, fruit, beacon, tmp_path, capsys):
    address, asked = beacon

    def change(content):
        if key in ("images", "clip"):
            content[key].update(place=f"{address}/x/", name=f"{address}/clip")
        else:
            content[key] = f"{address}/x/"

    change_run(hostile, change)
    shutil.rmtree(hostile / "embeddings")
    flags = {
        "edit": [f"--edits={tmp_path / 'edits.json'}", f"--out={tmp_path / 'o'}"],
        "apply": [f"--images={fruit}", f"--out={tmp_path / 'o'}"],
        "export": [f"--to={tmp_path / 'o.parquet'}"],
    }
    status, said = multimap(verb, f"--run={hostile}", *flags[verb]), capsys.readouterr().err
    assert not asked and "Traceback" not in said and (status == 0 or (status, said.count("\n")) == (2, 1))
    assert status == 2 or key != "clip"


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/clip", "s3://bucket/clip", "some/hub-id"])
def test_a_model_of_a_stranger_fetches_no_checkpoint(name, hostile):
    folder = next((hostile / "models").iterdir())
    content = json.loads((folder / "model.json").read_text())
    content["clip"]["name"] = name
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="is not a directory on this machine"):
        mm.load(folder)
    assert mm.load(folder, clip="embedded").n_clusters_ == 3


# ---------------------------------------------------------------------------------------------------------------------


class TestExport:
    @pytest.mark.parametrize("how", ["copy", "link"])
    @pytest.mark.parametrize("through", ["links", "paths"])
    def test_only_images_leave(self, how, through, hostile, tmp_path, capsys):
        """What a stranger's list names is looked at: a key is no image, whatever it is called."""
        (tmp_path / "id_rsa").write_text("private key")
        rows = names_of(hostile)
        for name in rows:
            if through == "links":
                (hostile / name).symlink_to(tmp_path / "id_rsa")
        place = as_list(hostile, rows if through == "links" else [str(tmp_path / "id_rsa")] * len(rows))
        change_run(hostile, lambda content: content["images"].update(place=str(place)))
        assert multimap("export", f"--run={hostile}", f"--to={tmp_path / 'to'}", f"--how={how}") == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and ("is an image" in said or "lacks 16 of the run's 16 images" in said)
        assert not [path for path in (tmp_path / "to").rglob("*") if path.is_file()]

    @pytest.mark.parametrize("where", ["links", "paths", "steps up"])
    def test_a_list_that_came_with_a_run_names_what_came_with_it(self, where, hostile, fruit, tmp_path, capsys):
        """Images of this machine do not leave because a stranger guessed their names."""
        rows, private = names_of(hostile), tmp_path / "private.png"
        shutil.copy(next(fruit.glob("*.png")), private)
        for name in rows:
            if where == "links":
                (hostile / name).symlink_to(private)
        given = {"links": rows, "paths": [str(private)] * len(rows), "steps up": ["../private.png"] * len(rows)}
        place = as_list(hostile, given[where])
        table = pq.read_table(hostile / "labels.parquet")
        if where != "links":
            image = pa.array([given[where][0]] * len(rows))
            pq.write_table(table.set_column(0, "image", image), hostile / "labels.parquet")
        change_run(hostile, lambda content: content["images"].update(place=str(place)))
        assert multimap("export", f"--run={hostile}", "--aspect=color", f"--to={tmp_path / 'to'}") == 2
        assert "lacks 16 of the run's 16 images" in capsys.readouterr().err and not (tmp_path / "to").exists()

    def test_a_list_of_this_machine_names_whatever_it_does(self, fruit, tmp_path):
        (tmp_path / "lists").mkdir()
        rows = [str(path) for path in sorted(fruit.glob("*.png"))]
        place = as_list(tmp_path / "lists", rows)
        out = tmp_path / "out"
        assert multimap(f"--images={place}", "--aspect=color", WORDS, f"--out={out}") == 0
        assert multimap("export", f"--run={out}", f"--to={tmp_path / 'to'}") == 0
        assert len([path for path in (tmp_path / "to").rglob("*.png")]) == len(rows)

    def test_one_that_is_no_image_stays_out_and_is_said(self, finished, fruit, tmp_path, capsys):
        images = shutil.copytree(fruit, tmp_path / "images")
        first = names_of(finished)[0]
        (images / first).write_text("private key")
        flags = [f"--run={finished}", f"--images={images}", f"--to={tmp_path / 'to'}"]
        assert multimap("export", *flags) == 0
        assert f"skipping 1 of 16 files, which are not images, such as {first}" in capsys.readouterr().out
        copied = [path for path in (tmp_path / "to").rglob("*.png")]
        assert len(copied) == 15 and not [path for path in copied if b"private" in path.read_bytes()]

    def test_pipes_and_devices_are_not_read(self, hostile, tmp_path):
        rows = names_of(hostile)
        os.mkfifo(hostile / rows[0])
        for name in rows[1:]:
            (hostile / name).symlink_to("/dev/zero")
        place = as_list(hostile, rows)
        change_run(hostile, lambda content: content["images"].update(place=str(place)))
        assert multimap("export", f"--run={hostile}", f"--to={tmp_path / 'to'}") == 2


# ---------------------------------------------------------------------------------------------------------------------

FORMULAS = ['=HYPERLINK("http://evil/","x")', "+1+1", "-1+1", "@SUM(A1)", "＝1+1"]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_group_called_like_a_formula_is_text_in_a_spreadsheet(name, hostile, tmp_path):
    (tmp_path / "edits.json").write_text(json.dumps({"edits": [{"rename": "red", "to": name}]}))
    out = tmp_path / "out"
    assert multimap("edit", f"--run={hostile}", f"--edits={tmp_path / 'edits.json'}", f"--out={out}") == 0
    assert multimap("export", f"--run={out}", f"--to={tmp_path / 'table.csv'}") == 0
    for path in (out / "labels.csv", tmp_path / "table.csv"):
        cells = [cell for row in csv.reader(path.read_text("utf-8").splitlines()) for cell in row]
        assert f"'{name}" in cells and not [cell for cell in cells if cell.startswith(("=", "+", "@", "＝"))]
    assert name in read_table(out / "labels.parquet", ("color",))["color"]


HIDDEN = ["\u200b", "re\u200bd", "wa\u202erm", "\u2066warm", "\u3164", "war\nm", "\x1b[2Jwarm", "\ud800", "a\u2028b"]


@pytest.mark.parametrize("name", HIDDEN, ids=ascii)
def test_names_that_cannot_be_read_are_refused_wherever_they_come_from(name, hostile, fruit, tmp_path, capsys):
    (tmp_path / "edits.json").write_text(json.dumps({"edits": [{"rename": "red", "to": name}]}))
    with pytest.raises(ValueError, match="expected a name of one line, .* no invisible ones"):
        read_edits(tmp_path / "edits.json", ["color"])
    with pytest.raises(ValueError, match="invisible characters|control characters"):
        mm.Aspect("color", "fruit", ("red", f"{name}green"))
    with pytest.raises(ValueError, match="invisible characters|control characters"):
        mm.Aspect(f"{name}color", "fruit")
    folder = next((hostile / "models").iterdir())
    content = json.loads((folder / "model.json").read_text())
    content["cluster_names"][0] = name
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="has unreadable names|is not JSON"):
        mm.load(folder)


def test_groups_of_a_stranger_have_names_that_can_be_read(hostile, fruit, tmp_path, capsys):
    edited = tmp_path / "edited"
    assert multimap("edit", f"--run={hostile}", f"--edits={tmp_path / 'edits.json'}", f"--out={edited}") == 0
    text = (edited / "groups.json").read_text().replace('"warm"', '"wa\\u202erm"')
    (edited / "groups.json").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    change_run(edited, lambda content: content["edited"].update(groups=digest))
    assert multimap("apply", f"--run={edited}", f"--images={fruit}", f"--out={tmp_path / 'more'}") == 2
    assert "the groups do not have unique, readable names" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="file names of any bytes are POSIX's")
def test_names_of_any_bytes_are_edited_exported_and_embedded_again(fruit, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    names = [b"a\nb.png", b"\xff.png", b"back\\slash.png", b"\x1b[31m.png", b"plain.png", "日.png".encode()]
    for name, source in zip(names, sorted(fruit.glob("*.png"))):
        shutil.copy(source, images / os.fsdecode(name))
    out, flags = tmp_path / "out", ["--subject=fruit", "--aspect=color", WORDS]
    assert multimap(f"--images={images}", *flags, f"--out={out}") == 0
    (tmp_path / "edits.json").write_text(json.dumps({"edits": [{"move": [r"a\x0ab.png"], "to": "green"}]}))
    edited = tmp_path / "edited"
    assert multimap("edit", f"--run={out}", f"--edits={tmp_path / 'edits.json'}", f"--out={edited}") == 0
    assert multimap("export", f"--run={out}", f"--to={tmp_path / 'table.csv'}") == 0
    assert multimap("export", f"--run={edited}", f"--to={tmp_path / 'folders'}") == 0
    assert len(list((tmp_path / "folders").rglob("*.png"))) == len(names)
    again = tmp_path / "again"
    assert multimap(f"--embeddings={out}", *flags, f"--out={again}") == 0
    assert names_of(again) == names_of(out) == names_of(edited)
    assert (again / "labels.csv").read_bytes() == (out / "labels.csv").read_bytes()
    shown = Image.open(images / os.fsdecode(names[0]))
    assert shown.size and np.asarray(shown).any()


# ---------------------------------------------------------------------------------------------------------------------


def change_model(run, settings=lambda content: None, arrays=lambda found: None):
    """Changes a model and all that says what it is, as a stranger would."""
    (folder,) = (run / "models").iterdir()
    content = json.loads((folder / "model.json").read_text())
    settings(content)
    (folder / "model.json").write_text(json.dumps(content))
    with np.load(folder / "arrays.npz") as stored:
        found = dict(stored)
    arrays(found)
    np.savez(folder / "arrays.npz", **found)
    files = file_hashes(folder)
    change_run(run, lambda whole: whole["aspects"][0].update(files=files, model=model_name("color", files)))
    return folder.rename(folder.with_name(model_name("color", files)))


HOSTILE_MODELS = {
    "centroids far away": (lambda c: None, lambda a: a.update(cluster_centers_=a["cluster_centers_"] * 0 + 1e300)),
    "a name without end": (lambda c: c.update(cluster_names=["a" * 10**6, "b", "c"]), lambda a: None),
    "very many groups": (lambda c: c.update(cluster_names=[str(i) for i in range(20_000)]), lambda a: None),
    "steps without end": (lambda c: c.update(config={"recipe": "default", "steps": 10**8}), lambda a: None),
    "a format that steers": (lambda c: c.update(format="\x1b[2J"), lambda a: None),
    "a checkpoint that steers": (lambda c: c["clip"].update(name="\x1b[2J"), lambda a: None),
}


@pytest.mark.parametrize("name", HOSTILE_MODELS)
def test_models_that_would_fill_the_memory_or_steer_a_terminal(name, hostile):
    folder = change_model(hostile, *HOSTILE_MODELS[name])
    with pytest.raises(ValueError) as raised:
        mm.load(folder)
    assert "\x1b" not in str(raised.value) and len(str(raised.value)) < 500


def test_ward_s_order_of_very_many_groups_is_not_asked_for(hostile):
    rows = np.random.default_rng(0).normal(size=(1000, 3))
    assert merge_order(rows, np.ones(1000)) == []


def test_the_same_aspect_twice_is_refused(hostile, fruit, tmp_path, capsys):
    change_run(hostile, lambda content: content.update(aspects=content["aspects"] * 3))
    assert multimap("apply", f"--run={hostile}", f"--images={fruit}", f"--out={tmp_path / 'o'}") == 2
    assert "the same aspect twice" in capsys.readouterr().err


COLUMNS = {
    "color": [1, None, "=1+1\x1b[2J", "a\u202eb", ["x"], 2.5],
    "color: confidence": ["=1+1", "@SUM(1)|x\x1b[31m"],
    "color: distance": ["=1+1", ["x"]],
    "image": [1, None, "a\nb.png", "\x1b[2J.png"],
}


@pytest.mark.parametrize("column, value", [(name, value) for name, values in COLUMNS.items() for value in values])
@pytest.mark.parametrize("to", ["t.csv", "folders"])
def test_columns_of_a_stranger_hold_names_and_numbers(column, value, to, hostile, tmp_path, capsys):
    if to == "folders" and ": " in column:
        pytest.skip("folders are made of names alone")
    table = pq.read_table(hostile / "labels.parquet")
    changed = pa.array([value] * len(table))
    pq.write_table(table.set_column(table.schema.names.index(column), column, changed), hostile / "labels.parquet")
    assert multimap("export", f"--run={hostile}", f"--to={tmp_path / to}") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "labels.parquet" in said and "\x1b" not in said
    assert not (tmp_path / to).exists()


def test_a_linked_folder_within_a_run_leads_nowhere_else(hostile, fruit, tmp_path, capsys):
    private = shutil.copytree(fruit, tmp_path / "private")
    (hostile / "pics").symlink_to(private)
    change_run(hostile, lambda content: content["images"].update(place=str(hostile / "pics")))
    assert multimap("export", f"--run={hostile}", f"--to={tmp_path / 'to'}") == 2
    assert "lacks 16 of the run's 16 images" in capsys.readouterr().err and not (tmp_path / "to").exists()


@pytest.mark.parametrize("place", ["", None, 3, "\0", "x" * 10_000])
def test_a_run_that_does_not_say_where_its_images_are(place, hostile, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change_run(hostile, lambda content: content["images"].update(place=place))
    assert multimap("export", f"--run={hostile}", f"--to={tmp_path / 'to'}") == 2
    assert capsys.readouterr().err.count("\n") == 1
    edits = f"--edits={tmp_path / 'edits.json'}"
    assert multimap("edit", f"--run={hostile}", edits, f"--out={tmp_path / 'o'}") == 0


def test_a_link_to_nothing_is_not_replaced_by_a_table(hostile, tmp_path, capsys):
    (tmp_path / "t.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert multimap("export", f"--run={hostile}", f"--to={tmp_path / 't.csv'}") == 2
    assert (tmp_path / "t.csv").is_symlink() and "Export overwrites nothing" in capsys.readouterr().err


def test_what_comes_in_the_place_of_a_table_meanwhile_stays(tmp_path):
    def write(file):
        (tmp_path / "t.csv").write_text("mine")
        file.write(b"ours")

    with pytest.raises(FileExistsError, match="Export overwrites nothing"):
        write_whole(tmp_path / "t.csv", write)
    assert (tmp_path / "t.csv").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["a;=1+1;.png", "b\t=1+1.png"])
def test_a_formula_in_the_middle_of_a_name_is_no_cell(name):
    (row,) = as_csv([["x", name]]).splitlines()
    assert row == f'x,"{name}"'


def test_an_image_called_like_a_program_gets_an_ending(finished, fruit, tmp_path):
    images = shutil.copytree(fruit, tmp_path / "images")
    rows = names_of(finished)
    for name in rows:
        (images / name).rename(images / f"{name}.html")
    place = as_list(images, [f"{name}.html" for name in rows])
    out = tmp_path / "out"
    assert multimap(f"--images={place}", "--aspect=color", WORDS, f"--out={out}") == 0
    assert multimap("export", f"--run={out}", f"--to={tmp_path / 'to'}") == 0
    assert {path.suffix for path in (tmp_path / "to").rglob("*.*") if path.name[0] != "."} == {".png"}


GROUPS_OF_A_RUN = [
    {},
    {"name": 3, "images": 1, "name_confidence": 1},
    {"name": "a\u202eb", "images": 1, "name_confidence": 1},
    {"name": "a", "images": "x", "name_confidence": 1},
    {"name": "a", "images": 1, "name_confidence": "{}"},
]


@pytest.mark.parametrize("group", GROUPS_OF_A_RUN)
def test_a_run_of_a_stranger_in_a_notebook_is_a_sentence(group, hostile):
    change_run(hostile, lambda content: content["aspects"][0].update(groups=[group] * 3))
    with pytest.raises(ValueError, match=r"run\.json cannot be read"):
        mm.open_run(hostile)._repr_html_()


def test_a_run_of_fewer_groups_than_its_images_have_is_a_sentence(hostile):
    change_run(hostile, lambda content: content["aspects"][0]["groups"].pop())
    with pytest.raises(ValueError, match="it has images in unknown groups"):
        mm.open_run(hostile)._repr_html_()


@pytest.mark.parametrize("edit", [{"split": "red", "into": 2}, {"rename": "red", "to": "warm"}])
def test_edits_without_end_are_not_begun(edit, tmp_path):
    (tmp_path / "edits.json").write_text(json.dumps({"edits": [edit] * 10_001}))
    with pytest.raises(ValueError, match="split it into several files"):
        read_edits(tmp_path / "edits.json", ["color"])
