"""Many small items in one file: what was written comes back, whatever else is there."""

import numpy as np
import pytest

from multimap_jax.storage.packed import PackedItems, as_packed

FIRST, SECOND = [b"one", b"", b"three"], [b"four", b"five5"]
WHERE = np.array([4, 0, 1, 2, 3, 0])
EXPECTED = [b"five5", b"one", b"", b"three", b"four", b"one"]


@pytest.fixture
def packed(tmp_path):
    for name, items in (("a", FIRST), ("b", SECOND)):
        np.savez(tmp_path / f"{name}.npz", **as_packed(items))
    return PackedItems([tmp_path / "a.npz", tmp_path / "b.npz"], np.array([3, 5]), WHERE)


def test_items_come_back_in_the_order_that_is_asked_for(packed):
    assert packed.read(range(6), 100) == EXPECTED
    assert packed.read([3, 0, 3], 100) == [b"three", b"five5", b"three"]
    assert packed.take(np.array([5, 4])).read([1, 0], 100) == [b"four", b"one"]
    assert packed.read([], 100) == []


def test_items_that_are_too_long_are_left_out(packed):
    assert packed.read(range(6), 4) == [b"", b"one", b"", b"", b"four", b"one"]


def arrays(content, ends, dtype=np.int64):
    return {"content": np.frombuffer(content, np.uint8), "ends": np.array(ends, dtype)}


@pytest.mark.parametrize(
    "damage",
    [
        arrays(b"fourfive5", [4]),
        arrays(b"fourfive5", [4, 9, 9]),
        arrays(b"fourfive5", [4, 8]),
        arrays(b"fourfive5", [4, 10]),
        arrays(b"fourfive5", [12, 9]),
        arrays(b"fourfive5", [-4, 9]),
        arrays(b"fourfive5", [4, 9], np.float64),
        arrays(b"fourfive5", [[4, 9]]),
        arrays(b"fourfive5", 9),
        {"content": np.zeros((9, 1), np.uint8), "ends": np.array([4, 9])},
        {"content": np.array(["four", "five5"]), "ends": np.array([1, 2])},
        {"content": np.array([b"four", b"five5"], object), "ends": np.array([4, 9])},
        {"ends": np.array([4, 9])},
        {},
    ],
)
def test_a_damaged_file_costs_its_own_items_alone(packed, damage):
    np.savez(packed.files[1], **damage)
    assert packed.read(range(6), 100) == [b"", b"one", b"", b"three", b"", b"one"]


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no archive at all", None])
def test_another_file_or_none_costs_its_own_items_alone(packed, content):
    packed.files[0].unlink()
    if content is not None:
        packed.files[0].write_bytes(content)
    assert packed.read(range(6), 100) == [b"five5", b"", b"", b"", b"four", b""]


def test_a_disk_that_does_not_answer_is_an_error(packed, monkeypatch):
    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("multimap_jax.storage.packed.read_arrays", fails)
    with pytest.raises(OSError):
        packed.read([0], 100)
