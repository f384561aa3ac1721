"""Groups by the answers of a model that looks at images."""

import json

import numpy as np
import pytest

import multimap_jax as mm
from multimap_jax.features.answers import match_answers

COLORS = ("red", "green", "yellow")
SAID = [
    "red",
    "Green.",
    "yellow",
    "the RED",
    "It looks green to me",
    "yellow",
    "red",
    "I cannot tell",
    "",
    "green",
    "red",
]
COLOR = mm.Aspect("color", "fruit", COLORS)
BARE = mm.Aspect("color", "fruit")


@pytest.fixture(scope="module")
def embedded():
    return mm.load_clip("embedded")


@pytest.fixture(scope="module")
def rows(embedded):
    random = np.random.default_rng(0)
    found = random.normal(size=(len(SAID), embedded.embedding_width))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_with_words_an_answer_that_holds_one_is_it(embedded):
    matched = match_answers(embedded, COLOR, mm.Answers(SAID))
    assert tuple(matched.texts) == COLORS and matched.index.tolist() == [0, 1, 2, 0, 1, 2, 0, -1, -1, 1, 0]
    assert matched.counts.tolist() == [4, 3, 2]
    assert "refused: I cannot tell" in matched.reasons[7] and matched.reasons[8] == "the model gave no answer"


def test_a_word_may_look_like_a_refusal(embedded):
    aspect = mm.Aspect("state", "fruit", ("unknown", "red"))
    assert match_answers(embedded, aspect, mm.Answers(["Unknown", "red"])).index.tolist() == [0, 1]


def test_words_of_one_plural_stay_two(embedded):
    aspect = mm.Aspect("thing", "fruit", ("apple", "apples"))
    assert match_answers(embedded, aspect, mm.Answers(["apple"])).texts == ["apple", "apples"]


def test_without_words_the_same_answers_are_one_row(embedded):
    matched = match_answers(embedded, BARE, mm.Answers(SAID))
    assert sorted(matched.texts) == sorted(COLORS) and len(matched.table) == 3
    assert [matched.texts[i] for i in matched.index[:7]] == ["red", "green", "yellow", "red", "green", "yellow", "red"]
    stored = matched.rows()
    np.testing.assert_array_equal(stored[np.array([0])], stored[np.array([3])])


def test_other_answers_are_the_nearest_word_unless_none_is_near(embedded):
    rows = embedded.embed_texts([COLOR.fill(word) for word in ("red", "banana")])
    from multimap_jax.features.answers import nearest_words

    assert nearest_words(embedded, COLOR, rows)[0] == 0
    unrelated = embedded.embed_texts([COLOR.fill("house")])
    assert nearest_words(embedded, COLOR, unrelated).tolist() == [-1]
    matched = match_answers(embedded, COLOR, mm.Answers(["red", "house"]))
    assert matched.index.tolist() == [0, -1] and "none of the words is near" in matched.reasons[1]
    kept = match_answers(embedded, COLOR, mm.Answers(["red", "house"]), unfit=True)
    assert kept.index.tolist() == [0, 3] and kept.texts[3] == "house"


def test_long_and_strange_answers_are_cut_or_left_out(embedded):
    answers = mm.Answers(["red " * 50, "\u2665", "red"])
    matched = match_answers(embedded, BARE, answers)
    assert matched.index[0] >= 0 and matched.index[2] >= 0
    assert (matched.index[1] >= 0) or "cannot take" in matched.reasons[1]


@pytest.mark.parametrize("aspect, clusters", [(COLOR, None), (BARE, 3), (COLOR, 3)])
def test_groups_of_answers(embedded, rows, aspect, clusters):
    model = mm.MultiMaP(aspect, embedded, clusters).fit(rows, answers=mm.Answers(SAID))
    names = [model.cluster_names_[label] if label >= 0 else "" for label in model.labels_]
    assert names == ["red", "green", "yellow", "red", "green", "yellow", "red", "", "", "green", "red"]
    assert model.features_ == "answer" and model.cluster_names_[0] == "red"  # the largest group first
    assert model.leftover_.tolist() == [False] * 7 + [True] * 2 + [False] * 2
    assert model.cluster_confidences_.tolist() == [1, 1, 1]
    assert not set(np.concatenate(model.exemplars_)) & {7, 8}
    assert model.result(model.fitted(), model.answers_).groups.tolist() == model.labels_.tolist()


def test_a_word_that_no_image_has_keeps_its_group(embedded, rows):
    model = mm.MultiMaP(COLOR, embedded).fit(rows, answers=mm.Answers(["red"] * 10 + ["green"]))
    assert model.cluster_names_ == ["red", "green", "yellow"] and model.labels_.tolist() == [0] * 10 + [1]


def test_more_groups_than_answers_are_numbered(embedded, rows):
    model = mm.MultiMaP(BARE, embedded, 4).fit(rows, answers=mm.Answers(["red"] * 10 + ["green"]))
    assert model.cluster_names_ == ["red", "green", "unnamed 1", "unnamed 2"]


def test_more_groups_than_words_take_other_answers(embedded, rows):
    said = ["red"] * 5 + ["green"] * 4 + ["house"] * 2
    model = mm.MultiMaP(mm.Aspect("color", "fruit", ("red", "green")), embedded, 3).fit(rows, answers=mm.Answers(said))
    assert model.cluster_names_ == ["red", "green", "house"] and model.labels_.tolist() == [0] * 5 + [1] * 4 + [2] * 2


