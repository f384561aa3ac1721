"""Aspects, prompts, slots, words and references."""

import signal
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import multimap_jax as mm
from multimap_jax.prompts.aspect import check_words, make_prompt, reference_words, word_similarities
from tests.tiny import unit_rows


def test_words_may_be_any_sequence_and_are_kept_as_a_tuple():
    assert mm.Aspect("color", words=["red", "green"]) == mm.Aspect("color", words=("red", "green"))


def test_a_prompt_is_what_the_tokenizer_makes_of_the_text(clip):
    color = mm.Aspect("color", subject="fruit", words=("red",))
    prompt, encode = make_prompt(color, clip.tokenizer), clip.tokenizer.encode
    whole = [clip.tokenizer.start, *encode("a fruit with the color of *"), clip.tokenizer.end]
    assert list(prompt.ids) == whole and prompt.ids[prompt.slot] == encode("*")[0]
    assert prompt.slot == 7 and prompt.end == 8 and color.fill("red") == "a fruit with the color of red"


def test_the_slot_survives_a_full_stop(clip):
    prompt = make_prompt(mm.Aspect("color", "fruit", template="a {name} of {word}."), clip.tokenizer)
    assert prompt.ids[prompt.slot] == clip.tokenizer.encode("*")[0]
    assert list(prompt.ids[prompt.slot + 1 :]) == [*clip.tokenizer.encode("."), clip.tokenizer.end]


TEXT = st.text(st.characters(blacklist_characters="{}", blacklist_categories=("Cs",)), max_size=12)


@settings(derandomize=True, deadline=None)
@given(TEXT, TEXT)
def test_text_around_the_slot_never_takes_it(clip, left, right):
    encode = clip.tokenizer.encode
    assume(len(encode(left)) + len(encode(right)) <= 74)
    prompt = make_prompt(mm.Aspect("color", template=left + "{word}" + right), clip.tokenizer)
    assert prompt.slot == 1 + len(encode(left)) and len(prompt.ids) == prompt.slot + 2 + len(encode(right))
    assert prompt.ids[prompt.slot] == encode("*")[0] and prompt.ids[-1] == clip.tokenizer.end


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"template": "a thing"}, "has {word} 0 times"),
        ({"template": "{word} and {word}"}, "has {word} 2 times"),
        ({"template": "{word} {size}"}, "known: {subject}, {name}, {word}"),
        ({"template": "{word} {"}, "cannot be read"),
        ({"words": ("red", " ")}, "word 2 of aspect 'color' is empty"),
        ({"words": ("red", "blue", "Red ")}, "repeated words: red"),
        ({"words": ("Straße", "STRASSE")}, "repeated words: strasse"),
        ({"words": ("caf\u00e9", "cafe\u0301")}, "repeated words: caf\u00e9"),
        ({"name": " "}, "needs a name"),
    ],
)
def test_bad_aspects(fields, message):
    with pytest.raises(ValueError, match=message.replace("{", "\\{")):
        mm.Aspect(**{"name": "color"} | fields)


def test_words_as_one_string_are_refused():
    with pytest.raises(TypeError, match="found the string 'red'"):
        mm.Aspect("color", words="red")


def test_a_prompt_beyond_the_context(clip):
    with pytest.raises(ValueError, match="the context holds 77"):
        make_prompt(mm.Aspect("color", template="very " * 40 + "{word}"), clip.tokenizer)
    with pytest.raises(ValueError, match="shorten"):
        clip.embed_texts(["fine", "very " * 40])


@pytest.mark.parametrize("word", ["<|endoftext|>", "<|startoftext|>"])
def test_words_that_are_no_words(clip, word):
    with pytest.raises(ValueError, match="cannot represent"):
        check_words(mm.Aspect("color", words=("red", word)), clip)


def test_words_of_several_tokens_are_averaged(clip):
    table = np.asarray(clip.towers.text.tokens[...])
    ids = clip.tokenizer.encode("dark red")
    assert len(ids) == 2
    assert np.allclose(clip.token_embeddings(["dark red"])[0], table[ids].mean(0))


def test_a_word_that_the_embedded_checkpoint_never_saw_warns():
    embedded = mm.load_clip("embedded")
    with pytest.warns(UserWarning, match="not trained on the word ultramarine,"):
        check_words(mm.Aspect("color", "fruit", ("red", "ultramarine")), embedded)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_words(mm.Aspect("color", "fruit", ("red", "green")), embedded)


def test_references_are_the_most_similar_words(clip):
    rows, color = unit_rows(9), mm.Aspect("color", "fruit", ("red", "green", "yellow"))
    similarities = rows @ clip.embed_texts([color.fill(word) for word in color.words]).T
    assert np.allclose(word_similarities(clip, rows, color), similarities)
    assert (reference_words(clip, rows, color) == similarities.argmax(1)).all()
    bare = rows @ clip.embed_texts(list(color.words)).T
    assert (reference_words(clip, rows, color, bare=True) == bare.argmax(1)).all()
    assert (reference_words(clip, rows, mm.Aspect("color", "fruit")) == -1).all()


def test_unknown_text_becomes_tokens_and_not_errors(clip):
    ids = clip.tokenizer.encode("grüße 😀")
    assert len(ids) > 4 and clip.tokenizer.end not in ids
    assert clip.embed_texts(["grüße 😀", "red"]).shape == (2, 32) and clip.embed_texts([]).shape == (0, 32)


def test_many_words_are_looked_at_once_each():
    words = [f"word {i}" for i in range(80_000)]
    signal.alarm(60)  # looked for pair by pair they take minutes
    assert len(mm.Aspect("color", words=words).words) == 80_000
    signal.alarm(0)
    with pytest.raises(ValueError, match=r"repeated words: word 1, word 7 \(see words=\)$"):
        mm.Aspect("color", words=[*words, "Word 7", "word  1"])


@pytest.mark.parametrize("fields", [{"name": 5}, {"name": "color", "subject": None}, {"name": "color", "template": 3}])
def test_what_is_no_string_is_refused(fields):
    with pytest.raises(TypeError, match="expected a string, found"):
        mm.Aspect(**fields)
