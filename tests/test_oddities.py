"""Films that stand out: far from all others, or with a label that does not fit; and who neighbours are."""

import math

import numpy as np
import pytest

from covid_core.audit.embedding import outlier_detection, projection
from covid_core.audit.embedding.outlier_detection import FAR, outlying, purity, scored, suspected
from covid_core.audit.shortcuts import probes
from covid_core.synthetic import phantom

SIZE = 64


def cloud(films: int = 100, width: int = 10, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(films, width))


def phantoms(images: int, seed: int, *plant: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Films (n, 64, 64), their label and their true label as numbers."""
    made = [phantom.film_at(index, images, seed, plant, SIZE) for index in range(images)]
    labels, true = [film.label for film in made], [film.true_label for film in made]
    classes = sorted(set(labels))
    codes = [np.array([classes.index(label) for label in names]) for names in (labels, true)]
    return np.stack([film.pixels for film in made]), *codes


def told_by(films: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components as the map takes them, and the same with what lies beyond them."""
    wide, _, beyond = projection.principal(probes.shrunk(films, SIZE).reshape(len(films), -1), 100)
    return wide, np.column_stack([wide[:, :50], beyond - beyond.mean()])


def foreign(film: np.ndarray) -> np.ndarray:
    """Pictures that are no upright film, uint8 (n, 64, 64): drawings, noise, and a film turned, inverted and tiled."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    rng = np.random.default_rng(0)
    drawn = [
        np.where(np.hypot(x - 0.4, y - 0.6) < 0.25, 220, 40),
        (np.sin(2 * np.pi * 9 * x) > 0) * 200 + 20,
        rng.integers(0, 2, (8, 8)).repeat(8, 0).repeat(8, 1) * 200 + 20,
        rng.integers(0, 255, (SIZE, SIZE)),
        np.where((np.abs(x - 0.5) < 0.3) & (np.abs(y - 0.5) < 0.1), 255, 0),
    ]
    return np.stack([*drawn, 255 - film, film.T, film[::-1], np.tile(film[::2, ::2], (2, 2))]).astype(np.uint8)


# Outliers


def test_what_lies_far_from_all_is_far_even_when_it_is_there_a_few_times():
    films = np.concatenate([cloud(), np.full((3, 10), 20.0) + cloud(3, seed=1) / 10])
    scores = outlying(films, np.zeros(len(films), int))
    assert set(np.flatnonzero(scores > FAR)) == {100, 101, 102}


def test_a_class_that_is_scattered_by_nature_is_judged_by_its_own_spread():
    films = np.concatenate([cloud(170) * 0.1, cloud(30, seed=1) * 5])
    codes = (np.arange(200) >= 170).astype(int)
    assert (outlying(films, np.zeros(200, int)) > FAR).sum() > 10
    assert not (outlying(films, codes) > FAR).any()


def test_films_that_are_all_the_same_are_no_outliers():
    assert not (outlying(np.zeros((30, 4)), np.zeros(30, int)) > FAR).any()


def test_too_few_films_have_no_score():
    assert np.isnan(outlying(cloud(5), np.zeros(5, int))).all()


@pytest.mark.parametrize("seed", range(3))
def test_of_films_without_fault_hardly_any_is_an_outlier(seed):
    films, codes, _ = phantoms(300, seed)
    assert (outlying(told_by(films)[1], codes) > FAR).mean() <= 0.01


@pytest.mark.parametrize("seed", range(3))
def test_pictures_that_are_no_films_come_first(seed):
    films, codes, _ = phantoms(300, seed)
    strange = foreign(films[3])
    mixed, codes = np.concatenate([films, strange]), np.concatenate([codes, np.ones(len(strange), int)])
    scores = outlying(told_by(mixed)[1], codes)
    assert set(np.argsort(-scores)[: len(strange)]) == set(range(300, 300 + len(strange)))
    assert (scores[300:] > FAR).all()


# Labels


def test_scores_are_those_of_a_classifier_that_had_not_seen_the_film():
    films, codes = cloud(60), np.random.default_rng(2).integers(0, 2, 60)
    folds = np.arange(60) % 5
    scores = scored(films, codes, folds)
    changed = codes.copy()
    changed[folds == 0] = 1 - changed[folds == 0]
    assert np.array_equal(scored(films, changed, folds)[folds == 0], scores[folds == 0])
    assert np.allclose(scores.sum(axis=1), 1)
    assert (scores > 0).all()


def test_labels_that_say_nothing_are_told_no_better_than_by_chance():
    codes = np.random.default_rng(2).integers(0, 2, 400)
    right = scored(cloud(400), codes, np.arange(400) % 5).argmax(axis=1) == codes
    assert abs(right.mean() - 0.5) < 0.1


def test_a_label_is_suspicious_where_another_class_scores_as_it_usually_does():
    codes = np.array([0, 0, 1, 1, 1])
    scores = np.array([[0.8, 0.2], [0.9, 0.1], [0.3, 0.7], [0.1, 0.9], [0.95, 0.05]])
    suspicious, other = suspected(scores, codes)
    assert suspicious.tolist() == [False, False, False, False, True]
    assert other.tolist() == [1, 1, 0, 0, 0]


def test_a_class_that_always_scores_low_has_a_low_bar():
    codes = np.array([0, 0, 0, 1, 1])
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.65, 0.35]])
    assert suspected(scores, codes)[0].tolist() == [False, False, True, False, False]  # 0.4 is much for the second


@pytest.mark.parametrize("seed", range(3))
def test_exchanged_labels_are_found_five_times_as_often_as_by_chance(seed):
    films, codes, true = phantoms(400, seed, "swapped-labels", "clear-lesions")
    planted = codes != true
    scores = scored(told_by(films)[0], codes, np.arange(400) % 5)
    first = np.argsort(scores[np.arange(400), codes])[: planted.sum()]
    assert planted[first].mean() >= 5 * planted.mean()
    suspicious, other = suspected(scores, codes)
    assert suspicious[planted].mean() >= 0.5
    hit = suspicious & planted
    assert (other[hit] == true[hit]).mean() >= 0.8


# Neighbours


def test_islands_of_one_class_are_pure():
    films = np.concatenate([cloud(50), cloud(50, seed=1) + 50])
    codes = np.arange(100) // 50
    found = purity(films, codes, np.arange(100))
    assert (found.share, found.low, found.high, found.films) == (1, 1, 1, 100)
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


def test_chance_leaves_the_films_of_ones_own_group_aside():
    patients, codes = np.repeat(np.arange(6), 15), np.repeat([0, 1] * 3, 15)
    found = purity(cloud(90), codes, patients)
    assert found.chance == pytest.approx(0.4)  # of 75 films of others 30 are of the class; 44 of all 89 are
    assert found.low <= found.chance <= found.high


def test_neighbours_of_films_of_a_large_group_are_those_nearest_outside_of_it():
    rng = np.random.default_rng(7)
    films = np.concatenate([cloud(40) / 100, cloud(60, seed=1)])
    codes, groups = rng.integers(0, 2, 100), np.concatenate([np.zeros(40, int), np.arange(1, 61)])
    alike = []
    for film, code, group in zip(films, codes, groups, strict=True):
        others = np.flatnonzero(groups != group)
        near = others[np.argsort(np.linalg.norm(films[others] - film, axis=1))[: outlier_detection.BY_CLASS]]
        alike.append((codes[near] == code).mean())
    found = purity(films, codes, groups)
    assert found.films == 100
    assert found.share == pytest.approx(np.mean(alike))


def test_a_film_that_nothing_lies_outside_of_its_group_has_no_neighbours():
    assert purity(cloud(40), np.arange(40) % 2, np.zeros(40, int)) is outlier_detection.UNKNOWN


def test_with_the_source_held_fixed_a_class_that_is_all_source_is_not_pure():
    rng = np.random.default_rng(6)
    source = rng.integers(0, 2, 400)
    label = np.where(rng.random(400) < 0.9, source, 1 - source)
    films = cloud(400) + 20 * source[:, None]
    assert purity(films, label, np.arange(400)).share > 0.75
    within = purity(films, label, np.arange(400), source)
    assert abs(within.share - within.chance) < 0.03


def test_where_nothing_differs_there_is_nothing_to_say():
    assert purity(cloud(50), np.zeros(50, int), np.arange(50)) is outlier_detection.UNKNOWN
    assert math.isnan(outlier_detection.UNKNOWN.share)
