"""Groups taken away: folders that stay inside, names that any file system takes, tables that spreadsheets may open."""

import csv
import io
import json
import os
import shutil
import tarfile
import time
import types

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from multimap_jax.runs.evaluation import read_labels
from multimap_jax.runs.export import csv_text
from multimap_jax.runs.export_folders import export_folders
from multimap_jax.runs.finished import RunImages
from multimap_jax.runs.results import labels_text
from multimap_jax.sources.detect import open_source
from multimap_jax.storage.markers import MARK
from multimap_jax.storage.portable_names import LONGEST, make_distinct, portable_name, portable_path
from tests.command import multimap


@given(st.text(max_size=300))
def test_any_text_is_a_name_that_file_systems_take(text):
    name = portable_name(text)
    assert name and name not in (".", "..") and len(name.encode()) <= LONGEST
    assert not set(name) & set('<>:"/\\|?*\0\n\t') and name == name.strip() and not name.endswith(".")
    path = portable_path(text)
    assert not path.startswith("/") and not {"", ".", ".."} & set(path.split("/"))


def test_names_of_devices_hidden_files_and_long_ones():
    assert [portable_name(name) for name in ("con", "COM1.txt", "..", "", ".git", "a. ")] == [
        "_con", "_COM1.txt", "__", "_", "_.git", "a_",
    ]  # fmt: skip
    long, other = portable_name("x" * 300 + ".jpeg"), portable_name("x" * 301 + ".jpeg")
    assert long != other and long.endswith(".jpeg") and portable_path("/etc/../a.png") == "etc/__/a.png"


@pytest.mark.parametrize(
    "name",
    [
        "nul .txt",
        "CONIN$",
        "conout$ .x",
        "com1 .x",
        "COM¹",
        "lpt³. a",
        "aux\u00a0.x",
        "ｎｕｌ",
        "Com9\u3000.png",
    ],
)
def test_names_that_windows_takes_for_a_device(name):
    assert portable_name(name).startswith("_")


@pytest.mark.parametrize("name", ["null.txt", "con1", "conin", "com.x", "console .x", "a nul", "com10", "lpt"])
def test_names_that_it_does_not(name):
    assert portable_name(name) == name


def test_paths_of_very_many_folders_are_cut_and_stay_unlike():
    given = [portable_path("a/" * 10**5 + "x.png"), portable_path("a/" * (10**5 + 1) + "x.png")]
    assert len(set(given)) == 2 and all(len(path) < 4096 and path.endswith("a/x.png") for path in make_distinct(given))
    assert portable_path("a/" * 31 + "x.png") == "a/" * 31 + "x.png"


@pytest.mark.parametrize(
    "given", [["a?.jpg", "A*.jpg"] * 10_000, [f"a ({i}).jpg" for i in range(10_000)] + ["a.jpg"] * 10_000]
)
def test_very_many_names_that_become_one_are_numbered_at_once(given):
    begin = time.process_time()
    found = make_distinct(map(portable_path, given))
    assert time.process_time() - begin < 5, "every number is tried for every name"
    assert len({name.casefold() for name in found}) == len(given)


def test_no_two_paths_are_one_file():
    given = ["a/x.png", "a/X.png", "a/x.png", "b", "b/c.png", "a/x (2).png"]
    found = make_distinct(given)
    assert len({path.casefold() for path in found}) == 6 and found[:2] == ["a/x.png", "a/X (2).png"]
    assert found[3] == "b (2)" and found[4] == "b/c.png"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.png", "sub/c.png")):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(folder / name)
    return folder


NAMES, GROUPS = ["a.png", "b.png", "sub/c.png"], ["red", "../red", "red"]


def export(photos, to, how="copy", dry_run=False, groups=GROUPS):
    said = []
    job = types.SimpleNamespace(to=to, how=how, dry_run=dry_run)
    export_folders(job, NAMES, groups, RunImages(open_source(photos)), said.append, False)
    return said


