"""Models and runs in a notebook: groups with pictures, everything escaped; and a figure."""

import shutil
import sys

import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.report.html import GroupSummary, groups_html, nearest_images


def test_nothing_that_a_user_named_becomes_markup():
    text = groups_html(
        "<i>t",
        [GroupSummary("<script>x</script>", 1200, 0.5, [np.zeros((4, 4, 3), np.uint8)]), GroupSummary("b", 1, 0, [])],
    )
    assert "<script>" not in text and "&lt;script&gt;" in text and "<i>" not in text
    assert "1,200" in text and "0.50" in text and text.count("data:image/jpeg") == 1


def test_nearest_images_of_each_group():
    labels = np.array([0, 1, 0, -1, 0])
    assert nearest_images(labels, np.array([3.0, 1, 2, 0, 1]), 3, 2) == [[4, 2], [1], []]


@pytest.mark.slow
def test_a_model_shows_its_groups(finished):
    clip = mm.load_clip("embedded")
    model = mm.MultiMaP(mm.Aspect("color", "fruit", ("red", "green", "yellow")), clip)
    assert "MultiMaP" in model._repr_html_()  # as scikit-learn shows what is not fitted
    model.fit(str(finished[0]))
    text = model._repr_mimebundle_()["text/html"]
    assert text.count("data:image/jpeg") == 15 and "red" in text and "color: 3 groups of 40 images" in text
    model.fit([path for path in sorted(finished[0].iterdir()) if path.suffix == ".png"])
    assert model._repr_html_().count("data:image/jpeg") == 15
    model.fit(clip.embed_images(str(finished[0])))
    assert "data:image" not in model._repr_html_() and "green" in model._repr_html_()


def test_a_run_shows_itself_and_its_labels(finished, tmp_path):
    run = mm.open_run(finished[1])
    text = run._repr_html_()
    assert run.aspects == ("color", "species") and text.count("<table>") == 2 and text.count("data:image/jpeg") == 30
    assert set(run.labels("color").values()) == {"red", "green", "yellow"} and len(run.labels("color")) == 40
    with pytest.raises(ValueError, match="has no aspect 'mood': it has color, species"):
        run.labels("mood")
    with pytest.raises(FileNotFoundError, match="there is no finished run in"):
        mm.open_run(tmp_path)
    shutil.copytree(finished[1], tmp_path / "run")
    (tmp_path / "run" / "labels.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="cannot be read"):
        mm.open_run(tmp_path / "run").groups("color", 3)


def test_a_figure_has_a_row_for_each_group(finished):
    pytest.importorskip("matplotlib")
    figure = mm.show(finished[1], "species", images=4)
    cells = np.array(figure.axes).reshape(3, 4)
    assert all(cell.images for cell in cells.ravel())
    assert {row[0].get_ylabel().split("\n")[0] for row in cells} == {"apple", "banana", "grape"}


def test_without_matplotlib_a_sentence_says_what_to_install(finished, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install 'multimap_jax\\[experiments\\]'"):
        mm.show(finished[1])
