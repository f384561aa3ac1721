"""What a run keeps: computed once, whole, in the order of names, and readable by others."""

import contextlib
import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from multimap_jax.cli import main as cli
from multimap_jax.cli import signals as stop
from multimap_jax.encoders.clip.model import EMBEDDED, Clip
from multimap_jax.images import decoding as images
from multimap_jax.scenes import write_scenes
from multimap_jax.sources.folder import read_folder
from multimap_jax.sources.plan import ShardPlan
from multimap_jax.storage import locks as lock

SHARDS = "embeddings/img_emb/img_emb_*.npy"  # looked for where nothing comes and goes meanwhile
FLAGS = ["--subject=fruit", "--aspect=color", "--words=color=red,green,yellow", "--noprogress"]
SPECIES = ["--aspect=species", "--words=species=apple,banana,grape"]


def run(images, out, *more):
    return cli.main(["multimap", f"--images={images}", f"--out={out}", *FLAGS, *more])


def locks(out):
    return sorted(path.name for path in out.glob(".multimap/lock*"))


@pytest.fixture
def fruit(tmp_path):
    folder = tmp_path / "fruit"
    write_scenes(folder, "fruit", seed=3, count=50)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def opened(monkeypatch):
    """How many images each embedding was asked for."""
    counts, embed = [], Clip.embed_readable

    def counted(self, images, *arguments, **fields):
        counts.append(len(images))
        return embed(self, images, *arguments, **fields)

    monkeypatch.setattr(Clip, "embed_readable", counted)
    return counts


def read_clip_retrieval(folder):
    """Rows and image paths of embeddings in the layout of clip-retrieval."""
    rows, paths = [], []
    for file in sorted((folder / "img_emb").glob("img_emb_*.npy"), key=lambda path: int(path.stem.split("_")[-1])):
        number = file.stem.split("_")[-1]
        table = pq.read_table(folder / "metadata" / f"metadata_{number}.parquet")
        array = np.load(file)
        assert array.dtype == np.float32 and len(array) == table.num_rows
        rows.append(array)
        paths += table["image_path"].to_pylist()
    return np.concatenate(rows), paths


@pytest.mark.slow
def test_others_read_the_embeddings(fruit, tmp_path):
    import multimap_jax as mm

    assert run(fruit, tmp_path / "out") == 0
    rows, paths = read_clip_retrieval(tmp_path / "out" / "embeddings")
    expected = mm.load_clip("embedded").embed_images([fruit / path for path in paths])
    assert (rows == expected).all() and sorted(paths) == [f"fruit_{i:04}.png" for i in range(50)]
    skipped = [pq.read_table(path).to_pylist() for path in (tmp_path / "out/embeddings/skipped").iterdir()]
    assert [(row["image_path"], row["reason"]) for table in skipped for row in table] == [
        ("broken.png", "not an image")
    ]


@pytest.mark.slow
def test_an_aspect_more_embeds_nothing_and_says_what_was_asked_for(fruit, tmp_path, opened):
    out = tmp_path / "out"
    assert run(fruit, out) == 0 and sum(opened) == 51
    first = (out / "labels.csv").read_text()
    assert run(fruit, out, *SPECIES) == 0 and sum(opened) == 51
    assert (out / "labels.csv").read_text().startswith("image,color,species\n")
    assert run(fruit, out) == 0 and sum(opened) == 51
    assert (out / "labels.csv").read_text() == first
    assert len(list((out / "models").iterdir())) == 2


@pytest.mark.slow
def test_results_by_another_aspect_are_not_replaced_without_a_word(fruit, tmp_path, capsys):
    out, word = tmp_path / "out", "are replaced"
    assert run(fruit, out) == 0 and run(fruit, out) == 0 and run(fruit, out, *SPECIES) == 0
    assert word not in capsys.readouterr().out  # nothing is lost
    assert run(fruit, out) == 0
    said = capsys.readouterr().out
    note = f"This run replaces the results of an earlier run by color, species in {out}. To keep both, give"
    assert note in said and said.index(note) < said.index("images are embedded already")
    assert run(fruit, out) == 0 and word not in capsys.readouterr().out
    (tmp_path / "e.json").write_text(json.dumps({"edits": [{"rename": "red", "to": "warm"}]}))
    edited = tmp_path / "edited"
    assert cli.main(["multimap", "edit", f"--run={out}", f"--edits={tmp_path / 'e.json'}", f"--out={edited}"]) == 0
    assert run(fruit, edited) == 0 and f"This run replaces the edited groups in {edited}." in capsys.readouterr().out


