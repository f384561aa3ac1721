"""The page as a file: what it is told, nothing of it markup, nothing fetched."""

import base64
import hashlib
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from multimap_jax.clustering.result import AspectResult, Assignment
from multimap_jax.images.thumbnails import SIDE
from multimap_jax.report import page as pages
from multimap_jax.report.page import Page
from multimap_jax.report.write import SCRIPTS, as_json, make_report, read
from tests.pages import content

EVIL = '"><script>evil()</script>'


def page_of(aspect, labels, names, **more):
    """A page of one aspect; what is not given is unknown, or 0."""
    labels, texts = np.asarray(labels), ("separability", "words", "selection", "merge_order", "warnings")
    page = {name: more.pop(name) for name in texts if name in more}
    assignment = Assignment(
        labels,
        more.pop("distances", np.arange(len(labels), dtype=float)),
        more.pop("confidences", None),
        more.pop("outliers", np.zeros(len(labels), bool)),
        more.pop("leftover", np.zeros(len(labels), bool)),
    )
    confidences = more.pop("name_confidences", [0.0] * len(names))
    aspect = SimpleNamespace(name=aspect)
    return Page(
        AspectResult(aspect, (), "", None, assignment, names, confidences, np.zeros(len(names)), **more), **page
    )


def grey(number):
    return [np.full((8, 8, 3), i % 256, np.uint8) for i in range(number)]


@pytest.fixture
def report():
    """A report of 70 images in two groups, one of 69, with names that are markup."""
    labels, metrics = [0] * 69 + [1], {"nmi": 0.5, "ri": 0.25, "images": 60, "of": 70}
    metrics["beside"] = {"k-means on image embeddings": {"nmi": 0.125, "ri": 0.0625}}
    more = {"outliers": np.arange(70) == 2, "name_confidences": [0.9, 0.0], "metrics": metrics}
    more["rows"] = np.random.default_rng(0).normal(size=(70, 3))
    page = page_of("<i>color", labels, ["<script>alert(1)</script>", "blue"], **more)
    other = page_of("species", labels, ["apple", "pear"], distances=np.arange(70.0)[::-1])
    names = [EVIL, *(f"{i}.png" for i in range(1, 70))]
    settings = [("seed", "0"), ("encoder", "<b>mine</b>")]
    return make_report(
        "<title>", dict(zip(names, grey(70))), names, [page, other], ["a <note>"], settings, "multimap x"
    )


def test_nothing_that_a_user_named_becomes_markup(report):
    for text in ("<script>alert", "<script>evil", "<i>color", "a <note>", "<title><title>", "<b>mine"):
        assert text not in report.html
    told = content(report.html)
    assert told["names"][0] == EVIL and told["aspects"][0]["groups"][0]["name"] == "<script>alert(1)</script>"
    assert told["notes"] == ["a <note>"] and told["settings"][1] == ["encoder", "<b>mine</b>"]
    assert re.findall("<script[^>]*>", report.html) == ['<script type="application/json" id="data">', "<script>"]


def test_what_could_end_an_element_is_written_as_its_number():
    assert as_json(["</script><!--&\u2028", "\udcff"]) == r'["\u003c/script\u003e\u003c!--\u0026\u2028","?"]'


def test_it_stands_alone(report):
    assert not re.search("https?://", report.html) and "src=" not in report.html.split("<script>")[0]
    script = report.html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in report.html and "default-src 'none'" in report.html


def test_scripts_make_no_markup_of_text():
    for name in SCRIPTS:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", read(name))


def test_an_aspect_is_told_with_its_groups_in_their_order(report):
    color, species = content(report.html)["aspects"]
    assert [group["size"] for group in color["groups"]] == [69, 1]
    assert [group["name_confidence"] for group in color["groups"]] == [0.9, None]
    assert color["groups"][0]["exemplars"] == [0, 1, 2, 3, 4, 5] and species["groups"][0]["exemplars"][0] == 68
    assert (
        color["outliers"] == [2]
        and color["confidences"] is None
        and color["candidates"] is None
        and species["map"] is None
    )
    assert len(color["map"]["x"]) == 70 and min(color["map"]["x"] + color["map"]["y"]) == 0


