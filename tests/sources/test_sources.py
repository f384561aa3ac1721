"""Where images come from: folders, lists, tables and tars hold the same images, and give the same groups."""

import csv
import datetime
import decimal
import io
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import multimap_jax as mm
from multimap_jax.cli import main as cli
from multimap_jax.runs.results import columns_left_out, write_labels
from multimap_jax.scenes import write_scenes
from multimap_jax.sources.detect import open_source
from multimap_jax.sources.embeddings import read_embeddings
from multimap_jax.sources.names import Texts, sorted_unique
from multimap_jax.sources.source import PackedImage, files_of
from multimap_jax.storage import paths as places
from multimap_jax.storage import reading as readers
from tests import bombs
from tests.pages import pictures

COUNT = 24


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "fruit"
    write_scenes(folder, "fruit", seed=7, count=COUNT)
    return folder


@pytest.fixture(scope="module")
def expected(fruit, tmp_path_factory):
    """labels.csv of the folder."""
    out = tmp_path_factory.mktemp("out")
    assert run(fruit, out) == 0
    return (out / "labels.csv").read_bytes()


def run(images, out, *more):
    flags = ["--subject=fruit", "--aspect=color", "--words=color=red,green,yellow", "--noprogress", *more]
    return cli.main(["multimap", f"--images={images}", f"--out={out}", *flags])


def files(fruit):
    return sorted(fruit.glob("*.png"))


def add(tar, name, content, **fields):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(content))


def write_tars(folder, fruit, count=3, extra=None):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        with tarfile.open(folder / f"{i:05}.tar", "w") as tar:
            for path in files(fruit)[i::count]:
                add(tar, path.name, path.read_bytes())
                add(tar, path.with_suffix(".txt").name, f"caption of {path.stem}".encode())
                add(tar, path.with_suffix(".json").name, json.dumps({"key": path.stem}).encode())
            if extra:
                extra(tar)
    return folder / f"{{00000..{count - 1:05}}}.tar"


