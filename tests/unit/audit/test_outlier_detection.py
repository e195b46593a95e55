"""Images that stand out: far from all others, or with a label that does not fit; and who neighbours are."""

import math

import drawn_oddities
import numpy as np
import pytest

from covid_core.audit.embedding import outlier_detection
from covid_core.audit.embedding.outlier_detection import FAR, label_scores, outlier_scores, purity, suspicious_labels


def cloud(images: int = 100, width: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(images, width))


# Outliers


def test_what_lies_far_from_all_is_far_even_when_it_is_there_a_few_times():
    images = np.concatenate([cloud(), np.full((3, 10), 20.0) + cloud(3, seed=1) / 10])
    scores = outlier_scores(images, np.zeros(len(images), int))
    assert set(np.flatnonzero(scores > FAR)) == {100, 101, 102}


def test_a_class_that_is_scattered_by_nature_is_judged_by_its_own_spread():
    images = np.concatenate([cloud(170) * 0.1, cloud(30, seed=1) * 5])
    codes = (np.arange(200) >= 170).astype(int)
    assert (outlier_scores(images, np.zeros(200, int)) > FAR).sum() > 10
    assert not (outlier_scores(images, codes) > FAR).any()


def test_images_that_are_all_the_same_are_no_outliers():
    assert not (outlier_scores(np.zeros((30, 4)), np.zeros(30, int)) > FAR).any()


def test_too_few_images_have_no_score():
    assert np.isnan(outlier_scores(cloud(5), np.zeros(5, int))).all()


def test_of_images_without_fault_hardly_any_is_an_outlier():
    drawn_oddities.hardly_an_outlier_without_fault(seed=0)


def test_pictures_that_are_no_images_come_first():
    drawn_oddities.pictures_that_are_no_images_first(seed=0)


# Labels


def test_scores_are_those_of_a_classifier_that_had_not_seen_the_image():
    images, codes = cloud(60), np.random.default_rng(2).integers(0, 2, 60)
    folds = np.arange(60) % 5
    scores = label_scores(images, codes, folds)
    changed = codes.copy()
    changed[folds == 0] = 1 - changed[folds == 0]
    assert np.array_equal(label_scores(images, changed, folds)[folds == 0], scores[folds == 0])
    assert np.allclose(scores.sum(axis=1), 1)
    assert (scores > 0).all()


def test_a_class_that_the_other_folds_lack_scores_nothing():
    codes, folds = np.repeat([0, 1, 2], 20), np.concatenate([np.arange(40) % 2, np.ones(20, int)])
    scores = label_scores(cloud(60), codes, folds)
    assert (scores[folds == 1, 2] == 0).all()
    assert np.allclose(scores.sum(axis=1), 1)
    alone = label_scores(cloud(40), codes[:40], codes[:40])  # either fold has one class
    assert np.array_equal(alone.argmax(axis=1), 1 - codes[:40])


def test_labels_that_say_nothing_are_told_no_better_than_by_chance():
    codes = np.random.default_rng(2).integers(0, 2, 400)
    right = label_scores(cloud(400), codes, np.arange(400) % 5).argmax(axis=1) == codes
    assert abs(right.mean() - 0.5) < 0.1


def test_a_label_is_suspicious_where_another_class_scores_as_it_usually_does():
    codes = np.array([0, 0, 1, 1, 1])
    scores = np.array([[0.8, 0.2], [0.9, 0.1], [0.3, 0.7], [0.1, 0.9], [0.95, 0.05]])
    suspicious, other = suspicious_labels(scores, codes)
    assert suspicious.tolist() == [False, False, False, False, True]
    assert other.tolist() == [1, 1, 0, 0, 0]


def test_a_class_that_always_scores_low_has_a_low_bar():
    codes = np.array([0, 0, 0, 1, 1])
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.65, 0.35]])
    assert suspicious_labels(scores, codes)[0].tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]  # 0.4 is much for the second


def test_exchanged_labels_are_found_five_times_as_often_as_by_chance():
    drawn_oddities.exchanged_labels_found(seed=0)


# Neighbours


def test_islands_of_one_class_are_pure():
    images = np.concatenate([cloud(50), cloud(50, seed=1) + 50])
    codes = np.arange(100) // 50
    found = purity(images, codes, np.arange(100))
    assert (found.share, found.low, found.high, found.images) == (1, 1, 1, 100)
    assert found.chance == pytest.approx(49 / 99)


def test_classes_that_lie_mixed_are_as_pure_as_chance():
    codes = np.random.default_rng(5).integers(0, 2, 300)
    found = purity(cloud(300), codes, np.arange(300))
    assert found.low < found.chance < found.high


def test_copies_do_not_make_a_class_pure():
    once = cloud(100)
    codes = np.random.default_rng(5).integers(0, 2, 100)
    twice, both = np.concatenate([once] * 6), np.concatenate([codes] * 6)
    assert purity(twice, both, np.arange(600)).share > purity(twice, both, np.arange(600) % 100).share + 0.2


def test_chance_leaves_the_images_of_ones_own_group_aside():
    patients, codes = np.repeat(np.arange(6), 15), np.repeat([0, 1] * 3, 15)
    found = purity(cloud(90), codes, patients)
    assert found.chance == pytest.approx(0.4)  # of 75 images of others 30 are of the class; 44 of all 89 are
    assert found.low <= found.chance <= found.high


def test_neighbours_of_images_of_a_large_group_are_those_nearest_outside_of_it():
    rng = np.random.default_rng(7)
    images = np.concatenate([cloud(40) / 100, cloud(60, seed=1)])
    codes, groups = rng.integers(0, 2, 100), np.concatenate([np.zeros(40, int), np.arange(1, 61)])
    alike = []
    for image, code, group in zip(images, codes, groups, strict=True):
        others = np.flatnonzero(groups != group)
        near = others[np.argsort(np.linalg.norm(images[others] - image, axis=1))[: outlier_detection.BY_CLASS]]
        alike.append((codes[near] == code).mean())
    found = purity(images, codes, groups)
    assert found.images == 100
    assert found.share == pytest.approx(np.mean(alike))


def test_a_image_that_nothing_lies_outside_of_its_group_has_no_neighbours():
    assert purity(cloud(40), np.arange(40) % 2, np.zeros(40, int)) is outlier_detection.UNDEFINED


def test_with_the_source_held_fixed_a_class_that_is_all_source_is_not_pure():
    rng = np.random.default_rng(6)
    source = rng.integers(0, 2, 400)
    label = np.where(rng.random(400) < 0.9, source, 1 - source)
    images = cloud(400) + 20 * source[:, None]
    assert purity(images, label, np.arange(400)).share > 0.75
    within = purity(images, label, np.arange(400), source)
    assert abs(within.share - within.chance) < 0.03


def test_where_nothing_differs_there_is_nothing_to_say():
    assert purity(cloud(50), np.zeros(50, int), np.arange(50)) is outlier_detection.UNDEFINED
    assert math.isnan(outlier_detection.UNDEFINED.share)
