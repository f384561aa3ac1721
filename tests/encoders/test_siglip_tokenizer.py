"""Ids are those of transformers' SiglipTokenizer and Siglip2Tokenizer, and a proxy stands where a word of one token
would."""

import dataclasses
import json
import shutil
import struct
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import multimap_jax as mm
from multimap_jax.encoders.clip.config import TextConfig
from multimap_jax.encoders.clip.model import EMBEDDED, Clip
from multimap_jax.encoders.siglip.sentencepiece import Charsmap
from multimap_jax.encoders.siglip.tokenizer import read_tokenizer
from multimap_jax.prompts.aspect import make_prompt
from tests.needed import needed
from tests.siglip_files import write_siglip, write_siglip_2, write_spiece

needed("sentencepiece")
transformers = needed("transformers")
pytest.importorskip("google.protobuf")

TEXTS = [
    "a red fruit",
    "",
    " ",
    "*",
    "*.",
    "?!",
    "a fruit with the color of *.",
    " red",
    "- red (green) red-green ( blue )",
    "A RED Fruit, iT'S they'Re I'LL",
    "Zwölf Boxkämpfer!",
    unicodedata.normalize("NFD", "Zwölf Boxkämpfer, Ångström, Việt"),
    "İstanbul ǅ ß ẞ ﬁ ﬁ\u0301 e\u0301\u0323 ΟΔΟΣ ΣΑΣ",
    "日本語 テスト русский עברית العربية हिन्दी ｶﾞ 각",
    "👩‍👩‍👧‍👦 emoji 🍎🍌 🏳️‍🌈",
    "1234567890 3.14159 ٣٤ ⅷ ½ ＲＥＤ！…",
    "many    blanks\t\tand\nlines\r\n\n\n \u00a0\u3000\u2003x \u1680",
    "\ttab first\n",
    "control \x00\x01\x1c\x1f\x7f\x85 \u200b\u200d\ufeff characters",
    "</s> red</s>red <unk> <pad><eos> <bos>a<start_of_turn> <EOS> <0x41>",
    "＜／ｓ＞ red ＜ｐａｄ＞＜ｕｎｋ＞",
    "▁red▁▁x ▁",
    "¨ ´ ¸ x",
    "red fruit " * 400,
    "x" * 5000,
]
KINDS = {"tokenizer.json": write_siglip, "spiece.model": write_spiece, "SigLIP 2": write_siglip_2}


def config(vocabulary, context=64):
    return TextConfig(vocabulary, context, 8, 1, 2, 8, 8)


@pytest.fixture(scope="module", params=KINDS)
def both(request, tmp_path_factory):
    """(our tokenizer, that of transformers)."""
    folder, other = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    ours = read_tokenizer(folder, config(KINDS[request.param](folder)))
    if request.param == "SigLIP 2":
        return ours, transformers.Siglip2Tokenizer.from_pretrained(folder)
    write_spiece(other)
    return ours, transformers.SiglipTokenizer(str(other / "spiece.model"))


def ids(theirs, text, **settings):
    settings = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False} | settings
    return theirs(text, **settings)["input_ids"]


def test_ids_are_those_of_transformers(both):
    ours, theirs = both
    assert (ours.start, ours.end, ours.padding) == (None, theirs.eos_token_id, theirs.pad_token_id)
    assert ours.unknown == theirs.unk_token_id
    for text in TEXTS:
        assert ours.encode(text) == ids(theirs, text), text


def test_padded_rows_are_those_of_transformers(both):
    ours, theirs = both
    texts = [text for text in TEXTS if len(ours.encode(text)) < 64]
    expected = ids(theirs, texts, add_special_tokens=True, padding="max_length", max_length=64)
    assert len(texts) > 8 and np.array_equal(ours.pad(texts), expected)


def test_a_text_is_never_cut(both):
    with pytest.raises(ValueError, match="a text has [0-9]+ tokens, the context holds 64: shorten 'red"):
        both[0].pad(["red", "red " * 64])


LETTERS = st.characters(exclude_categories=("Cs",)) | st.sampled_from("aeiouéß\u0301\u0323\u0338 .ﬁΣ가ｶﾞ")
PARTS = st.sampled_from(["</s>", "<eos>", "red", " fruit", "  ", "▁", "\n\n", "\u0301", "İ"])


@settings(deadline=None, max_examples=300)
@given(text=st.lists(PARTS | st.text(LETTERS, max_size=12)).map("".join))
def test_any_text_has_the_ids_of_transformers(both, text):
    assert both[0].encode(text) == ids(both[1], text)


