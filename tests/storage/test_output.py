"""What multimap deletes in --out is what it wrote there, whatever trees and lists say."""

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimap_jax.runs.results import put_thumbnails
from multimap_jax.storage import output

MODEL = "models/color-01234567-0123456789ab"
# Names that files of ours have, names that look like it, and names that lead elsewhere.
OURS = (
    "labels.csv",
    "run.json",
    f"{MODEL}/model.json",
    f"{MODEL}/arrays.npz",
    "thumbnails-0123456789ab/0.jpg",
    "plan/plan_000000.parquet",
    "embeddings/img_emb/img_emb_000007.npy",
    "embeddings/encoder.json",
    "embeddings/thumbnails/thumbnails_000007.npz",
    "proxies/color-0123456789abcdef/key.json",
    "words/words-0123456789abcdef0123456789abcdef.json",
)
SCRATCH = (
    ".multimap/temporary/0123456789abcdef/0",
    ".multimap/group-0123456789abcdef/here",
    ".multimap/lock-0-of-1",
)
OTHERS = (
    ".env.next",
    ".123.new/mine.txt",
    ".company-0123456789abcdef/mine.txt",
    "labels.csv.bak",
    "thesis.txt",
    "models/mine/model.json",
    f"{MODEL}/notes.txt",
    "thumbnails-mine/0.jpg",
    "thumbnails-0123456789ab/cat.jpg",
    "embeddings/img_emb/mine.npy",
    "plan/plan_1.parquet",
    ".multimap/mine.txt",
    ".multimap/temporary/mine.txt",
    ".multimap/temporary/0123456789abcdef/deep/er.txt",
    ".multimap/written/../../mine.txt",
)
AWAY = (
    "../mine.txt",
    "../../mine.txt",
    "models/../../mine.txt",
    "/tmp/mine.txt",
    "*",
    "**/*",
    "..",
    ".",
    "",
    "models/*/model.json",
    "models/..",
    "labels.csv/",
    "\0",
)
NAMES = st.sampled_from(OURS + SCRATCH + OTHERS + AWAY)
CONTENTS = st.sampled_from((b"", b"ours", b"mine"))


def version(content: bytes) -> list:
    return [len(content), hashlib.sha256(content).hexdigest()]


def put(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError:  # a file where a folder was wanted, or the other way round
        pass


def files_of(folder: Path) -> dict[str, bytes]:
    """Every regular file below a folder, without following links."""
    found = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if not path.is_symlink()}


LINKS = ("models", MODEL, "plan", "thumbnails-0123456789ab", ".multimap", ".multimap/temporary", ".multimap/written")


@pytest.mark.slow
@settings(deadline=None)  # the disk's, of a machine at work
@given(
    tree=st.dictionaries(st.sampled_from(OURS + SCRATCH + OTHERS), CONTENTS),
    links=st.sets(st.sampled_from(LINKS), max_size=2),
    lists=st.dictionaries(NAMES, st.lists(CONTENTS, max_size=2)),
    garbage=st.sampled_from(
        (
            None,
            "",
            "[]",
            '{"files": {"labels.csv": [[Infinity, ""]]}}',
            '{"files": 1}',
            '{"files": {"labels.csv": [["a", 2]]}}',
        )
    ),
    asked=st.lists(NAMES, max_size=4),
)
def test_only_what_was_written_is_deleted(tree, links, lists, garbage, asked):
    with tempfile.TemporaryDirectory() as base:
        base = Path(base).resolve()
        out, away = base / "a" / "out", base / "away"
        out.mkdir(parents=True)
        for name in (*OURS, "mine.txt", "0123456789abcdef/0", "model.json", "0.jpg", "plan_000000.parquet"):
            put(away / name, b"ours")
        for path in (base / "mine.txt", base / "a" / "mine.txt"):
            path.write_bytes(b"ours")
        for name in links:
            if not (out / name).exists() and (out / name).parent.is_dir():
                (out / name).symlink_to(away)
        for name, content in tree.items():
            if "/" not in name or not any((out / link).is_symlink() for link in LINKS):
                put(out / name, content)
        listed = {name: [version(each) for each in contents] for name, contents in lists.items()}
        for unit in {output.unit_of(name) or "results" for name in OURS}:
            if not any((out / link).is_symlink() for link in (".multimap", ".multimap/written")):
                put(
                    out / ".multimap" / "written" / f"{unit}.json",
                    (json.dumps({"files": listed}) if garbage is None else garbage).encode(),
                )
        before, outside = (
            files_of(out),
            {path: path.read_bytes() for path in [*away.rglob("*"), *base.glob("**/mine.txt")] if path.is_file()},
        )

        def attempt(action, *arguments):
            try:
                action(*arguments)
            except (ValueError, OSError):  # a link on the way, a name that no file system takes
                pass

        for name in (*asked, *OURS):
            attempt(output.delete, out, output.unit_of(name) or name)
            attempt(output.discard, out, name)
            attempt(output.discard, out, name.removeprefix(".multimap/"))
        attempt(output.sweep, out)

        assert all(path.read_bytes() == content for path, content in outside.items())
        known = {} if garbage is not None else listed
        for name in set(before) - set(files_of(out)):
            scratch = re.fullmatch(r"\.multimap/(temporary/[0-9a-f]{16}|group-[0-9a-f]{16}|written|)/?[\w+.-]+", name)
            assert scratch or (output.unit_of(name) and version(before[name]) in known.get(name, []))


