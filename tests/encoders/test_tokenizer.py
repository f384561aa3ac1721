"""Ids are those of transformers.CLIPTokenizer, whatever files a checkpoint has and whatever is written in a text."""

import json
import shutil
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multimap_jax.encoders.clip.config import TextConfig
from multimap_jax.encoders.clip.model import EMBEDDED
from multimap_jax.encoders.clip.tokenizer import clip_tokenizer, read_tokenizer
from tests.needed import needed

needed("torch")
transformers = needed("transformers")

START, END = "<|startoftext|>", "<|endoftext|>"
TEXTS = [
    "a red fruit",
    "",
    " ",
    "*",
    "*.",
    "a fruit with the color of *.",
    "A RED Fruit, iT'S they'Re I'LL",
    "Zwölf Boxkämpfer!",
    unicodedata.normalize("NFD", "Zwölf Boxkämpfer, Ångström, Việt"),
    "İstanbul ǅ ß ẞ ﬁ",
    "日本語 テスト русский עברית العربية हिन्दी",
    "👩‍👩‍👧‍👦 emoji 🍎🍌 🏳️‍🌈",
    "1234567890 3.14159 ٣٤ ⅷ ½",
    "many    blanks\t\tand\nlines\r\n \u00a0\u3000\u2003x",
    "control \x00\x01\x1f\x7f\x85 \u200b\u200d\ufeff characters",
    f"{END} {START} <|ENDOFTEXT|> <|startOfText|>red{END}red <|endoftext |>",
    "</w> red</w> !!!??? ... --- __ @#$%^&()[]{}|\\~`",
    "supercalifragilisticexpialidocious" * 40,
    "x" * 5000,
    "日本 \n\t x" * 40,
]


def special(content, **changes):
    token = {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return token | changes


def as_saved(folder):
    """The files that transformers 5 writes: tokenizer.json alone, with a tokenizer_config.json."""
    transformers.CLIPTokenizer.from_pretrained(EMBEDDED).save_pretrained(folder)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()


def change_settings(folder, **changes):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))


def as_released(folder):
    """The files of openai/clip-vit-base-patch32: special tokens as objects, found in normalized text."""
    as_saved(folder)
    names = {"bos_token": START, "eos_token": END, "unk_token": END}
    change_settings(folder, **{name: special(token, __type="AddedToken") for name, token in names.items()})
    tokens = {name: special(token) for name, token in names.items()} | {"pad_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens))


def as_of_4(folder):
    """The files of transformers 4, with added_tokens_decoder."""
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    vocabulary = json.loads((folder / "vocab.json").read_text())
    decoder = {str(vocabulary[token]): special(token, special=True) for token in (START, END)}
    change_settings(folder, **settings, added_tokens_decoder=decoder, clean_up_tokenization_spaces=True)
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "!"}))  # not read beside the decoder


def with_another_pad(folder):
    change_settings(folder, pad_token="!")


def without_settings(folder):
    (folder / "tokenizer_config.json").unlink()


def with_marks(folder):
    """Of Windows: a byte order mark, and ends of lines of two characters."""
    merges = (folder / "merges.txt").read_bytes().replace(b"\n", b"\r\n")
    (folder / "merges.txt").write_bytes(merges)


def with_pairs_as_texts(folder):
    as_saved(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    (folder / "tokenizer.json").write_text(json.dumps(content))


FILES = {
    "vocab.json and merges.txt": lambda folder: None,
    "tokenizer.json": as_saved,
    "released": as_released,
    "transformers 4": as_of_4,
    "another pad": with_another_pad,
    "no settings": without_settings,
    "Windows": with_marks,
    "pairs as texts": with_pairs_as_texts,
}
CONFIG = TextConfig(1200, 77, 8, 1, 2, 8, 8)


@pytest.fixture
def folder(tmp_path):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "config.json"):
        shutil.copy(EMBEDDED / name, tmp_path)
    return tmp_path


def ids(theirs, text):
    return theirs(text, add_special_tokens=False, verbose=False)["input_ids"]


@pytest.mark.parametrize("name", FILES)
def test_ids_are_those_of_transformers(name, folder):
    FILES[name](folder)
    assert clip_tokenizer(folder) is not None
    ours, theirs = read_tokenizer(folder, CONFIG), transformers.CLIPTokenizer.from_pretrained(folder)
    assert (ours.start, ours.end) == (theirs.bos_token_id, theirs.eos_token_id)
    for text in TEXTS:
        assert ours.encode(text) == ids(theirs, text), text
    assert ours.encode(" red") == ours.encode("red")  # which `Clip.token_embeddings` expects


@pytest.fixture(scope="module", params=["vocab.json and merges.txt", "released"])
def both(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(EMBEDDED / name, folder)
    FILES[request.param](folder)
    return read_tokenizer(folder, CONFIG), transformers.CLIPTokenizer.from_pretrained(folder)


PIECES = st.sampled_from(
    ["<|endoftext|>", "<|startoftext|>", "'re", "  ", "\u0301", "*", ".", "red", "\u00a0", "İ", "9"]
)


@settings(deadline=None, max_examples=300)
@given(text=st.lists(PIECES | st.text(max_size=12)).map("".join))
def test_any_text_has_the_ids_of_transformers(both, text):
    assert both[0].encode(text) == ids(both[1], text)


def with_more_tokens(folder):
    change_settings(folder, extra_special_tokens=["[ripe]"])


def with_added_tokens(folder):
    (folder / "added_tokens.json").write_text(json.dumps({"[ripe]": 1101}))


def with_a_token_of_its_own(folder):
    change_settings(folder, ripe_token="[ripe]")


def of_another_class(folder):
    as_saved(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content))
    change_settings(folder, tokenizer_class="PreTrainedTokenizerFast")


@pytest.mark.parametrize("change", [with_more_tokens, with_added_tokens, with_a_token_of_its_own, of_another_class])
def test_other_tokenizers_are_left_to_transformers(change, folder):
    from transformers import AutoTokenizer

    change(folder)
    assert clip_tokenizer(folder) is None
    ours, theirs = read_tokenizer(folder, CONFIG), AutoTokenizer.from_pretrained(folder)
    for text in [*TEXTS, "a [ripe] fruit"]:
        assert ours.encode(text) == ids(theirs, text), text
    if change is of_another_class:
        assert ours.encode("RED") != ours.encode("red")


def test_a_tokenizer_of_another_kind_is_one_sentence(folder):
    as_saved(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"] = {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 0}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert clip_tokenizer(folder) is None
    with pytest.raises(ValueError, match="the tokenizer in .* cannot be read|has 1 tokens") as raised:
        read_tokenizer(folder, CONFIG)
    assert "\n" not in str(raised.value)