@pytest.mark.slow
def test_ten_images_more_embed_ten_and_give_the_labels_of_all_at_once(fruit, tmp_path, opened):
    out, later = tmp_path / "out", tmp_path / "later"
    later.mkdir()
    for i in range(0, 50, 5):
        shutil.move(fruit / f"fruit_{i:04}.png", later)
    assert run(fruit, out, *SPECIES) == 0 and sum(opened) == 41
    for path in later.iterdir():
        shutil.move(path, fruit)
    assert run(fruit, out, *SPECIES) == 0 and sum(opened) == 51
    assert run(fruit, tmp_path / "whole", *SPECIES) == 0
    assert (out / "labels.csv").read_bytes() == (tmp_path / "whole" / "labels.csv").read_bytes()


@pytest.mark.slow
def test_changed_images_are_embedded_again_and_removed_ones_leave(fruit, tmp_path, opened):
    out = tmp_path / "out"
    run(fruit, out)
    changed, replaced = fruit / "fruit_0001.png", fruit / "fruit_0002.png"
    Image.new("RGB", (64, 64), "red").save(changed)
    # Of equal name, size and time.
    before, content = replaced.stat(), bytearray(replaced.read_bytes())
    content[len(content) // 2] ^= 255
    replaced.write_bytes(content)
    os.utime(replaced, ns=(before.st_atime_ns, before.st_mtime_ns))
    (fruit / "fruit_0000.png").unlink()
    opened.clear()
    assert run(fruit, out) == 0 and sum(opened) == 2
    names = [row["image"] for row in csv.DictReader((out / "labels.csv").read_text().splitlines())]
    assert "fruit_0000.png" not in names and "fruit_0001.png" in names


@pytest.mark.slow
def test_another_checkpoint_is_a_sentence_and_fresh_forgets(fruit, tmp_path, capsys, opened):
    out = tmp_path / "out"
    run(fruit, out)
    shutil.copytree(EMBEDDED, tmp_path / "clip")
    path = tmp_path / "clip" / "preprocessor_config.json"
    path.write_text(path.read_text().replace("0.48145466", "0.5"))
    before = (out / "labels.csv").read_bytes()
    assert run(fruit, out, f"--clip={tmp_path / 'clip'}") == 2
    assert "has embeddings of another encoder (embedded)" in capsys.readouterr().err
    assert (out / "labels.csv").read_bytes() == before
    (out / "embeddings" / "mine.txt").write_text("the user's own")
    opened.clear()
    assert run(fruit, out, f"--clip={tmp_path / 'clip'}", "--fresh") == 0 and sum(opened) == 51
    assert (out / "embeddings" / "mine.txt").exists()
    # It is called by its folder, and recorded by its whole path.
    said, clip = capsys.readouterr().out, json.loads((out / "run.json").read_text())["clip"]
    assert " with the encoder clip, on " in said and clip["name"] == str((tmp_path / "clip").resolve())


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [["--keep_proxies", "--steps=5"], ["--recipe=released", "--steps=3"]])
def test_proxies_are_learnt_once(fruit, tmp_path, monkeypatch, recipe):
    out = tmp_path / "out"
    assert run(fruit, out, *recipe) == 0
    before = (out / "labels.csv").read_bytes()
    monkeypatch.setattr("multimap_jax.runs.group.fit_proxies", lambda *_, **__: pytest.fail("learnt again"))
    assert run(fruit, out, *recipe) == 0
    assert (out / "labels.csv").read_bytes() == before


@pytest.mark.slow
def test_pieces_of_the_released_recipe_give_what_the_whole_gives(clip):
    import multimap_jax as mm
    from tests.tiny import unit_rows

    rows, aspect = unit_rows(23), mm.Aspect("color", "fruit", ("red", "green"))
    config = mm.ProxyConfig.released(4, weight_decay=1e-3, batch_size=5, block_size=4)
    whole = mm.fit_proxies(clip, rows, aspect, config=config, seed=3)
    for only in (np.arange(8), np.arange(8, 23)):
        part = mm.fit_proxies(clip, rows, aspect, config=config, seed=3, only=only)
        assert (part.proxies == whole.proxies[only]).all() and (part.reference == whole.reference[only]).all()