def test_nothing_else_of_the_package_deletes():
    """Every other place that takes a file away is one of this list: its own, just made."""
    own = {
        "storage/output.py",
        "storage/local.py",  # what `_delete` hands over; a file that was not finished
        "storage/objects.py",  # what `_delete` hands over; what was fetched into the system's temporary folder
        "persistence.py",  # the half of a model that `MultiMaP.save` writes where its user says
    }
    package = Path(output.__file__).parent.parent
    pattern = re.compile(r"\.unlink\(|rmtree\(|\.rmdir\(|os\.remove\(|\.rm\(|rm_file\(")
    found = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if pattern.search(path.read_text())}
    assert found <= own


class TestWriting:
    def test_files_are_put_in_place_whole_and_known_again(self, tmp_path):
        output.write(tmp_path, "labels.csv", "a")
        output.write(tmp_path, "labels.csv", "b")
        assert (tmp_path / "labels.csv").read_text() == "b" and output.is_ours(tmp_path, "labels.csv")
        assert not list((tmp_path / ".multimap" / "temporary").iterdir())
        (tmp_path / "labels.csv").write_text("c")
        assert not output.is_ours(tmp_path, "labels.csv")

    def test_results_that_were_changed_are_not_replaced(self, tmp_path):
        output.write(tmp_path, "labels.csv", "a")
        (tmp_path / "labels.csv").write_text("mine")
        with pytest.raises(FileExistsError, match="was changed since"):
            output.write(tmp_path, "labels.csv", "b")
        assert (tmp_path / "labels.csv").read_text() == "mine"

    def test_what_stands_in_the_way_of_a_shard_is_set_aside(self, tmp_path):
        name = "embeddings/img_emb/img_emb_000000.npy"
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("mine")
        output.write(tmp_path, name, "ours")
        aside = next((tmp_path / name).parent.glob("*.damaged-*"))
        assert (tmp_path / name).read_text() == "ours" and aside.read_text() == "mine"

    @pytest.mark.parametrize("link", [".multimap", ".multimap/temporary", "embeddings", "labels.csv"])
    def test_nothing_is_written_through_a_link(self, tmp_path, link):
        (tmp_path / "out" / ".multimap").mkdir(parents=True)
        (tmp_path / "away").mkdir()
        if link == ".multimap":
            (tmp_path / "out" / link).rmdir()
        (tmp_path / "out" / link).symlink_to(tmp_path / "away")
        with pytest.raises(ValueError, match="is a link"):
            for name in ("labels.csv", "embeddings/encoder.json"):
                output.write(tmp_path / "out", name, "")
        assert not list((tmp_path / "away").iterdir())

    @pytest.mark.parametrize("name", ["mine.txt", "../labels.csv", "models/../labels.csv", "models/a*/model.json"])
    def test_names_of_no_declared_form_are_refused(self, tmp_path, name):
        with pytest.raises(ValueError, match="not the name of a file that multimap writes"):
            output.write(tmp_path, name, "")

    def test_a_write_that_fails_leaves_nothing_behind(self, tmp_path):
        def fail(file):
            file.write(b"half")
            raise OSError(28, "No space left on device")

        with pytest.raises(OSError, match="No space left on device"):
            output.write(tmp_path, "labels.csv", fail)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


