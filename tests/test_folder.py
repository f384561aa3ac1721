"""Folders of images: links are followed once, and what is passed over is said."""

import os

import pytest
from PIL import Image

import multimap_jax as mm
from multimap_jax import cli
from multimap_jax.inputs.folder import read_folder
from multimap_jax.inputs.names import path_of_name


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


@pytest.fixture
def folder(tmp_path):
    picture(tmp_path / "photos" / "a.png")
    picture(tmp_path / "photos" / "deep" / "b.png")
    picture(tmp_path / "elsewhere" / "c.png")
    return tmp_path / "photos"


def test_names_are_sorted_paths_with_slashes(folder):
    assert read_folder(folder).names == ["a.png", "deep/b.png"] and read_folder(folder).notes == ()


def test_linked_folders_are_followed_once(folder):
    for name in ("link", "second"):
        (folder / name).symlink_to(folder.parent / "elsewhere")
    (folder / "again").symlink_to(folder / "deep")
    found = read_folder(folder)
    assert found.names == ["a.png", "deep/b.png", "link/c.png"]
    assert [note.split()[3] for note in found.notes] == ["again", "second"]
    assert all(note.endswith("what it leads to is read already") for note in found.notes)


def test_loops_end(folder):
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "deep" / "higher").symlink_to(folder.parent)
    (folder / "out").symlink_to(folder.parent / "elsewhere")
    (folder.parent / "elsewhere" / "back").symlink_to(folder)
    (folder.parent / "elsewhere" / "self").symlink_to(".")
    found = read_folder(folder)
    assert found.names == ["a.png", "deep/b.png", "out/c.png"]
    back = "it leads back to a folder that it stands in"
    assert [note.endswith(back) for note in found.notes] == [True, True, False, True]


def test_links_that_lead_nowhere_are_images_that_cannot_be_read(folder):
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    clip = mm.load_clip("embedded")
    rows, kept = clip.embed_images(folder, on_error="skip")
    assert len(rows) == 2 and kept.tolist() == [0, 1]


def test_what_is_passed_over_is_said(folder, tmp_path, capsys):
    (folder / "again").symlink_to(folder / "deep")
    with pytest.warns(UserWarning, match="the linked folder again was passed over"):
        mm.load_clip("embedded").embed_images(folder)
    flags = [f"--images={folder}", "--aspect=color", "--clusters=color=1", "--features=image", f"--out={tmp_path}"]
    assert cli.main(["multimap", *flags]) == 0
    assert "the linked folder again was passed over" in capsys.readouterr().out
    assert "the linked folder again was passed over" in (tmp_path / "report.html").read_text()


@pytest.mark.skipif(os.name != "posix", reason="file names of any bytes are POSIX's")
def test_names_that_are_not_utf_8_are_written_as_text(folder):
    (folder / os.fsdecode(b"\xff.png")).write_bytes((folder / "a.png").read_bytes())
    (folder / os.fsdecode(b"\xfe.png")).write_bytes((folder / "a.png").read_bytes())
    (folder / "a\\xff.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "a\n\x1b[31m\x85.png").write_bytes((folder / "a.png").read_bytes())
    found = read_folder(folder)
    assert {r"\xff.png", r"\xfe.png", r"a\\xff.png", r"a\x0a\x1b[31m\xc2\x85.png"} <= set(found.names)
    for name, file in found.images.items():
        assert path_of_name(name) == os.fspath(file.relative_to(folder)) and name.isprintable()


def test_photographs_of_kinds_that_are_not_read_are_named(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for name in ("b.dng", "c.CR2", "sub/d.dng", "notes.txt", ".hidden.dng"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"raw")
    found = read_folder(tmp_path)
    assert found.names == ["a.png"]
    assert found.notes == ("files of kinds that are not read were passed over: 1 .cr2, 2 .dng (the first: b.dng)",)
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"files of other kinds there: 4; files of kinds .* \(the first: b.dng\)"):
        read_folder(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert read_folder(tmp_path).notes == ("the folder closed was passed over: it cannot be read (Permission denied)",)
