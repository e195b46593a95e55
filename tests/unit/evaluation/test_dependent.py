"""Means over repeats that depend on each other: values against scipy, and false alarms among equal models."""

import math

import numpy as np
import pytest
from scipy import stats

from covid_core.evaluation.corrected_tests import Repeated, over_folds, over_seeds

EXACT = 1e-12
VALUES = [0.02, 0.03, 0.01, 0.04, 0.02]
IMAGES, FEATURES, FOLDS, SEEDS = 100, 30, 5, 4


def test_fold_differences_are_tested_with_the_variance_corrected_for_shared_images():
    found = over_folds(VALUES, trained=800, tested=200)
    error = np.std(VALUES, ddof=1) * math.sqrt(1 / 5 + 0.25)
    assert found.p == pytest.approx(2 * stats.t.sf(np.mean(VALUES) / error, 4), abs=EXACT)
    low, high = stats.t.interval(0.95, 4, np.mean(VALUES), error)
    assert (found.low, found.high) == pytest.approx((low, high), abs=EXACT)


def test_the_corrected_test_is_more_careful_than_one_that_takes_folds_for_independent():
    assert over_folds(VALUES, 800, 200).p > stats.ttest_1samp(VALUES, 0).pvalue


def test_folds_that_never_differ_have_a_p_of_one():
    assert over_folds([0.0, 0.0, 0.0], 800, 200).p == 1.0


def test_folds_that_all_differ_by_the_same_have_no_p():
    found = over_folds([0.9 - 0.8, 0.8 - 0.7, 0.7 - 0.6], 800, 200)
    assert found.mean == pytest.approx(0.1)
    assert np.isnan([found.p, found.low, found.high, found.p_above]).all()


def test_one_fold_has_no_spread():
    with pytest.raises(ValueError, match="two values at least"):
        over_folds([0.9], 800, 200)


@pytest.mark.parametrize(("mean", "expected"), [(0.1, 0.02), (-0.1, 0.98)], ids=["above", "below"])
def test_the_one_sided_p_looks_at_the_side_of_the_mean(mean, expected):
    assert Repeated(mean, 0.1, 0, 0, 0.04, 5).p_above == pytest.approx(expected)


GAINS = np.array([[1, 0, 1, 0, -1, 1], [1, 0, 0, 0, 0, 1], [1, 1, 1, 0, -1, 1]])


def test_seeds_are_tested_with_the_mean_squares_of_a_reading_study():
    seeds, images = GAINS.shape
    mean, of_seed, of_image = GAINS.mean(), GAINS.mean(axis=1), GAINS.mean(axis=0)
    s = images * ((of_seed - mean) ** 2).sum() / (seeds - 1)
    f = seeds * ((of_image - mean) ** 2).sum() / (images - 1)
    total = ((GAINS - mean) ** 2).sum()
    r = (total - (seeds - 1) * s - (images - 1) * f) / (
        (seeds - 1) * (images - 1)
    )  # what is left of the sum of squares
    error = math.sqrt((s + f - r) / (seeds * images))
    freedom = min((s + f - r) ** 2 / (s**2 / (seeds - 1)), images - 1)
    found = over_seeds(GAINS)
    assert (found.mean, found.spread, found.count) == pytest.approx((mean, of_seed.std(ddof=1), seeds), abs=EXACT)
    assert found.p == pytest.approx(2 * stats.t.sf(mean / error, freedom), abs=EXACT)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, freedom, mean, error), abs=EXACT)


def test_seeds_that_all_answer_alike_are_a_paired_t_test_over_images():
    one = np.array([1, 0, 0, 1, -1, 0, 1, 0.0])
    expected = stats.ttest_1samp(one, 0)
    found = over_seeds(np.stack([one, one, one]))
    assert found.p == pytest.approx(expected.pvalue, abs=EXACT)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), abs=EXACT)


def test_the_degrees_of_freedom_follow_the_seeds_where_they_vary_most():
    gains = np.tile([[0.0], [0.1], [0.2]], (1, 50))  # a seed gains the same on every image
    assert over_seeds(gains).p == pytest.approx(stats.ttest_1samp([0.0, 0.1, 0.2], 0).pvalue, abs=EXACT)


def test_seeds_that_hardly_vary_bring_no_more_degrees_of_freedom_than_images():
    one = np.array([1, 0, 0, 1, -1, 0, 1, 0.0])
    gains = np.stack([one, one + 1e-6, one - 1e-6])  # many more by the formula
    assert over_seeds(gains).p == pytest.approx(stats.ttest_1samp(one, 0).pvalue, abs=1e-6)


