"""Forms of answers."""

import pytest

import multimap_jax as mm
from multimap_jax.prompts.answers import common_answers, is_refusal, key_of, words_in


@pytest.mark.parametrize(
    "texts",
    [
        ("Hearts", "hearts.", "**HEART**", "the heart", "A heart!", " heart "),
        ("seven", "7", "Seven.", "the 7"),
        ("cherries", "cherry"),
        ("boxes", "a box"),
        ("dark-red", "Dark-Red"),
        ("♥", " ♥"),
        ("été", "e\u0301te\u0301", "ÉTÉ"),
        ("glass", "glasses"),
    ],
)
def test_one_form_of_the_same_answer(texts):
    assert len(set(map(key_of, texts))) == 1


@pytest.mark.parametrize("texts", [("red", "dark red"), ("bus", "bu"), ("7", "17"), ("♥", "♠"), ("glass", "grass")])
def test_different_answers_stay_different(texts):
    assert len(set(map(key_of, texts))) == len(texts)


@pytest.mark.parametrize(
    "answer, words",
    [
        ("The person looks sad.", ["sad"]),
        ("sadly", []),
        ("Not sad but happy", ["happy"]),
        ("dark red", ["dark red"]),
        ("red or dark red", ["red", "dark red"]),
        ("hearts and spades", ["heart", "spade"]),
        ("reddish", []),
    ],
)
def test_words_within_an_answer(answer, words):
    known = {key_of(word): word for word in ("sad", "happy", "red", "dark red", "heart", "spade")}
    assert sorted(known[key] for key in words_in(key_of(answer), known)) == sorted(words)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't tell.",
        "I’m sorry",
        "I cannot determine the suit of this card.",
        "Sorry, I am unable to help with that",
        "As an AI, I do not see images",
        "Unknown",
        "unclear.",
        "not visible",
        "N/A",
        "Cannot tell",
        "Unfortunately I can't see it",
        "There is no image",
    ],
)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize("text", ["none", "no", "red", "sorrow", "an unknown soldier", "nothing", "can", "I", "cannon"])
def test_answers_that_are_no_refusals(text):
    assert not is_refusal(text)


def test_common_answers_are_short_and_given_twice():
    texts = [
        "Hearts",
        "hearts",
        "heart",
        "spades",
        "Spades.",
        "clubs",
        "a really very long answer",
        "a really very long answer",
    ]
    assert common_answers([*texts, "unknown", "unknown"]) == ["hearts", "spades"]


def test_answers_are_cleaned_and_have_reasons():
    answers = mm.Answers([" red\x1b[31m ", "", "\u202e"], {1: "too\nslow"})
    assert answers.texts == ("red[31m", "", "") and len(answers) == 3
    assert answers.reasons == {1: "too slow", 2: "the model gave no answer"} and answers.missing.tolist() == [1, 2]


@pytest.mark.parametrize("texts", ["red", 3, [1, 2], [None], {"a": "red"}])
def test_anything_but_texts_is_refused(texts):
    with pytest.raises(TypeError, match="expected"):
        mm.Answers(texts)
