"""Groups edited: what a file may say, what comes of it, and new images in the edited groups."""

import csv
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from multimap_jax.editing.editor import Editor, as_content, begun, of_content
from multimap_jax.editing.edits_file import EDITS_BYTES, read_edits
from tests.command import multimap
from tests.pages import content

CENTRES = np.array([[0.0, 0], [10, 0], [20, 0]])
# Two clumps around each centre.
ROWS = np.array([[x + dx, dy] for x in (0, 10, 20) for dx, dy in ((-1, 2.0), (-1, 2.1), (1, -2.0), (1, -2.2))])
LABELS = np.repeat([0, 1, 2], 4)
DISTANCES = np.linalg.norm(ROWS - CENTRES[LABELS], axis=1)
NAMES = [f"{i}.png" for i in range(12)]


def editor(before=None):
    before = before or begun(["red", "green", "blue"])
    return Editor(before, LABELS, DISTANCES, np.zeros(12, bool), lambda: ROWS, CENTRES, NAMES, 0)


def after(tmp_path, *edits, before=None):
    """What the edits make of three groups of four images, as the name of each image's group."""
    (tmp_path / "edits.json").write_text(json.dumps({"edits": [{"aspect": "color"} | edit for edit in edits]}))
    made, read = editor(before), read_edits(tmp_path / "edits.json", ["color", "species"])
    for i, edit in enumerate(read):
        made.make(edit, read[i + 1 :])
    return made.now, named(made.now, ROWS, NAMES)


def named(now, rows, names):
    apart = np.linalg.norm(rows[:, None] - CENTRES, axis=2)
    groups, _, left, _ = now.assign(apart.argmin(1), apart.min(1), np.zeros(len(rows), bool), rows, names, CENTRES)
    return ["-" if out else now.groups[group] for group, out in zip(groups, left)]


def test_merged_renamed_moved_and_unassigned(tmp_path):
    now, found = after(
        tmp_path,
        {"merge": ["red", "blue"], "into": "warm"},
        {"rename": "green", "to": "leaf"},
        {"move": ["0.png", "4.png"], "to": "leaf"},
        {"leftover": ["11.png"]},
        {"rename": "leaf", "to": "red"},
    )
    assert found == ["red"] + ["warm"] * 3 + ["red"] * 4 + ["warm"] * 3 + ["-"]
    assert now.groups == ["warm", "red"] and now.to == [0, 1, 0]


def test_a_split_adds_centres_within_the_group_alone_and_new_images_follow(tmp_path):
    now, found = after(
        tmp_path,
        {"merge": ["red", "green"], "into": "both"},
        {"split": "both", "into": 4},
        {"merge": ["both 1", "both 2"], "into": "first"},
        {"split": "both 3", "into": 2},
    )
    assert len(now.splits) == 2 and found[8:] == ["blue"] * 4 and len(set(found[:8])) == 4
    assert found[0] == found[1] and found[2] == found[3]  # clumps stay together
    again = of_content(json.loads(json.dumps(as_content(now))), CENTRES)
    others = np.random.default_rng(0).normal(scale=12, size=(50, 2)) + [10, 0]
    strangers = [f"new{i}" for i in range(50)]
    assert named(again, others, strangers) == named(now, others, strangers)
    assert named(again, ROWS[::-1], NAMES[::-1]) == found[::-1]


def test_edits_of_edited_groups_go_on_from_there(tmp_path):
    first, _ = after(tmp_path, {"move": ["0.png"], "to": "green"}, {"split": "green", "into": 2})
    own = named(first, ROWS, NAMES)[0]
    assert own in ("green 1", "green 2")
    _, found = after(tmp_path, {"merge": ["green 1", "green 2"], "into": "green"}, before=first)
    assert found == ["green"] + ["red"] * 3 + ["green"] * 4 + ["blue"] * 4


def test_an_image_of_the_same_name_that_is_another_one_is_not_pinned(tmp_path):
    now, found = after(tmp_path, {"move": ["0.png"], "to": "blue"})
    assert found[0] == "blue" and named(now, ROWS[:1] + 0.3, ["0.png"]) == ["red"]


