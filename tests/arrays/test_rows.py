"""Rows that are walked in parts: the same numbers as whole arrays, and little memory."""

import numpy as np
import pytest

from multimap_jax.arrays import rows as module
from multimap_jax.arrays.rows import BATCH_ROWS, ConcatenatedRows, StoredRows, allocate, mean_row, take_rows, walk
from multimap_jax.sources.names import SortedPaths, Texts, names_of_paths, sorted_unique


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return [random.standard_normal((n, 3)).astype(kind) for n, kind in ((5, "f2"), (0, "f4"), (7, "f4"), (2, "f8"))]


def test_pieces_are_one_array_in_any_order(arrays):
    whole = np.concatenate([array.astype(np.float32) for array in arrays])
    straight = StoredRows(arrays)
    assert straight.shape == (14, 3) and (np.asarray(straight) == whole).all()
    where = np.random.default_rng(1).permutation(14)[:11]
    lengths = np.linspace(1, 2, 11, dtype=np.float32)
    pieces = StoredRows(arrays, where, lengths)
    expected = whole[where] / lengths[:, None]
    assert pieces[:].dtype == np.float32
    for index in (slice(None), slice(3, 5), slice(20, 30), np.array([10, 0, 0]), np.array([], int)):
        assert (pieces[index] == expected[index]).all() and pieces[index].shape == expected[index].shape


def test_walks_and_sums_are_those_of_the_whole():
    array = np.random.default_rng(0).standard_normal((2 * BATCH_ROWS + 3, 2)).astype(np.float32)
    pieces = StoredRows([array[:BATCH_ROWS], array[BATCH_ROWS:]])
    assert [len(part) for _, part in walk(pieces)] == [BATCH_ROWS, BATCH_ROWS, 3]
    assert (take_rows(pieces, None) == array).all() and (take_rows(pieces, np.array([5, 1])) == array[[5, 1]]).all()
    assert np.allclose(mean_row(pieces), array.mean(0, dtype=np.float64), rtol=1e-12)
    assert np.allclose(
        ConcatenatedRows(pieces, pieces)[:2][:, :2], array[:2] / np.linalg.norm(array[:2], axis=1)[:, None]
    )


def test_large_computed_rows_go_to_a_file(monkeypatch):
    assert not isinstance(allocate((4, 2)), np.memmap)
    monkeypatch.setattr(module, "SCRATCH_BYTES", 16)
    found = allocate((4, 2))
    found[:] = 3
    assert isinstance(found, np.memmap) and (found == 3).all()


def test_names_are_escaped_ordered_and_unique():
    given = Texts(["b", "a", "a\\b", "é", "b", "a", "b#0", "\x07"])
    names = names_of_paths(given)
    assert list(names) == ["b", "a", "a\\\\b", "é", "b", "a", "b#0", "\\x07"]
    order, known = sorted_unique(names)
    assert list(known) == sorted(known) and len(set(known)) == 8
    assert {"a", "a#5", "b", "b#4", "b#0"} <= set(known)
    assert list(given.take(order))[list(known).index("a#5")] == "a"
    paths = SortedPaths(known, given.take(order))
    assert str(paths["b#4"]) == "b" and str(paths["\\x07"]) == "\x07" and str(paths["é"]) == "é"
    assert "c" not in paths and "zz" not in paths and list(paths) == list(known)
    assert known[0] == "\\x07" and list(known[1:3]) == list(known)[1:3]


def test_a_name_that_a_repeated_one_would_take_is_not_lost():
    order, known = sorted_unique(Texts(["a", "a", "a#1"]))
    assert sorted(order) == [0, 1, 2] and len(set(known)) == 3
