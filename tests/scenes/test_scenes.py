"""Scenes: drawn as the labels say, always the same, balanced. Captions: true. Tokenizer: no word is lost."""

import collections
import csv

import numpy as np
import pytest
from PIL import Image

from experiments.training.byte_tokenizer import learn_merges, write_tokenizer
from experiments.training.captions import Caption, draw_caption, known_words, template_captions
from experiments.training.stream import draw_random, encode_labels, label_columns, label_width
from multimap_jax.scenes import SCENES, registry, render_scene, scene_labels, write_scenes
from multimap_jax.scenes.difficulty import AMOUNTS, _find_object, _hide_part

NAMES = sorted(SCENES)


@pytest.mark.parametrize("name", NAMES)
def test_a_scene_is_a_picture_and_its_labels(name):
    picture, labels = render_scene(name, seed=0, index=7)
    assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8
    assert list(labels) == list(SCENES[name].aspects)
    assert all(labels[aspect] in words for aspect, words in SCENES[name].aspects.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_drawing_changes_nothing(name):
    forwards = [render_scene(name, seed=3, index=index) for index in range(6)]
    backwards = [render_scene(name, seed=3, index=index) for index in reversed(range(6))][::-1]
    for (first, first_labels), (second, second_labels) in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(first, second)
        assert first_labels == second_labels


@pytest.mark.parametrize("name", NAMES)
def test_another_index_or_seed_is_another_picture(name):
    pictures = [render_scene(name, seed=seed, index=index)[0] for seed, index in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for one in range(4):
        for other in range(one):
            assert np.mean(pictures[one] != pictures[other]) > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_neither_black_nor_white(name):
    # Robust to the version of Pillow, whose rounding of edges may change: means only.
    pictures = np.stack([render_scene(name, seed=0, index=index)[0] for index in range(20)]).astype(float)
    low, high = (10, 60) if name == "aloi" else (70, 235)  # one on a dark ground, others on white
    assert low < pictures.mean() < high
    assert np.all(pictures.std(axis=(1, 2, 3)) > 15)


@pytest.mark.parametrize("name", NAMES)
def test_difficulty_0_is_what_the_family_draws(name):
    generator = registry._generator(name, 2, 5, registry._PIXELS)
    drawn = SCENES[name].draw(generator, scene_labels(name, seed=2, index=5))
    for difficulty in ({}, {"difficulty": 0}):
        picture, labels = render_scene(name, seed=2, index=5, **difficulty)
        np.testing.assert_array_equal(picture, drawn)
        assert labels == scene_labels(name, seed=2, index=5)


@pytest.mark.parametrize("name", NAMES)
def test_difficulty_changes_pictures_more_and_more_and_labels_never(name):
    easy = np.stack([render_scene(name, seed=0, index=index)[0] for index in range(10)]).astype(float)
    changes = [0.0]
    for difficulty in AMOUNTS:
        hard = [render_scene(name, seed=0, index=index, difficulty=difficulty) for index in range(10)]
        assert all(picture.shape == (128, 128, 3) and picture.dtype == np.uint8 for picture, _ in hard)
        assert [labels for _, labels in hard] == [scene_labels(name, seed=0, index=index) for index in range(10)]
        pictures = np.stack([picture for picture, _ in hard]).astype(float)
        assert (15 if name == "aloi" else 50) < pictures.mean() < 200
        assert np.all(pictures.std(axis=(1, 2, 3)) > 8)
        changes.append(np.abs(pictures - easy).mean())
    assert np.all(np.diff(changes) > 1)


@pytest.mark.parametrize("difficulty", AMOUNTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_drawing_hard_pictures_changes_nothing(name, difficulty):
    forwards = [render_scene(name, seed=3, index=index, difficulty=difficulty)[0] for index in range(3)]
    backwards = [render_scene(name, seed=3, index=index, difficulty=difficulty)[0] for index in reversed(range(3))]
    np.testing.assert_array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize("name", NAMES)
def test_every_difficulty_has_pictures_of_its_own(name):
    pictures = [render_scene(name, seed=1, index=2, difficulty=difficulty)[0] for difficulty in (0, *AMOUNTS)]
    for one in range(4):
        for other in range(one):
            assert np.mean(pictures[one] != pictures[other]) > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_object_is_hidden_as_far_as_asked_for(name):
    picture = render_scene(name, seed=1, index=3)[0]
    found = _find_object(picture)
    for number, share in enumerate((0.1, 0.25, 0.35)):
        before = np.full((128, 128, 3), 2, np.float32)  # brighter than all that could be laid over it
        after = _hide_part(before, found, share, np.random.default_rng(number))
        assert 0.01 < found.mean() < 0.75
        assert abs(np.mean((after < 1.5).any(-1)[found > 0.5]) - share) < 0.05


def test_an_unknown_difficulty_is_refused():
    for difficulty in (4, -1, 1.5, "1", None):
        with pytest.raises(ValueError, match=r"difficulty must be one of 0, 1, 2, 3, found"):
            render_scene("fruit", difficulty=difficulty)


def test_drawn_colors_are_the_ones_named():
    strongest = {"red": 0, "green": 1}
    for index in range(36):
        picture, labels = render_scene("fruit", seed=5, index=index)
        pixels = picture.reshape(-1, 3).astype(float)
        spread = np.ptp(pixels, axis=1)
        vivid = pixels[spread >= np.quantile(spread, 0.97)].mean(axis=0)
        if labels["color"] in strongest:
            assert np.argmax(vivid) == strongest[labels["color"]]
        else:
            assert vivid[2] < 0.6 * min(vivid[:2])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", [0, 17])
def test_any_stretch_is_nearly_balanced(name, start):
    labels = [scene_labels(name, seed=2, index=index) for index in range(start, start + 240)]
    for aspect, words in SCENES[name].aspects.items():
        counts = collections.Counter(label[aspect] for label in labels)
        assert set(counts) == set(words)
        # A stretch cuts at most two cycles; faces have 640 combinations, so that it is a part of one.
        assert max(counts.values()) - min(counts.values()) <= (8 if name == "cmuface" else 4)


@pytest.mark.parametrize("name", NAMES)
def test_aspects_are_independent(name):
    combinations = np.prod([len(words) for words in SCENES[name].aspects.values()])
    for cycle in range(3):
        rows = [scene_labels(name, seed=1, index=cycle * combinations + index) for index in range(combinations)]
        assert len({tuple(row.values()) for row in rows}) == combinations


def test_the_order_of_labels_depends_on_the_seed():
    orders = {tuple(scene_labels("card", seed=seed, index=index)["order"] for index in range(13)) for seed in range(5)}
    assert len(orders) == 5


def test_unknown_names_and_negative_numbers_are_refused():
    with pytest.raises(ValueError, match=r"unknown scene 'dog'.*card.*fruit"):
        render_scene("dog", seed=0, index=0)
    with pytest.raises(ValueError, match="0 or more"):
        render_scene("fruit", seed=-1, index=0)
    with pytest.raises(ValueError, match="0 or more"):
        render_scene("fruit", seed=0, index=-1)


def test_written_scenes_have_their_truth_beside_them(tmp_path):
    path = write_scenes(tmp_path / "made" / "fruit", "fruit", seed=4, count=5)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert path.name == "labels.csv" and list(rows[0]) == ["image", "color", "species"]
    assert [row["image"] for row in rows] == [f"fruit_{index:04d}.png" for index in range(5)]
    for index, row in enumerate(rows):
        picture, labels = render_scene("fruit", seed=4, index=index)
        assert {"image": row["image"], **labels} == row
        np.testing.assert_array_equal(np.asarray(Image.open(path.parent / row["image"])), picture)
    path = write_scenes(tmp_path / "hard", "fruit", seed=4, count=1, difficulty=2)
    picture, _ = render_scene("fruit", seed=4, index=0, difficulty=2)
    np.testing.assert_array_equal(np.asarray(Image.open(path.parent / "fruit_0000.png")), picture)


def test_training_draws_its_further_words_too():
    generator, (subjects, words) = np.random.default_rng(0), label_columns()
    rows = np.array([draw_random(generator, {"fruit": 0.5, "card": 0.5}, 0.5)[1] for _ in range(80)])
    assert rows.shape == (80, label_width())
    assert set(rows[:, 0]) == {subjects.index("fruit"), subjects.index("card")}
    fruit = rows[rows[:, 0] == subjects.index("fruit")]
    colors = {words["color"][number] for number in fruit[:, 1 + list(words).index("color")]}
    assert colors - set(SCENES["fruit"].aspects["color"]) and (fruit[:, 1 + list(words).index("order")] == -1).all()


def test_rows_of_labels_leave_open_what_is_not_said():
    subjects, words = label_columns()
    row = encode_labels("fruit", {"color": "red", "species": "grape"})
    said = {"color": words["color"].index("red"), "species": words["species"].index("grape")}
    assert row == [subjects.index("fruit"), *(said.get(aspect, -1) for aspect in words)]
    assert encode_labels(None, {}) == [-1] * label_width()


@pytest.mark.parametrize("name", NAMES)
def test_captions_are_true_of_what_they_describe(name):
    generator, scene, kinds = np.random.default_rng(0), SCENES[name], collections.Counter()
    for index in range(300):
        caption = draw_caption(generator, scene)
        kinds[None if caption.labels is None else min(2, len(caption.labels))] += 1
        labels = scene_labels(name, seed=0, index=index) | dict(caption.labels or {})
        assert caption.fits(scene.subject, labels) == (caption.labels is not None)
        assert not caption.fits("dog", labels) or caption.subject is None
        for aspect, word in (caption.labels or {}).items():
            assert not caption.fits(scene.subject, labels | {aspect: f"not {word}"})
    assert min(kinds[kind] for kind in (None, 0, 1, 2)) > 5


def test_a_text_that_names_no_subject_is_true_of_every_family():
    assert Caption("red", None, {"color": "red"}).fits("car", {"color": "red", "type": "suv"})
    assert not Caption("a red fruit", "fruit", {"color": "red"}).fits("car", {"color": "red", "type": "suv"})
    generator = np.random.default_rng(1)
    for caption in (draw_caption(generator, scene) for scene in SCENES.values() for _ in range(60)):
        assert caption.labels is None or caption.subject is None or caption.subject in known_subjects(caption.text)


def known_subjects(text):
    """The subjects whose name, or another name for it, the text holds."""
    from experiments.training.captions import _SUBJECTS

    return {subject for subject, names in _SUBJECTS.items() if any(name in text for name in names)}


@pytest.mark.parametrize("name", NAMES)
def test_every_word_is_drawn_and_seen_in_the_picture(name):
    """The same random numbers with another word of one aspect give another picture."""
    scene = SCENES[name]
    words = {aspect: (*known, *scene.more.get(aspect, ())) for aspect, known in scene.aspects.items()}
    first = {aspect: known[0] for aspect, known in words.items()}
    for aspect, known in words.items():
        seen = {scene.draw(np.random.default_rng(5), first | {aspect: word}).tobytes() for word in known}
        assert len(seen) == len(known)


@pytest.mark.parametrize("difficulty", [0, *AMOUNTS])
def test_faces_are_grey(difficulty):
    picture, _ = render_scene("cmuface", seed=0, index=3, difficulty=difficulty)
    assert (picture == picture[..., :1]).all()


@pytest.mark.parametrize("name", ["aloi", "fruit", "fruit360", "cars", "flowers"])
def test_red_is_redder_than_every_other_color(name):
    scene = SCENES[name]
    labels = {aspect: words[0] for aspect, words in scene.aspects.items()}

    def redness(word):
        picture = scene.draw(np.random.default_rng(2), labels | {"color": word}).astype(float)
        return np.mean(picture[..., 0] - picture[..., 1:].mean(-1))

    assert all(redness("red") > redness(word) for word in scene.aspects["color"] if word != "red")


def test_the_prompt_of_every_drawn_word_is_a_caption():
    texts = {caption.text for caption in template_captions()}
    for scene in SCENES.values():
        for aspect, words in scene.aspects.items():
            assert {f"a {scene.subject} with the {aspect} of {word}" for word in words} <= texts


def test_merges_worked_out_by_hand():
    # "a b</w>" and "a c</w>" occur once each; the first of the alphabet goes first.
    assert learn_merges(["ab", "ac"]) == [("a", "b</w>"), ("a", "c</w>")]
    # "a b" occurs twice, so it goes first.
    assert learn_merges(["abc", "abd"]) == [("a", "b"), ("ab", "c</w>"), ("ab", "d</w>")]


def test_known_words_are_one_token_and_no_word_is_unknown(tmp_path):
    from transformers import CLIPTokenizer

    size = write_tokenizer(tmp_path, known_words(), context=77)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == size
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (size - 2, size - 1)
    for word in set(known_words()) - {"10"}:  # CLIP cuts numbers into digits
        assert len(tokenizer.tokenize(word.upper())) == 1
    for text in ("naïve 東京", "kiwi", "\N{RED APPLE}"):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids).strip() == text
