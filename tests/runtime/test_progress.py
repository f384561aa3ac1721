"""--log=json: lines for a log instead of bars for a person, by every verb; --profile: traces of a few chunks."""

import io
import json
import sys
import time
from datetime import datetime

import jax
import pytest

import multimap_jax as mm
from multimap_jax.cli import main as cli
from multimap_jax.runtime import profiling as trace
from multimap_jax.runtime import progress
from multimap_jax.scenes import write_scenes

FLAGS = ["--subject=fruit", "--aspect=color", "--words=color=red,green,yellow", "--steps=110", "--block_size=16"]


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "fruit"
    write_scenes(folder, "fruit", seed=3, count=70)
    return folder


@pytest.fixture(scope="module")
def run(fruit, tmp_path_factory):
    """The folder of a run that was traced, and the folder of its traces."""
    out = tmp_path_factory.mktemp("run")
    flags = [f"--images={fruit}", *FLAGS, "--keep_proxies", f"--profile={out / 'traces'}", f"--out={out / 'out'}"]
    assert cli.main(["multimap", *flags]) == 0
    return out / "out", out / "traces"


def logged(capfd):
    """{stage: its lines}, in order; every line on stderr is one of them."""
    found = {}
    for line in capfd.readouterr().err.splitlines():
        content = json.loads(line)
        assert list(content) == ["time", "stage", "done", "all", "per_second", "seconds_left"]
        assert datetime.fromisoformat(content["time"]).tzinfo
        found.setdefault(content["stage"], []).append(content)
    for lines in found.values():
        assert lines[0]["done"] == 0 and lines[0]["per_second"] is None and lines[0]["seconds_left"] is None
        assert lines[-1]["done"] == lines[-1]["all"] and lines[-1]["seconds_left"] == 0
    return found


@pytest.mark.slow
def test_a_run_logs_every_stage(fruit, tmp_path, capfd):
    assert cli.main(["multimap", f"--images={fruit}", *FLAGS, "--keep_proxies", "--log=json", f"--out={tmp_path}"]) == 0
    stages = logged(capfd)
    proxies = "optimising proxies of color"
    assert list(stages) == [
        "looking for images",
        "loading the checkpoint",
        "embedding images",
        proxies,
        "grouping",
        "writing results",
    ]
    assert stages["embedding images"][-1]["all"] == 70 and stages[proxies][-1]["all"] == 70 * 110
    assert stages[proxies][-1]["per_second"] > 0
    assert cli.main(["multimap", f"--images={fruit}", *FLAGS, "--keep_proxies", "--log=json", f"--out={tmp_path}"]) == 0
    assert not {"embedding images", proxies} & set(logged(capfd))


def test_thumbnails_that_nobody_kept_and_a_folder_of_them_are_stages(fruit, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("multimap_jax.runs.cache.THUMBNAILS", 0)
    monkeypatch.setattr("multimap_jax.report.write.INLINE", 10)
    assert cli.main(["multimap", f"--images={fruit}", *FLAGS, "--log=json", f"--out={tmp_path}"]) == 0
    assert list(logged(capfd))[-3:] == ["making thumbnails", "writing thumbnails", "writing results"]


@pytest.mark.slow
def test_the_other_verbs_log_too(run, fruit, tmp_path, capfd):
    flags = [f"--images={fruit}", "--log=json"]
    assert cli.main(["multimap", "embed", *flags, f"--out={tmp_path / 'embedded'}"]) == 0
    assert set(logged(capfd)) == {"looking for images", "loading the checkpoint", "embedding images"}
    assert cli.main(["multimap", "apply", f"--run={run[0]}", *flags, f"--out={tmp_path / 'more'}"]) == 0
    assert {"embedding images", "grouping", "writing results"} <= set(logged(capfd))
    grouped = [f"--embeddings={tmp_path / 'embedded'}", *FLAGS, "--log=json", f"--out={tmp_path / 'groups'}"]
    assert cli.main(["multimap", *grouped]) == 0
    assert "looking for embeddings" in logged(capfd)


def test_a_worker_says_which_it_is(fruit, tmp_path, capfd):
    flags = [f"--images={fruit}", "--part=2/2", "--log=json", f"--out={tmp_path}"]
    assert cli.main(["multimap", "embed", *flags]) == 0
    assert {json.loads(line)["process"] for line in capfd.readouterr().err.splitlines()} == {1}


def test_no_bar_and_no_line_where_there_is_no_terminal(fruit, tmp_path, capfd):
    assert cli.main(["multimap", f"--images={fruit}", *FLAGS, f"--out={tmp_path}"]) == 0
    assert capfd.readouterr().err == ""


def test_the_library_shows_bars(clip, capfd):
    image, _ = mm.render_scene("fruit", seed=0, index=0)
    clip.embed_images([image], progress=True)
    assert "embedding images: 100%" in capfd.readouterr().err


def test_a_long_stage_says_how_far_it_is_once_a_minute(monkeypatch, capfd):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.1)
    with progress.lines_of_json(process=3), progress.open_bar(200, "waiting", "piece", shown=False) as bar:
        time.sleep(0.15)
        bar.update(50)
        time.sleep(0.5)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert 4 <= len(lines) <= 9 and lines[0]["done"] == lines[1]["done"] == 0
    for line in lines[2:]:
        assert line["done"] == 50 and line["process"] == 3
        assert line["seconds_left"] == pytest.approx(150 / line["per_second"], abs=1)


