"""Folders of images: links are followed once, and what is passed over is said."""

import os
import types

import pytest
from PIL import Image

import multimap_jax as mm
from multimap_jax.cli import main as cli
from multimap_jax.runs.export_folders import export_folders
from multimap_jax.runs.finished import RunImages
from multimap_jax.sources import formats as kinds
from multimap_jax.sources.folder import read_folder
from multimap_jax.storage.filenames import path_of_name
from multimap_jax.storage.markers import MARK
from multimap_jax.storage.paths import parse_path


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
    assert [note.split()[4].rstrip(":") for note in found.notes] == ["again", "second"]
    assert all(note.endswith("the folder that it leads to is read already") for note in found.notes)


def test_loops_end(folder):
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "deep" / "higher").symlink_to(folder.parent)
    (folder / "out").symlink_to(folder.parent / "elsewhere")
    (folder.parent / "elsewhere" / "back").symlink_to(folder)
    (folder.parent / "elsewhere" / "self").symlink_to(".")
    found = read_folder(folder)
    assert found.names == ["a.png", "deep/b.png", "out/c.png"]
    back = "it leads back to a folder that contains it"
    assert [note.endswith(back) for note in found.notes] == [True, True, False, True]


def test_links_that_lead_nowhere_are_images_that_cannot_be_read(folder):
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    clip = mm.load_clip("embedded")
    rows, kept = clip.embed_images(folder, on_error="skip")
    assert len(rows) == 2 and kept.tolist() == [0, 1]


@pytest.mark.slow
def test_what_is_passed_over_is_said(folder, tmp_path, capsys):
    (folder / "again").symlink_to(folder / "deep")
    with pytest.warns(UserWarning, match="skipped the linked folder again"):
        mm.load_clip("embedded").embed_images(folder)
    flags = [f"--images={folder}", "--aspect=color", "--clusters=color=1", "--features=image", f"--out={tmp_path}"]
    assert cli.main(["multimap", *flags]) == 0
    assert "skipped the linked folder again" in capsys.readouterr().out
    assert "skipped the linked folder again" in (tmp_path / "report.html").read_text()


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
    assert found.notes == ("skipped files in unsupported formats: 1 .cr2, 2 .dng (first: b.dng, c.CR2, sub/d.dng)",)
    (tmp_path / "a.png").unlink()
    with pytest.raises(
        ValueError, match=r"number of other files: 4; skipped files in .* \(first: b.dng, c.CR2, sub/d.dng\)"
    ):
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
    assert read_folder(tmp_path).notes == ("skipped the folder closed: it cannot be read (Permission denied)",)


def export(names, to, how="copy"):
    """Puts the images of `names`, a folder's, into groups of one."""
    job = types.SimpleNamespace(to=to, how=how, dry_run=False)
    source = read_folder(names)
    export_folders(
        job, source.names, [f"group {i}" for i, _ in enumerate(source.names)], RunImages(source), print, False
    )


@pytest.mark.parametrize("how", ["copy", "link"])
@pytest.mark.parametrize("to", ["groups", "", "deep/groups"])
def test_folders_that_an_export_made_are_passed_over_and_named(folder, to, how):
    export(folder, folder / to, how)
    export(folder, folder / to, how)  # again, where all of it is there
    found = read_folder(folder)
    assert found.names == ["a.png", "deep/b.png"]
    first, second = ("/".join([*to.split("/"), f"group {i}"]).lstrip("/") for i in range(2))
    assert found.notes == (f"skipped folders that multimap wrote: 2 (first: {first}, {second})",)


def test_an_export_is_read_where_it_is_asked_for_or_all_there_is(folder, tmp_path):
    export(folder, tmp_path / "to" / "groups")
    assert read_folder(tmp_path / "to" / "groups" / "group 0").names == ["a.png"]
    for base in (tmp_path / "to", tmp_path / "to" / "groups"):
        assert len(read_folder(base).names) == 2 and read_folder(base).notes == ()
    picture(tmp_path / "to" / "c.png")
    assert read_folder(tmp_path / "to").names == ["c.png"]


def test_a_folder_of_the_user_gets_no_mark_though_images_are_exported_into_it(folder):
    picture(folder / "group 1" / "mine.png")
    export(folder, folder)
    assert read_folder(folder).names == ["a.png", "deep/b.png", "group 1/deep/b.png", "group 1/mine.png"]


def test_thumbnails_beside_a_page_are_passed_over(folder):
    for out in ("", "out"):
        picture(folder / out / "thumbnails-0123456789ab" / "0.jpg")
    picture(folder / "thumbnails-of-mine" / "0.png")
    found = read_folder(folder)
    assert found.names == ["a.png", "deep/b.png", "thumbnails-of-mine/0.png"]
    assert "multimap wrote: 2 (first: out/thumbnails-0123456789ab, thumbnails-0123456789ab)" in found.notes[0]


def test_marks_are_seen_in_a_store(folder):
    export(folder, folder / "groups")
    base = parse_path("memory://marked-folders")
    base.fs.put(f"{folder}/", f"{base.path}/", recursive=True)
    found = read_folder(base)
    assert (
        found.names == ["a.png", "deep/b.png"]
        and "multimap wrote: 2 (first: groups/group 0, groups/group 1)" in found.notes[0]
    )


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
def test_a_mark_of_any_kind_costs_a_note_alone(folder):
    for name, make in (("pipe", os.mkfifo), ("folder", os.mkdir), ("link", lambda path: os.symlink("/dev/zero", path))):
        picture(folder / name / "x.png")
        make(folder / name / MARK)
    assert read_folder(folder).names == ["a.png", "deep/b.png", "folder/x.png"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "AVIF", "HEIF", "JPEG2000"])
def test_images_without_an_ending_of_one_are_counted(folder, kind, tmp_path):
    kinds.formats()
    for name in ("IMG_0002", "IMG_0001", "photo.jpg_large", "x.jpg?size=2"):
        with open(folder / name, "wb") as file:
            Image.new("RGB", (64, 64)).save(file, kind)
    for name, content in (
        ("notes.txt", b"BM is a text"),
        ("tone", b"RIFF\0\0\0\0WAVE"),
        ("film", b"\0\0\0\x18ftypmp42"),
    ):
        (folder / name).write_bytes(content)
    (folder / "nothing").symlink_to("/dev/zero")
    found = read_folder(folder)
    assert found.names == ["a.png", "deep/b.png"]
    assert [note.partition(": ")[2] for note in found.notes] == [
        "4 (first: IMG_0001, IMG_0002, photo.jpg_large); add one, such as .jpg"
    ]
    for name in found.names:
        (folder / name).unlink()
    with pytest.raises(ValueError, match=r"number of other files: 8; skipped images .* 4 \(first: IMG_0001, "):
        read_folder(folder)


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
def test_so_many_files_are_looked_at_and_no_pipe_is_waited_for(folder, monkeypatch):
    os.mkfifo(folder / "pipe")
    for i in range(9):
        (folder / f"IMG_{i}").write_bytes((folder / "a.png").read_bytes())
        (folder / f"a{i}.json").write_text("{}")
    monkeypatch.setattr("multimap_jax.sources.folder.LOOKED_AT", 8)
    assert "extension: at least 8 (first: IMG_0, IMG_1, IMG_2)" in read_folder(folder).notes[0]


def test_what_is_no_regular_file_has_no_version(tmp_path):
    from multimap_jax.sources.source import file_version

    assert file_version(str(tmp_path)) == file_version(str(tmp_path / "none")) == ""
