"""Names of groups from the words that the encoder finds in them, and images that show a group."""

import numpy as np
import pytest
from scipy.special import softmax

import multimap_jax as mm
from multimap_jax.arrays import rows as rows_module
from multimap_jax.prompts.unrelated import UnrelatedWords
from multimap_jax.words import naming
from multimap_jax.words.naming import exemplars, name_groups, word_scores
from multimap_jax.words.vocabulary import read_vocabulary
from tests.tiny import unit_rows

VOCABULARY = {
    "color": ("red", "green", "yellow"),
    "shape": ("round", "flat"),
    "size": ("tiny", "huge"),
    "weather": ("sunny", "rainy"),
}


@pytest.fixture
def named(clip, monkeypatch):
    """named(scores, words, aspect): names and confidences, where each group has these probabilities of words."""

    def all_fit(aspect, k):
        return np.ones((k, len(aspect.words)), bool)

    def named(scores, words, aspect="color", vocabulary=VOCABULARY, fits=all_fit):
        def found(clip, embeddings, words, labels, k):
            return np.array([[group.get(word, 0.0) for word in words] for group in scores]).reshape(k, -1)

        # Words stand for their embeddings.
        monkeypatch.setattr(naming, "word_embeddings", lambda clip, asked: asked.words)
        monkeypatch.setattr(naming, "word_scores", found)
        monkeypatch.setattr(naming, "words_that_fit", lambda *given: fits(given[2], len(scores)))
        return name_groups(clip, None, mm.Aspect(aspect, "fruit", words), None, len(scores), vocabulary)

    return named


def test_names_are_matched_one_to_one(named):
    # Both groups look most like "red", but the second is the surer one.
    names, sure = named([{"red": 0.6, "blue": 0.4}, {"red": 0.9, "blue": 0.1}], ("red", "blue"))
    assert names == ["blue", "red"] and sure.tolist() == pytest.approx([0.4, 0.9])


def test_a_word_that_does_not_fit_is_not_taken(named):
    groups = [{"red": 0.7, "blue": 0.1, "round": 0.9}, {"red": 0.9, "blue": 0.1, "round": 0.2}]
    names, sure = named(groups, ("red", "blue"))
    assert names == ["red, round", "red"] and sure.tolist() == pytest.approx([0.7, 0.9])


def test_words_that_nobody_gave_come_from_the_vocabulary(named):
    groups = [{"red": 0.9}, {"green": 0.9}, {"red": 0.3, "green": 0.2, "yellow": 0.5}]
    assert named(groups, ("red", "green"))[0] == ["red", "green", "yellow"]
    assert named(groups, ("red", "green"), vocabulary={})[0] == ["red", "green", "red, green"]
    groups[2] = {"red": 0.6, "green": 0.05, "yellow": 0.35}
    assert named(groups, ("red", "green"))[0] == ["red", "green", "yellow"]
    assert named(groups, ("red", "green"), vocabulary={})[0] == ["red", "green", "red 2"]


# The vocabulary's words, as a user may write them.
SPELLINGS = [("red", "Red"), ("red", " red "), ("dark red", "Dark  RED"), ("ros\u00e9", "rose\u0301")]


@pytest.mark.parametrize("known, word", SPELLINGS)
def test_a_word_in_another_spelling_than_the_vocabulary_names_one_group(named, known, word):
    vocabulary = {"color": (known, "yellow"), "shape": (known, "round")}
    groups = [{word: 0.9}, {word: 0.8, "yellow": 0.5}, {word: 0.7, known: 0.6}]
    assert named(groups, (word, "Blue"), vocabulary=vocabulary)[0] == [word, "yellow", f"{word} 2"]


def test_second_words_and_numbers_are_compared_without_case(named):
    groups = [{"Red": 0.9}, {"Red": 0.8, "Round": 0.7}, {"Red": 0.7, "RED 2": 0.6}]
    names, _ = named(groups, ("Red", "RED 2"), vocabulary={"shape": ("red", "Round"), "size": ("round", "huge")})
    assert names == ["Red", "Red, Round", "RED 2"]
    assert named([{"Red": 0.9}, {"Red": 0.9}, {"RED 2": 0.9}], ("Red", "RED 2"), vocabulary={})[0][1] == "Red 3"


def test_words_of_the_vocabulary_that_no_prompt_takes_name_nothing(clip):
    vocabulary = {"color": ("very " * 80 + "red", "<|endoftext|>", "green"), "shape": ("long " * 80, "round", "flat")}
    aspect = mm.Aspect("color", "fruit", ("red",), template="{word}")
    names, _ = name_groups(clip, unit_rows(12), aspect, np.arange(12) % 4, 4, vocabulary)
    assert len(set(names)) == 4


def test_a_second_word_of_the_same_aspect_or_of_another(named):
    groups = [{"red": 0.9}, {"red": 0.6, "green": 0.2, "round": 0.15}, {"red": 0.8, "huge": 0.7, "sunny": 0.9}]
    names, _ = named(groups, ("red",), vocabulary=VOCABULARY | {"color": ("red", "green")})
    assert names == ["red", "red, green", "red, huge"]  # not by the weather


def test_a_number_where_no_word_tells(named):
    groups = [{"red": 0.9, "round": 0.5}, {"red": 0.8, "round": 0.5}, {"red 2": 0.9}]
    assert named(groups, ("red", "red 2"))[0] == ["red", "red 3", "red 2"]


