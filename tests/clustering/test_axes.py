"""Two coordinates of every image."""

import numpy as np
import pytest

from multimap_jax.clustering import axes


def test_the_first_two_principal_axes_the_longest_first():
    random = np.random.default_rng(0)
    rows = random.normal(size=(500, 4)) * [1, 9, 0.1, 3] + 5
    points = axes.coordinates(rows)
    assert np.abs(np.corrcoef(points[:, 0], rows[:, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(points[:, 1], rows[:, 3])[0, 1]) > 0.99
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-9)
    some = np.array([3, 400])
    np.testing.assert_allclose(axes.coordinates(rows, some), points[some])
    np.testing.assert_allclose(axes.coordinates(rows[::-1]), points[::-1], atol=1e-9)  # they point the same way


@pytest.mark.parametrize("rows", [np.arange(5.0)[:, None], np.ones((3, 2)), np.ones((1, 7))])
def test_rows_of_one_axis_or_of_one_place(rows):
    points = axes.coordinates(rows)
    assert points.shape == (len(rows), 2) and np.isfinite(points).all() and not points[:, 1].any()


def test_many_rows_are_looked_at_in_part(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(3000, 2)) * [5, 1]
    whole = axes.coordinates(rows)
    monkeypatch.setattr(axes, "AXES_ROWS", 1000)
    assert np.abs(np.corrcoef(whole[:, 0], axes.coordinates(rows)[:, 0])[0, 1]) > 0.999