class TestFilesOfTheUser:
    @pytest.mark.parametrize("name", ["labels.csv", "report.html", "run.json"])
    def test_what_no_run_wrote_is_never_overwritten(self, fruit, tmp_path, name, capsys):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).write_text("mine")
        assert run(fruit, tmp_path / "out") == 2
        assert (tmp_path / "out" / name).read_text() == "mine"
        assert "was not written by multimap" in capsys.readouterr().err

    def test_the_target_of_a_link_is_not_overwritten(self, fruit, tmp_path, capsys):
        run(fruit, tmp_path / "out")
        (tmp_path / "out" / "labels.csv").unlink()
        (tmp_path / "precious.csv").write_text("mine")
        (tmp_path / "out" / "labels.csv").symlink_to(tmp_path / "precious.csv")
        assert run(fruit, tmp_path / "out") == 2
        assert (tmp_path / "precious.csv").read_text() == "mine" and "is a link" in capsys.readouterr().err

    def test_the_labels_given_are_not_overwritten(self, fruit, tmp_path, capsys):
        before = (fruit / "labels.csv").read_bytes()
        assert run(fruit, fruit, f"--labels={fruit / 'labels.csv'}") == 2
        assert (
            fruit / "labels.csv"
        ).read_bytes() == before and "the results would overwrite" in capsys.readouterr().err

    def test_an_empty_out_is_refused(self, fruit, capsys):
        assert run(fruit, "") == 2 and "--out is empty" in capsys.readouterr().err


@pytest.mark.slow
def test_results_are_one_set(fruit, tmp_path):
    out = tmp_path / "out"
    assert run(fruit, out, f"--labels={fruit / 'labels.csv'}") == 0 and (out / "metrics.json").exists()
    assert run(fruit, out) == 0 and not (out / "metrics.json").exists()
    assert sorted(json.loads((out / "run.json").read_text())["files"]) == [
        "labels.csv",
        "labels.parquet",
        "report.html",
    ]


def apply_is_whole(run_folder, images, out):
    """Whether the models that run.json names are those that are there."""
    return cli.main(["multimap", "apply", f"--run={run_folder}", f"--images={images}", f"--out={out}"]) == 0


@pytest.mark.slow
def test_a_full_disk_at_any_write_is_a_sentence_and_the_command_goes_on(tmp_path, monkeypatch, capsys):
    fruit, out = tmp_path / "fruit", tmp_path / "out"
    write_scenes(fruit, "fruit", seed=3, count=12)
    assert run(fruit, tmp_path / "whole") == 0
    run(fruit, out)
    before = {name: (out / name).read_bytes() for name in ("labels.csv", "run.json", "report.html")}
    Image.new("RGB", (64, 64), "red").save(fruit / "fruit_0050.png")
    whole, failures, base = os.fsync, 0, out
    for failing in range(40):
        count, out = iter(range(1000)), tmp_path / f"out{failing}"
        shutil.copytree(base, out)

        def full(descriptor, failing=failing, count=count):
            if next(count) == failing:
                raise OSError(28, "No space left on device")
            return whole(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        status, said = run(fruit, out), capsys.readouterr().err
        if status == 0:
            break
        failures += 1
        assert status == 2 and said.count("\n") == 1 and "No space left on device" in said
        assert all((out / name).read_bytes() == content for name, content in before.items())
        assert not [path for path in out.rglob("*.new") if path.is_file()]
        monkeypatch.setattr(os, "fsync", whole)
        assert apply_is_whole(out, fruit, tmp_path / f"applied{failing}")
        assert run(fruit, out) == 0 and (out / "labels.csv").read_bytes() != before["labels.csv"]
        capsys.readouterr()
    assert failures >= 8 and (out / "labels.csv").read_bytes() != before["labels.csv"]


@pytest.mark.slow
def test_an_image_that_changes_while_it_is_read_is_read_again(fruit, tmp_path, monkeypatch, opened):
    embed = Clip.embed_readable

    def meanwhile(self, images, *arguments, **fields):
        found = embed(self, images, *arguments, **fields)
        Image.new("RGB", (64, 64), "red").save(fruit / "fruit_0007.png")
        (fruit / "fruit_0008.png").unlink(missing_ok=True)
        return found

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Clip, "embed_readable", meanwhile)
        assert run(fruit, out) == 0
    skipped = {row["image"]: row["reason"] for row in json.loads((out / "run.json").read_text())["skipped"]}
    assert skipped["fruit_0007.png"] == skipped["fruit_0008.png"] == "changed or removed during the run"
    opened.clear()
    assert run(fruit, out) == 0 and sum(opened) == 1
    assert "fruit_0007.png" in (out / "labels.csv").read_text()


