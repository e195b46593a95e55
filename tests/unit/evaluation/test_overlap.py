"""Dice and intersection over union by hand, and the interval of their mean."""

import numpy as np
import pytest

from covid_core.evaluation import overlap, resampling


def row(*cells: int) -> np.ndarray:
    return np.array([[cells]], bool)


@pytest.mark.parametrize(
    ("found", "mask", "dice", "iou"),
    [
        (row(1, 1, 0, 0), row(1, 1, 0, 0), 1, 1),
        (row(1, 1, 0, 0), row(0, 0, 1, 1), 0, 0),
        (row(1, 1, 1, 0), row(0, 1, 1, 1), 2 / 3, 1 / 2),
        (row(1, 0, 0, 0), row(1, 1, 1, 0), 1 / 2, 1 / 3),
        (row(0, 0, 0, 0), row(0, 0, 0, 0), 1, 1),
        (row(0, 0, 0, 0), row(0, 1, 0, 0), 0, 0),
    ],
    ids=["equal", "apart", "shifted", "inside", "both empty", "nothing found"],
)
def test_agreement_of_an_outline_with_its_mask(found, mask, dice, iou):
    assert overlap.dice(found, mask) == pytest.approx([dice])
    assert overlap.iou(found, mask) == pytest.approx([iou])


def test_the_mean_has_an_interval_over_images():
    values = np.random.default_rng(0).normal(0.9, 0.05, 100)
    found = resampling.mean(values)
    half = 1.96 * values.std() / 10
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.002)
    assert found.n == 100


def test_images_that_belong_together_make_the_interval_wider():
    values = np.repeat(np.random.default_rng(0).normal(0.9, 0.05, 20), 5)
    alone, together = resampling.mean(values), resampling.mean(values, np.repeat(np.arange(20), 5))
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_no_images_have_no_mean():
    assert not resampling.mean(np.array([])).is_defined
