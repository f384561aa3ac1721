"""What files are called: one line of text, nothing lost, and nothing in it that steers a terminal."""

import os

from hypothesis import given
from hypothesis import strategies as st

from multimap_jax.storage.filenames import TURNING, name_of_path, path_of_name, printable


@given(st.binary(max_size=30))
def test_every_name_has_a_way_back(raw):
    path = os.fsdecode(raw)
    name = name_of_path(path)
    assert path_of_name(name) == path
    assert len(name.splitlines()) <= 1 + any(each in name for each in TURNING)
    assert name.encode().decode() == name and "\x1b" not in name


@given(st.text("abc/ é日", max_size=20))
def test_names_without_surprises_are_paths(path):
    assert name_of_path(path) == path


@given(st.text())
def test_nothing_that_is_printed_steers_a_terminal(text):
    said = printable(text)
    assert not set(said) & TURNING and all(each in "\n\t" or ord(each) >= 32 for each in said)
    assert not any(127 <= ord(each) < 160 for each in said)


def test_lines_stay_lines():
    assert printable("a\nb\x1b[2J\u202ec\udcff") == "a\nb\\x1b[2J\\u202ec\\udcff"