class TestFolders:
    NAME = "thumbnails-0123456789ab"
    FILES = {f"{i}.jpg": bytes([i]) * 1000 for i in range(5)}

    def test_a_folder_comes_whole_and_is_deleted_as_its_files_are(self, tmp_path):
        output.write_folder(tmp_path, self.NAME, self.FILES)
        assert {path.name: path.read_bytes() for path in (tmp_path / self.NAME).iterdir()} == self.FILES
        assert not list((tmp_path / ".multimap" / "temporary").iterdir())
        assert output.units(tmp_path, "thumbnails-") == [self.NAME]
        (tmp_path / self.NAME / "3.jpg").write_bytes(b"drawn over")
        assert output.delete(tmp_path, self.NAME) == [f"{self.NAME}/3.jpg"]
        assert [path.name for path in (tmp_path / self.NAME).iterdir()] == ["3.jpg"]

    @pytest.mark.parametrize(
        ("folder", "files"),
        [
            ("mine", {"0.jpg": b""}),
            ("models/color-01234567-0123456789ab", {"model.json": b""}),
            ("thumbnails-0123456789ab", {"0.jpg": b"", "cat.jpg": b""}),
            ("thumbnails-0123456789ab", {"../labels.csv": b""}),
            ("../thumbnails-0123456789ab", {"0.jpg": b""}),
        ],
    )
    def test_other_folders_are_refused(self, tmp_path, folder, files):
        with pytest.raises(ValueError, match="is not a folder that multimap writes"):
            output.write_folder(tmp_path / "out", folder, files)
        assert not list(tmp_path.iterdir())

    def test_no_folder_is_written_through_a_link(self, tmp_path):
        (tmp_path / "away").mkdir()
        (tmp_path / self.NAME).symlink_to(tmp_path / "away")
        with pytest.raises(ValueError, match="is a link"):
            output.write_folder(tmp_path, self.NAME, self.FILES)
        assert not list((tmp_path / "away").iterdir())

    def test_a_full_disk_leaves_no_half_of_a_folder(self, tmp_path, monkeypatch):
        def fail(path, content):
            path.write_bytes(content[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(output, "write_bytes", fail)
        with pytest.raises(OSError, match="No space left on device.*finished work is kept"):
            output.write_folder(tmp_path, self.NAME, self.FILES)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("way", ["nothing", "some", "others", "a file", "an empty folder"])
def test_thumbnails_are_whole_whatever_was_there(tmp_path, way):
    name, files = TestFolders.NAME, TestFolders.FILES
    if way == "a file":
        (tmp_path / name).write_bytes(b"mine")
    elif way != "nothing":
        (tmp_path / name).mkdir()
    if way in ("some", "others"):
        (tmp_path / name / "1.jpg").write_bytes(files["1.jpg"] if way == "some" else b"mine")
    if way == "a file":
        with pytest.raises(OSError, match="cannot write"):
            put_thumbnails(tmp_path, name, files)
        assert (tmp_path / name).read_bytes() == b"mine"
        return
    put_thumbnails(tmp_path, name, files)
    put_thumbnails(tmp_path, name, files)
    found = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert files.items() <= found.items()
    assert list(found.values()).count(b"mine") == (way == "others")  # set aside
    assert not output.delete(tmp_path, name)


def test_thumbnails_of_earlier_pages_go_and_what_a_user_put_there_stays(tmp_path):
    old, new = "thumbnails-0123456789ab", "thumbnails-ba9876543210"
    output.write_all(tmp_path, {f"{old}/{i}.jpg": bytes([i]) for i in range(3)}, sync=False)
    output.write_all(tmp_path, {f"{new}/0.jpg": b"x"}, sync=False)
    (tmp_path / old / "mine.jpg").write_bytes(b"mine")
    (tmp_path / old / "2.jpg").write_bytes(b"drawn over")
    assert output.units(tmp_path, "thumbnails-") == [old, new]
    output.delete(tmp_path, old)
    assert sorted(path.name for path in (tmp_path / old).iterdir()) == ["2.jpg", "mine.jpg"]
    assert (tmp_path / new / "0.jpg").exists()
