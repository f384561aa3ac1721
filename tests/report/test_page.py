"""The page in a real browser: every control does what it says, by mouse and by keyboard; nothing leaves the page."""

import base64
import csv
import io
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import multimap_jax as mm
from multimap_jax.cli import main as cli
from multimap_jax.report.write import make_report
from multimap_jax.runs.results import originals_address
from multimap_jax.sources.folder import read_folder
from multimap_jax.sources.source import Source
from multimap_jax.storage.filenames import path_of_name
from multimap_jax.storage.paths import parse_path
from tests.browser import NARROW, WIDE, Browser, chromium
from tests.report.test_report import page_of

EVIL = ['<img src=x onerror="hacked=1">', "\"><script>hacked=1</script>", "</script><script>hacked=1</script>",
        "{{data}}", "__proto__", "constructor", "${hacked=1}", "javascript:hacked=1"]  # fmt: skip
COLOURS = ["red", "green", "blue"]
VIEWS = ["groups", "map", "compare", "confidence", "unassigned", "about"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    downloads = tmp_path_factory.mktemp("downloads")
    with chromium(downloads) as driver:
        yield Browser(driver, downloads)


def write(path, report):
    path.mkdir(parents=True, exist_ok=True)
    (path / "report.html").write_text(report.html, encoding="utf-8")
    if report.folder:
        (path / report.folder).mkdir()
        for name, picture in report.pictures.items():
            (path / report.folder / name).write_bytes(picture)
    return path / "report.html"


def painted(number, side=24):
    """Pictures in many colours, by name."""
    colours = np.random.default_rng(0).integers(0, 255, (number, 3), np.uint8)
    return {f"{i:05}.png": np.tile(colour, (side, side, 1)) for i, colour in enumerate(colours)}


def report_of(number, **more):
    """Two aspects of that many images: by three colours in turn, and by two halves."""
    random, labels = np.random.default_rng(1), np.arange(number) % 3
    rows = np.eye(3)[labels] * 5 + random.normal(size=(number, 3))
    selection = "Chose 3 groups; for another number use --clusters=color=2."
    far, left = np.arange(number) == 4, np.arange(number) == 5
    candidates = [{"k": k, "stability": k / 10, "smallest": 0.049, "chosen": k == 3} for k in (2, 3, 10)]
    metrics = {"nmi": 0.5, "images": number, "of": number, "beside": {"zero-shot words": {"nmi": 0.25}}}
    first = page_of(
        "color", labels, COLOURS, outliers=far, leftover=left, confidences=np.linspace(0.2, 1, number), rows=rows,
        candidates=candidates, merge_order=["red and blue would be one first."], metrics=metrics,
        separability="It is seen.", selection=selection,
    )  # fmt: skip
    second = page_of("half", (np.arange(number) * 2 // number), ["first", "second"], rows=rows)
    images = painted(number)
    return make_report(
        "drawn", images, list(images), [first, second], ["a note"], [("seed", "0")], "multimap --x", **more
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write(tmp_path_factory.mktemp("small"), report_of(60))


@pytest.mark.slow
def test_views_show_what_the_run_found(browser, small):
    browser.open(small)
    assert browser.text("#title") == "drawn" and browser.text("#summary") == "60 images, grouped by 2 aspects."
    assert browser.headings() == [*COLOURS, "(unassigned)"]
    assert browser.images("red")[:3] == ["00000.png", "00003.png", "00006.png"]
    browser.view("confidence")
    assert browser.images("Least confident first")[:4] == ["00000.png", "00001.png", "00002.png", "00003.png"]
    captions = [each.get_attribute("data-caption") for each in browser.all(".image")]
    assert captions[:3] == ["0.20", "0.21", "0.23"]
    assert browser.text("#views-unassigned") == "Unassigned (1), outliers (1)"
    browser.view("unassigned")
    assert browser.images("(unassigned)") == ["00005.png"] and browser.images("Outliers") == ["00004.png"]
    browser.view("about")
    said = browser.text("#view")
    for part in ("It is seen.", "red and blue would be one first.", "multimap --x", "0.250", "seed"):
        assert part in said
    assert browser.text("tr.chosen") == "3 0.300 4.9%" and "1.000" in browser.text("#view")
    assert "stability: how well the same groups come back" in said
    assert browser.complaints() == []


def test_what_was_said_before_edits_is_hidden_or_called_so(browser, small):
    browser.open(small)
    assert "Chose 3 groups" in browser.text("#view") and browser.text(".flag") == "--clusters=color=2"
    assert "The most typical images" in browser.text("footer")
    browser.does("red", "merge")
    browser.click("#yes")
    assert "Chose 3 groups" not in browser.text("#view")
    browser.view("about")
    assert "Before the edits made here:\nChose 3 groups" in browser.text("#view")
    assert browser.text("footer") == "Made with multimap_jax."


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_saving_shows_where_the_file_is_and_what_to_run(browser, tmp_path, size):
    browser.open(write(tmp_path, report_of(300)), size)
    browser.does("red", "rename")
    browser.fill("#name", "rose")
    browser.click("#yes")
    browser.run("window.scrollTo(0, 1500); document.querySelector('#save').click()")
    top, bottom = browser.run("const {top, bottom} = $('then').getBoundingClientRect(); return [top, bottom]")
    assert browser.run("return document.querySelector('.bar').getBoundingClientRect().bottom") <= top < bottom < size[1]


def test_compared_cells_open_their_images(browser, small):
    browser.open(small).view("compare")
    counts = [int(each.text) for each in browser.all(".cells button")]
    assert sum(counts) == 60 and len(counts) == 8
    cell = browser.one('[data-cell=\'["red","second"]\']')
    cell.click()
    assert browser.images("red and second") == [f"{i:05}.png" for i in range(30, 60, 3)]
    browser.click("#aspects-1")
    assert [each.text for each in browser.all("thead th")] == ["half / color", *COLOURS, "(unassigned)"]


@pytest.mark.slow
def test_the_map_shows_and_selects(browser, small):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(small).view("map")
    canvas = browser.one("canvas")
    x, y, wide, high = browser.run("return [plot.x[7], plot.y[7], plot.canvas.clientWidth, plot.canvas.clientHeight]")
    point = ActionChains(browser.driver).move_to_element_with_offset(canvas, x - wide / 2, y - high / 2)
    point.perform()
    near = browser.text("#details")
    assert ".png" in near and "color:" in near
    ActionChains(browser.driver).click().perform()
    assert browser.text("#selected") == "1 image selected"
    frame = ActionChains(browser.driver).move_to_element_with_offset(canvas, 3 - wide / 2, 3 - high / 2)
    frame.click_and_hold().move_by_offset(wide - 6, high - 6).release().perform()
    assert browser.text("#selected") == "60 images selected"
    browser.click("#clear")
    browser.click(".legend button:nth-child(2)")
    assert browser.one(".legend button:nth-child(2)").get_attribute("aria-pressed") == "true"
    browser.run("arguments[0].focus()", canvas)
    browser.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.SPACE)
    assert browser.text("#selected") == "1 image selected"
    assert browser.run("return groupName(0, plot.at)") == "green"


def test_groups_called_by_a_color_have_it_on_the_map(browser, small):
    browser.open(small)
    hue = "return paints(arguments[0]).map((paint) => Object.keys(HUES).find((name) => HUES[name] === paint) ?? paint)"
    named = ["black", "Red, round", "dark blue", "grey 2", "white", "violet"]
    assert browser.run(hue, named) == ["black", "red", "blue", "gray", "white", "purple"]
    assert browser.run(hue, ["apple", "blue", "gold", "constructor"]) == ["orange", "blue", "gold", "green"]
    for word in ("red", "black", "white"):
        shades = browser.run(hue, [word, f"{word} 2", f"{word}, round"])
        assert shades[0] == word and len(set(shades)) == 3
        assert all(browser.run("return CSS.supports('color', arguments[0])", shade) for shade in shades[1:])
    many = browser.run(hue, ["yellow", "redish", *map(str, range(18))])
    assert len(set(many)) == 20


@pytest.mark.slow
def test_edits_by_clicks_are_the_file_expected(browser, small):
    browser.open(small)
    browser.does("red", "merge")
    browser.fill("#with", "blue")
    browser.fill("#into", "green")
    browser.click("#yes")
    assert "There is already a group called green" in browser.text("#wrong")
    browser.fill("#into", "warm")
    browser.click("#yes")
    assert browser.headings() == ["warm", "green", "(unassigned)"]
    browser.does("green", "rename")
    browser.fill("#name", "leaf <b>")
    browser.click("#yes")
    for name in ("00000.png", "00006.png"):
        browser.click(f'.image[title="{name}"]')
    assert browser.text("#selected") == "2 images selected"
    browser.fill("#target", "leaf <b>")
    browser.click("#move")
    browser.click('.image[title="00001.png"]')
    browser.click("#leave")
    browser.does("warm", "split")
    browser.fill("#parts", "3")
    browser.click("#yes")
    assert "will be split into 3" in browser.group("warm").text
    assert browser.group("warm").find_element("css selector", "[data-does=merge]").get_attribute("disabled")
    browser.click("#aspects-1")
    browser.does("first", "rename")
    browser.fill("#name", "begin")
    browser.click("#yes")
    browser.does("begin", "rename")
    browser.fill("#name", "undone")
    browser.click("#yes")
    browser.click("#undo")
    assert browser.headings() == ["begin", "second"] and browser.text("#edited") == "6 edits, not saved"
    assert browser.saved() == {
        "edits": [
            {"aspect": "color", "merge": ["red", "blue"], "into": "warm"},
            {"aspect": "color", "rename": "green", "to": "leaf <b>"},
            {"aspect": "color", "move": ["00000.png", "00006.png"], "to": "leaf <b>"},
            {"aspect": "color", "leftover": ["00001.png"]},
            {"aspect": "color", "split": "warm", "into": 3},
            {"aspect": "half", "rename": "first", "to": "begin"},
        ]
    }
    assert browser.text("#edited") == "6 edits, saved"
    assert browser.text("#next") == "multimap edit --run=out/ --edits=~/Downloads/edits.json --out=edited/"
    for _ in range(6):
        browser.click("#undo")
    browser.click("#aspects-0")
    assert browser.headings() == [*COLOURS, "(unassigned)"] and not browser.one("#undo").is_enabled()
    assert browser.complaints() == []


@pytest.mark.slow
def test_images_of_a_group_that_is_to_be_split_are_moved_and_marked(browser, finished, tmp_path):
    """multimap edit makes of it what the page shows."""
    browser.open(finished[1] / "report.html")
    browser.does("red", "split")
    browser.click("#yes")
    leave, move, *_ = browser.images("red")
    browser.click(f'.image[title="{leave}"]')
    browser.click("#leave")
    assert browser.run("return $('said').textContent") == "1 image unassigned."
    browser.click(f'.image[title="{move}"]')
    browser.does("green", "rename")  # the images stay selected, and may go to the group by its new name
    browser.fill("#name", "leaf")
    browser.click("#yes")
    browser.fill("#target", "leaf")
    browser.click("#move")
    assert browser.images("(unassigned)") == [leave] and move in browser.images("leaf")
    (tmp_path / "edits.json").write_text(json.dumps(browser.saved()))
    flags = [f"--run={finished[1]}", f"--edits={tmp_path / 'edits.json'}", f"--out={tmp_path / 'edited'}"]
    assert cli.main(["multimap", "edit", *flags]) == 0
    rows = csv.DictReader((tmp_path / "edited" / "labels.csv").read_text().splitlines())
    groups = {row["image"]: row["color"] for row in rows}
    assert (groups[leave], groups[move]) == ("(unassigned)", "leaf")
    assert set(groups.values()) == {"red 1", "red 2", "leaf", "yellow", "(unassigned)"}


@pytest.mark.slow
def test_images_that_stay_where_they_are_stay_selected_and_it_is_said_why(browser, small):
    browser.open(small)
    browser.click('.image[title="00000.png"]')
    browser.fill("#target", "red")
    browser.click("#move")
    assert browser.text("#selected") == "1 image selected. Already in red."
    browser.does("red", "split")
    browser.click("#yes")
    assert browser.text("#selected") == "1 image selected" and browser.text("#target").split() == ["green", "blue"]
    for name in ("green", "blue"):
        browser.does(name, "split")
        browser.click("#yes")
    browser.click("#move")
    reason = "There is no group to move to. All of them will be split first."
    assert browser.text("#selected") == f"1 image selected. {reason}"
    assert browser.run("return $('said').textContent") == reason
    browser.click("#clear")
    browser.click('.image[title="00005.png"]')
    browser.click("#leave")
    assert browser.text("#selected") == "1 image selected. Already unassigned."
    assert browser.run("return state.edits.length") == 3


@pytest.mark.slow
def test_images_moved_by_hand_have_no_confidence(browser, tmp_path):
    """Those that multimap edit moved, and those that are moved on the page."""
    confidences = np.array([np.nan, 0.25, 0.5, 0.75, 1.0, 1.0])
    page, images = page_of("color", [0, 0, 0, 1, 1, 1], ["red", "green"], confidences=confidences), painted(6)
    browser.open(write(tmp_path, make_report("drawn", images, list(images), [page], [])))
    assert "confidence 0.38" in browser.group("red").text and "confidence 0.92" in browser.group("green").text
    browser.click('.image[title="00000.png"]')
    assert "moved by hand" in browser.text("#details") and "confidence" not in browser.text("#details")
    browser.click("#clear")
    browser.click('.image[title="00001.png"]')
    assert "confidence 0.25" in browser.text("#details")
    browser.fill("#target", "green")
    browser.click("#move")
    assert "confidence 0.50" in browser.group("red").text and "confidence 0.92" in browser.group("green").text
    browser.view("confidence")
    assert browser.images("Least confident first") == ["00002.png", "00003.png", "00005.png", "00004.png"]
    browser.click("#undo")
    assert browser.images("Least confident first")[0] == "00001.png"


def test_everything_by_keyboard(browser, small):
    from selenium.webdriver.common.keys import Keys

    browser.open(small)
    browser.run("document.querySelector('#aspects-0').focus()")
    browser.keys(Keys.ARROW_RIGHT)
    assert browser.headings() == ["first", "second"]
    browser.keys(Keys.ARROW_LEFT, Keys.TAB, Keys.END)
    assert browser.run("return document.activeElement.id") == "views-about"
    browser.keys(Keys.HOME)
    browser.run("document.querySelector('.image[tabindex=\"0\"]').focus()")
    assert len(browser.all('.group:first-child .image[tabindex="0"]')) == 1
    browser.keys(Keys.ARROW_RIGHT, Keys.SPACE, Keys.ARROW_DOWN, Keys.ENTER)
    chosen = [each.get_attribute("data-at") for each in browser.all('.image[aria-selected="true"]')]
    assert len(chosen) == 2 and chosen[0] == "1"
    assert browser.run("return document.activeElement.getAttribute('role')") == "option"
    assert "color: red" in browser.text("#details")
    browser.keys(Keys.ESCAPE)
    assert not browser.one("#selection").is_displayed()
    browser.run("document.querySelector('[data-does=rename]').focus()")
    browser.keys(Keys.ENTER)
    assert browser.run("return document.activeElement.id") == "name"
    browser.keys("rose", Keys.ENTER)
    assert browser.headings()[0] == "rose"
    assert browser.run("return document.activeElement.getAttribute('aria-label')") == "Rename rose"
    browser.does("rose", "split")
    browser.keys(Keys.ESCAPE)
    assert not browser.one("#dialog").is_displayed()
    browser.chord(Keys.CONTROL, "z")
    assert browser.headings()[0] == "red" and browser.run("return editsText()") == '{\n "edits": []\n}\n'


@pytest.mark.slow
def test_wrong_names_and_numbers_are_said_in_the_dialog(browser, small):
    browser.open(small)
    browser.does("red", "rename")
    for name, said in (
        (" ", "Enter a name."),
        ("(unassigned)", "the name of images without a group"),
        ("blue", "There is already a group called blue"),
        (" BLUE", "There is already a group called blue"),
    ):
        browser.fill("#name", name)
        browser.click("#yes")
        assert said in browser.text("#wrong")
    browser.click("#no")
    browser.does("red", "split")
    browser.run("document.querySelector('#parts').value = 21; document.querySelector('#dialog form').noValidate = true")
    browser.click("#yes")
    assert browser.text("#wrong") == "Enter a whole number from 2 to 20."
    browser.click("#no")
    assert browser.run("return state.edits.length") == 0


@pytest.mark.slow
def test_hostile_names_words_and_edits_do_nothing(browser, tmp_path):
    images = {f"{name}{i}": picture for i, (name, picture) in enumerate(zip(EVIL * 2, painted(16).values()))}
    pages = [page_of(f"{name} {i}", np.arange(16) % 8, EVIL, rows=np.random.default_rng(0).normal(size=(16, 2)),
                     separability=EVIL[i], words=EVIL[0], warnings=EVIL, outliers=np.arange(16) == 1,
                     candidates=[dict.fromkeys(EVIL, EVIL[0])])
             for i, name in enumerate(EVIL[:2])]  # fmt: skip
    settings = [(name, name) for name in EVIL]
    report = make_report(EVIL[1], images, list(images), pages, EVIL, settings, EVIL[2], EVIL[0])
    browser.open(write(tmp_path, report))
    assert browser.driver.title == EVIL[1] and browser.text("#title") == EVIL[1]
    for view in VIEWS:
        browser.view(view)
    browser.click("#views-compare")
    browser.click(".cells button:not(:disabled)")
    browser.view("groups")
    browser.click(".image")
    for name in EVIL[4:6]:
        browser.does(name, "merge")
        browser.fill("#into", EVIL[0] + name)
        browser.click("#yes")
    browser.does(EVIL[6], "rename")
    browser.fill("#name", EVIL[2] + "!")
    browser.click("#yes")
    assert EVIL[2] + "!" in browser.headings()
    assert browser.run("return typeof hacked") == "undefined" and browser.complaints() == []
    assert not browser.all("main img[onerror], [src='x'], main script")


def test_new_images_in_groups_of_another_run_are_not_edited_here(browser, tmp_path):
    browser.open(write(tmp_path, report_of(30, run="")))
    assert not browser.one("#tools").is_displayed() and not browser.all("[data-does]")
    browser.click(".image")
    assert not browser.one("#selection").is_displayed()


@pytest.mark.slow
def test_the_original_of_a_chosen_image_opens(browser, tmp_path):
    names = [b"plain.png", b"in folder/a b#1%?&.png", b"back\\slash\\x41.png", b"\xff\n.png", "ü\u0085.png".encode()]
    (tmp_path / "the images" / "in folder").mkdir(parents=True)
    for side, name in enumerate(names, 1):
        Image.new("RGB", (side, 7)).save(tmp_path / "the images" / os.fsdecode(name), "PNG")
    source = read_folder(tmp_path / "the images")
    assert sorted(names) == sorted(os.fsencode(path_of_name(name)) for name in source.images)
    address = originals_address(source, tmp_path / "the images", tmp_path / "out")
    assert address == "../the%20images"
    aspects = [page_of("color", [0] * len(names), ["red"])]
    report = make_report("t", source.images, list(source.images), aspects, [], run="", originals=address)
    browser.open(write(tmp_path / "out", report))
    opened, cells = [], browser.all(".image")
    for cell in cells:
        cell.click()
        page = browser.driver.current_window_handle
        browser.click("#original")
        browser.driver.switch_to.window(browser.driver.window_handles[-1])
        opened.append(names[browser.run("return document.images[0].naturalWidth") - 1])
        browser.driver.close()
        browser.driver.switch_to.window(page)
        cell.click()
    assert opened == [os.fsencode(path_of_name(cell.get_attribute("title"))) for cell in cells]
    assert not browser.one("#selection").is_displayed() and browser.complaints() == []


def test_an_address_of_originals_tells_no_more_than_what_was_typed(tmp_path, monkeypatch):
    here = tmp_path / "private" / "work"
    (here / "images").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(here / "images" / "a.png")
    monkeypatch.chdir(here)
    typed = lambda images, out: originals_address(read_folder(Path(images)), Path(images), Path(out))  # noqa: E731
    assert typed("images", "out") == "../images" and typed(here / "images", here / "images" / "out") == ".."
    assert typed(here / "images", tmp_path / "out") == "../private/work/images"
    assert typed("images", tmp_path / "out") == "" and typed(".", tmp_path / "out") == ""
    packed = Source(here, {"a.png": here / "elsewhere" / "a.png"})
    assert originals_address(packed, here, here / "out") == originals_address(Source(here, {}), here, here) == ""
    store = parse_path("memory://bucket/images")
    assert originals_address(Source(store, {"a.png": store / "a.png"}), store, here) == ""


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_axe_finds_nothing_serious(browser, small, size, dark):
    browser.open(small, size, dark)
    browser.click(".image")
    found = {}
    for view in VIEWS:
        browser.view(view)
        found[view] = [each for each in browser.axe() if each[1] in ("serious", "critical")]
    browser.view("groups")
    browser.does("red", "merge")
    found["dialog"] = [each for each in browser.axe() if each[1] in ("serious", "critical")]
    assert not any(found.values()), found
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), "wider than the screen"


def test_without_its_folder_of_pictures_a_page_shows_names(browser, tmp_path, monkeypatch):
    monkeypatch.setattr("multimap_jax.report.write.INLINE", 10)
    report = report_of(30)
    page = write(tmp_path, report)
    browser.open(page)
    assert report.folder in browser.text("#summary") and browser.run("return document.images[0].naturalWidth") == 24
    shutil.rmtree(tmp_path / report.folder)
    browser.open(page)
    assert browser.text('.image[title="00000.png"]') == "00000.png" and not browser.all(".image img")


def test_a_page_that_holds_a_share_counts_all(browser, tmp_path, monkeypatch):
    held = report_of.__globals__["make_report"].__globals__["shown_images"]
    monkeypatch.setattr("multimap_jax.report.write.shown_images", lambda pages, images: held(pages, images, 200))
    browser.open(write(tmp_path, report_of(900)))
    assert "299 images, " in browser.group("blue").text + " " and "of them on this page" in browser.group("blue").text
    browser.does("red", "merge")
    browser.fill("#with", "blue")
    browser.click("#yes")
    assert browser.group("red").text.startswith("red\n599 images")
    browser.view("compare")
    assert sum(int(each.text.replace(",", "")) for each in browser.all(".cells button")) == 900


def test_an_aspect_s_warnings_are_on_its_tab_and_short_on_a_phone(browser, tmp_path):
    images, long = painted(4), "mood: these groups are unstable: " + "many words, " * 30 + "end."
    aspects = [
        page_of("color", [0, 0, 1, 1], ["red", "blue"]),
        page_of("mood", [0, 1] * 2, ["a", "b"], warnings=[long]),
    ]
    page = write(tmp_path, make_report("t", images, list(images), aspects, []))
    browser.open(page, NARROW)
    assert browser.text("#summary") == "4 images, grouped by 2 aspects. There are warnings about mood."
    assert "unstable" not in browser.text("body")
    browser.click("#aspects-1")
    assert browser.one("#warnings").rect["height"] < 100
    browser.click("#warnings summary")
    assert browser.one("#warnings").rect["height"] > 200
    browser.open(page).click("#aspects-1")
    assert browser.text("#warnings") == long


def test_only_warnings_are_in_boxes(browser, tmp_path):
    images = painted(2)
    aspects = [page_of("color", [0, 1], ["red", "blue"], warnings=["doubtful"])]
    browser.open(write(tmp_path, make_report("t", images, list(images), aspects, ["a note"])))
    assert [each.text for each in browser.all(".warning")] == ["doubtful"] and browser.text("#notes") == "a note"


def test_tabs_are_one_row_on_a_phone_and_the_open_one_is_in_sight(browser, small):
    browser.open(small, NARROW)
    assert all(each.rect["height"] < 60 for each in browser.all("[role=tablist]"))
    browser.view("about")
    place = browser.one("#views-about").rect
    assert 0 <= place["x"] and place["x"] + place["width"] <= NARROW[0]


def test_a_view_without_images_has_no_tab(browser, tmp_path):
    images, page = painted(2), page_of("color", [0, 1], ["red", "blue"], leftover=np.ones(2, bool))
    browser.open(write(tmp_path, make_report("t", images, list(images), [page], [])))
    assert [each.text for each in browser.all("#views button")] == ["Groups", "Unassigned (2)", "About"]


def test_outliers_are_not_called_unassigned(browser, tmp_path):
    images, page = painted(2), page_of("color", [0, 1], ["red", "blue"], outliers=np.ones(2, bool))
    browser.open(write(tmp_path, make_report("t", images, list(images), [page], [])))
    assert browser.text("#views-unassigned") == "Outliers (2)"
    browser.click(".image")
    lines = browser.text("#details").splitlines()
    assert "distance to the middle of its group 0.000 (smaller is more typical)" in lines and "an outlier" in lines


def test_what_a_model_said_of_an_image_is_shown_as_text(browser, tmp_path):
    answers = mm.Answers(["Red " + EVIL[0], "blue", "", ""], {2: "refused " + EVIL[0]}, {"model": EVIL[1]})
    left = np.array([False, False, True, True])
    images, page = painted(4), page_of("color", [0, 1, -1, -1], ["red", "blue"], answers=answers, leftover=left)
    browser.open(write(tmp_path, make_report("t", images, list(images), [page], [])))
    browser.click('.image[title="00000.png"]')
    assert f"color: red (answer of the model {EVIL[1]}: Red {EVIL[0]})" in browser.text("#details").splitlines()
    browser.view("unassigned")
    for name, reason in (("00002.png", f"refused {EVIL[0]}"), ("00003.png", "the model gave no answer")):
        browser.click(f'.image[title="{name}"]')
        lines = browser.text("#details").splitlines()
        assert "color: (unassigned)" in lines and f"not grouped: {reason}" in lines
        assert not [line for line in lines if "distance" in line or "by hand" in line]
    assert browser.run("return window.hacked === undefined")


def test_a_name_of_low_confidence_is_a_guess(browser, tmp_path):
    images, page = painted(2), page_of("color", [0, 1], ["red", "blue"], name_confidences=[0.9, 0.2])
    browser.open(write(tmp_path, make_report("t", images, list(images), [page], [])))
    assert "name confidence 0.90\n" in browser.group("red").text
    assert "name confidence 0.20 (a guess)" in browser.group("blue").text


@pytest.mark.slow
def test_a_picture_of_the_whole_page_shows_the_end_of_a_large_group(browser, tmp_path):
    browser.open(write(tmp_path, report_of(300)))
    width, height = browser.run("return [innerWidth, document.documentElement.scrollHeight]")
    whole = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = {"captureBeyondViewport": True, "clip": whole}
    picture = base64.b64decode(browser.driver.execute_cdp_cmd("Page.captureScreenshot", shot)["data"])
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    last = browser.group("blue").find_elements("css selector", ".image")[-1]
    assert last.get_attribute("title") == "00299.png" and last.rect["y"] > 2 * WIDE[1]
    x, y = (int(last.rect[at] + last.rect[side] / 2) for at, side in (("x", "width"), ("y", "height")))
    assert abs(pixels[y, x] - painted(300)["00299.png"][0, 0]).max() < 10


def test_paper_shows_the_typical_images_of_each_group_and_how_many_more_there_are(browser, tmp_path):
    browser.open(write(tmp_path, report_of(300)))
    printed = base64.b64decode(browser.driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.count(b"/Subtype /Image") == 3 * 42 + 1  # of each group, and one unassigned
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not any(each.is_displayed() for each in browser.all("button, select, [role=tablist]"))
    assert browser.text("#shown") == "color: Groups"
    said = [browser.group(name).find_element("css selector", ".printed").text for name in COLOURS]
    assert said == [f"the first 42 here, and {more} more" for more in (58, 58, 57)]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


SCROLL = """
const done = arguments[0], long = [];
const observer = new PerformanceObserver((list) => list.getEntries().forEach((entry) => long.push(entry.duration)));
observer.observe({ type: "longtask" });
let step = 0;
const move = () => {
  window.scrollBy(0, step++ % 10 === 9 ? 20000 : 700);
  if (step < 60) setTimeout(move, 30);
  else setTimeout(() => { observer.disconnect(); done([Math.max(0, ...long), window.scrollY]); }, 200);
};
move();
"""


@pytest.mark.slow
def test_ten_thousand_images_are_laid_out_and_scrolled(browser, tmp_path):
    """Prints the longest task of each way down, which BUILD.md has: a time is no test."""
    report = report_of(10_000)
    page = write(tmp_path, report)
    size = page.stat().st_size + sum(map(len, report.pictures.values()))
    assert report.folder and size < 30e6
    browser.open(page)
    for _ in range(3):  # in the first, cells are still being added
        browser.run("window.scrollTo(0, 0)")
        longest, reached = browser.driver.execute_async_script(SCROLL)
        print(f"longest task while scrolling: {longest:.0f} ms")
    assert reached > 50_000 and len(browser.all(".image")) == 10_000
    loaded = browser.run("return [...document.images].filter((each) => each.naturalWidth).length")
    assert 0 < loaded < 10_000  # those near the window
    assert browser.complaints() == []


@pytest.mark.slow
def test_a_run_is_edited_by_clicks_applied_and_exported(browser, finished, tmp_path):
    images, run = finished
    browser.open(run / "report.html")
    browser.does("red", "merge")
    browser.fill("#with", "yellow")
    browser.fill("#into", "warm")
    browser.click("#yes")
    browser.does("green", "rename")
    browser.fill("#name", "leaf")
    browser.click("#yes")
    (tmp_path / "edits.json").write_text(json.dumps(browser.saved()))
    flags = [f"--run={run}", f"--edits={tmp_path / 'edits.json'}", f"--out={tmp_path / 'edited'}"]
    assert cli.main(["multimap", "edit", *flags]) == 0
    rows = csv.DictReader((tmp_path / "edited" / "labels.csv").read_text().splitlines())
    before = csv.DictReader((run / "labels.csv").read_text().splitlines())
    names = {"red": "warm", "yellow": "warm", "green": "leaf"}
    assert [row["color"] for row in rows] == [names[row["color"]] for row in before]
    browser.open(tmp_path / "edited" / "report.html")
    assert sorted(browser.headings()) == ["leaf", "warm"] and browser.complaints() == []
    flags = [f"--run={tmp_path / 'edited'}", "--aspect=color", f"--to={tmp_path / 'to'}"]
    assert cli.main(["multimap", "export", *flags]) == 0
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"leaf", "warm"}
    shutil.rmtree(tmp_path / "to")


@pytest.mark.slow
def test_the_command_on_a_page_works_as_it_is_typed(browser, finished, tmp_path, monkeypatch):
    """On the page of a run, of that run edited, and of the edited run edited again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "Downloads").mkdir()
    flags = [f"--embeddings={finished[1]}", "--aspect=color", "--words=color=red,green,yellow", "--out=out"]
    assert cli.main(["multimap", *flags]) == 0
    for run, name, to in (("out", "red", "edited"), ("edited", "one", "edited-2"), ("edited-2", "one 2", "edited-3")):
        browser.open(tmp_path / run / "report.html")
        browser.does(name, "rename")
        browser.fill("#name", "one" if run == "out" else f"one {to[-1]}")
        browser.click("#yes")
        (tmp_path / "Downloads" / "edits.json").write_text(json.dumps(browser.saved()))
        line = browser.text("#next")
        assert line == f"multimap edit --run={run}/ --edits=~/Downloads/edits.json --out={to}/"
        assert cli.main(shlex.split(line)) == 0
        browser.view("about")
        assert line in browser.text("#view")
    assert cli.main(["multimap", *flags]) == 0  # by now there is a folder edited
    browser.open(tmp_path / "out" / "report.html").view("about")
    assert "--run=out/ --edits=~/Downloads/edits.json --out=edited-4/" in browser.text("#view")