@pytest.mark.filterwarnings("ignore:The sentencepiece tokenizer")
def test_bytes_stand_for_unknown_letters_where_a_vocabulary_has_them(tmp_path):
    """As in mT5's, which multilingual SigLIPs have."""
    size = write_spiece(tmp_path, byte_fallback=True, vocab_size=500)
    ours, theirs = read_tokenizer(tmp_path, config(size)), transformers.SiglipTokenizer(str(tmp_path / "spiece.model"))
    assert all(ours.encode(text) == ids(theirs, text) for text in TEXTS) and ours.is_representable("🍎")
    write_siglip(tmp_path, byte_fallback=True, vocab_size=500)
    assert [read_tokenizer(tmp_path, config(size)).encode(text) for text in TEXTS] == list(map(ours.encode, TEXTS))


def test_words_that_become_nothing_or_unknown_are_not_representable(both):
    ours = both[0]
    assert all(map(ours.is_representable, ("red", "RED", "dark red", "red!")))
    assert not ours.is_representable("")
    if ours.unknown == 2:
        assert not any(map(ours.is_representable, ("*", "...", " ", "\u2603", "red \u2603", "＜／ｓ＞")))
    special = {ours.end, ours.padding, ours.unknown}
    assert not special & set(ours.encode("a </s> <eos> <pad>")), "special tokens in a text are text"


# ------------------------------------------------------------------------------------------------------------- prompts


def test_words_have_the_embeddings_of_their_tokens_inside_a_text(both):
    ours, table = both[0], np.arange(800, dtype=np.float32)[:, None]
    clip = SimpleNamespace(tokenizer=ours, towers=SimpleNamespace(text=SimpleNamespace(tokens=table)), token_width=1)
    assert Clip.token_embeddings(clip, ["red"]).tolist() == [[ours.encode("a red")[-1]]]


