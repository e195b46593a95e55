"""Probes and their ladder: what gives the class away is found, what does not is not."""

import numpy as np
import pytest

from covid_core.audit.shortcuts import probe_ladder
from covid_core.audit.shortcuts.probe_ladder import (
    COARSE,
    EVERYTHING,
    GREYS,
    NO_LUNGS,
    Ladder,
    Probe,
    Question,
    Rung,
    answered,
    climb,
    verdict,
)
from covid_core.evaluation.metrics import wilson

IMAGES = 300
CODES = np.arange(IMAGES) % 3
FOLDS = np.arange(IMAGES) // 3 % 5
CLASSES = ("a", "b", "c")
BORDER = Probe("border", "Border pixels", "the border", NO_LUNGS)


def noise(columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(IMAGES, columns))


def made(key: str, holds: str, hits: int, images: int = 1000, majority: float = 0.5) -> Rung:
    """A rung that was right on so many images."""
    from covid_core.evaluation.assessment import at_least_by_chance

    p = at_least_by_chance(hits, images, majority)
    return Rung(Probe(key, f"Probe {key}", "", holds), images, wilson(hits, images), majority, p)


def ladder(*rungs: Rung) -> Ladder:
    return Ladder(("a", "b"), 1000, rungs)


def climbed(features, codes, classes, folds, groups=None):
    groups = np.arange(len(codes)) if groups is None else groups
    return climb(BORDER, features, Question(classes, codes, folds, groups))


def test_a_feature_that_is_the_class_is_found():
    features = np.column_stack([CODES + 0.1 * noise(1)[:, 0], noise(3)])
    rung = climbed(features, CODES, CLASSES, FOLDS)
    assert rung.accuracy.value > 0.95
    assert rung.p < 1e-6
    assert min(found.value for found in rung.sensitivity.values()) > 0.9


def test_a_ring_that_no_line_can_cut_out_is_found():
    points = noise(2)
    inside = (np.hypot(*points.T) < 1).astype(int)
    rung = climbed(points, inside, ("outside", "inside"), FOLDS)
    assert rung.accuracy.value > 0.9


@pytest.mark.parametrize("columns", [1, 6, 600])
def test_noise_reaches_no_more_than_the_largest_class(columns):
    rung = climbed(noise(columns, seed=columns), CODES, CLASSES, FOLDS)
    assert rung.p > 0.05
    assert rung.accuracy.low <= rung.majority <= rung.accuracy.high