def test_the_number_is_chosen_by_the_answers(embedded):
    random = np.random.default_rng(0)
    rows = random.normal(size=(120, embedded.embedding_width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    said = [COLORS[i % 3] for i in range(119)] + ["house"]
    model = mm.MultiMaP(BARE, embedded, "auto").fit(rows.astype(np.float32), answers=mm.Answers(said))
    assert model.n_clusters_ == 3 and sorted(model.cluster_names_) == sorted(COLORS)


def test_new_images_join_the_groups_of_their_answers(embedded, rows, tmp_path):
    model = mm.MultiMaP(BARE, embedded, 3).fit(rows, answers=mm.Answers(SAID))
    model.save(tmp_path)
    new = mm.Answers(["Yellow!", "", "The color of this fruit is green"])
    for one in (model, mm.load(tmp_path, embedded)):
        labels = one.predict(rows[:3], new)
        assert [one.cluster_names_[label] if label >= 0 else "" for label in labels] == ["yellow", "", "green"]
        assert one.assign(rows[:3], new).leftover.tolist() == [False, True, False]
        np.testing.assert_array_equal(one.predict(rows, mm.Answers(SAID)), model.labels_)
        assert one.answers_.texts == model.answers_.texts and one.answers_.reasons == model.answers_.reasons
        np.testing.assert_array_equal(one.fitted_rows(rows)[:], model.fitted_rows(rows)[:])


@pytest.mark.parametrize(
    "answers, kind, part",
    [
        (None, TypeError, "need the answers of mm.look"),
        (["red"], TypeError, "need the answers of mm.look"),
        (mm.Answers(["red"]), ValueError, "expected answers about 11 images, found 1"),
        (mm.Answers([""] * 11), ValueError, "none of 11 images has an answer that can be used"),
        (mm.Answers(["I cannot tell"] * 11), ValueError, "refused"),
    ],
)
def test_answers_that_will_not_do(embedded, rows, answers, kind, part):
    model = mm.MultiMaP(COLOR, embedded, features="answer")
    with pytest.raises(kind, match=part):
        model.fit(rows, answers=answers)


def test_features_that_use_no_answers_ignore_them(embedded, rows):
    model = mm.MultiMaP(COLOR, embedded, features="image").fit(rows, answers=mm.Answers(SAID))
    assert model.features_ == "image" and model.answers_ is None and not (model.labels_ < 0).any()


def test_exemplars_are_images_that_look_alike(embedded):
    """All images of a group have the same answer; one of them looks otherwise."""
    random = np.random.default_rng(0)
    middle = random.normal(size=embedded.embedding_width)
    rows = middle + 0.1 * random.normal(size=(30, embedded.embedding_width))
    rows[0] = -middle
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    model = mm.MultiMaP(BARE, embedded, 1).fit(rows, answers=mm.Answers(["red"] * 30))
    assert 0 not in model.exemplars_[0] and len(model.exemplars_[0]) == 8


def test_a_share_of_images_with_one_answer_is_not_left_over(embedded, rows):
    model = mm.MultiMaP(COLOR, embedded, leftover=0.5).fit(rows, answers=mm.Answers(SAID))
    assert model.leftover_.tolist() == (model.labels_ < 0).tolist()


def test_one_group_is_called_by_its_answer(embedded):
    rows = np.random.default_rng(0).normal(size=(40, embedded.embedding_width))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    model = mm.MultiMaP(BARE, embedded, "auto").fit(rows, answers=mm.Answers(["red"] * 39 + ["green"]))
    assert model.cluster_names_ == ["red"] and model.cluster_confidences_.tolist() == [39 / 40]


@pytest.mark.parametrize(
    "change, part",
    [
        (lambda content, arrays: arrays.update(answer_index=arrays["answer_index"] + 99), "answers that are not there"),
        (lambda content, arrays: arrays.update(answer_index=arrays["answer_index"] - 99), "answers that are not there"),
        (lambda content, arrays: arrays.update(answer_index=arrays["answer_index"][1:]), "answer_index has shape"),
        (lambda content, arrays: arrays.pop("answer_index"), "lacks answer_index"),
        (lambda content, arrays: arrays.update(labels_=arrays["labels_"] - 1), "labels_ are"),
        (lambda content, arrays: content.pop("answers"), "labels_ are"),
        (
            lambda content, arrays: (content.pop("answers"), arrays.update(labels_=abs(arrays["labels_"]))),
            "its features need answers, and it has none",
        ),
        (
            lambda content, arrays: arrays.update(cluster_centers_=arrays["cluster_centers_"][:, :5]),
            "its centroids have 5 dimensions, its answers 128",
        ),
        (lambda content, arrays: content["answers"].update(texts=["x" * 201]), "texts"),
        (lambda content, arrays: content["answers"].update(origin=[1]), "origin"),
    ],
)
def test_a_strangers_model_of_answers_is_refused_in_a_sentence(embedded, rows, tmp_path, change, part):
    mm.MultiMaP(COLOR, embedded).fit(rows, answers=mm.Answers(SAID)).save(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    with np.load(tmp_path / "arrays.npz") as stored:
        arrays = dict(stored)
    change(content, arrays)
    (tmp_path / "model.json").write_text(json.dumps(content))
    np.savez(tmp_path / "arrays.npz", **arrays)
    with pytest.raises(ValueError, match=part):
        mm.load(tmp_path, embedded)