def test_a_moved_image_is_as_far_as_its_new_group_is(tmp_path):
    now, _ = after(tmp_path, {"move": ["0.png"], "to": "blue"})
    _, away, _, by_hand = now.assign(LABELS, DISTANCES, np.zeros(12, bool), ROWS, NAMES, CENTRES)
    assert np.flatnonzero(by_hand).tolist() == [0]
    assert away[0] == pytest.approx(np.hypot(21, 2)) and (away[1:] == DISTANCES[1:]).all()


A = {"aspect": "color"}
WRONG = {
    "no list": ({"edits": {}}, 'expected "edits" with a list'),
    "something else": ({"edits": [], "more": 1}, 'expected "edits" with a list'),
    "nothing": ({"edits": []}, "has no edits"),
    "no edit": ({"edits": [7]}, "has 7, expected one of merge, rename, split, move, leftover"),
    "two in one": ({"edits": [A | {"merge": ["a"], "split": "b"}]}, "expected one of"),
    "another key": ({"edits": [A | {"rename": "red", "to": "x", "by": 1}]}, "has by with rename"),
    "another aspect": ({"edits": [{"aspect": "mood", "rename": "red", "to": "x"}]}, "the run has color, species"),
    "no aspect": ({"edits": [{"rename": "red", "to": "x"}]}, "names no aspect: the run has color, species"),
    "one to merge": ({"edits": [A | {"merge": ["red"], "into": "x"}]}, "two or more different groups"),
    "one twice": ({"edits": [A | {"merge": ["red", "red"], "into": "x"}]}, "two or more different groups"),
    "no into": ({"edits": [A | {"split": "red"}]}, "into is None, expected a whole number"),
    "no name": ({"edits": [A | {"rename": "red", "to": ""}]}, "expected a name of one line"),
    "no text": ({"edits": [A | {"rename": "red", "to": ["x"]}]}, "expected a name of one line"),
    "two lines": ({"edits": [A | {"rename": "red", "to": "a\nb"}]}, "expected a name of one line"),
    "a long name": ({"edits": [A | {"rename": "red", "to": "a" * 201}]}, "at most 200 characters"),
    "unassigned": ({"edits": [A | {"rename": "red", "to": "(unassigned)"}]}, "other than (unassigned)"),
    "one part": ({"edits": [A | {"split": "red", "into": 1}]}, "expected a whole number from 2 to 100"),
    "half a part": ({"edits": [A | {"split": "red", "into": 2.5}]}, "expected a whole number"),
    "true parts": ({"edits": [A | {"split": "red", "into": True}]}, "expected a whole number"),
    "no images": ({"edits": [A | {"move": [], "to": "red"}]}, "expected a list of image names"),
    "unknown group": ({"edits": [A | {"rename": "gren", "to": "x"}]}, "no group 'gren' of color; did you mean green?"),
    "unknown target": ({"edits": [A | {"move": ["0.png"], "to": "pink"}]}, "the groups are red, green, blue"),
    "taken": ({"edits": [A | {"rename": "red", "to": "blue"}]}, "color already has a group blue"),
    "merged into another": ({"edits": [A | {"merge": ["red", "green"], "into": "blue"}]}, "merge both"),
    "a cycle": (
        {"edits": [A | {"rename": "red", "to": "green"}, A | {"rename": "green", "to": "blue"},
                   A | {"rename": "blue", "to": "red"}]},
        "the renames red → green → blue → red form a cycle",
    ),
    "too many parts": ({"edits": [A | {"split": "red", "into": 5}]}, "cannot split red into 5 groups: it has 4 images"),
    "parts taken": (
        {"edits": [A | {"rename": "blue", "to": "red 2"}, A | {"split": "red", "into": 2}]},
        "color already has a group red 2",
    ),
    "unknown images": ({"edits": [A | {"leftover": ["0.png", "x.png"]}]}, "1 of its 2 images are not in this run"),
}  # fmt: skip


SPELLINGS = [("Green", "green"), ("green", " GREEN "), ("cafe\u0301", "caf\u00e9"), ("STRASSE", "straße")]


