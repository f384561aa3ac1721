"""Candidate words: the vocabulary, a user's own, and WordNet."""

import os
import re
from pathlib import Path

import pytest

import multimap_jax as mm
from multimap_jax.words import wordnet
from multimap_jax.words.vocabulary import BUILT_IN, aspects_for, read_vocabulary, vocabulary_words
from multimap_jax.words.wordnet import hyponyms


@pytest.fixture(scope="module")
def built_in():
    return read_vocabulary(None)


@pytest.fixture
def own(tmp_path):
    """Writes a vocabulary."""

    def write(text, name="own.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_built_in_words_are_fit_for_aspects(built_in):
    assert len({id(words) for words in built_in.values()}) > 45
    for key, words in built_in.items():
        mm.Aspect(key, words=words)
        assert key == " ".join(key.lower().split()) and all(word == word.lower() for word in words)
        assert all(0 < len(word) <= 100 for word in words)
    assert BUILT_IN.read_text(encoding="utf-8").startswith("#")


@pytest.mark.parametrize(
    "aspect, subject, word",
    [
        ("color", "fruit", "red"),
        ("Colours", "any  thing", "red"),
        ("species", "fruit", "apple"),
        ("species", "Flowers", "tulip"),
        ("breed", "dogs", "beagle"),
        ("species", "image", "cat"),
        ("type", "product", "casual shoes"),
        ("clothing type", "person", "jeans"),
        ("make", "car", "audi"),
        ("body type", "cars", "sedan"),
        ("glasses", "face", "sunglasses"),
        ("rank", "card", "queen"),
        ("suits", "cards", "hearts"),
        ("number of objects", "image", "two"),
        ("time of day", "photo", "night"),
        ("hair color", "person", "blond"),
        ("room", "photo", "kitchen"),
        ("instrument", "photo", "violin"),
        ("building type", "photo", "castle"),
    ],
)
def test_built_in_words(built_in, aspect, subject, word):
    assert word in vocabulary_words(built_in, aspect, subject)


@pytest.mark.parametrize(
    "aspect, subject", [("manufacturer", "dog"), ("suits", "fruit"), ("breed", "flower"), ("", ""), ("s", "s")]
)
def test_words_of_another_subject_are_not_found(built_in, aspect, subject):
    assert vocabulary_words(built_in, aspect, subject) == ()


def test_form(own):
    found = read_vocabulary(
        own(
            b"\xef\xbb\xbf# a comment: of, words\r\n\r\n  Color,  COLOUR :  red,\tdark   Blue\r\n"
            b"species, breed of dog, canine: pug\r\ntype of car, body  type of car: suv, two: three\n"
        )
    )
    assert found == {
        "color": ("red", "dark Blue"),
        "colour": ("red", "dark Blue"),
        "species of dog": ("pug",),
        "breed of dog": ("pug",),
        "canine": ("pug",),
        "type of car": ("suv", "two: three"),
        "body type of car": ("suv", "two: three"),
    }
    assert found["color"] is found["colour"]
    assert read_vocabulary() == read_vocabulary(own("")) == {}


WORDS = "species, kind: cat\nspecies, breed of dog: pug\nage, years: old\nspecies of birds: owl\nkind of card: ace\n"


def test_words_of_the_subject_come_first(own):
    words = read_vocabulary(own(WORDS))
    assert vocabulary_words(words, "species", "dog") == vocabulary_words(words, "Species", "dogs") == ("pug",)
    assert vocabulary_words(words, "species", "bird") == ("owl",) and vocabulary_words(words, "specie", "cow") == (
        "cat",
    )
    assert vocabulary_words(words, "year", "dog") == vocabulary_words(words, "ages", "dog") == ("old",)
    assert vocabulary_words(words, "breed", "cow") == () and vocabulary_words(words, "species of dog", "picture") == (
        "pug",
    )


def test_aspects_of_a_subject(own):
    words = read_vocabulary(own(WORDS))
    assert aspects_for(words, "cow") == {"species": ("cat",), "age": ("old",)}
    assert aspects_for(words, "Dogs") == {"species": ("pug",), "age": ("old",)}
    assert aspects_for(words, "bird") == {"species": ("owl",), "age": ("old",)}
    assert aspects_for(words, "card") == {"kind": ("ace",), "age": ("old",)}
    assert aspects_for(words, "") == aspects_for(words, "cow") and aspects_for({}, "cow") == {}


def test_own_file_extends_or_replaces(own, built_in):
    path = own("color: teal\nspecies of moss: peat moss\nbreed of dog: mongrel\n")
    assert set(read_vocabulary(path)) == {"color", "species of moss", "breed of dog"}
    both = read_vocabulary(None, path)
    assert list(both)[:3] == ["color", "species of moss", "breed of dog"]
    assert both["color"] == both["colour"] == ("teal",)  # names of one aspect stay so
    assert both["species of dog"] == ("mongrel",) and both["species of cat"] == built_in["species of cat"]
    assert vocabulary_words(both, "species", "moss") == ("peat moss",) and set(both) - set(built_in) == {
        "species of moss"
    }
    assert read_vocabulary(path, None)["color"] == built_in["color"]
    names = aspects_for(both, "dog")
    assert names["color"] == ("teal",) and "colour" not in names


@pytest.mark.parametrize(
    "text, said",
    [
        ("a: b\ncolor red\n", r"line 2: expected a colon after the aspect, found 'color red'"),
        ("x" * 500, r"line 1: expected a colon.*…'"),
        (": red\n", "line 1: expected the name of an aspect"),
        ("color,, colour: red\n", "line 1: expected the name of an aspect"),
        ("color:\n", "line 1: expected words after the colon, found none"),
        ("# x\n\ncolor: red,, blue\n", "line 3: expected a word between commas"),
        ("color: red, Red\n", "line 1: expected each word once, found 'Red' again"),
        ("color: caf\u00e9, cafe\u0301\n", "line 1: expected each word once"),
        ("color: Straße, strasse\n", "line 1: expected each word once, found 'strasse' again"),
        (f"color: red, {'x' * 101}\n", "line 1: expected words of at most 100 characters, found 'x+…'"),
        ("color: red\x00\n", r"line 1: expected text without control characters, found '\\x00'"),
        ("color: red\x1b[0m\n", r"line 1: .*found '\\x1b'"),
        ("color: red\rshape: round\n", r"line 1: .*found '\\r'"),
        ("color: " + ",".join(map(str, range(5001))), "line 1: expected at most 5,000 words, found 5,001"),
        ("color: red\nshape: round\nColor: blue\n", "line 3: expected each aspect once, found 'color' again"),
        ("color, color: red\n", "line 1: expected each aspect once"),
        (f"{','.join(map(str, range(10**5)))}: red", "line 1: expected at most 5,000 aspects"),
        ("".join(f"a{i}: b\n" for i in range(6000)), "line 5001: expected at most 5,000 aspects"),
        (f"{'x' * 101}: red\n", "line 1: expected aspects of at most 100 characters, found 'x+…'"),
        ("color: red, \u202eneerg\n", r"line 1: .*found '\\u202e'"),
        ("col\u061cor: red\n", r"line 1: .*found '\\u061c'"),
        ("color: red, \u200b\n", "line 1: expected text without invisible characters"),
        ("\u2060: red\n", "line 1: expected text without invisible characters"),
        ("# " + "x" * 10**6, "has 1,000,002 bytes, expected at most 1,000,000"),
        (b"color: \xff\n", "is not UTF-8 text"),
        ("color: red\n".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_what_is_no_vocabulary(own, text, said):
    with pytest.raises(ValueError, match=said) as error:
        read_vocabulary(None, own(text))
    one_sentence(error, "own.txt")


def test_vocabulary_that_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no vocabulary .*none.txt: give a file") as error:
        read_vocabulary(tmp_path / "none.txt")
    one_sentence(error, "none.txt")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="is not a regular file"):
            read_vocabulary(path)


def one_sentence(error, name):
    text = str(error.value)
    assert name in text and "\n" not in text and text.isprintable() and len(text) < 400


# Synsets by name: words, and pointers to others.
NET = {
    "animal": (["animal", "beast"], [("~", "dog"), ("~", "cat"), ("+", "run")]),
    "dog": (["dog", "domestic_dog"], [("@", "animal"), ("~", "pug"), ("~", "Hound"), ("~i", "Lassie")]),
    "cat": (["cat"], [("@", "animal"), ("~", "pet")]),
    "pug": (["pug", "pug-dog"], [("@", "dog")]),
    "Hound": (["Hound", "hound_dog"], [("@", "dog"), ("~", "pet")]),
    "Lassie": (["Lassie"], [("@i", "dog")]),
    "pet": (["lap_pet", "DOG", "Pug"], []),
    "cad": (["cad", "dog"], [("~", "rogue"), ("%p", "cat")]),
    "rogue": (["rogue"], [("@", "cad")]),
    "run": (["run"], []),
}
SENSES = {"animal": ["animal"], "dog": ["dog", "cad"], "domestic_dog": ["dog"], "rogue": ["rogue"], "cad": ["cad"]}
LICENSE = "  1 A few lines of licence, which begin with spaces  \n  2   \n"


def write_net(folder, net=NET, senses=SENSES):
    """index.noun and data.noun; the offset of every synset."""

    def lines(offsets):
        for name, (words, pointers) in net.items():
            named = " ".join(f"{word} 0" for word in words)
            below = "".join(f" {symbol} {offsets.get(to, 0):08} n 0000" for symbol, to in pointers)
            yield (
                name,
                f"{offsets.get(name, 0):08} 05 n {len(words):02x} {named} {len(pointers):03}{below} | gloss ~ 1  \n",
            )

    offsets, begin = {}, len(LICENSE)
    for name, line in lines({}):  # as long as with the right offsets
        offsets[name], begin = begin, begin + len(line)
    (folder / "data.noun").write_text(LICENSE + "".join(line for _, line in lines(offsets)))
    rows = [
        f"{lemma} n {len(names)} 2 @ ~ {len(names)} 0 {' '.join(f'{offsets[name]:08}' for name in names)}  \n"
        for lemma, names in sorted(senses.items())
    ]
    (folder / "index.noun").write_text(LICENSE + "".join(rows))
    return offsets


def test_hyponyms(tmp_path):
    write_net(tmp_path)
    below_dog = ("pug", "pug-dog", "Hound", "hound dog", "Lassie", "rogue", "lap pet")
    assert hyponyms("dog", tmp_path) == hyponyms("  Dog ", tmp_path) == below_dog
    assert hyponyms("domestic dog", tmp_path) == ("pug", "pug-dog", "Hound", "hound dog", "Lassie", "lap pet", "DOG")
    assert hyponyms("animal", tmp_path)[:6] == ("dog", "domestic dog", "cat", "pug", "pug-dog", "Hound")
    assert hyponyms("rogue", tmp_path) == () and hyponyms("dog", tmp_path, most=0) == ()
    assert hyponyms("dog", tmp_path, most=3) == below_dog[:3]


def test_folder_of_the_environment(tmp_path, monkeypatch):
    write_net(tmp_path)
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    assert hyponyms("cad") == ("rogue",)
    monkeypatch.setenv("WNSEARCHDIR", "")
    monkeypatch.setattr(wordnet, "FOLDER", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="no WordNet in .*none: on Debian or Ubuntu, apt .*wordnet="):
        hyponyms("cad")
    with pytest.raises(FileNotFoundError, match="no WordNet in"):
        hyponyms("cad", tmp_path / "index.noun")
    (tmp_path / "data.noun").unlink()
    with pytest.raises(FileNotFoundError, match="no WordNet in"):
        hyponyms("cad", tmp_path)


@pytest.mark.parametrize("noun", ["", " ", "do", "dogs", "1", "x" * 10**5, "\x00", "\udcff", "n"])
def test_nouns_that_are_not_there(tmp_path, noun):
    write_net(tmp_path)
    with pytest.raises(ValueError, match="WordNet has no noun") as error:
        hyponyms(noun, tmp_path)
    one_sentence(error, "singular")


def test_circles_end(tmp_path):
    write_net(tmp_path, NET | {"pug": (["pug"], [("~", "dog")])})
    assert hyponyms("dog", tmp_path)[:4] == ("pug", "Hound", "hound dog", "Lassie")
    assert hyponyms("dog", tmp_path, most=2) == ("pug", "Hound")


def test_synsets_are_read_once_though_each_is_below_each(tmp_path, monkeypatch):
    names = [f"s{i}" for i in range(30)]
    write_net(tmp_path, {name: (["same"], [("~", other) for other in names]) for name in names}, {"dog": ["s0"]})
    reads, synset = [], wordnet._synset
    monkeypatch.setattr(wordnet, "_synset", lambda data, offset: reads.append(offset) or synset(data, offset))
    assert hyponyms("dog", tmp_path) == ("same",)
    assert len(reads) <= 2 * len(names) + 1
    monkeypatch.setattr(wordnet, "SYNSETS", 29)
    with pytest.raises(ValueError, match="data.noun of WordNet is damaged .over 29 synsets"):
        hyponyms("dog", tmp_path)


def test_words_that_lie_too_deep(tmp_path):
    write_net(tmp_path, {f"s{i}": ([f"word{i}"], [("~", f"s{i + 1}")]) for i in range(99)}, {"dog": ["s0"]})
    with pytest.raises(ValueError, match="data.noun of WordNet is damaged .over 40 levels"):
        hyponyms("dog", tmp_path)


DATA = {
    "cut": lambda text, at: text[: at + 30],
    "empty": lambda text, at: "",
    "elsewhere": lambda text, at: "x" + text,
    "another offset": lambda text, at: text[:at] + "9" + text[at + 1 :],
    "no number of words": lambda text, at: text[: at + 14] + "zz" + text[at + 16 :],
    "no words": lambda text, at: text[: at + 14] + "00" + text[at + 16 :],
    "too many words": lambda text, at: text[: at + 14] + "ff" + text[at + 16 :],
    "pointers without end": lambda text, at: text.replace(" 004 ", " 999999999 "),
    "a pointer elsewhere": lambda text, at: re.sub(r"~i \d{8}", "~i 99999999", text),
    "a pointer into a line": lambda text, at: re.sub(r"~i \d{8}", f"~i {at + 9:08}", text),
    "a pointer that is no number": lambda text, at: re.sub(r"~i \d{8}", "~i zzzzzzzz", text),
    "a pointer without end": lambda text, at: re.sub(r"~i \d{8}", "~i " + "9" * 4000, text),
    "a negative pointer": lambda text, at: re.sub(r"~i \d{8}", "~i -0000001", text),
    "control characters": lambda text, at: text.replace("pug-dog", "pug\x1bdog"),
    "a word without end": lambda text, at: text.replace("pug-dog", "x" * 9999),
    "a word of nothing": lambda text, at: text.replace("pug-dog", "_______"),
    "not UTF-8": lambda text, at: text.replace("pug-dog", "pug\udcffdog"),
    "a line without end": lambda text, at: text.replace("gloss", "x" * 2**18),
    "zeros": lambda text, at: "\x00" * len(text),
}
INDEX = {
    "cut": lambda line: line[:8],
    "cut at its end": lambda line: line.rstrip(),
    "no numbers": lambda line: line.replace("2", "x", 1),
    "no senses": lambda line: "dog n 0 2 @ ~ 0 0  \n",
    "fewer senses": lambda line: line.replace("n 2", "n 3"),
    "a verb": lambda line: line.replace(" n ", " v "),
    "a number without end": lambda line: line.replace("n 2", "n " + "9" * 10**4),
    "an offset that is no number": lambda line: re.sub(r"\d{8}", "abc", line),
    "zeros behind": lambda line: line.strip() + "\x00" * 10**6,
}


def damaged(folder, file):
    with pytest.raises(ValueError, match=f"{file} of WordNet is damaged.*: reinstall wordnet-base") as error:
        hyponyms("dog", folder)
    one_sentence(error, "wordnet=")


@pytest.mark.parametrize("kind", DATA)
def test_damaged_data(tmp_path, kind):
    begin = write_net(tmp_path)["dog"]
    text = DATA[kind]((tmp_path / "data.noun").read_text(), begin)
    (tmp_path / "data.noun").write_bytes(text.encode("utf-8", "surrogateescape"))
    damaged(tmp_path, "data.noun")


@pytest.mark.parametrize("kind", INDEX)
def test_damaged_index(tmp_path, kind):
    write_net(tmp_path)
    path = tmp_path / "index.noun"
    before, dog, after = re.split(r"^(dog .*\n)", path.read_text(), flags=re.MULTILINE)
    path.write_text(before + INDEX[kind](dog) + (after if "cut" not in kind else ""))
    damaged(tmp_path, "data.noun" if "offset" in kind else "index.noun")


@pytest.mark.parametrize("file", ["index.noun", "data.noun"])
def test_files_that_are_none(tmp_path, file):
    write_net(tmp_path)
    (tmp_path / file).unlink()
    os.mkfifo(tmp_path / file)
    with pytest.raises(ValueError, match=f"{file} is not a regular file"):
        hyponyms("dog", tmp_path)
    (tmp_path / file).unlink()
    (tmp_path / file).touch()
    os.truncate(tmp_path / file, 2**40)
    with pytest.raises(ValueError, match=f"{file} has .* bytes, expected at most .*"):
        hyponyms("dog", tmp_path)


@pytest.mark.skipif(not Path(wordnet.FOLDER, "data.noun").is_file(), reason="Debian's wordnet-base is not installed")
def test_debian_files(monkeypatch):
    monkeypatch.delenv("WNSEARCHDIR", raising=False)
    dogs, fruits = hyponyms("dog"), hyponyms("fruit")
    assert {"puppy", "pug", "beagle", "Great Pyrenees"} <= set(dogs) and "dog" not in dogs
    assert dogs[0] == "puppy" and {"apple", "banana", "lemon"} <= set(fruits)
    assert len(hyponyms("entity")) == 5000 and "Einstein" in hyponyms("physicist")
    mm.Aspect("species", "dog", dogs)
    mm.Aspect("kind", "thing", hyponyms("entity"))
    with pytest.raises(ValueError, match="WordNet has no noun 'dogs'"):
        hyponyms("dogs")