TEMPLATES = [
    "a {subject} with the {name} of {word}",
    "a {subject} with the {name} of {word}.",
    "{word}",
    "{word}.",
    "{word} {subject}",
    "a {word}-colored {subject}",
    "a {word}ish {subject}",
    'a "{word}" {subject}',
    "a {subject}: {word}!",
    "a {subject} ({word}) ...",
    "A {subject}, {word}, yes",
    "a {subject} of  {word}  ",
    " {word} {subject}",
    "a\t{word}\n{subject}",
    "a {subject}▁{word}▁{subject}",
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_proxy_stands_where_a_word_of_one_token_would(template, both):
    ours = both[0]
    aspect = mm.Aspect("color", "fruit", template=template)
    prompt, whole = make_prompt(aspect, ours), [*ours.encode(aspect.fill("red")), ours.end]
    word = whole[prompt.slot]
    assert word in (ours.encode("red")[-1], ours.encode("a red")[-1])
    assert list(prompt.ids) == [*whole[: prompt.slot], *ours.placeholder(), *whole[prompt.slot + 1 :]]
    assert prompt.end == len(whole) - 1 and (prompt.slot == 0 or ours.padding not in prompt.ids[: prompt.slot])


def test_siglip_removes_the_full_stop_of_a_template_and_siglip_2_keeps_it(both):
    plain, stop = (make_prompt(mm.Aspect("color", template=text), both[0]).ids for text in ("of {word}", "of {word}."))
    assert (plain == stop) == (both[0].unknown == 2)


# --------------------------------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Name -> (folder, size of its vocabulary)."""
    found = {}
    for name, write in KINDS.items():
        folder = tmp_path_factory.mktemp("made")
        found[name] = folder, write(folder)
    return found


def changed(name, change):
    """A copy of a tokenizer whose tokenizer.json has been changed."""

    def write(made, folder):
        shutil.copytree(made[name][0], folder, dirs_exist_ok=True)
        content = json.loads((folder / "tokenizer.json").read_text())
        change(content, content["model"])
        (folder / "tokenizer.json").write_text(json.dumps(content))
        return made[name][1]

    return write


def spiece(change):
    def write(made, folder):
        content = (made["spiece.model"][0] / "spiece.model").read_bytes()
        (folder / "spiece.model").write_bytes(change(content))
        return made["spiece.model"][1]

    return write


def of_clip(made, folder):
    transformers.CLIPTokenizer.from_pretrained(EMBEDDED).save_pretrained(folder)
    return 1200


def of_old_clip(made, folder):
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(EMBEDDED / name, folder)
    return 1200


def of_larger_towers(made, folder):
    shutil.copytree(made["tokenizer.json"][0], folder, dirs_exist_ok=True)
    return 32000


def of_smaller_towers(made, folder):
    shutil.copytree(made["spiece.model"][0], folder, dirs_exist_ok=True)
    return 50


def of_sentencepiece_bpe(made, folder):
    return write_spiece(folder, model_type="bpe")


def cut_json(made, folder):
    text = (made["SigLIP 2"][0] / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text[: len(text) // 2])
    return made["SigLIP 2"][1]


def with_charsmap(text):
    return lambda content, model: content.update(normalizer={"type": "Precompiled", "precompiled_charsmap": text})


EXTERNAL = {"id": 5000, "content": "[ripe]", "special": False}
WRONG = {
    "nothing": (lambda made, folder: 100, "has no tokenizer: tokenizer.json missing"),
    "CLIP's": (of_clip, "it is BPE without <eos> and <pad>"),
    "CLIP's old files": (of_old_clip, "has no tokenizer: tokenizer.json missing"),
    "of larger towers": (of_larger_towers, "tokens, config.json says 32,000"),
    "of smaller towers": (of_smaller_towers, "tokens, config.json says 50"),
    "words": (changed("SigLIP 2", lambda _, model: model.update(type="WordLevel")), "it is WordLevel, expected"),
    "half of it": (cut_json, "is not JSON"),
    "no model": (changed("SigLIP 2", lambda content, _: content.pop("model")), "'model'"),
    "no merges": (changed("SigLIP 2", lambda _, model: model.pop("merges")), "'merges'"),
    "merges of others": (changed("SigLIP 2", lambda _, model: model.update(merges=["zz qq"])), "cannot be read"),
    "a huge id": (changed("SigLIP 2", lambda _, model: model["vocab"].update(x=2**40)), "the id 1099511627776"),
    "no number": (changed("SigLIP 2", lambda _, model: model["vocab"].update(x="1")), "a token has the id 1,"),
    "a token beyond": (changed("SigLIP 2", lambda c, _: c["added_tokens"].append(EXTERNAL)), "the id 5000"),
    "a token elsewhere": (
        changed("SigLIP 2", lambda c, _: c["added_tokens"].append(EXTERNAL | {"id": 7})),
        "its token of the id 7 does not follow",
    ),
    "many tokens": (
        changed("SigLIP 2", lambda c, _: c["added_tokens"].extend([EXTERNAL] * 1001)),
        "lists 1,002 tokens that are not special",
    ),
    "no end": (changed("tokenizer.json", lambda _, model: model["vocab"].pop(1)), "no token </s>"),
    "no unknown": (changed("tokenizer.json", lambda _, model: model.update(unk_id=None)), "have the id None"),
    "no scores": (changed("tokenizer.json", lambda _, model: model.update(vocab=["a"] * 100)), "cannot be read"),
    "a damaged map": (changed("tokenizer.json", with_charsmap("/////w==")), "map of letters is cut off"),
    "a map of no base64": (changed("tokenizer.json", with_charsmap("a")), "cannot be read"),
    "a damaged model": (spiece(lambda content: b"\xff" * 100), "cannot be read"),
    "half a model": (spiece(lambda content: content[: len(content) // 2]), "cannot be read"),
    "pieces alone": (spiece(lambda content: b"\n\x05\n\x03abc" * 50), "no whole Unigram model of SentencePiece"),
    "an empty model": (spiece(lambda content: b""), "no whole Unigram model of SentencePiece"),
    "BPE by SentencePiece": (of_sentencepiece_bpe, "no whole Unigram model of SentencePiece"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_tokenizer_is_one_sentence(name, made, tmp_path):
    write, message = WRONG[name]
    size = write(made, tmp_path)
    with pytest.raises(ValueError, match=message) as raised:
        read_tokenizer(tmp_path, config(size))
    found = str(raised.value)
    assert "\n" not in found and found.count(str(tmp_path)) <= 2 and len(found) < 400 and "copy tokenizer.json" in found


def test_tokens_of_t5_without_rows_in_the_tower_are_left_out(made, tmp_path):
    more = [[f"▁<extra_id_{i}>", 0.0] for i in range(100)]
    write = changed("tokenizer.json", lambda _, model: model["vocab"].extend(more))
    ours = read_tokenizer(tmp_path, config(write(made, tmp_path)))
    usual = read_tokenizer(made["tokenizer.json"][0], config(made["tokenizer.json"][1]))
    assert ours.encode("a red <extra_id_3>") == usual.encode("a red <extra_id_3>")


def test_a_folder_with_both_files_has_the_ids_of_either(made, tmp_path):
    for name in ("tokenizer.json", "spiece.model"):
        shutil.copy(made[name][0] / name, tmp_path)
    ours = [read_tokenizer(folder, config(made["spiece.model"][1])) for folder in (tmp_path, made["spiece.model"][0])]
    assert [ours[0].encode(text) for text in TEXTS] == [ours[1].encode(text) for text in TEXTS]
    fields = [dataclasses.replace(each, encode=None, encode_sides=None) for each in ours]
    assert fields[0] == fields[1]


@settings(deadline=None, max_examples=200)
@given(units=st.lists(st.integers(0, 2**32 - 1), max_size=300), text=st.text(LETTERS, max_size=20))
def test_a_damaged_map_of_letters_makes_some_text_of_any(units, text):
    content = struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units) + b"ab\0\xff\0c"
    assert isinstance(Charsmap(content).replace(text), str)