@pytest.mark.slow
def test_a_folder_that_goes_away_costs_no_results(fruit, tmp_path, monkeypatch, capsys):
    out, embed = tmp_path / "out", Clip.embed_readable
    assert run(fruit, out) == 0
    before = (out / "labels.csv").read_bytes()
    Image.new("RGB", (64, 64), "red").save(fruit / "fruit_0050.png")

    def meanwhile(self, images, *arguments, **fields):
        shutil.rmtree(fruit)
        return embed(self, images, *arguments, **fields)

    monkeypatch.setattr(Clip, "embed_readable", meanwhile)
    assert run(fruit, out) == 2 and "was removed during the run" in capsys.readouterr().err
    assert (out / "labels.csv").read_bytes() == before


def test_embeddings_that_nobody_knows_the_encoder_of_are_not_mixed(fruit, tmp_path, capsys):
    run(fruit, tmp_path / "out")
    (tmp_path / "out" / "embeddings" / "encoder.json").unlink()
    assert run(fruit, tmp_path / "out") == 2 and "is missing, so the encoder" in capsys.readouterr().err


def test_fresh_forgets_nothing_before_all_is_looked_at(fruit, tmp_path, capsys):
    out = tmp_path / "out"
    run(fruit, out)
    kept = sorted(out.rglob("*.npy"))
    assert run(fruit, out, "--fresh", "--clip=./no/such/clip") == 2
    assert sorted(out.rglob("*.npy")) == kept


@pytest.mark.slow
def test_a_damaged_model_is_written_again(fruit, tmp_path):
    out = tmp_path / "out"
    run(fruit, out)
    model = next((out / "models").glob("*/arrays.npz"))
    content = model.read_bytes()
    model.write_bytes(content[:100])
    assert run(fruit, out) == 0 and apply_is_whole(out, fruit, tmp_path / "applied")


@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_a_second_run_is_refused_while_the_first_is_alive(tmp_path, monkeypatch, host):
    with lock.locked(tmp_path):
        if host == "elsewhere":
            monkeypatch.setattr(lock.socket, "gethostname", lambda: "another")
        for who in ((0, 1), (1, 2)):
            with pytest.raises(ValueError, match="another run is using"), lock.locked(tmp_path, *who):
                pass
    with lock.locked(tmp_path, 0, 2), lock.locked(tmp_path, 1, 2):
        pass
    with lock.locked(tmp_path):
        pass
    assert locks(tmp_path) == []


def test_a_lock_of_the_dead_is_no_hindrance(tmp_path, monkeypatch):
    path = tmp_path / ".multimap" / "lock-0-of-1"
    path.parent.mkdir()
    dead = {"host": lock.host(), "process": 1, "began": "0"}
    for content in (json.dumps(dead), "torn", json.dumps(dead | {"host": "other"})):
        path.write_text(content)
        os.utime(path, (time.time() - 300,) * 2)
        with lock.locked(tmp_path):
            pass
    assert locks(tmp_path) == []


def test_the_lock_of_a_run_that_was_faster_stays(tmp_path, monkeypatch):
    path = tmp_path / ".multimap" / "lock-0-of-1"
    path.parent.mkdir()
    path.write_text("torn")
    take_away = lock.break_lock

    def be_faster(path):
        path.unlink()
        mine = {"host": lock.host(), "process": os.getpid(), "began": lock.began(os.getpid())}
        path.write_text(json.dumps(mine))
        take_away(path)

    monkeypatch.setattr(lock, "break_lock", be_faster)
    with pytest.raises(ValueError, match="another run is using"), lock.locked(tmp_path):
        pass
    assert locks(tmp_path) == [path.name]


@pytest.mark.slow
def test_an_image_that_fails_to_be_read_for_a_passing_reason_is_tried_again(fruit, tmp_path, monkeypatch, capsys):
    bad = sorted(path for path in fruit.rglob("*.png"))[7]
    open_image = images.Image.open
    for error in (OSError(errno.EIO, "Input/output error"), MemoryError()):

        def fail(file, *given, error=error, **named):
            if Path(file.name) == bad:
                raise error
            return open_image(file, *given, **named)

        out = tmp_path / type(error).__name__
        with monkeypatch.context() as patch:
            patch.setattr(images.Image, "open", fail)
            assert run(fruit, out) == 0
        assert "2 images could not be read" in capsys.readouterr().out  # broken.png always
        before = len((out / "labels.csv").read_text().splitlines())
        assert run(fruit, out) == 0
        assert len((out / "labels.csv").read_text().splitlines()) == before + 1