def test_metrics_say_over_how_many_images_and_rivals_stand_beside(report):
    metrics = content(report.html)["aspects"][0]["metrics"]
    assert (metrics["images"], metrics["of"], metrics["columns"]) == (60, 70, ["NMI", "RI"])
    assert metrics["rows"] == [["these groups", 0.5, 0.25], ["k-means on image embeddings", 0.125, 0.062]]


def test_what_is_known_of_confidence_unassigned_images_and_the_number_of_groups_is_told():
    candidates = [
        {"k": 2, "stability": 0.5, "chosen": False},
        {"k": np.int64(3), "stability": float("nan"), "chosen": True},
    ]
    page = page_of(
        "a", [0, 0, 1], ["x", "y"], confidences=np.array([0.9, 0.2, 0.8]), leftover=np.array([False, True, False]),
        exemplars=[[0], [2]], candidates=candidates, merge_order=["x and y would be one first."],
    )  # fmt: skip
    names = list("abc")
    told = content(make_report("t", dict(zip(names, grey(3))), names, [page], []).html)["aspects"][0]
    assert (
        told["leftover"] == [1] and told["leftover_size"] == 1 and [group["size"] for group in told["groups"]] == [1, 1]
    )
    assert told["confidences"] == [0.9, 0.2, 0.8] and told["merge_order"] == ["x and y would be one first."]
    assert told["candidates"] == {"columns": ["k", "stability"], "rows": [[2, 0.5], [3, None]], "chosen": [1]}
    assert page.least_confident.tolist() == [2, 0]


def test_an_image_that_is_gone_costs_its_thumbnail_alone(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    images = {name: tmp_path / name for name in ("a.png", "gone.png")}
    report = make_report("t", images, [*images, "unknown.png"], [page_of("a", [0, 0, 0], ["x"])], [])
    told = content(report.html)
    assert told["lost"] == [1, 2] and told["pictures"][0] and told["pictures"][1:] == ["", ""]
    assert "2 of 3 images could not be opened for display." in told["notes"]


def test_members_are_walked_once_and_nearest_first():
    page = page_of("a", [1, 0, 1, 1], ["x", "y", "z"], distances=np.array([4.0, 3, 2, 1]))
    assert [members.tolist() for members in page.members] == [[1], [3, 2, 0], []]


def test_thumbnails_keep_the_shape_of_wide_images():
    report = make_report("t", {"wide": Image.new("RGB", (400, 100))}, ["wide"], [page_of("a", [0], ["x"])], [])
    picture = base64.b64decode(content(report.html)["pictures"][0])
    assert Image.open(io.BytesIO(picture)).size == (SIDE, SIDE // 4)


def test_many_thumbnails_have_a_folder_that_is_called_by_what_is_in_it(monkeypatch):
    monkeypatch.setattr("multimap_jax.report.write.INLINE", 3)
    names = [f"{i}.png" for i in range(4)]
    make = lambda images: make_report("t", dict(zip(names, images)), names, [page_of("a", [0] * 4, ["x"])], [])  # noqa: E731
    one, again, other = make(grey(4)), make(grey(4)), make(grey(5)[1:])
    assert one.folder == again.folder != other.folder and set(one.pictures) == {"0.jpg", "1.jpg", "2.jpg", "3.jpg"}
    told = content(one.html)
    assert told["pictures"] == [] and told["folder"] == one.folder


def test_a_page_of_too_many_images_holds_a_share_and_counts_all(monkeypatch):
    images = 1000
    labels, other = np.arange(images) % 3, np.arange(images) % 2
    each = [page_of("a", labels, ["x", "y", "z"], leftover=np.arange(images) > 990), page_of("b", other, ["p", "q"])]
    shown = pages.shown_images(each, images, most=200)
    assert len(shown) == 200 and (np.diff(shown) > 0).all() and {0, 1, 2, 999} <= set(shown.tolist())
    rest = np.array(pages.hidden_counts(each, shown, images)["0,1"])
    assert rest.shape == (4, 3) and rest.sum() == 800 and not rest[:, 2].any()
    told = pages.page_content(each[0], shown)
    assert (
        sum(group["size"] for group in told["groups"]) + told["leftover_size"] == images and len(told["labels"]) == 200
    )
    assert pages.hidden_counts(each, np.arange(images), images) is None