@pytest.mark.parametrize("new, taken", SPELLINGS)
def test_two_spellings_of_one_name_are_not_two_groups(tmp_path, new, taken):
    before = begun(["red", taken.strip(), "blue", new + " 2"])
    for edits in (
        [{"rename": "red", "to": new}],
        [{"merge": ["red", "blue"], "into": new}],
        [{"split": taken.strip(), "into": 2}],
    ):
        with pytest.raises(ValueError, match=f"color already has a group ({taken.strip()}|{new} 2): "):
            after(tmp_path, *edits, before=before)


def test_a_group_may_have_its_own_name_in_another_spelling(tmp_path):
    edits = [{"rename": "red", "to": "Red"}, {"merge": ["green", "blue"], "into": "BLUE"}]
    assert after(tmp_path, *edits)[0].groups == ["Red", "BLUE"]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_edit_is_a_sentence(tmp_path, name):
    wrong, message = WRONG[name]
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(wrong))
    with pytest.raises(ValueError) as error:
        made = editor()
        read = read_edits(path, ["color", "species"])
        for i, edit in enumerate(read):
            made.make(edit, read[i + 1 :])
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_too_large_or_no_json_is_not_read(tmp_path):
    (tmp_path / "large").write_bytes(b" " * (EDITS_BYTES + 1))
    (tmp_path / "deep").write_text("[" * 100_000)
    for name, message in (("large", "expected at most 10,485,760"), ("deep", "is not JSON")):
        with pytest.raises(ValueError, match=message):
            read_edits(tmp_path / name, ["color"])


@pytest.mark.parametrize(
    "change",
    [
        lambda own: own["to"].pop(),
        lambda own: own["splits"][0]["to"].__setitem__(0, -1),
        lambda own: own["splits"][0]["to"].__setitem__(0, 9),
        lambda own: own["splits"][0]["centroids"].pop(),
        lambda own: own["splits"][0]["centroids"][0].__setitem__(0, float("nan")),
        lambda own: own["pinned"]["1.png"].update(group=9),
        lambda own: own["pinned"]["1.png"].update(group="nobody"),
        lambda own: own["pinned"]["1.png"].update(distance=float("inf")),
        lambda own: own["groups"].append("empty"),
        lambda own: own["groups"].__setitem__(0, own["groups"][1]),
    ],
)
def test_a_damaged_groups_file_is_refused(tmp_path, change):
    now, _ = after(tmp_path, {"split": "green", "into": 2}, {"leftover": ["1.png"]})
    damaged = json.loads(json.dumps(as_content(now)))
    change(damaged)
    with pytest.raises((ValueError, KeyError, IndexError)):
        of_content(damaged, CENTRES)


EDITS = [
    {"aspect": "color", "merge": ["red", "yellow"], "into": "=warm"},
    {"aspect": "species", "split": "apple", "into": 2},
    {"aspect": "species", "rename": "apple 1", "to": "round"},
    {"aspect": "species", "move": ["fruit_0000.png"], "to": "grape"},
    {"aspect": "species", "leftover": ["fruit_0001.png"]},
]


def rows(path):
    return {row["image"]: row for row in csv.DictReader((path / "labels.csv").read_text().splitlines())}


@pytest.fixture(scope="module")
def edited(finished, tmp_path_factory):
    """The folder of the run with its groups edited."""
    out = tmp_path_factory.mktemp("edited")
    (out / "edits.json").write_text(json.dumps({"edits": EDITS}))
    flags = [f"--run={finished[1]}", f"--edits={out / 'edits.json'}", f"--out={out / 'run'}"]
    assert multimap("edit", *flags, f"--labels={finished[0] / 'labels.csv'}") == 0
    return out / "run"


def test_the_command_writes_a_run_with_the_same_models(finished, edited):
    before, found = rows(finished[1]), rows(edited)
    assert {row["color"] for row in found.values()} == {"green", "'=warm"}
    assert found["fruit_0000.png"]["species"] == "grape" and found["fruit_0001.png"]["species"] == "(unassigned)"
    same = [name for name, row in found.items() if row["species"] == before[name]["species"]]
    assert len(same) >= 20
    record = json.loads((edited / "run.json").read_text())
    assert record["edited"]["edits"] == 5 and "groups.json" in record["files"]
    for aspect in record["aspects"]:
        for name in aspect["files"]:
            own = edited / "models" / aspect["model"] / name
            assert own.read_bytes() == (finished[1] / "models" / aspect["model"] / name).read_bytes()
    assert json.loads((edited / "metrics.json").read_text())["color"]["images"] == 40


