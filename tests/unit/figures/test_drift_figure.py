"""The figure of one measure: shares that add up to 100 %, weights, values beyond the ends, and no spread at all."""

import numpy as np
import pytest
from made_profiles import made_profile, made_traits

from covid_core.figures import drift
from covid_core.inference.drift.profile import ASPECTS, MEASURES, NETWORK


def shares(training, weights, batch) -> tuple[np.ndarray, np.ndarray]:
    bars, line = drift.histogram("a measure", np.array(training), np.array(weights), np.array(batch)).data
    return np.array(bars.y), np.array(line.y)[:-1]


@pytest.mark.parametrize("batch", [[0.0, 0.5, 90.0], [0.5] * 3])
def test_shares_of_both_add_up(batch):
    for values in shares([0.5, 0.5, 0.6, 0.7], [1, 1, 1, 1], batch):
        assert values.sum() == pytest.approx(100)


def test_values_that_do_not_vary_are_drawn():
    for values in shares([256.0] * 4, [1] * 4, [256.0] * 3):
        assert values.sum() == pytest.approx(100)


def test_training_images_count_by_their_weights():
    bars, _ = shares([0.0, 1.0], [3, 1], [0.0, 1.0])
    assert (bars[0], bars[-1]) == (75, 25)


def test_every_measure_is_drawn_and_the_network_by_the_direction_that_differs_most():
    own, batch = made_profile(), made_traits(np.zeros(30, int), np.random.default_rng(0))
    batch.coordinates[:, 4] += 9
    drawn = {aspect: drift.measures(aspect, own, batch) for aspect in ASPECTS}
    assert sum(map(len, drawn.values())) == len(MEASURES) + 1
    assert np.array_equal(drawn[NETWORK][0][2], batch.coordinates[:, 4])