def write_csv(folder, fruit, name="list.csv", separator=",", head="path", paths=None):
    paths = paths or [os.path.relpath(path, folder) for path in files(fruit)]
    with (folder / name).open("w", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow([head, "license"])
        writer.writerows([path, f"by {i}"] for i, path in enumerate(paths))
    return folder / name


def table_of_images(fruit, structured=True, names=None):
    contents = [path.read_bytes() for path in files(fruit)]
    names = [path.name for path in files(fruit)] if names is None else names
    held = [{"bytes": content, "path": name} for content, name in zip(contents, names)] if structured else contents
    return pa.table({"image": held, "label": list(range(COUNT))})


def write_list_here(fruit, tmp_path):
    return write_csv(fruit, fruit, f"{tmp_path.name}.csv", paths=[path.name for path in files(fruit)])


def write_list_in_parquet(fruit, tmp_path):
    pq.write_table(pa.table({"file": [path.name for path in files(fruit)]}), fruit / f"{tmp_path.name}.parquet")
    return fruit / f"{tmp_path.name}.parquet"


def write_images_in_parquet(fruit, tmp_path):
    table = table_of_images(fruit)
    for i in range(2):
        half = table.slice(i * COUNT // 2, COUNT // 2)
        pq.write_table(half, tmp_path / f"train-{i}.parquet", row_group_size=5)
    return tmp_path / "train-*.parquet"


SOURCES = {
    "tars": lambda fruit, tmp_path: write_tars(tmp_path / "shards", fruit),
    "one tar": lambda fruit, tmp_path: write_tars(tmp_path / "one", fruit, 1).with_name("00000.tar"),
    "a list": write_list_here,
    "a list in parquet": write_list_in_parquet,
    "images in parquet": write_images_in_parquet,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_same_groups_and_is_gone_on_with(name, fruit, expected, tmp_path, monkeypatch):
    place, out = SOURCES[name](fruit, tmp_path), tmp_path / "out"
    assert run(place, out) == 0
    assert (out / "labels.csv").read_bytes() == expected
    assert pictures((out / "report.html").read_text())[1] == 0
    monkeypatch.setattr(mm.Clip, "embed_readable", lambda *_, **__: pytest.fail("embedded again"))
    assert run(place, out, "--aspect=species", "--words=species=apple,banana,grape") == 0


def test_what_stands_beside_the_images_comes_along(fruit, tmp_path):
    source = open_source(write_tars(tmp_path / "shards", fruit))
    assert len(source.names) == COUNT and set(source.columns) == {"caption", "json"}
    captions = dict(zip(source.names, source.columns["caption"]))
    assert captions["fruit_0003.png"] == "caption of fruit_0003"
    assert open_source(write_csv(tmp_path, fruit)).columns == {"license": [f"by {i}" for i in range(COUNT)]}
    pq.write_table(table_of_images(fruit), tmp_path / "a.parquet")
    assert open_source(tmp_path / "a.parquet").columns == {"label": list(range(COUNT))}
    assert run(tmp_path / "shards" / "*.tar", tmp_path / "out") == 0
    table = pq.read_table(tmp_path / "out" / "labels.parquet").to_pydict()
    assert table["caption"] == [f"caption of {name.removesuffix('.png')}" for name in table["image"]]
    assert "caption" not in (tmp_path / "out" / "labels.csv").read_text()


def test_names_that_repeat_or_are_missing_become_their_places(fruit, tmp_path):
    pq.write_table(table_of_images(fruit, names=["a.png"] * 2 + [None] * (COUNT - 2)), tmp_path / "a.parquet")
    names = open_source(tmp_path / "a.parquet").names
    assert names[:3] == ["a.png", "a.parquet#1", "a.parquet#2"] and len(set(names)) == COUNT
    pq.write_table(table_of_images(fruit, structured=False), tmp_path / "b.parquet")
    assert open_source(tmp_path / "b.parquet").names[0] == "b.parquet#0"

    def repeat(tar):
        add(tar, "same.png", b"1")

    source = open_source(write_tars(tmp_path / "shards", fruit, 2, repeat))
    assert "same.png" in source.images and [name for name in source.names if name.startswith("00001.tar#")]


def test_embeddings_through_python_are_those_of_the_files(fruit, tmp_path):
    clip = mm.load_clip("embedded")
    assert (clip.embed_images(write_tars(tmp_path / "s", fruit, 1)) == clip.embed_images(files(fruit))).all()


def tar_of(folder, *members, name="a.tar"):
    """A tar of (name, content) and of images that are named alone."""
    with tarfile.open(folder / name, "w") as tar:
        for member in members:
            add(tar, *(member if isinstance(member, tuple) else (member, b"image")))
    return open_source(folder / name)


# Members of a tar -> the captions of its images.
CAPTIONS = {
    "a name again": (["a.png", ("a.txt", b"1"), "a.png", ("a.txt", b"2")], ["1", "2"]),
    "a name again, texts first": ([("a.txt", b"1"), "a.png", ("a.txt", b"2"), "a.png"], ["1", "2"]),
    "a name again elsewhere": (["a.png", ("a.txt", b"1"), "b.png", "a.png", ("a.txt", b"2")], ["1", "", "2"]),
    "a name again without a text": (["a.png", "a.png", ("a.txt", b"2")], ["", "2"]),
    "a name again, texts at the end": (["a.png", "b.png", "a.png", ("b.txt", b"b"), ("a.txt", b"1")], ["", "b", ""]),
    "texts at the end": (["a.png", "b.png", ("a.txt", b"1"), ("b.txt", b"2")], ["1", "2"]),
    "texts before": ([("a.txt", b"1"), ("b.txt", b"2"), "a.png", "b.png"], ["1", "2"]),
    "two images of one sample": (["a.left.png", "a.right.png", ("a.txt", b"1")], ["1", "1"]),
    "a text for each image of a sample": (
        ["a.left.png", ("a.left.txt", b"1"), "a.right.png", ("a.right.txt", b"2")],
        ["1", "2"],
    ),
    "a text for one image of a sample": (["a.left.png", "a.right.png", ("a.right.txt", b"2")], ["", "2"]),
    "a longer name of the text": (["a.png", ("a.caption.txt", b"1"), "b.png"], ["1", ""]),
    "dots in names": (["i.1.png", "i.2.png", ("i.1.txt", b"1"), ("i.2.txt", b"2")], ["1", "2"]),
    "dots in folders": (["v1.0/a.png", ("v1.0/a.txt", b"1"), ("v1.txt", b"2")], ["1"]),
    "other folders": (["x/a.png", ("y/a.txt", b"1")], None),
    "capitals of endings": (["a.PNG", ("a.TXT", b"1")], ["1"]),
}


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_are_those_of_the_sample(name, tmp_path):
    members, expected = CAPTIONS[name]
    assert tar_of(tmp_path, *members).columns.get("caption") == expected


def test_members_that_macos_adds_are_passed_over_and_said(tmp_path):
    members = ["a.png", "._a.png", "x/._b.png", "__MACOSX/._a.png", "x/__MACOSX/a.png", ("._a.txt", b"no caption")]
    source = tar_of(tmp_path, *members, "x/b._c.png")
    assert list(source.names) == ["a.png", "x/b._c.png"] and not source.columns
    assert source.notes[0].startswith("5 tar members were skipped (macOS metadata): a.tar: ._")


def test_sparse_members_are_passed_over_and_said(tmp_path):
    (tmp_path / "a.tar").write_bytes(
        bombs.tar_of([bombs.sparse_member("b.png", 900), bombs.claiming_member("c.png", 9000)])
    )
    source = open_source(tmp_path / "a.tar")
    assert list(source.names) == ["a.png"] and "sparse" in source.notes[0] and "b.png, a.tar: c.png" in source.notes[0]


def test_a_name_in_many_tars_loses_no_image(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}").mkdir()
        tar_of(tmp_path / f"{i}", "a.png")
    assert list(open_source(tmp_path / "?" / "a.tar").names) == ["a.png", "a.tar#0", "a.tar#0#2"]


def hostile(tar):
    add(tar, "/etc/passwd.png", b"x")
    add(tar, "../../outside.png", b"x")
    add(tar, "link.png", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    add(tar, "hard.png", b"", type=tarfile.LNKTYPE, linkname="fruit_0000.png")
    add(tar, "pipe.png", b"", type=tarfile.FIFOTYPE)
    add(tar, "program.exe", b"MZ")
    add(tar, "bad.png", b"no image")
    add(tar, "\x1b[31m.png", b"no image")


def test_members_that_are_no_images_are_passed_over_and_named(fruit, tmp_path, capsys, expected):
    place = write_tars(tmp_path / "shards", fruit, 1, hostile)
    source = open_source(place)
    assert len(source.names) == COUNT + 2
    notes = " ".join(source.notes)
    for part in (
        "2 tar members were skipped (links): 00000.tar: link.png",
        "(names that point outside the tar)",
        "(not regular files): 00000.tar: pipe.png",
        "(not images by their extension): 00000.tar: program.exe",
    ):
        assert part in notes
    assert run(place, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "bad.png: not an image" in said and r"\x1b[31m.png: not an image" in said and "\x1b" not in said
    assert (tmp_path / "out" / "labels.csv").read_bytes() == expected


def test_a_large_member_is_passed_over(fruit, tmp_path, monkeypatch):
    monkeypatch.setattr("multimap_jax.sources.tars.MEMBER_BYTES", 2**20)
    place = write_tars(tmp_path / "shards", fruit, 1, lambda tar: add(tar, "large.png", bytes(2**20 + 1)))
    assert "(over 1 MB): 00000.tar: large.png" in " ".join(open_source(place).notes)


def test_a_tar_that_is_cut_gives_what_is_in_it(fruit, tmp_path, capsys):
    write_tars(tmp_path / "shards", fruit, 1)
    tar = tmp_path / "shards" / "00000.tar"
    os.truncate(tar, tar.stat().st_size // 2)
    source = open_source(tar)
    assert 5 < len(source.names) < COUNT and "00000.tar is incomplete" in source.notes[0]
    assert run(tar, tmp_path / "out") == 0 and "is incomplete" in capsys.readouterr().out


HEADER = 1024  # where the second of three members of one block begins
# What is made of a tar of three images -> how many are read, and whether it is said to be cut short.
ENDS = {
    "whole": (lambda tar: tar, 3, ""),
    "padded": (lambda tar: tar + bytes(2**17), 3, ""),
    "one block of zeros": (lambda tar: tar[: 3 * HEADER + 512], 3, ""),
    "without an end": (lambda tar: tar[: 3 * HEADER], 3, "it ends at byte 3,072"),
    "cut at a header": (lambda tar: tar[:HEADER], 1, "it ends at byte 1,024"),
    "cut within a header": (lambda tar: tar[: 2 * HEADER + 200], 2, "it ends at byte 2,248"),
    "zeros within": (
        lambda tar: tar[:HEADER] + bytes(HEADER) + tar[2 * HEADER :],
        1,
        "zeros at byte 1,024 with data after",
    ),
    "zeros from within a header": (lambda tar: tar[: HEADER + 99] + bytes(len(tar)), 1, "no header at byte 1,024"),
    "a wrong sum": (lambda tar: tar[: HEADER + 148] + b"1" + tar[HEADER + 149 :], 1, "no header at byte 1,024"),
    "two tars in one": (lambda tar: tar + tar, 3, "zeros at byte 3,072 with data after"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_tar_that_ends_before_its_file_is_said_to_be_cut_short(name, tmp_path):
    make, count, said = ENDS[name]
    tar_of(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "a.tar").write_bytes(make((tmp_path / "a.tar").read_bytes()))
    source = open_source(tmp_path / "a.tar")
    assert len(source.names) == count and len(source.notes) == bool(said)
    read = f"{count} image{' was' if count == 1 else 's were'} read"
    assert all(note.startswith(f"a.tar is incomplete: {read} (") and said in note for note in source.notes)


def test_a_tar_that_is_changed_is_read_again(fruit, tmp_path):
    write_tars(tmp_path / "shards", fruit, 1)
    tar = tmp_path / "shards" / "00000.tar"
    before = open_source(tar).versions()
    assert len(set(before)) == COUNT
    write_tars(tmp_path / "shards", fruit, 1, hostile)
    assert not set(before) & set(open_source(tar).versions())


@pytest.mark.parametrize("base", ["", "memory://patterns-of-names"])
def test_a_folder_that_is_there_as_a_pattern_is_written_comes_first(base, tmp_path):
    base = places.parse_path(base or str(tmp_path))
    names = ["trip [2024]/a.tar", "trip [2024]/b[0].tar", "trip 2/c.tar", "a?b/*/d.tar"]
    for name in [*names, "{x}[y]/1.tar", "{x}[y]/2.tar", "{5..6}/e.tar"]:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(b"tar")

    def found(pattern):
        return [str(file).removeprefix(f"{base}/") for file in files_of(base / pattern)]

    assert found("trip [2024]/*.tar") == ["trip [2024]/a.tar", "trip [2024]/b[0].tar"]
    assert found("trip [2024]/b[0].tar") == found("trip [2024]/[b]*") == ["trip [2024]/b[0].tar"]
    assert found("trip [2]/*.tar") == found("trip [2024]/c.tar") == ["trip 2/c.tar"]
    assert found("a?b/*/*.tar") == ["a?b/*/d.tar"]
    assert found("{x}[y]/{1..2}.tar") == found("{x}[y]/{1..2}*") == found("{x}[y]/?.tar")
    assert found("{x}[y]/?.tar") == ["{x}[y]/1.tar", "{x}[y]/2.tar"]
    assert found("{5..6}/*.tar") == ["{5..6}/e.tar"]
    assert found("trip [2024]/*.csv") == found("[/*.tar") == []
    with pytest.raises(FileNotFoundError, match=r"1 of the 2 files .* \(first: .*/3\*\)"):
        files_of(base / "{x}[y]/{2..3}*")


def test_files_of_a_pattern(tmp_path):
    for i in range(12):
        (tmp_path / f"{i:03}.tar").write_bytes(b"")
    assert files_of(tmp_path / "{000..011}.tar") == sorted(tmp_path.glob("*.tar"))
    assert files_of(tmp_path / "{003..004}.tar") == [tmp_path / "003.tar", tmp_path / "004.tar"]
    assert files_of(tmp_path / "01?.tar") == [tmp_path / "010.tar", tmp_path / "011.tar"]
    assert files_of(tmp_path / "*.csv") == files_of(tmp_path / "{100..101}.tar") == []
    with pytest.raises(
        FileNotFoundError, match="3 of the 4 files of .* are missing .first: .*/012.tar, .*/013.tar, .*/014.tar"
    ):
        files_of(tmp_path / "{011..014}.tar")
    with pytest.raises(ValueError, match="names 1,000,000,000 files"):
        files_of(tmp_path / "{0..999999999}.tar")
    with pytest.raises(ValueError, match="expected 1 to"):
        files_of(tmp_path / "{5..2}.tar")
    (tmp_path / "{1..2}.tar").write_bytes(b"")  # a file that is called so is that file
    assert files_of(tmp_path / "{1..2}.tar") == [tmp_path / "{1..2}.tar"]


def empty_tar(folder):
    tarfile.open(folder / "a.tar", "w").close()


def text_tar(folder):
    (folder / "a.tar").write_text("no tar")


def no_image_tar(folder):
    with tarfile.open(folder / "a.tar", "w") as tar:
        add(tar, "readme.md", b"hello")


def parquet(**columns):
    return lambda folder: pq.write_table(pa.table(columns), folder / "a.parquet")


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def nothing(folder):
    pass


def endless_tar(folder):
    """A size of -512, at which some Pythons begin anew without end."""
    with tarfile.open(folder / "a.tar", "w") as tar:
        add(tar, "readme.md", b"hello")
        add(tar, "a.png", b"x")
    content = bytearray((folder / "a.tar").read_bytes())
    content[1024 + 124 : 1024 + 136] = (-512).to_bytes(12, "big", signed=True)
    content[1024 + 148 : 1024 + 156] = b" " * 8
    content[1024 + 148 : 1024 + 156] = b"%06o\0 " % sum(content[1024:1536])
    (folder / "a.tar").write_bytes(content)


def chained_tar(folder):
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 4
    (folder / "a.tar").write_bytes((member.tobuf(tarfile.GNU_FORMAT) + b"abc".ljust(512, b"\0")) * 3000)


def bomb(name, rows):
    """Rows that repeat one text of 2 MB take some hundred bytes; the others are there to make them seem more."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * 2_000_000]))
    table = pa.table({name: text, "fill": np.random.default_rng(0).random(rows)})
    return lambda folder: pq.write_table(
        table, folder / "a.parquet", compression="zstd", dictionary_pagesize_limit=2**26
    )


BAD = {
    "an empty tar": (empty_tar, "a.tar", "there are no images in"),
    "text called tar": (text_tar, "a.tar", "a.tar is empty or not a tar file"),
    "a tar of no bytes": (written("a.tar", ""), "a.tar", "is empty or not a tar file"),
    "a tar without images": (no_image_tar, "a.tar", "(not images by their extension): a.tar: readme.md"),
    "a pattern of nothing": (nothing, "{000..010}.tar", "and no file matches it"),
    "a star of nothing": (nothing, "*.tar", "and no file matches it"),
    "kinds mixed": (lambda folder: (empty_tar(folder), parquet(a=[1])(folder)), "a.*", "several kinds"),
    "compressed": (written("a.tar.gz", "x"), "a.tar.gz", "is compressed"),
    "parquet without the column": (
        parquet(url=["x"], text=["y"]),
        "a.parquet",
        "has the columns url, text; expected a column of paths",
    ),
    "a tar without end": (endless_tar, "a.tar", "a.tar is"),
    "a tar of headers alone": (chained_tar, "a.tar", "a.tar is"),
    "many rows in few bytes": (parquet(path=pa.nulls(10**6, pa.string())), "a.parquet", "1,000,000 rows in a file of"),
    "a text repeated": (bomb("path", 600), "a.parquet", "would take more than 1,073,741,824 bytes"),
    "text called parquet": (written("a.parquet", "PAR1 hello PAR1"), "a.parquet", "a.parquet cannot be read"),
    "parquet without rows": (parquet(image=pa.array([], pa.binary())), "a.parquet", "a.parquet has no rows"),
    "a list without the column": (
        written("a.csv", "url,text\nx,y\n"),
        "a.csv",
        "has the columns url, text; expected a column of paths",
    ),
    "a list without rows": (written("a.csv", "path\n"), "a.csv", "names no image"),
    "a list in another encoding": (
        written("a.csv", "path\ngrün.png\n".encode("latin-1")),
        "a.csv",
        "is not a csv file",
    ),
    "a list of what is not there": (written("a.csv", "path\nx.png\ny.png\n"), "a.csv", "no such file"),
    "rows that hold nothing": (
        parquet(image=pa.array([None, None], pa.binary())),
        "a.parquet",
        "the row holds no image",
    ),
    "rows that hold no images": (parquet(image=[b"a", b"b"]), "a.parquet", "not an image"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_sources_are_a_sentence(name, tmp_path, capsys):
    make, place, expected = BAD[name]
    make(tmp_path)
    flags = ["--aspect=color", "--clusters=color=1", f"--out={tmp_path / 'out'}"]
    assert cli.main(["multimap", f"--images={tmp_path / place}", *flags]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.startswith("multimap: ") and error.count("\n") == 1


def test_an_image_in_a_larger_file_is_read_where_it_lies(fruit, tmp_path):
    source = open_source(write_tars(tmp_path / "s", fruit, 1))
    for path in files(fruit)[:3]:
        image = source.images[path.name]
        assert isinstance(image, PackedImage) and image.read() == path.read_bytes()
    assert np.unique([image.file for image in source.images.values()]).size == 1


def embed(images, out, *more):
    return cli.main(["multimap", "embed", f"--images={images}", f"--out={out}", "--noprogress", *more])


def group(embeddings, out, *more):
    flags = ["--subject=fruit", "--aspect=color", "--words=color=red,green,yellow", "--noprogress", *more]
    return cli.main(["multimap", f"--embeddings={embeddings}", f"--out={out}", *flags])


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Enough images for several shards, and their labels.csv."""
    folder = tmp_path_factory.mktemp("photos") / "many"
    write_scenes(folder, "fruit", seed=7, count=120)
    out = tmp_path_factory.mktemp("out")
    assert run(folder, out) == 0
    return folder, (out / "labels.csv").read_bytes()


@pytest.mark.slow
def test_workers_that_know_nothing_of_each_other_give_what_one_gives(many, tmp_path, capsys):
    images, expected = many
    for part in ("3/3", "1/3"):
        assert embed(images, tmp_path / "emb", f"--part={part}") == 0
    assert group(tmp_path / "emb", tmp_path / "out") == 2
    assert "1 of 4 shards of" in capsys.readouterr().err
    assert embed(images, tmp_path / "emb", "--part=2/3") == 0
    assert "32 images of 120 to embed, in 1 of 4 shards" in capsys.readouterr().out
    for place in (tmp_path / "emb", tmp_path / "emb" / "embeddings"):
        assert group(place, tmp_path / "out", "--fresh") == 0
        assert (tmp_path / "out" / "labels.csv").read_bytes() == expected
    assert embed(images, tmp_path / "emb", "--part=2/3") == 0
    assert "0 images of 120 to embed, in 0 of 4 shards" in capsys.readouterr().out
    assert not list(tmp_path.glob("emb/.multimap/lock*"))


def test_a_worker_that_sees_other_images_stops(many, fruit, tmp_path, capsys):
    assert embed(many[0], tmp_path, "--part=1/2") == 0
    assert embed(fruit, tmp_path, "--part=2/2") == 2
    assert "the plan in" in (said := capsys.readouterr().err) and "has 120 images, but this worker finds 24" in said


PARTS = {
    "0/16": "--part=$((INDEX+1))/N",
    "17/16": "expected 1/16 to 16/16",
    "2": "such as 2/16",
    "a/b": "such as 2/16",
}


@pytest.mark.parametrize("part", PARTS)
def test_parts_that_there_are_not(part, fruit, tmp_path, capsys):
    assert embed(fruit, tmp_path, f"--part={part}") == 2 and PARTS[part] in capsys.readouterr().err


def clip_retrieval(folder, rows, names, count=2, digits=3, **more):
    """Embeddings as clip-retrieval writes them."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    for i, part in enumerate(np.array_split(np.arange(len(rows)), count)):
        np.save(folder / "img_emb" / f"img_emb_{i:0{digits}}.npy", rows[part])
        table = pa.table({"image_path": [names[j] for j in part], "caption": ["" for _ in part]})
        pq.write_table(table, folder / "metadata" / f"metadata_{i:0{digits}}.parquet")
    return folder


@pytest.fixture(scope="module")
def rows(fruit):
    return mm.load_clip("embedded").embed_images(files(fruit)), [path.name for path in files(fruit)]


@pytest.mark.parametrize("kind, count, digits", [(np.float32, 2, 4), (np.float16, 11, 2), (np.float32, 1, 1)])
def test_embeddings_of_clip_retrieval_are_grouped(rows, expected, tmp_path, kind, count, digits):
    scaled = (rows[0] * np.linspace(0.5, 3, COUNT)[:, None]).astype(kind)  # rows of any length
    place = clip_retrieval(tmp_path / "emb", scaled, rows[1], count, digits)
    assert group(place, tmp_path / "out") == 0
    assert (tmp_path / "out" / "labels.csv").read_bytes() == expected


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_one_array_with_its_names_is_grouped(rows, expected, fruit, tmp_path, ending, capsys):
    np.save(tmp_path / "a.npy", rows[0])
    names = [str(fruit / name) for name in rows[1]]
    if ending == "csv":
        (tmp_path / "a.csv").write_text("path\n" + "\n".join(names))
    else:
        pq.write_table(pa.table({"path": names}), tmp_path / "a.parquet")
    truth = (fruit / "labels.csv").read_text().replace("fruit_", f"{fruit}/fruit_")
    (tmp_path / "truth.csv").write_text(truth)
    assert group(tmp_path / "a.npy", tmp_path / "out", f"--labels={tmp_path / 'truth.csv'}") == 0
    assert (tmp_path / "out" / "labels.csv").read_text().replace(f"{fruit}/", "") == expected.decode()
    assert pictures((tmp_path / "out" / "report.html").read_text())[1] == 0
    assert "compared with your labels" in capsys.readouterr().out


def test_a_report_without_pictures_says_so(rows, tmp_path):
    assert group(clip_retrieval(tmp_path / "emb", *rows), tmp_path / "out") == 0
    assert "24 of 24 images could not be opened" in (tmp_path / "out" / "report.html").read_text()


def test_rows_that_are_none_are_left_out_and_said(rows, tmp_path, capsys):
    spoilt = rows[0].copy()
    spoilt[3], spoilt[20] = 0, np.nan
    assert group(clip_retrieval(tmp_path / "emb", spoilt, rows[1]), tmp_path / "out") == 0
    said = capsys.readouterr().out
    examples = "img_emb_000.npy row 3, img_emb_001.npy row 8"
    assert f"2 embeddings left out because they are zero or not finite: {examples}" in said
    assert len((tmp_path / "out" / "labels.csv").read_text().splitlines()) == 1 + COUNT - 2


def test_names_of_embeddings_that_repeat_become_their_places(rows, tmp_path):
    place = clip_retrieval(tmp_path / "emb", rows[0], ["a.png", "a.png", None, *rows[1][3:]])
    assert group(place, tmp_path / "out") == 0
    names = [line.partition(",")[0] for line in (tmp_path / "out" / "labels.csv").read_text().splitlines()[1:]]
    assert {"a.png", "a.png#1", "img_emb_000.npy#2"} <= set(names) and len(set(names)) == COUNT


def spoil(change):
    def make(folder, rows):
        clip_retrieval(folder, *rows)
        change(folder)

    return make


def longer(folder):
    np.save(folder / "img_emb" / "img_emb_001.npy", np.ones((3, 128), np.float32))


def wider(folder):
    np.save(folder / "img_emb" / "img_emb_001.npy", np.ones((COUNT // 2, 64), np.float32))


def replaced(name, content):
    return lambda folder: (folder / name).write_bytes(content)


EMBEDDINGS = {
    "nothing": (lambda folder, rows: None, "there are no embeddings in"),
    "lengths that differ": (spoil(longer), "has 3 rows, "),
    "two encoders": (spoil(wider), "embed all images with the same encoder"),
    "a table lost": (
        spoil(lambda folder: (folder / "metadata" / "metadata_001.parquet").unlink()),
        "has no file with the same number",
    ),
    "an array lost": (
        spoil(lambda folder: (folder / "img_emb" / "img_emb_000.npy").unlink()),
        "has no file with the same number",
    ),
    "a damaged array": (spoil(replaced("img_emb/img_emb_000.npy", b"\x93NUMPY")), "cannot be read"),
    "a damaged table": (spoil(replaced("metadata/metadata_000.parquet", b"PAR1")), "cannot be read"),
    "another width": (
        lambda folder, rows: clip_retrieval(folder, np.eye(9, dtype=np.float32), rows[1]),
        "have 9 dimensions",
    ),
    "whole numbers": (
        lambda folder, rows: clip_retrieval(folder, rows[0].astype(int), rows[1]),
        "expected floating-point numbers",
    ),
    "only zeros": (lambda folder, rows: clip_retrieval(folder, rows[0] * 0, rows[1]), "has no usable rows"),
    "another encoder": (spoil(replaced("encoder.json", b'{"hash": "0"}')), "were not made with"),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_bad_embeddings_are_a_sentence(name, rows, tmp_path, capsys):
    make, expected = EMBEDDINGS[name]
    make(tmp_path / "emb", rows)
    assert group(tmp_path / "emb", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert expected in error and error.startswith("multimap: ") and error.count("\n") == 1


def test_a_gap_in_the_numbers_is_said(rows, tmp_path, capsys):
    place = clip_retrieval(tmp_path / "emb", *rows, count=3)
    for kind, ending in (("img_emb", "npy"), ("metadata", "parquet")):
        (place / kind / f"{kind}_001.{ending}").unlink()
    assert group(place, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "missing file numbers in" in said and ": 1 (first: 1)" in said


def test_an_array_without_names_is_a_sentence(rows, tmp_path, capsys):
    np.save(tmp_path / "a.npy", rows[0])
    assert group(tmp_path / "a.npy", tmp_path / "out") == 2
    assert "has no list of image names next to it: add a.csv or .parquet" in capsys.readouterr().err
    assert cli.main(["multimap", "--embeddings=x", "--images=y", "--aspect=color"]) == 2
    assert "give either --images or --embeddings, not both" in capsys.readouterr().err


def test_a_row_group_that_repeats_one_large_image_is_read_row_by_row(tmp_path):
    contents = [b"x" * 2**16] * 499 + [bytes(range(256)) * 4]
    pq.write_table(pa.table({"image": contents}), tmp_path / "a.parquet", compression="zstd")
    images = list(open_source(tmp_path / "a.parquet").images.values())
    for row in (0, 499, 3, 470, 17, 16, 15, 40):
        assert images[row].read() == contents[row]
    held = images[0].read.func.__self__.held
    assert sum(map(len, held)) < 2**22


def test_one_path_that_cannot_be_opened_is_left_out(fruit, tmp_path, capsys):
    place = write_csv(tmp_path, fruit, paths=["a\0b.png", *map(str, files(fruit))])
    assert run(place, tmp_path / "out") == 0
    assert "a\\x00b.png: embedded null byte" in capsys.readouterr().out


def picture():
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    return file.getvalue()


PNG = picture()
HELD = [{"bytes": PNG, "path": None}]
KIND = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# Columns of a table -> the one that is read.
CHOICES = {
    "a mask before": ({"annotation": HELD, "image": HELD}, "image"),
    "a hash before": ({"md5": [b"0" * 16], "image": HELD}, "image"),
    "paths and a vector": ({"embedding": [b"1234"], "image_path": ["a.png"]}, "image_path"),
    "paths and images": ({"path": ["a.png"], "img": [PNG]}, "img"),
    "by type": ({"md5": [b"0" * 16], "own": HELD, "title": ["x"]}, "own"),
    "a number called image": ({"image": [1], "path": ["a.png"]}, "path"),
    "lists called image": ({"image": [[PNG]], "path": ["a.png"]}, "path"),
    "paths alone": ({"title": ["x"], "file_name": ["a.png"]}, "file_name"),
    "paths of Spark": ({"path": ["file:/data/a.png"], "length": [9], "content": [PNG]}, "content"),
    "addresses and images": ({"path": ["http://192.0.2.1/a.png"], "data": [PNG]}, "data"),
    "what images are called, and images": ({"image": ["id 1"], "bytes": [PNG]}, "bytes"),
    "numbers of images as bytes": ({"image": [b"0001"], "bytes": [PNG]}, "bytes"),
    "names of files and images": ({"image": ["a.png"], "image_bytes": [PNG]}, "image_bytes"),
    "paths and a structure": ({"path": ["x"], "cover": HELD}, "cover"),
    "paths and a mask": ({"path": ["a.png"], "depth_map": HELD}, "path"),
    "segments before": ({"seg_map": HELD, "rgb": HELD}, "rgb"),
    "small ones before": ({"thumbnail": [PNG], "full": [PNG]}, "full"),
    "nothing called image": ({"image": pa.array([None], pa.binary()), "own": [PNG]}, "own"),
    "nothing in a structure": ({"image": pa.array([None], KIND), "own": [PNG]}, "own"),
    "capitals of an image": ({"depth": HELD, "Image": HELD}, "Image"),
    "capitals of a path": ({"title": ["x"], "Image Path": ["a.png"]}, "Image Path"),
    "sound beside paths": ({"file": ["a.png"], "audio": [{"bytes": b"RIFF" + bytes(99), "path": "a.wav"}]}, "file"),
    "a longer name": ({"FilePath": ["a.png"], "mask": HELD}, "FilePath"),
    "a picture": ({"Picture": ["a.png"], "title": ["x"]}, "Picture"),
}
ALONE = ("a number called image", "lists called image", "paths alone", "capitals of a path", "a picture")


@pytest.mark.parametrize("name", CHOICES)
def test_a_column_is_chosen_by_name_then_by_type_and_said(name, tmp_path):
    columns, expected = CHOICES[name]
    (tmp_path / "a.png").write_bytes(PNG)
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    (image,) = source.images.values()
    if isinstance(image, PackedImage):
        assert image.read.func.__self__.column == expected and image.read() == PNG
    else:
        assert image == tmp_path / "a.png" and expected not in source.columns
    said = f"reading column {expected} of a.parquet" in " ".join(source.notes)
    assert said == (name not in ALONE)


def test_images_that_begin_late_are_seen_and_only_some_rows_looked_at(tmp_path, monkeypatch):
    place = tmp_path / "a.parquet"
    for rows, expected in ((900, "own"), (1100, "path")):
        held = pa.array([None] * rows + [PNG], pa.binary())
        table = pa.table({"path": [f"{i}.png" for i in range(rows + 1)], "own": held})
        pq.write_table(table, place, write_statistics=False)
        assert f"reading column {expected} " in open_source(place).notes[0]
    pq.write_table(table, place, row_group_size=1100)  # of which the first says that it holds none
    assert "reading column own " in open_source(place).notes[0]
    monkeypatch.setattr("multimap_jax.sources.columns.GROUP_BYTES", 50)
    assert "reading column path " in open_source(place).notes[0]


def test_a_column_that_is_there_twice_is_named(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array(["a.png"])] * 2, ["path", "path"]), tmp_path / "a.parquet")
    np.save(tmp_path / "a.npy", np.eye(1, 8, dtype=np.float32))
    for read, name in ((open_source, "a.parquet"), (read_embeddings, "a.npy")):
        with pytest.raises(ValueError, match=r"a.parquet cannot be read \(column path appears twice\)"):
            read(tmp_path / name)


@pytest.mark.parametrize("head", ["Image", "IMAGE PATH", "fileName", "filepath", "file name", "image_file", "src"])
def test_names_of_columns_of_lists_are_written_in_any_way(head, tmp_path):
    (tmp_path / "a.csv").write_text(f"title, author;{head}\nx;a.png\n")
    assert list(open_source(tmp_path / "a.csv").names) == ["a.png"]


def test_a_choice_of_names_beside_embeddings_is_said(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(2, 8, dtype=np.float32))
    held = pa.array([{"bytes": b"1", "path": "a.png"}, {"bytes": b"2", "path": None}], KIND)
    tables = {
        "path": {"path": ["a.png", None], "file": ["x", "y"]},
        "image": {"path": ["x", "y"], "image": held, "md5": [b"1", b"2"]},
    }
    for column, table in tables.items():
        pq.write_table(pa.table(table), tmp_path / "a.parquet")
        source = read_embeddings(tmp_path / "a.npy").source
        assert set(source.names) == {"a.png", "a.npy#1"}
        assert f"reading column {column} of a.parquet, not " in source.notes[0]


# Names of the file of names and what it holds -> what two rows are called.
BESIDE = {
    "a.tsv": ("Image\ta\nx, y.png\t1\nz.png\t2\n", ["x, y.png", "z.png"]),
    "a.CSV": ("a,File Name\n1, x.png \n2,z.png\n", ["x.png", "z.png"]),
    "a.csv": ("path\nx.png\nz.png\n\n   \n\n", ["x.png", "z.png"]),
    "a.csv ": ("path\nx.png\n\n\n", ["x.png", "a.npy#1"]),
    "a.csv  ": ("path,a\n# two\n  ,1\nz.png,2\n# end\n", ["a.npy#0", "z.png"]),
    "a.csv   ": ("path\n there .png \nz.png\n", [" there .png ", "z.png"]),
    "a.PARQUET": (pa.table({"Path": ["x.png ", "z.png"], "title": ["s", "t"]}), ["x.png", "z.png"]),
    "a.parquet": (pa.table({"title": ["s", "t"]}), ["a.npy#0", "a.npy#1"]),
}


@pytest.mark.parametrize("name", BESIDE)
def test_names_beside_embeddings_are_read_as_lists_are(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, expected = BESIDE[name]
    np.save("a.npy", np.eye(2, 8, dtype=np.float32))
    (tmp_path / " there .png ").write_bytes(PNG)
    if isinstance(content, str):
        (tmp_path / name.strip()).write_text(content)
    else:
        pq.write_table(content, name)
    source = read_embeddings(tmp_path / "a.npy").source
    assert sorted(source.names) == sorted(expected)
    said = "no column of names in a.parquet: images are named a.npy#0, …"
    assert list(source.notes) == ([said] if name == "a.parquet" else [])


def test_rows_without_bytes_are_read_from_their_path(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(PNG)
    rows = [{"bytes": PNG, "path": "x.png"}, {"bytes": None, "path": "a.png"}, {"bytes": b"", "path": "b.png "}, None]
    pq.write_table(pa.table({"image": pa.array(rows, KIND)}), tmp_path / "mixed.parquet")
    *images, none = open_source(tmp_path / "mixed.parquet").images.values()
    assert images[0].read() == PNG and images[1:] == [tmp_path / "a.png", tmp_path / "b.png"]
    with pytest.raises(ValueError, match="holds no image"):
        none.read()
    for rows in ([{"bytes": None, "path": "c.png"}], [{"path": "c.png"}], pa.array([{"bytes": b"", "path": "c.png"}])):
        pq.write_table(pa.table({"image": rows}), tmp_path / "paths.parquet")
        assert list(open_source(tmp_path / "paths.parquet").images.values()) == [tmp_path / "c.png"]


DAY = datetime.date(2024, 5, 6)
ALONG = {
    "categories": (pa.array(["x", None, "x"]).dictionary_encode(), ["x", "x"]),
    "categories of numbers": (pa.array([5, 6, None]).dictionary_encode(), [5, None]),
    "views": (pa.array(["x", None, "y"], pa.string_view()), ["x", "y"]),
    "dates": (pa.array([DAY, None, DAY]), ["2024-05-06", "2024-05-06"]),
    "dates as categories": (pa.array([DAY, None, None]).dictionary_encode(), ["2024-05-06", None]),
    "times of a zone": (
        pa.array([0, 1, None], pa.timestamp("us", "Mars/X")),
        ["1970-01-01 00:00:00.000000Z", None],
    ),
    "decimals": (pa.array([decimal.Decimal("1.50")] * 3), ["1.50", "1.50"]),
    "large numbers": (pa.array([2**64 - 1, 1, 2], pa.uint64()), [str(2**64 - 1), "2"]),
    "nothing": (pa.nulls(3), [None, None]),
    "lists": (pa.array([[1], None, [2]]), None),
    "bytes": (pa.array([b"x"] * 3), None),
}


@pytest.mark.parametrize("name", ALONG)
def test_columns_of_any_kind_come_along_or_are_said(name, tmp_path):
    values, expected = ALONG[name]
    pq.write_table(pa.table({"path": ["a.png", None, "b.png"], "own": values}), tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    assert list(source.names) == ["a.png", "b.png"] and source.columns.get("own") == expected
    assert "skipped 1 row without an image in a.parquet" in source.notes
    assert ("columns of a.parquet that are not kept: own (" in " ".join(source.notes)) == (expected is None)
    write_labels(io.BytesIO(), source.names, [], source)


def test_columns_that_differ_between_files_are_written(tmp_path):
    for i, columns in enumerate(({"label": [1]}, {"label": ["one"]}, {"other": [2]})):
        pq.write_table(pa.table({"path": [f"{i}.png"]} | columns), tmp_path / f"{i}.parquet")
    source = open_source(tmp_path / "*.parquet")
    assert source.columns == {"label": ["1", "one", None], "other": [None, None, 2]}
    write_labels(io.BytesIO(), source.names, [], source)


# What a list holds -> the names of its images.
TEXTS = {
    "one.tsv": ("path\nbeach, evening.png\n", ["beach, evening.png"]),
    "more commas.tsv": ("path\ttitle, author, year\nbeach, evening.png\tx\n", ["beach, evening.png"]),
    "semicolons.tsv": ("a;b\tpath\nx\ta;b.png\n", ["a;b.png"]),
    "capitals.TSV": ("path\na,b.png\n", ["a,b.png"]),
    "excel.csv": ("sep=;\npath;a, b, c\nx.png;1\n", ["x.png"]),
    "excel quoted.csv": ('\ufeff"sep=\t"\r\npath\ta\r\nx.png\t1\r\n', ["x.png"]),
    "excel.tsv": ("sep=,\npath\ta,b\nx,1.png\t1\n", ["x,1.png"]),
    "comments.csv": ("# made, by; me\n\n# today\npath;a\n#1.png;x\n# 2.png;y\n", ["#1.png", "# 2.png"]),
    "comment in quotes.csv": ('"# made, by me",\npath,a\nx.png,1\n', ["x.png"]),
    "separator after comment.csv": ("# x\nsep=;\npath;a,b,c\nx.png;1\n", ["x.png"]),
    "guessed by a known name.csv": ("path;title, author, year\nx.png;y\n", ["x.png"]),
    "guessed outside of quotes.csv": ('"a, b, c";own;file_name\n1;2;x.png\n', ["x.png"]),
    "blanks.csv": ("path,a\nx.png ,1\n  y.png,2\n", ["x.png", "y.png"]),
    "blanks that are there.csv": ("path\nthere.png \n", ["there.png "]),
    "commas.tsv": ("path,a\nx.png,1\n", ["x.png"]),
    "semicolons alone.TSV": ("a;b;file\n1;2;x.png\n", ["x.png"]),
    "said.tsv": ("sep=;\npath;a\tb;src\nx.png;1\t2;y\n", ["x.png"]),
    "said goes first.csv": ("sep=;\npath;a,path,b\nx.png;1,2,3\n", ["x.png"]),
    "another one is said.csv": ("sep=|\npath|a,b\nx.png|1,2\n", ["x.png"]),
    "said of what is not there.csv": ("sep=;\npath,a\nx.png,1\n", ["x.png"]),
    "numpy.csv": ("#image,x\nx.png,1\ny.png,2\n", ["x.png", "y.png"]),
    "numpy's lines.tsv": ("# made\n# by; me\n#  x\timage\n\n# now\n1\ty.png\n", ["y.png"]),
    "numpy's in quotes.csv": ('"#image","x"\nx.png,1\n', ["x.png"]),
    "numpy's, after many.csv": ("# x\n" * 99 + "#image,x\nx.png,1\n", ["x.png"]),
    "a comment that is no heading.csv": ("# image, x\npath,x\nx.png,1\n", ["x.png"]),
    "comments between.csv": (
        "path,a\n# one\nx.png,1\n #two \n#1.png,3\n#there.png\n",
        ["x.png", "#1.png", "#there.png"],
    ),
    "one column.csv": ("path\n#1.png\n", ["#1.png"]),
    "two marks.csv": ("\ufeff\ufeffpath,a\nx.png,1\n", ["x.png"]),
    "two marks and a comment.csv": ("\ufeff\ufeff# x\npath,a\nx.png,1\n", ["x.png"]),
    "rows without.csv": ("path,a\nx.png,1\n,2\n ,3\n\n", ["x.png"]),
}


@pytest.mark.parametrize("name", TEXTS)
def test_lists_as_programs_write_them(name, tmp_path):
    content, expected = TEXTS[name]
    for there in ("there.png ", "#there.png"):
        (tmp_path / there).write_bytes(PNG)
    (tmp_path / name).write_bytes(content.encode())
    source = open_source(tmp_path / name)
    assert list(source.names) == expected
    assert list(source.images.values()) == [tmp_path / each for each in expected]
    assert ("skipped 2 rows without an image in rows without.csv" in source.notes) == ("without" in name)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_another_encoding_is_said_with_what_to_do(encoding, tmp_path):
    (tmp_path / "a.csv").write_bytes("path,a\ngrün.png,1\n".encode(encoding))
    with pytest.raises(ValueError, match=r"a.csv is not a csv file in UTF-8 \(.*\): save it as UTF-8 \(see images=\)$"):
        open_source(tmp_path / "a.csv")


def test_columns_that_are_called_like_ours_are_said(fruit, tmp_path):
    place = write_csv(tmp_path, fruit, "own.csv")
    text = place.read_text().replace("path,license", "path,color")
    place.write_text(text)
    assert columns_left_out(open_source(place), ["color"]) == [
        f"columns of {place} have names that labels.parquet uses itself, and are left out: color."
    ]
    assert columns_left_out(open_source(place), ["species"]) == []


def test_row_groups_of_other_rows_than_the_file_are_a_sentence(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [b"x"] * 4}), tmp_path / "a.parquet")
    metadata = pq.ParquetFile(tmp_path / "a.parquet").metadata

    class Lying:
        num_rows, num_row_groups = 7, metadata.num_row_groups
        row_group = metadata.row_group

    with pytest.raises(ValueError, match="another number of rows than the file"):
        readers.check_row_groups(Lying(), 1000)


@pytest.mark.slow
def test_what_a_parquet_file_says_of_its_columns_ends_no_process(tmp_path):
    """Arrow's own words on a damaged column abort: a process of its own is asked, for every byte of the footer."""
    script = f"""
import os, sys
from pathlib import Path
from multimap_jax.sources.detect import open_source
import pyarrow as pa, pyarrow.parquet as pq
path = Path({str(tmp_path / "a.parquet")!r})
pq.write_table(pa.table({{"name": ["a.png"], "image": [b"x" * 40], "path": ["a.png"]}}), path)
whole = path.read_bytes()
begin = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
for i in range(begin, len(whole) - 8):
    path.write_bytes(whole[:i] + bytes([whole[i] ^ 3]) + whole[i + 1 :])
    try:
        open_source(path)
    except (ValueError, OSError):
        pass
print("done")
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr[-1000:]


def test_an_image_in_a_table_that_becomes_far_more_than_it_is(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr(readers, "COLUMN_BYTES", 2**20)
    images = pa.array([b"\x89PNG\r\n\x1a\n" + bytes(2**23)])
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(ValueError, match="a row group unpacks to"):
        open_source(tmp_path / "a.parquet")


def test_names_that_repeat_whatever_is_added_to_them_are_a_sentence():
    names, name = ["a", "a"], "a"
    for i in range(1, 60):
        name = f"{name}#{i}"
        names.append(name)
    with pytest.raises(ValueError, match="give each image a unique name"):
        sorted_unique(Texts(names))


def test_a_tar_of_headers_and_names_without_end_is_looked_at_quickly(fruit, tmp_path):
    content = next(fruit.glob("*.png")).read_bytes()
    headers = {f"key{i}": "x" for i in range(2000)}
    with tarfile.open(tmp_path / "headers.tar", "w", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
        add(tar, "a.png", content)
    with pytest.raises(ValueError, match="global headers, expected at most"):
        open_source(tmp_path / "headers.tar")
    with tarfile.open(tmp_path / "names.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "\x01" * 10**6 + ".png", content)
        add(tar, "a.png", content)
    source = open_source(tmp_path / "names.tar")
    assert list(source.names) == ["a.png"] and "(names over 4,096 characters)" in source.notes[0]
    assert len(source.notes[0]) < 2000