def test_parts_of_a_bar_move_it_on_to_their_end(capfd):
    with progress.lines_of_json(), progress.open_bar(10, "all", "step", shown=False) as whole:
        for share in (4, 6):
            with progress.open_bar(share, "some", "step", shown=whole) as part:
                part.update(3)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["stage"], line["done"]) for line in lines] == [("all", 0), ("all", 10)]


def test_a_log_that_nobody_reads_ends_no_run(monkeypatch):
    gone = io.StringIO()
    gone.close()
    monkeypatch.setattr(sys, "stderr", gone)
    with progress.lines_of_json(), progress.stage("grouping"):
        pass


@pytest.mark.slow
def test_a_trace_of_each_kind_of_work_beside_what_is_there(run, fruit, tmp_path, capfd):
    _, traces = run
    first = set(traces.rglob("*.xplane.pb"))
    assert {path.relative_to(traces).parts[0] for path in first} == {"embedding", "proxies"}
    held = {path: path.read_bytes() for path in first}
    time.sleep(1.1)  # JAX calls a trace after the second
    assert cli.main(["multimap", "embed", f"--images={fruit}", f"--out={tmp_path}", f"--profile={traces}"]) == 0
    assert len(set(traces.rglob("*.xplane.pb"))) == 3
    assert all(path.read_bytes() == content for path, content in held.items())


def test_a_trace_is_of_a_few_chunks(monkeypatch, tmp_path):
    done, heard = 0, []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: heard.append((folder.name, done)))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: heard.append(("stop", done)))
    with trace.traces_in(tmp_path):
        for kind, chunks in (("embedding", 9), ("proxies", 2), ("proxies", 9)):
            with trace.traced(kind):
                for done in range(chunks):  # noqa: B007
                    trace.chunk_done()
        trace.chunk_done()
    assert heard == [("embedding", 0), ("stop", 3), ("proxies", 0), ("stop", 1)]


def test_a_run_with_nothing_left_to_trace_says_so(run, fruit, tmp_path, capfd):
    flags = [f"--images={fruit}", *FLAGS, f"--out={run[0]}", f"--profile={tmp_path}"]
    assert cli.main(["multimap", *flags]) == 0
    assert "multimap: note: no trace was saved: there was too little" in capfd.readouterr().err


def test_a_trace_that_fails_ends_no_run(monkeypatch, fruit, tmp_path, capfd):
    def fail():
        raise RuntimeError("the disk\nis full")

    started = []
    monkeypatch.setattr(jax.profiler, "start_trace", started.append)
    monkeypatch.setattr(jax.profiler, "stop_trace", fail)
    flags = [f"--images={fruit}", f"--out={tmp_path / 'out'}", f"--profile={tmp_path / 'traces'}"]
    assert cli.main(["multimap", "embed", *flags]) == 0
    assert started and capfd.readouterr().err == "multimap: note: no trace was saved (the disk is full)\n"


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--profile={file}", "is a file: give a folder for the traces"),
        ("--profile={file}/below", "give another folder"),
        ("--log=xml", "--log=xml"),
    ],
)
def test_bad_flags(fruit, tmp_path, capfd, flag, message):
    (tmp_path / "file").write_text("mine")
    flags = [f"--images={fruit}", *FLAGS, f"--out={tmp_path / 'out'}", flag.format(file=tmp_path / "file")]
    assert cli.main(["multimap", *flags]) == 2
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_a_long_stage_says_on_a_terminal_how_long_it_has_taken(capfd, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.01)
    for shown in (False, True):
        with progress.waiting_shown(shown), progress.stage("looking for images"):
            time.sleep(0.2)
        assert ("looking for images: 00:0" in capfd.readouterr().err) == shown
