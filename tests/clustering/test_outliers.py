"""What belongs to no group: found among what shaped the bulk, and few false alarms."""

import numpy as np
import pytest

from multimap_jax.clustering import outliers
from multimap_jax.clustering.outliers import fit_inliers


def bulk_and_strangers(images=400, strangers=20, embed=48, alike=True, seed=0):
    random = np.random.default_rng(seed)
    spread = np.geomspace(1, 0.05, embed)
    rows = random.normal(size=(images, embed)) * spread
    away = random.normal(size=embed if alike else (strangers, embed))
    others = 0.6 * away + random.normal(size=(strangers, embed)) * spread
    return np.concatenate([rows, others]).astype(np.float32), np.arange(images + strangers) >= images


@pytest.mark.parametrize("alike", [True, False])
def test_strangers_are_found_alike_or_not(alike):
    rows, strange = bulk_and_strangers(alike=alike)
    found = fit_inliers(rows).outliers(rows)
    assert found[strange].mean() > 0.9 and found[~strange].mean() < 0.03


def test_without_strangers_there_are_few():
    rows, strange = bulk_and_strangers()
    assert fit_inliers(rows[~strange]).outliers(rows[~strange]).mean() < 0.03


def test_new_images_are_measured_by_what_was_there():
    rows, strange = bulk_and_strangers()
    bulk = fit_inliers(rows[~strange])
    assert bulk.outliers(rows[strange]).mean() > 0.9
    assert (bulk.outliers(rows[5:9]) == bulk.outliers(rows)[5:9]).all()


def test_few_images_and_equal_ones_have_none():
    for rows in (np.ones((1, 8)), np.eye(3, 8), np.ones((50, 8)), np.eye(19)):
        assert not fit_inliers(rows).outliers(rows).any()


def test_a_sample_is_enough(monkeypatch):
    monkeypatch.setattr(outliers, "OUTLIER_IMAGES", 150)
    rows, strange = bulk_and_strangers()
    found = fit_inliers(rows, [f"{i}.png" for i in range(len(rows))]).outliers(rows)
    assert found[strange].mean() > 0.8 and found[~strange].mean() < 0.05
