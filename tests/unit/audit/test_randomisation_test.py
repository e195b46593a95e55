"""How alike maps are, and what is concluded from it, on maps whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from covid_core.audit.model.randomisation_test import (
    DEPENDS,
    MEANINGLESS,
    OTHER_BELOW,
    SAME_FROM,
    UNKNOWN,
    Likeness,
    MapCheck,
    likeness,
    rank_correlation,
)

IMAGES, SIDE = 6, 12


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(IMAGES, SIDE, SIDE))


def check_of(whole: float, head: float = 0.1, defined: float = 1.0) -> MapCheck:
    return MapCheck(Likeness(whole, defined), Likeness(head, 1.0), images=16, shuffles=4)


def test_rank_correlation_is_spearmans_with_ties():
    one, other = np.round(noise(0)[0]), np.round(noise(0)[0] + noise(1)[0])
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one.ravel(), other.ravel()).statistic)


def test_maps_that_weights_do_not_change_are_found_to_mean_nothing():
    """A blob in the middle of every image, or the image's own edges: whatever the weights, the same map."""
    edges = noise(0)
    found = likeness(edges, [edges, edges.copy()])
    assert found == Likeness(pytest.approx(1), 1.0)
    assert MapCheck(found, found, IMAGES, 2).verdict == MEANINGLESS


def test_a_map_that_only_changes_its_sign_shows_the_image_too():
    edges = noise(0)
    assert likeness(edges, [-edges]).correlation == pytest.approx(1)


def test_maps_that_have_nothing_in_common_depend_on_the_weights():
    found = likeness(noise(0), [noise(1), noise(2)])
    assert found.correlation < 0.2
    assert MapCheck(found, found, IMAGES, 2).verdict == DEPENDS


@pytest.mark.parametrize(
    ("correlation", "verdict"),
    [(0.0, DEPENDS), (OTHER_BELOW - 0.01, DEPENDS), (OTHER_BELOW, UNKNOWN), (SAME_FROM, MEANINGLESS), (1, MEANINGLESS)],
)
def test_the_verdict_follows_the_higher_of_the_two_correlations(correlation, verdict):
    for check in (check_of(correlation, 0.1), check_of(0.0, correlation)):
        assert check.verdict == verdict


def test_maps_that_are_the_same_everywhere_are_not_compared():
    flat = np.zeros((IMAGES, SIDE, SIDE))
    broken = np.where(np.arange(IMAGES)[:, None, None] < 2, noise(1), np.nan)
    assert likeness(noise(0), [flat]).defined == 0
    assert likeness(noise(0), [broken]).defined == pytest.approx(2 / 6)
    assert np.isnan(likeness(noise(0), [flat]).correlation)
    assert MapCheck(likeness(noise(0), [flat]), likeness(noise(0), [noise(1)]), IMAGES, 1).verdict == UNKNOWN