def test_apply_follows_the_edits(finished, edited, tmp_path, monkeypatch):
    monkeypatch.setattr("multimap_jax.estimator.MultiMaP.fit", lambda *_, **__: pytest.fail("fitted"))
    assert multimap("apply", f"--run={edited}", f"--images={finished[0]}", f"--out={tmp_path / 'more'}") == 0
    assert (tmp_path / "more" / "labels.csv").read_bytes() == (edited / "labels.csv").read_bytes()


def table(path):
    return pq.read_table(path).to_pydict()


def test_images_moved_by_hand_have_no_confidence(finished, edited, tmp_path):
    before, found = table(finished[1] / "labels.parquet"), table(edited / "labels.parquet")
    confidences = found["species: confidence"]
    assert confidences == [None, None, *before["species: confidence"][2:]]
    assert found["color: confidence"] == before["color: confidence"]
    told = content((edited / "report.html").read_text())["aspects"][1]
    assert told["confidences"][:2] == [None, None] and None not in told["confidences"][2:]
    groups = {group["name"]: group for group in json.loads((edited / "run.json").read_text())["aspects"][1]["groups"]}
    grapes = [value for name, value in zip(found["species"], confidences) if name == "grape" and value is not None]
    assert groups["grape"]["images"] == len(grapes) + 1
    assert groups["grape"]["confidence"] == pytest.approx(np.mean(grapes), abs=1e-4)
    assert multimap("apply", f"--run={edited}", f"--images={finished[0]}", f"--out={tmp_path / 'more'}") == 0
    assert table(tmp_path / "more" / "labels.parquet")["species: confidence"] == confidences
    assert multimap("export", f"--run={edited}", f"--to={tmp_path / 't.parquet'}") == 0
    assert table(tmp_path / "t.parquet")["species: confidence"] == confidences
    assert multimap("export", f"--run={edited}", f"--to={tmp_path / 't.csv'}") == 0
    cells = [row["species: confidence"] for row in csv.DictReader((tmp_path / "t.csv").read_text().splitlines())]
    assert cells == ["", "", *map(str, confidences[2:])]


def test_where_all_images_were_moved_by_hand_no_confidence_is_known(finished, tmp_path, capsys):
    move = {"aspect": "color", "move": list(rows(finished[1])), "to": "red"}
    (tmp_path / "e.json").write_text(json.dumps({"edits": [move]}))
    out = tmp_path / "edited"
    assert multimap("edit", f"--run={finished[1]}", f"--edits={tmp_path / 'e.json'}", f"--out={out}") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:2] == ["red", "40"]]
    assert "images  name confidence" in line
    aspect = json.loads((out / "run.json").read_text())["aspects"][0]
    assert [group["confidence"] for group in aspect["groups"]] == [None] * 3
    assert multimap("export", f"--run={out}", f"--to={tmp_path / 't.parquet'}") == 0
    column = pq.read_table(tmp_path / "t.parquet")["color: confidence"]
    assert column.null_count == 40 and str(column.type) == "double"


def test_an_edited_run_is_edited_again_and_results_of_others_are_safe(finished, edited, tmp_path, capsys):
    (tmp_path / "e.json").write_text(json.dumps({"edits": [{"aspect": "color", "rename": "=warm", "to": "warm"}]}))
    again = ["edit", f"--run={edited}", f"--edits={tmp_path / 'e.json'}"]
    assert multimap(*again, f"--out={tmp_path / 'again'}") == 0
    assert {row["color"] for row in rows(tmp_path / "again").values()} == {"green", "warm"}
    assert multimap(*again, f"--out={tmp_path / 'again'}") == 0  # the same once more
    for out, message in ((edited, "overwrite the run in"), (finished[1], "another finished run")):
        assert multimap(*again, f"--out={out}") == 2 and message in capsys.readouterr().err
    assert multimap("edit", f"--run={tmp_path / 'none'}", *again[2:], f"--out={tmp_path / 'x'}") == 2
    assert "there is no finished run in" in capsys.readouterr().err
    assert multimap("edit", f"--run={edited}", "--edits=no.json", f"--out={tmp_path / 'x'}") == 2
    where = "save the edits on the page, and give the path of your browser's download"
    assert f"there is no file no.json: {where}" in capsys.readouterr().err