@pytest.mark.slow
def test_what_a_killed_run_left_aside_is_swept_and_nothing_else(fruit, tmp_path):
    out = tmp_path / "out"
    run(fruit, out)
    left = [".multimap/temporary/0123456789abcdef/0", ".multimap/group-0123456789abcdef/here"]
    mine = [".labels.csv.next", ".mine.new", ".company-0123456789abcdef/a", ".multimap/temporary/mine.txt"]
    for name in (*left, *mine):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("half")
    assert run(fruit, out) == 0
    assert not any((out / name).parent.exists() for name in left)
    assert all((out / name).exists() for name in mine)


def test_a_file_system_without_hard_links_has_locks_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(lock.os, "link", refuse)
    with lock.locked(tmp_path), pytest.raises(ValueError, match="another run is using"), lock.locked(tmp_path):
        pass
    assert locks(tmp_path) == []


def test_a_plan_is_only_added_to(tmp_path):
    plan = ShardPlan(tmp_path, "plan")
    first = plan.extend([("a", "1"), ("b", "1"), ("c", "1")], 2, {})
    assert list(first.values()) == [0, 0, 1]
    written = plan.files()[0].read_bytes()
    second = plan.extend([("a", "1"), ("b", "2"), ("d", "1")], 2, {0: {("a", "1"), ("b", "1")}})
    assert list(second.values()) == [0, 2, 2] and plan.files()[0].read_bytes() == written
    # A shard that was done without an image: it goes into a new one.
    third = plan.extend([("c", "1")], 2, {1: set()})
    assert list(third.values()) == [3]


def test_versions_see_changes(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(5000))
    (tmp_path / "b.png").symlink_to(tmp_path / "nothing")
    first = read_folder(tmp_path).versions()
    path.write_bytes(bytes(5001))
    assert read_folder(tmp_path).versions()[0] != first[0] and first[1] == ""


def start(images, out, *more):
    command = [sys.executable, "-m", "multimap_jax", f"--images={images}", f"--out={out}", *FLAGS, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("first, recipe", [(0, []), (1, ["--recipe=paper", "--steps=30"])], ids=["default", "paper"])
def test_killed_at_any_of_ten_moments_it_goes_on_to_the_same_labels(tmp_path, first, recipe):
    """Every second moment with one recipe, the others with the other."""
    images = tmp_path / "fruit"
    write_scenes(images, "fruit", seed=3, count=200)
    assert run(images, tmp_path / "whole", *recipe) == 0
    expected = (tmp_path / "whole" / "labels.csv").read_bytes()
    total = len(list((tmp_path / "whole").rglob("*.np[yz]")))

    def killed(moment):
        """The folder of a run that was killed when it had so many shards."""
        out = tmp_path / f"out{moment}"
        with start(images, out, *recipe) as process:
            while process.poll() is None and len(list(out.glob(SHARDS))) <= moment * 0.7:
                time.sleep(0.002)
            process.kill()
        return out

    kept = []
    with ThreadPoolExecutor(2) as pool:
        outs = list(pool.map(killed, range(first, 10, 2)))
    for out in outs:
        kept.append(len(list(out.rglob("*.np[yz]"))))
        for path in out.rglob("img_emb_*.npy"):
            np.load(path)
        for path in out.rglob("[a-z]*.parquet"):
            pq.read_table(path)
        assert run(images, out, *recipe) == 0
        assert (out / "labels.csv").read_bytes() == expected
    assert sum(0 < each < total for each in kept) >= 4, kept


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_what_is_kept(tmp_path, number):
    images, out = tmp_path / "fruit", tmp_path / "out"
    write_scenes(images, "fruit", seed=3, count=60)
    with start(images, out, "--recipe=paper", "--steps=100000") as process:
        try:
            while not list(out.glob(SHARDS)):
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(number)
            said = process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert process.returncode == 130 and said.endswith(f"kept in {out}; run the same command to continue.\n")
    assert not list(out.glob(".multimap/lock*"))


def test_a_stop_that_python_loses_in_a_callback_comes_again(monkeypatch):
    monkeypatch.setattr(stop, "REPEAT_SECONDS", 0.05)
    before = signal.getsignal(signal.SIGALRM)

    def lose_one() -> int:
        with contextlib.suppress(KeyboardInterrupt):  # as the interpreter does around callbacks
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        time.sleep(5)
        pytest.fail("the interrupt did not come again")

    assert stop.until_stopped(lose_one, lambda: 130) == 130
    assert signal.getsignal(signal.SIGALRM) == before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
