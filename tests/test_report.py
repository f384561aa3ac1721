"""The report: one file, everything escaped, nothing fetched."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from multimap_jax.report import SHOWN, Page, make_report


@pytest.fixture
def report():
    """A report of 70 images in two groups, one of 69, with names that are markup."""
    images = [np.full((8, 8, 3), i, np.uint8) for i in range(70)]
    labels = np.array([0] * 69 + [1])
    outliers = np.arange(70) == 2
    metrics = {
        "nmi": 0.5,
        "ri": 0.25,
        "images": 60,
        "of": 70,
        "beside": {"k-means on image embeddings": {"nmi": 0.125, "ri": 0.0625}},
    }
    page = Page("<i>color", labels, ["<script>alert(1)</script>", "blue"], [0.9, 0.0], outliers, np.arange(70), metrics)
    other = Page("species", labels, ["apple", "pear"], [1.0, 1.0], outliers, np.arange(70)[::-1])
    names = ['"><script>evil()</script>', *(f"{i}.png" for i in range(1, 70))]
    return make_report("<title>", dict(zip(names, images)), names, [page, other], ["a <note>"])


def test_nothing_that_a_user_named_becomes_markup(report):
    for text in ("<script>alert", "<script>evil", "<i>color", "a <note>", "<title><title>"):
        assert text not in report
    assert "&lt;script&gt;alert(1)" in report and "&quot;&gt;&lt;script&gt;evil()" in report


def test_it_stands_alone(report):
    assert "http://" not in report and "https://" not in report and "src=" not in report.split("<script>")[0]


def test_large_groups_show_the_nearest_and_say_so(report):
    first = report.split('<section class="group">')[1]
    assert first.count("<img") == SHOWN and f"the {SHOWN} nearest to its centre are shown" in first
    assert "69 images, 90% sure of the name" in first


def test_every_picture_shown_has_a_thumbnail(report):
    thumbnails = json.loads(re.search(r'id="thumbnails">(.*?)</script>', report, re.S).group(1))
    assert set(re.findall(r'data-image="(\d+)"', report)) == set(thumbnails)


def test_outliers_are_marked_and_rivals_stand_beside(report):
    assert re.findall(r'data-image="(\d+)"[^>]*class=outlier', report.split("<article")[1]) == ["2"]
    assert "<td>k-means on image embeddings</td><td>0.125</td>" in report


def test_one_page_is_open_at_first(report):
    assert report.count("<article") == 2 and report.count(" hidden>") == 1


def test_metrics_say_over_how_many_images(report):
    assert "for 60 of 70 images:" in report


def test_an_image_that_is_gone_costs_its_thumbnail_alone(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    page = Page("a", np.zeros(2, int), ["x"], [0.0], np.zeros(2, bool), np.arange(2))
    images = {name: tmp_path / name for name in ("a.png", "gone.png")}
    report = make_report("t", images, list(images), [page], [])
    thumbnails = json.loads(re.search(r'id="thumbnails">(.*?)</script>', report, re.S).group(1))
    assert thumbnails["0"] and thumbnails["1"] == "" and 'alt="gone.png"' in report


def test_members_are_walked_once_and_nearest_first():
    page = Page("a", np.array([1, 0, 1, 1]), ["x", "y", "z"], [0.0] * 3, np.zeros(4, bool), np.array([3, 2, 1, 0]))
    assert [members.tolist() for members in page.members] == [[1], [3, 2, 0], []]


def test_thumbnails_keep_the_shape_of_wide_images():
    page = Page("a", np.zeros(1, int), ["x"], [0.0], np.zeros(1, bool), np.zeros(1, int))
    report = make_report("t", {"wide": Image.new("RGB", (400, 100))}, ["wide"], [page], [])
    assert "1 image<" in report and "<p>1 image, grouped" in report