def test_noise_is_answered_by_the_largest_class_where_there_is_one():
    codes = (np.arange(IMAGES) % 5 == 0).astype(int)
    rung = climbed(noise(600), codes, ("large", "small"), np.arange(IMAGES) // 5 % 5)
    assert rung.majority == 0.8
    assert rung.accuracy.low <= rung.majority <= rung.accuracy.high


def test_features_that_never_change_answer_the_largest_class():
    codes = (np.arange(IMAGES) % 5 == 0).astype(int)
    scores = answered(np.full((IMAGES, 4), 7.3), codes, np.arange(IMAGES) // 5 % 5)
    assert (scores.argmax(axis=1) == 0).all()


def test_a_image_is_answered_without_its_own_fold():
    alone = np.zeros((IMAGES, 1))
    alone[FOLDS == 0] = noise(1)[FOLDS == 0]  # only the first fold has something to learn, so it learns nothing
    scores = answered(alone, CODES, FOLDS)
    assert len(np.unique(scores[FOLDS == 0], axis=0)) == 1


def test_the_scale_of_a_feature_does_not_matter():
    features = np.column_stack([CODES + 0.5 * noise(1)[:, 0], noise(3)])
    scaled = features * [1000, 0.01, 1, 5] + [3, 0, -20, 1]
    np.testing.assert_allclose(answered(features, CODES, FOLDS), answered(scaled, CODES, FOLDS), atol=0.01)


def test_it_agrees_with_kernel_ridge_regression_of_scikit_learn():
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.preprocessing import StandardScaler

    features, wanted = noise(4), np.eye(3)[CODES]
    features[:, 0] += CODES
    scores = answered(features, CODES, FOLDS)
    trained, tested = FOLDS != 2, FOLDS == 2
    scale, mean = StandardScaler().fit(features[trained]), wanted[trained].mean(axis=0)
    model = KernelRidge(alpha=probe_ladder.RIDGE, kernel="rbf", gamma=1 / 4)
    model.fit(scale.transform(features[trained]), wanted[trained] - mean)
    np.testing.assert_allclose(scores[tested], model.predict(scale.transform(features[tested])) + mean, atol=1e-4)


def test_much_is_not_the_lungs_where_a_probe_without_lungs_keeps_half_of_the_gain():
    said = verdict(ladder(made("border", NO_LUNGS, 750), made("full", EVERYTHING, 900)))
    assert (said.level, said.by) == (probe_ladder.MUCH_IS_NOT, "border")


def test_some_is_not_the_lungs_where_it_keeps_less():
    said = verdict(ladder(made("border", NO_LUNGS, 600), made("full", EVERYTHING, 900)))
    assert said.level == probe_ladder.SOME_IS_NOT


def test_nothing_is_found_where_no_probe_without_lungs_beats_the_largest_class():
    said = verdict(ladder(made("border", NO_LUNGS, 510), made("file", NO_LUNGS, 495), made("full", EVERYTHING, 900)))
    assert said.level == probe_ladder.NO_SHORTCUT


def test_a_gain_that_is_certain_but_tiny_is_not_enough():
    rungs = made("border", NO_LUNGS, 52_000, 100_000), made("full", EVERYTHING, 90_000, 100_000)
    assert rungs[0].p < 1e-6
    assert verdict(ladder(*rungs)).level == probe_ladder.NO_SHORTCUT


def test_of_many_probes_one_may_look_significant_by_chance():
    """527 of 1,000 has p 0.047: enough for one probe, not for the best of three."""
    chance, none = made("border", NO_LUNGS, 527), made("file", NO_LUNGS, 500)
    full = made("full", EVERYTHING, 600)
    assert verdict(ladder(chance, full)).level == probe_ladder.SOME_IS_NOT
    assert verdict(ladder(chance, none, none, full)).level == probe_ladder.NO_SHORTCUT


def test_greys_and_a_thumbnail_decide_nothing():
    rungs = made("histogram", GREYS, 880), made("thumbnail", COARSE, 890)
    said = verdict(ladder(made("border", NO_LUNGS, 500), *rungs, made("full", EVERYTHING, 900)))
    assert said.level == probe_ladder.NO_SHORTCUT


def test_nothing_can_be_said_where_the_full_picture_teaches_nothing():
    said = verdict(ladder(made("border", NO_LUNGS, 505), made("full", EVERYTHING, 510)))
    assert said.level == probe_ladder.INCONCLUSIVE


@pytest.mark.parametrize("holds", [NO_LUNGS, EVERYTHING])
def test_nothing_can_be_said_from_one_end_of_the_ladder_alone(holds):
    assert verdict(ladder(made("one", holds, 900))).level == probe_ladder.INCONCLUSIVE


def of_patients(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and patients of 600 images: ten of each patient, all alike, and no feature tells the class."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(60), 10)
    features = np.repeat(rng.normal(size=(60, 6)), 10, axis=0) + 0.05 * rng.normal(size=(600, 6))
    return features, np.repeat(rng.permutation(np.arange(60) % 2), 10), patients


def test_many_images_of_few_patients_are_no_more_evidence_than_the_patients():
    rungs = []
    for seed in range(40):
        features, codes, patients = of_patients(seed)
        rungs.append(climbed(features, codes, CLASSES, patients % 5, groups=patients))
    assert np.mean([rung.p <= 0.05 for rung in rungs]) <= 0.1  # 0.28 where images are counted as if they were patients
    assert np.mean([rung.accuracy.low <= 0.5 <= rung.accuracy.high for rung in rungs]) >= 0.85
    assert {rung.accuracy.n for rung in rungs} == {600}