def test_without_words_groups_are_called_by_what_tells_them(named):
    groups = [{"round": 0.9, "tiny": 0.9}, {"round": 0.9, "tiny": 0.1}, {"flat": 0.8, "huge": 0.2}]
    names, sure = named(groups, (), "vibe")
    assert names == ["tiny", "vibe 1", "flat"] and not sure.any()
    assert named([{}, {}], (), "vibe")[0] == ["vibe 1", "vibe 2"] and named(groups[:1], (), "vibe")[0] == ["vibe 1"]
    # The vocabulary may know the aspect all the same.
    assert named([{"red": 0.9}, {"green": 0.9}], ())[0] == ["red", "green"]


def test_names_are_unique_and_one_group_has_one(named):
    alike = [{"red": 0.9, "round": 0.9, "huge": 0.8 - i / 10} for i in range(5)]
    names, _ = named(alike, ("red", "green"))
    assert len(set(names)) == 5 and names[0] == "red"
    assert named([{"red": 0.9}], ("red", "green"))[0] == ["red"]


def test_scores_are_means_of_zero_shot_probabilities(clip, monkeypatch):
    aspect, rows = mm.Aspect("color", "fruit", ("red", "green", "yellow")), unit_rows(11)
    labels = np.array([0, 1] * 5 + [3])
    texts = clip.embed_texts([aspect.fill(word) for word in aspect.words])
    probabilities = softmax(clip.temperature_scale * rows @ texts.T, axis=1)
    expected = [probabilities[labels == group].mean(0) for group in (0, 1, 3)]
    for part in (4096, 4):
        monkeypatch.setattr(rows_module, "BATCH_ROWS", part)
        scores = word_scores(clip, rows, texts, labels, 4)
        assert np.allclose(scores[[0, 1, 3]], expected, atol=1e-6) and not scores[2].any()
    assert word_scores(clip, rows, texts[:0], labels, 4).shape == (4, 0)


def test_the_real_vocabulary_serves(clip):
    rows, labels = unit_rows(40), np.arange(40) % 7
    names, sure = name_groups(clip, rows, mm.Aspect("color", "fruit", ("red",)), labels, 7, read_vocabulary(None))
    assert len(set(names)) == 7 and all(names) and ((0 <= sure) & (sure <= 1)).all()


def test_exemplars_are_near_and_unlike_each_other():
    random = np.random.default_rng(0)
    kinds = np.eye(3, 8)[np.arange(300) % 3] + 0.01 * random.normal(size=(300, 8))
    rows = kinds / np.linalg.norm(kinds, axis=1, keepdims=True)
    labels, distances = (np.arange(300) >= 270).astype(int), random.random(300)
    large, small = exemplars(rows, labels, distances, 2)
    assert large[0] == distances[:270].argmin() and small[0] == 270 + distances[270:].argmin()
    assert len(set(large.tolist())) == 8 and set(large[:3] % 3) == {0, 1, 2}  # one of each kind before any second
    assert (distances[large] <= np.sort(distances[:270])[63]).all() and (large < 270).all() and (small >= 270).all()
    few = exemplars(rows[:3], np.array([0, 0, 2]), np.array([2.0, 1, 1]), 3)
    assert [each.tolist() for each in few] == [[1, 0], [], [2]]


def test_a_word_that_fits_no_better_than_unrelated_ones_names_nothing(named):
    groups = [{"tiger": 0.9}, {"fish": 0.8}, {"cactus": 0.7, "tiger": 0.6}]
    words = ("tiger", "fish", "cactus")

    def only_fish(aspect, k):
        return np.array([[word == "fish" and group == 1 for word in aspect.words] for group in range(k)])

    names, sure = named(groups, words, "species", {}, only_fish)
    assert names == ["unnamed 1", "fish", "unnamed 2"] and sure.tolist() == [0, 0.8, 0]
    vocabulary = {"species": ("rose", "fish")}
    rose = named(
        [{"rose": 0.5, "tiger": 0.9}],
        words,
        "species",
        vocabulary,
        lambda asked, k: np.array([[word == "rose" for word in asked.words]]),
    )
    assert rose[0] == ["rose"]


@pytest.mark.slow
def test_wrong_words_name_no_group_of_drawn_fruit():
    clip, scenes = mm.load_clip("embedded"), [mm.render_scene("fruit", seed=3, index=i) for i in range(60)]
    rows, colors = (
        clip.embed_images([image for image, _ in scenes]),
        np.array([labels["color"] for _, labels in scenes]),
    )
    labels = np.unique(colors, return_inverse=True)[1]
    right, confidences = name_groups(clip, rows, mm.Aspect("color", "fruit", ("red", "green", "yellow")), labels, 3, {})
    assert right == sorted(set(colors)) and confidences.min() > 0.9
    wrong = mm.Aspect("color", "fruit", ("guitar", "violin", "piano"))
    assert name_groups(clip, rows, wrong, labels, 3, {})[0] == ["unnamed 1", "unnamed 2", "unnamed 3"]
    # The vocabulary's words are taken instead where they fit.
    assert name_groups(clip, rows, wrong, labels, 3, read_vocabulary(None))[0] == right


def test_scores_are_in_deviations_of_unrelated_words():
    unrelated = UnrelatedWords(np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]]))
    means, middle = np.array([[0.5, 0.0, 0.8]]), np.array([0.5, 0.0, 0.0])
    scores, best = unrelated.scores(means, middle, np.array([[0, 0, 1.0]]))
    spread = np.std([0.5, -0.5, 0, 0])
    assert scores[0, 0] == pytest.approx(0.8 / spread) and best[0] == pytest.approx(0.5 / spread)
    assert np.isinf(UnrelatedWords(np.zeros((0, 3))).scores(means, middle, np.eye(3))[0]).all()
