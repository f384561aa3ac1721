"""The data sets of the paper: where files are looked for, what is read from their names, what a missing set says."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.evaluation import datasets
from experiments.paper import tables

PAPER = Path(tables.__file__).parent


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


def test_every_aspect_of_the_paper_is_there():
    with (PAPER / "table2_methods.csv").open() as file:
        theirs = {(row["dataset"], row["aspect"]) for row in csv.DictReader(file)}
    ours = {(item.title, aspect) for item in datasets.DATASETS.values() for aspect in item.aspects}
    assert len(theirs) == 16 and theirs <= ours


def test_released_layout_joins_the_aspects_by_file_name(tmp_path):
    for path in ("color/red/1.png", "color/green/2.png", "species/apple/1.png", "species/grape/2.png"):
        touch(tmp_path / "fruit" / path)
    found = datasets.load("fruit", tmp_path)
    assert found.labels["color"].tolist() == ["green", "red"] and found.labels["species"].tolist() == ["grape", "apple"]
    assert len(found.images) == 2 and "has 2 images, expected 105" in found.note


def test_card_folders_give_rank_and_suit_and_leave_jokers_out(tmp_path):
    for path in ("train/ace of clubs/1.jpg", "test/ten of hearts/2.jpg", "train/joker/3.jpg"):
        touch(tmp_path / "cards" / path)
    found = datasets.load("card", tmp_path)
    assert found.labels["order"].tolist() == ["ten", "ace"] and found.labels["suits"].tolist() == ["hearts", "clubs"]


def test_cmu_names_give_four_aspects_and_small_copies_are_left_out(tmp_path):
    for name in ("an2i_left_angry_open", "an2i_left_angry_open_2", "bpm_up_sad_sunglasses"):
        path = tmp_path / "cmuface" / "faces" / f"{name}.pgm"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)
    found = datasets.load("cmuface", tmp_path)
    assert {aspect: labels.tolist() for aspect, labels in found.labels.items()} == {
        "emotion": ["angry", "sad"],
        "glass": ["eyes", "sunglasses"],
        "identity": ["an2i", "bpm"],
        "pose": ["left", "up"],
    }


def test_cifar_binary_pictures_have_their_channels_last(tmp_path):
    record = np.concatenate([[8], np.full(1024, 1), np.full(1024, 2), np.full(1024, 3)]).astype(np.uint8)
    (tmp_path / "cifar10").mkdir()
    record.tofile(tmp_path / "cifar10" / "data_batch_1.bin")
    found = datasets.load("cifar10", tmp_path)
    assert found.images[0][5, 7].tolist() == [1, 2, 3]
    assert found.labels["type"].tolist() == ["transportation"] and found.labels["environment"].tolist() == ["water"]


def test_a_table_serves_for_every_set(tmp_path):
    touch(tmp_path / "flowers" / "images" / "a.png")
    (tmp_path / "flowers" / "labels.csv").write_text("image,color,species\na.png,red,rose\n")
    found = datasets.load("flowers", tmp_path)
    assert found.images == [tmp_path / "flowers" / "images" / "a.png"] and found.labels["color"].tolist() == ["red"]


def test_a_table_may_have_a_core_and_halves(tmp_path):
    lines = ["image,color,type,core,half"]
    lines += [f"{n}.png,red,heels,{int(n != 'b')},{'choose' if n == 'c' else 'report'}" for n in "abc"]
    (tmp_path / "fashion").mkdir()
    (tmp_path / "fashion" / "labels.csv").write_text("\n".join(lines))
    for half, names in (("", "ac"), ("report", "a"), ("choose", "c")):
        found = datasets.load("fashion", tmp_path, half)
        assert [path.stem for path in found.images] == list(names) and len(found.labels["type"]) == len(names)
        assert "has 2 images, expected 1719" in found.note


FASHION = Path(__file__).parents[3] / "shared" / "data" / "fashion"


@pytest.mark.skipif(not FASHION.is_dir(), reason="needs the product photographs in ../shared/data/fashion")
def test_the_halves_of_fashion_are_its_core():
    halves = [datasets.load("fashion", FASHION.parent, half) for half in datasets.HALVES]
    assert [len(each.images) for each in halves] == [844, 875] and not halves[0].note
    facts = datasets.find("fashion").aspects
    for each in halves:
        for aspect in ("color", "type"):
            assert tuple(sorted(set(each.labels[aspect].tolist()))) == facts[aspect].labels
    assert not set(halves[0].images) & set(halves[1].images)


def test_a_missing_set_says_what_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Fruit is not below .*fruit/color/red"):
        datasets.load("fruit", tmp_path)
    (tmp_path / "card").mkdir()
    with pytest.raises(FileNotFoundError, match="no labelled images"):
        datasets.load("card", tmp_path)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="aloi, fruit, fruit360"):
        datasets.find("birds")
    with pytest.raises(ValueError, match="has no drawn twin"):
        datasets.twin("cifar10", 2, 0)


def test_a_hard_twin_has_the_labels_of_the_plain_one():
    plain, hard = (datasets.twin("fruit", 6, 3, level) for level in (0, 2))
    assert all((plain.labels[aspect] == hard.labels[aspect]).all() for aspect in plain.labels)
    assert not np.array_equal(plain.images, hard.images)


def test_a_twin_has_the_clusters_of_its_set():
    drawn = datasets.twin("fruit", 18, seed=1)
    facts = datasets.find("fruit").aspects
    assert {aspect: len(set(labels)) for aspect, labels in drawn.labels.items()} == {
        aspect: facts[aspect].clusters for aspect in facts
    }
    assert all(set(drawn.labels[aspect]) == set(facts[aspect].labels) for aspect in facts)


def test_a_set_is_cut_by_the_seed_and_keeps_its_order():
    whole = datasets.twin("fruit", 12, seed=1)
    part = datasets.at_most(whole, 5, seed=0)
    rows = [next(i for i, image in enumerate(whole.images) if image is each) for each in part.images]
    assert len(rows) == 5 and rows == sorted(rows)
    assert all((part.labels[aspect] == labels[rows]).all() for aspect, labels in whole.labels.items())
    assert datasets.at_most(whole, 12, seed=0) is whole
    other = datasets.at_most(whole, 5, seed=1)
    assert not all(a is b for a, b in zip(part.images, other.images))
