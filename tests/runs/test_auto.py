"""What a user need not know: the number of groups, found on drawn scenes; unassigned images; the same answer again."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

import multimap_jax as mm
from multimap_jax.cli import main as cli
from multimap_jax.runs.messages import merge_texts, outliers_text, result_warnings
from multimap_jax.scenes import SCENES, render_scene

WORDS = {
    "fruit": {"color": ("red", "green", "yellow"), "species": ("apple", "banana", "grape", "pear", "cherry")},
    "card": {"suits": ("clubs", "diamonds", "hearts", "spades")},
}


@pytest.fixture(scope="module")
def embedded():
    return mm.load_clip("embedded")


@pytest.fixture(scope="module")
def drawn(embedded):
    """Scene -> (embeddings, labels by aspect) of 120 pictures."""
    found = {}
    for scene in WORDS:
        pictures = [render_scene(scene, seed=5, index=i) for i in range(120)]
        labels = {name: np.array([own[name] for _, own in pictures]) for name in WORDS[scene]}
        found[scene] = embedded.embed_images([picture for picture, _ in pictures]), labels
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("scene", "aspect"), [("fruit", "color"), ("fruit", "species"), ("card", "suits")])
def test_the_number_of_groups_is_found(embedded, drawn, scene, aspect):
    rows, labels = drawn[scene][0], drawn[scene][1][aspect]
    asked = mm.Aspect(aspect, SCENES[scene].subject, WORDS[scene][aspect])
    fits = [mm.MultiMaP(asked, embedded, "auto", random_state=seed).fit(rows) for seed in (0, 1)]
    assert fits[0].n_clusters_ == len(set(labels)) and mm.evaluate(labels, fits[0].labels_)["ari"] > 0.95
    assert mm.evaluate(fits[0].labels_, fits[1].labels_)["ari"] > 0.95  # another seed, the same answer
    assert sorted(fits[0].cluster_names_) == sorted(fits[1].cluster_names_)
    assert (fits[0].outliers_ == fits[1].outliers_).all()
    first, second, *_ = fits[0].n_clusters_table_
    assert first.groups == fits[0].n_clusters_ and first.score > second.score and first.strength > 0.8
    assert fits[0].cluster_stability_.min() > 0.8


def test_one_group_is_an_answer(embedded, drawn):
    rows, labels = drawn["fruit"]
    asked = mm.Aspect("color", "fruit", WORDS["fruit"]["color"])
    model = mm.MultiMaP(asked, embedded, "auto").fit(rows[labels["color"] == "green"])
    assert (
        model.n_clusters_ == 1 and model.cluster_names_ == ["no stable split"] and not model.cluster_confidences_.any()
    )
    assert np.isnan(model.result(model.fitted()).assignment.confidences).all()


@pytest.mark.slow
def test_numbers_that_are_given_have_no_table(embedded, drawn):
    model = mm.MultiMaP(mm.Aspect("color", "fruit", WORDS["fruit"]["color"]), embedded, 4).fit(drawn["fruit"][0])
    assert model.n_clusters_table_ == [] and len(model.merge_order_) == 3 and len(model.exemplars_) == 4


@pytest.mark.slow
def test_without_words_the_number_is_found_in_the_rows_of_the_features(embedded, drawn):
    rows, labels = drawn["card"]
    model = mm.MultiMaP(mm.Aspect("suits", "card"), embedded, "auto", features="image").fit(rows)
    assert model.n_clusters_ == model.n_clusters_table_[0].groups <= 24  # whichever: not the suits alone


def test_pictures_of_another_subject_are_outliers(embedded, drawn):
    rows, strange = np.concatenate([drawn["fruit"][0], drawn["card"][0][:6]]), np.arange(126) >= 120
    model = mm.MultiMaP(mm.Aspect("color", "fruit", WORDS["fruit"]["color"]), embedded).fit(rows)
    assert model.outliers_[strange].all() and model.outliers_[~strange].mean() < 0.05
    assert model.assign(drawn["card"][0][6:26]).outliers.mean() > 0.9


def test_unassigned_images_are_the_least_confident_and_new_images_are_treated_alike(embedded, drawn, tmp_path):
    rows, _ = drawn["fruit"]
    asked = mm.Aspect("species", "fruit", WORDS["fruit"]["species"])
    model = mm.MultiMaP(asked, embedded, 5, leftover=0.1).fit(rows)
    assert model.leftover_.sum() == 12
    assert model.confidence_[model.leftover_].max() <= model.confidence_[~model.leftover_].min()
    model.save(tmp_path)
    loaded = mm.load(tmp_path)
    assert loaded.leftover == 0.1 and (loaded.leftover_ == model.leftover_).all()
    assigned = loaded.assign(rows)
    for name in ("labels", "confidence", "outliers", "leftover"):
        own = getattr(model, f"{name}_")
        assert (getattr(assigned, {"confidence": "confidences"}.get(name, name)) == own).all()
    assert loaded.n_clusters_table_ == model.n_clusters_table_ and loaded.merge_order_ == model.merge_order_
    assert not mm.MultiMaP(asked, embedded, 5).fit(rows).leftover_.any()


def test_names_with_commas_are_quoted_in_lists():
    result = SimpleNamespace(
        aspect=mm.Aspect("color"), words_from={}, cluster_names=["silver, medium", "red", "blue"], separability=None,
        stability=np.array([0.4, 0.5, 0.9]), merge_order=[((1,), (2,), 0.114), ((0,), (1, 2), 0.886)],
    )  # fmt: skip
    assert result_warnings(result)[0].endswith(': "silver, medium" (0.40), red (0.50).')
    assert merge_texts(result) == [
        "If you merge red and blue, 11% of the separation between the groups is lost.",
        'If you then merge "silver, medium" with red and blue, another 89% is lost.',
    ]


def test_three_of_the_outliers_are_named():
    said = outliers_text(np.array([True] * 4 + [False]), list("abcde"))
    assert said == "4 of 5 images are unlike most images of the run (tab Outliers): a, b, c, …"
    one = outliers_text(np.array([True] + [False] * 9), list("abcdefghij"))
    assert one == "1 of 10 images is unlike most images of the run (tab Outliers): a"
    assert outliers_text(np.zeros(2, bool), ["a", "b"]) == ""


@pytest.mark.slow
def test_the_command_finds_leaves_out_and_applies(tmp_path, capsys):
    from multimap_jax.scenes.files import write_scenes

    write_scenes(tmp_path / "fruit", "fruit", count=60, seed=5)
    run, common = tmp_path / "out", [f"--images={tmp_path / 'fruit'}", "--noprogress"]
    flags = ["--subject=fruit", "--aspect=color", "--aspect=vibe", "--leftover=0.1", f"--out={run}"]
    assert cli.main(["multimap", *common, *flags, f"--labels={tmp_path / 'fruit' / 'labels.csv'}"]) == 0
    said = capsys.readouterr()
    assert "color: 3 groups" in said.out and "(unassigned)" in said.out and "--clusters=color=" in said.out
    assert "the vocabulary has none for 'vibe'" in said.err
    color, vibe = json.loads((run / "run.json").read_text())["aspects"]
    assert (
        color["model_selection"]["asked"] == vibe["model_selection"]["asked"] == "auto"
        and color["model_selection"]["groups"] == 3
    )
    assert (
        color["model_selection"]["candidates"][0]["groups"] == 3 and len(color["model_selection"]["merge_order"]) == 2
    )
    assert color["leftover"] == 6 and sum(group["images"] for group in color["groups"]) == 54
    assert all(name in said.out for name in (group["name"] for group in color["groups"]))
    assert all(1 <= len(group["exemplars"]) <= 8 and 0 < group["stability"] <= 1 for group in color["groups"])
    metrics = json.loads((run / "metrics.json").read_text())["color"]
    assert metrics["images"] == 54 and metrics["of"] == 60
    table = pq.read_table(run / "labels.parquet").to_pydict()
    left = [name == "(unassigned)" for name in table["color"]]
    assert sum(left) == 6 and left == [group == -1 for group in table["color: group"]]
    assert max(np.array(table["color: confidence"])[left]) <= min(np.array(table["color: confidence"])[~np.array(left)])
    assert cli.main(["multimap", "apply", *common, f"--run={run}", f"--out={tmp_path / 'more'}"]) == 0
    again = pq.read_table(tmp_path / "more" / "labels.parquet").to_pydict()
    assert again["color"] == table["color"] and again["color: confidence"] == table["color: confidence"]