def listing(folder):
    """All files of a folder but the marks that tell who wrote it."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARK)
    return sorted(path.relative_to(folder).as_posix() for path in files)


@pytest.mark.parametrize("how", ["copy", "link"])
def test_folders_hold_the_images_of_each_group(photos, tmp_path, how):
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    said = export(photos, tmp_path / "to", how)
    assert listing(tmp_path / "to") == ["_.._red/b.png", "red/a.png", "red/sub/c.png"]
    assert said[0].startswith(f"{how} 3 images into 2 folders") and "(group ../red)" in "".join(said)
    for name, path in (("a.png", "red/a.png"), ("sub/c.png", "red/sub/c.png")):
        assert (tmp_path / "to" / path).is_symlink() == (how == "link")
        assert (tmp_path / "to" / path).read_bytes() == before[photos / name]
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before
    again = export(photos, tmp_path / "to", how)
    assert "all 3 are already there" in again and listing(tmp_path / "to") == listing(tmp_path / "to")


def test_a_folder_with_images_of_another_export_is_said(photos, tmp_path):
    export(photos, tmp_path / "to")
    said = export(photos, tmp_path / "to", groups=["blue", "blue", "red"], dry_run=True)
    assert any("already has 2 images of another export, such as _.._red/b.png; they stay" in line for line in said)
    assert not any("another export" in line for line in export(photos, tmp_path / "to"))


def test_a_dry_run_writes_nothing(photos, tmp_path):
    assert export(photos, tmp_path / "to", dry_run=True)[-1] == "nothing was written (--dry_run)"
    assert not (tmp_path / "to").exists()


def test_nothing_is_overwritten_and_nothing_leaves_the_folder(photos, tmp_path):
    to, outside = tmp_path / "to", tmp_path / "outside"
    (to / "red").mkdir(parents=True)
    (to / "red" / "a.png").write_text("mine")
    with pytest.raises(FileExistsError, match="already exists and differs .* give a new folder"):
        export(photos, to)
    assert listing(to) == ["red/a.png"] and (to / "red" / "a.png").read_text() == "mine"
    (to / "red" / "a.png").unlink()
    (to / "red" / "a.png").symlink_to(outside / "new.png")  # leads nowhere yet
    with pytest.raises(FileExistsError, match="already exists and differs .* give a new folder"):
        export(photos, to)
    shutil.rmtree(to / "red")
    outside.mkdir()
    (to / "red").symlink_to(outside)
    with pytest.raises(ValueError, match="is a link that leads out of .* to="):
        export(photos, to)
    (to / "red").unlink()
    (to / "red").write_text("a file")
    with pytest.raises(ValueError, match="is a file, expected a folder"):
        export(photos, to)
    with pytest.raises(ValueError, match="is a file: give a folder"):
        export(photos, to / "red")
    assert not list(outside.iterdir())


def test_a_file_that_comes_meanwhile_stays(photos, tmp_path, monkeypatch):
    to, link = tmp_path / "to", os.link

    def late(source, target):
        target.write_text("mine")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(FileExistsError, match="appeared during the export"):
        export(photos, to)
    assert (to / "red" / "a.png").read_text() == "mine" and listing(to) == ["red/a.png"]


def test_too_little_room_and_images_that_are_gone(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10))
    with pytest.raises(OSError, match="has 10 free"):
        export(photos, tmp_path / "to")
    (photos / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match="lacks 1 of the run's 3 images, such as b.png"):
        export(photos, tmp_path / "to")


def test_images_within_tars_are_copied_and_not_linked(photos, tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in NAMES:
            content = (photos / name).read_bytes()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    source = open_source(tmp_path / "x.tar")
    names = list(source.images)
    job = types.SimpleNamespace(to=tmp_path / "to", how="copy", dry_run=False)
    export_folders(job, names, GROUPS, RunImages(source), lambda _: None, False)
    assert (tmp_path / "to" / "red" / "a.png").read_bytes() == (photos / "a.png").read_bytes()
    job.how = "link"
    with pytest.raises(ValueError, match="use how='copy'"):
        export_folders(job, names, GROUPS, RunImages(source), lambda _: None, False)


EVIL = ["=1+1.png", "+a.png", "-b.png", "@c.png", "plain.png"]


def test_labels_hold_no_formula_in_a_path_and_are_read_back(tmp_path):
    aspect, groups = types.SimpleNamespace(name="color"), np.array([0, 0, 0, 0, -1])
    result = types.SimpleNamespace(aspect=aspect, group_names=["red", "(unassigned)"], groups=groups)
    (tmp_path / "labels.csv").write_text(labels_text(EVIL, [result]))
    rows = list(csv.reader((tmp_path / "labels.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["image", "./=1+1.png", "./+a.png", "./-b.png", "./@c.png", "plain.png"]
    assert rows[5] == ["plain.png", "(unassigned)"]
    assert set(read_labels(tmp_path / "labels.csv", ["color"], dict.fromkeys(EVIL), tmp_path)["color"]) == set(EVIL)


def test_an_exported_csv_holds_no_formula():
    words = ["=cmd()", "+1", "-1", "@x", "red"]
    table = {"image": EVIL, "=color": words, "=color: distance": [-1.0] * 5}
    rows = list(csv.reader(io.StringIO(csv_text(table, ["=color"]))))
    assert rows[0] == ["image", "'=color", "'=color: distance"]
    assert [row[1] for row in rows[1:]] == ["'=cmd()", "'+1", "'-1", "'@x", "red"]
    assert rows[1][0] == "./=1+1.png" and rows[1][2] == "-1.0"


def test_tables_of_a_run(finished, tmp_path, capsys):
    out = tmp_path / "t.parquet"
    assert multimap("export", f"--run={finished[1]}", f"--to={out}") == 0
    table, labels = pq.read_table(out), pq.read_table(finished[1] / "labels.parquet")
    assert table.column_names == [
        "image", "color", "color: confidence", "color: distance", "color: x", "color: y", "species",
        "species: confidence", "species: distance", "species: x", "species: y", "embedding",
    ]  # fmt: skip
    assert table["image"].equals(labels["image"]) and table["color"].to_pylist() == labels["color"].to_pylist()
    embedded = np.array(table["embedding"].to_pylist())
    assert len(embedded) == 40
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-4)
    assert multimap("export", f"--run={finished[1]}", f"--to={out}") == 2
    assert "Export overwrites nothing" in capsys.readouterr().err
    assert multimap("export", f"--run={finished[1]}", "--aspect=color", f"--to={tmp_path / 't.csv'}") == 0
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    own = [f"color: {name}" for name in ("confidence", "distance", "x", "y")]
    assert len(rows) == 40 and list(rows[0]) == ["image", "color", *own]


def test_pandas_opens_the_table(finished, tmp_path):
    pandas = pytest.importorskip("pandas")
    assert multimap("export", f"--run={finished[1]}", f"--to={tmp_path / 't.parquet'}") == 0
    frame = pandas.read_parquet(tmp_path / "t.parquet")
    assert len(frame) == 40 and len(frame["embedding"][0]) > 10


def test_folders_of_a_run_and_what_is_wrong(finished, tmp_path, capsys, monkeypatch):
    run, to = f"--run={finished[1]}", f"--to={tmp_path / 'to'}"
    assert multimap("export", run, "--aspect=color", to, "--how=link") == 0
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"red", "green", "yellow"}
    assert sum(path.is_symlink() for path in (tmp_path / "to").rglob("*")) == 40
    record = json.loads((finished[1] / "run.json").read_text())
    shutil.copytree(finished[1], tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"images": {"place": str(tmp_path / "gone")}}))
    moved = [f"--run={tmp_path / 'run'}", "--aspect=color", f"--to={tmp_path / 'more'}"]
    for flags, message in (
        ([run, to], "folders show one aspect: give one of color, species (use --aspect=color)"),
        ([run, to, "--aspect=mood"], "has no aspect 'mood': it has color, species (see --aspect)"),
        ([run], "--to is missing"),
        ([run, "--aspect=color", "--to=groups.xlsx"], "cannot write a table groups.xlsx: give a .parquet or .csv file"),
        ([f"--run={tmp_path / 'none'}", to], "give the folder of one (see --run)"),
        ([run, to, "--aspect=color", "--how=move"], "--how=move"),
        ([run, "--aspect=color", "--to=s3://bucket/to"], "--to"),
        (moved, "give --images=FOLDER"),
    ):
        assert multimap("export", *flags) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1, said
    assert multimap("export", *moved, f"--images={finished[0]}", "--dry_run") == 0
    # A store that only a file names is not reached.
    stores = {"images": {"place": "s3://bucket/x"}, "embeddings": "s3://bucket/y"}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | stores))
    shutil.rmtree(tmp_path / "run" / "embeddings")
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda *_, **__: pytest.fail("reached"))
    assert multimap("export", *moved) == 2 and "s3://bucket/x: give --images" in capsys.readouterr().err
    assert multimap("export", f"--run={tmp_path / 'run'}", f"--to={tmp_path / 't.csv'}") == 2
    assert "(use --embeddings=s3://bucket/y)" in capsys.readouterr().err


def test_a_folder_that_held_files_before_is_said(tmp_path):
    from multimap_jax.storage.markers import MARK, make_marked

    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "own.png").write_bytes(b"mine")
    assert not make_marked(tmp_path / "red") and not (tmp_path / "red" / MARK).exists()
    assert make_marked(tmp_path / "green") and make_marked(tmp_path / "green")