def test_edits_made_before_are_not_lost(finished, tmp_path, capsys):
    """The same edits, and those with others after them, may go into the same folder; any others not."""
    out, file = tmp_path / "edited", tmp_path / "e.json"
    flags = ["edit", f"--run={finished[1]}", f"--edits={file}", f"--out={out}"]

    def make(*edits):
        file.write_text(json.dumps({"edits": [*edits]}))
        return multimap(*flags)

    warm, round_ = EDITS[0], {"aspect": "species", "rename": "apple", "to": "round"}
    assert make(warm) == 0 and make(warm) == 0
    assert make(round_) == 2
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1 and f"overwrite other edits of {finished[1]} in {out}" in said and f"--run={out}" in said
    )
    assert make(round_, warm) == 2 and make({**warm, "into": "hot"}) == 2
    assert {row["color"] for row in rows(out).values()} == {"green", "'=warm"}
    assert make(warm, round_) == 0
    assert "round" in {row["species"] for row in rows(out).values()}
    assert make(warm) == 2  # the second edit would be lost


def test_an_edited_run_that_was_changed_or_lost_its_embeddings_is_a_sentence(finished, edited, tmp_path, capsys):
    shutil.copytree(edited, tmp_path / "run")
    groups = tmp_path / "run" / "groups.json"
    groups.write_text(groups.read_text().replace("=warm", "=cold"))
    assert multimap("apply", f"--run={tmp_path / 'run'}", f"--images={finished[0]}", f"--out={tmp_path / 'a'}") == 2
    said = capsys.readouterr().err
    assert "groups.json changed since the run in" in said and said.count("\n") == 1
    shutil.copytree(finished[1], tmp_path / "moved", ignore=shutil.ignore_patterns("embeddings", "plan"))
    record = json.loads((tmp_path / "moved" / "run.json").read_text())
    (tmp_path / "moved" / "run.json").write_text(json.dumps(record | {"embeddings": str(tmp_path / "gone")}))
    (tmp_path / "e.json").write_text(json.dumps({"edits": EDITS}))
    flags = ["edit", f"--run={tmp_path / 'moved'}", f"--edits={tmp_path / 'e.json'}", f"--out={tmp_path / 'b'}"]
    assert multimap(*flags) == 2 and "--embeddings" in capsys.readouterr().err
    assert multimap(*flags, f"--embeddings={finished[1]}") == 0
    assert rows(tmp_path / "b") == rows(edited)


def test_thumbnails_of_many_images_lie_beside_the_page_and_go_with_it(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("multimap_jax.report.write.INLINE", 10)
    (tmp_path / "e.json").write_text(json.dumps({"edits": EDITS[:1]}))
    flags = ["edit", f"--run={finished[1]}", f"--edits={tmp_path / 'e.json'}", f"--out={tmp_path / 'out'}"]
    assert multimap(*flags) == 0
    (folder,) = (tmp_path / "out").glob("thumbnails-*")
    told = content((tmp_path / "out" / "report.html").read_text())
    assert told["folder"] == folder.name and len(list(folder.iterdir())) == 40 and not told["pictures"]
    few = tmp_path / "few"
    shutil.copytree(finished[0], few)
    (few / "fruit_0000.png").unlink()
    monkeypatch.setattr("multimap_jax.sources.embeddings.thumbnails_of", few.joinpath)  # as of an older run
    assert multimap(*flags, f"--images={few}") == 0
    (other,) = (tmp_path / "out").glob("thumbnails-*")
    assert other != folder and len(list(other.iterdir())) == 39
    monkeypatch.setattr("multimap_jax.report.write.INLINE", 100)
    assert multimap(*flags) == 0 and not list((tmp_path / "out").glob("thumbnails-*"))