def test_seeds_that_never_differ_have_a_p_of_one():
    assert over_seeds(np.zeros((3, 20))).p == 1.0


def test_images_that_each_stand_twice_and_belong_together_count_once():
    twice, groups = np.repeat(GAINS, 2, axis=1), np.repeat(np.arange(GAINS.shape[1]), 2)
    once, grouped = over_seeds(GAINS), over_seeds(twice, groups)
    assert (grouped.mean, grouped.low, grouped.p) == pytest.approx((once.mean, once.low, once.p), abs=EXACT)
    assert over_seeds(twice).p < grouped.p


def test_groups_of_unequal_size_leave_the_mean_over_images():
    assert over_seeds(GAINS, np.array([0, 0, 0, 1, 2, 3])).mean == pytest.approx(GAINS.mean(), abs=EXACT)


@pytest.mark.parametrize("gains", [np.ones((1, 9)), np.ones((9, 1))], ids=["one seed", "one image"])
def test_one_seed_or_one_image_has_no_spread(gains):
    with pytest.raises(ValueError, match="two seeds and two images"):
        over_seeds(gains)


# Simulations


def at_most(level: float, trials: int) -> float:
    """The level and three standard errors of a share of so many trials."""
    return level + 3 * math.sqrt(level * (1 - level) / trials)


def fold_differences(rng: np.random.Generator) -> np.ndarray:
    """Two models of the same skill over folds: nearest means, each on features of its own that tell equally much."""
    label = np.arange(IMAGES) % 2
    images = rng.normal(size=(2, IMAGES, FEATURES)) + 0.2 * label[:, None]
    fold = rng.permutation(IMAGES) % FOLDS
    right = np.empty((2, IMAGES))
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        first, second = (images[:, train & (label == one)].mean(axis=1, keepdims=True) for one in (0, 1))
        side = ((images[:, test] - (first + second) / 2) * (second - first)).sum(axis=2)
        right[:, test] = (side > 0) == label[test]
    return np.array([np.subtract(*right[:, fold == k].mean(axis=1)) for k in range(FOLDS)])


def test_two_equal_models_over_folds_are_called_different_in_at_most_one_of_twenty_trials():
    trials, rng = 1500, np.random.default_rng(0)
    differences = [fold_differences(rng) for _ in range(trials)]
    tested = IMAGES / FOLDS
    corrected = np.mean([over_folds(values, IMAGES - tested, tested).p <= 0.05 for values in differences])
    as_if_independent = np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue <= 0.05)
    assert corrected <= at_most(0.05, trials) < as_if_independent


def seed_gains(rng: np.random.Generator, of_seed: float, of_image: float) -> np.ndarray:
    """Two models of the same skill with several seeds on the same images: each image suits one model more than the
    other, and each seed is a little lucky or unlucky on all images."""
    hard = rng.normal(size=IMAGES)
    suits = of_image * rng.normal(size=(2, 1, IMAGES))
    luck = of_seed * rng.normal(size=(2, SEEDS, 1))
    right = hard + suits + luck + 0.5 * rng.normal(size=(2, SEEDS, IMAGES)) > -1
    return np.subtract(*right.astype(float))


@pytest.mark.parametrize(("of_seed", "of_image"), [(0.0, 0.8), (0.3, 0.0), (0.2, 0.5)], ids=["images", "seeds", "both"])
def test_two_equal_models_over_seeds_are_called_different_in_at_most_one_of_twenty_trials(of_seed, of_image):
    trials, rng = 1000, np.random.default_rng(1)
    alarms = np.mean([over_seeds(seed_gains(rng, of_seed, of_image)).p <= 0.05 for _ in range(trials)])
    assert alarms <= at_most(0.05, trials)


def test_to_count_seeds_or_images_alone_finds_differences_where_there_are_none():
    trials, rng = 500, np.random.default_rng(2)
    of_images = [stats.ttest_1samp(seed_gains(rng, 0.0, 0.8).mean(axis=1), 0).pvalue for _ in range(trials)]
    of_seeds = [stats.ttest_1samp(seed_gains(rng, 0.3, 0.0).mean(axis=0), 0).pvalue for _ in range(trials)]
    assert np.mean(np.array(of_images) <= 0.05) > at_most(0.05, trials)
    assert np.mean(np.array(of_seeds) <= 0.05) > at_most(0.05, trials)
