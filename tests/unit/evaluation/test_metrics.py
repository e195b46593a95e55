"""Measures of one prediction table, against values worked out by hand and against scikit-learn and SciPy."""

import math

import numpy as np
import pandas as pd
import pytest
from made_runs import CLASSES, COURSE_SIZES, all_parts, answered, scored
from scipy import stats
from sklearn import metrics as sk

from covid_core.errors import DataError
from covid_core.evaluation import metrics
from covid_core.evaluation.measures import share_of_class

EXACT = 1e-12
# six images: two A both right, three B of which one is called A, one C called B
SIX = answered(["A", "A", "B", "B", "B", "C"], ["A", "A", "B", "B", "A", "B"])


def six() -> metrics.Answers:
    return metrics.answers(SIX.assign(**{"score_C": 0.05, "logit_C": -3.0}), "test")


def drawn(seed: int = 3, tied: bool = False) -> metrics.Answers:
    table = all_parts(COURSE_SIZES, skill=1.0, seed=seed)
    if tied:
        scores = [f"score_{label}" for label in CLASSES]
        table[scores] = table[scores].round(1)
    return metrics.answers(table, "test")


def test_accuracy_is_the_share_of_right_answers_with_its_images():
    measure = metrics.accuracy(six())
    assert (measure.value, measure.n) == (4 / 6, 6)


@pytest.mark.parametrize(
    ("hits", "total"), [(0, 10), (1, 10), (5, 10), (10, 10), (579, 646), (1, 1), (99_999, 100_000)]
)
def test_wilson_interval_agrees_with_scipy(hits, total):
    measure = metrics.wilson(hits, total)
    expected = stats.binomtest(hits, total).proportion_ci(method="wilson")
    assert measure.low == pytest.approx(expected.low, abs=EXACT)
    assert measure.high == pytest.approx(expected.high, abs=EXACT)


def test_wilson_of_no_images_is_undefined_with_its_reason():
    measure = metrics.wilson(0, 0)
    assert math.isnan(measure.value)
    assert measure.note == (metrics.NO_IMAGES,)


def test_confusion_counts_labels_in_rows_and_answers_in_columns():
    expected = pd.DataFrame([[2, 0, 0], [1, 2, 0], [0, 1, 0]], index=list("ABC"), columns=list("ABC"))
    pd.testing.assert_frame_equal(metrics.confusion(six()), expected, check_names=False)


@pytest.mark.parametrize(
    ("measure", "label", "expected"),
    [
        ("sensitivity", "B", 2 / 3),
        ("specificity", "A", 3 / 4),
        ("ppv", "A", 2 / 3),
        ("npv", "B", 2 / 3),
        ("sensitivity", "C", 0.0),
    ],
)
def test_class_measures_of_six_images_are_those_worked_out_by_hand(measure, label, expected):
    assert share_of_class(measure, six(), label).value == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("tied", [False, True])
def test_roc_points_are_those_of_scikit_learn(tied):
    given = drawn(tied=tied)
    points = metrics.roc_points(given, "COVID")
    false_alarms, hits, thresholds = sk.roc_curve(given.y_true == 0, given.y_prob[:, 0], drop_intermediate=False)
    np.testing.assert_allclose(points["false_positive_rate"], false_alarms, atol=EXACT)
    np.testing.assert_allclose(points["sensitivity"], hits, atol=EXACT)
    np.testing.assert_allclose(points["threshold"], thresholds, atol=EXACT)


@pytest.mark.parametrize("tied", [False, True])
def test_precision_recall_points_are_those_of_scikit_learn_without_its_made_up_first_one(tied):
    given = drawn(tied=tied)
    points = metrics.precision_recall_points(given, "COVID")
    precision, recall, thresholds = sk.precision_recall_curve(given.y_true == 0, given.y_prob[:, 0])
    np.testing.assert_allclose(points["ppv"][::-1], precision[:-1], atol=EXACT)
    np.testing.assert_allclose(points["sensitivity"][::-1], recall[:-1], atol=EXACT)
    np.testing.assert_allclose(points["threshold"][::-1], thresholds, atol=EXACT)


def test_one_class_in_the_part_leaves_it_without_curves():
    given = metrics.answers(scored(["A", "A"], np.array([[0.9, 0.1], [0.4, 0.6]]), ["A", "B"]), "test")
    assert metrics.no_curve_because(given, "A") == metrics.Gap("all of class", "A")
    assert metrics.roc_points(given, "A").empty


def test_ppv_of_a_class_that_was_never_answered_is_undefined_not_zero():
    measure = share_of_class("ppv", six(), "C")
    assert math.isnan(measure.value)
    assert measure.note == (metrics.Gap("none predicted", "C"),)


def test_a_image_whose_scores_are_not_numbers_has_no_answer_and_is_not_right():
    table = answered(["A", "A", "B"], ["A", "A", "B"])
    table.loc[0, "score_A"] = np.nan
    given = metrics.answers(table, "test")
    assert list(given.y_pred) == [-1, 0, 1]
    assert metrics.accuracy(given).value == 2 / 3
    assert share_of_class("sensitivity", given, "A").value == 1 / 2
    assert metrics.no_curve_because(given, "A") == metrics.NOT_NUMBERS


def test_equal_scores_answer_the_first_class():
    given = metrics.answers(scored(["B"], np.array([[0.5, 0.5]]), ["A", "B"]), "test")
    assert list(given.y_pred) == [0]


def test_classes_keep_the_order_of_the_score_columns():
    assert metrics.classes_of(scored(["x"], np.array([[0.2, 0.8]]), ["x", "a_b"])) == ("x", "a_b")


def test_a_label_without_scores_is_refused_by_name():
    table = answered(["A", "B"], ["A", "B"])
    table.loc[1, "label"] = "Lung_Opacity"
    with pytest.raises(DataError, match="'Lung_Opacity'"):
        metrics.answers(table, "test")


@pytest.mark.parametrize("lost", ["image_id", "part", "label"])
def test_a_table_that_lacks_a_column_is_refused(lost):
    with pytest.raises(DataError, match="lack a column"):
        metrics.answers(SIX.drop(columns=lost), "test")


# Images that belong together


def some_answers(seed: int, images: int = 300) -> metrics.Answers:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(3), images)
    scores[::50] = np.nan
    return metrics.Answers(("A", "B", "C"), np.arange(images), rng.integers(0, 3, images), scores)


@pytest.mark.parametrize("share", ["sensitivity", "specificity", "ppv", "npv"])
def test_a_share_of_images_that_stand_alone_is_wilsons_of_their_counts(share):
    given = some_answers(1)
    table = pd.DataFrame(given.counts)
    hits, others, called = table[1][1], int((given.y_true != 1).sum()), int(table[1].sum())
    missed, called_other = int(table.loc[1].sum() - hits), int(given.answered.sum()) - called
    counts = {
        "sensitivity": (hits, int((given.y_true == 1).sum())),
        "specificity": (others - called + hits, others),
        "ppv": (hits, called),
        "npv": (called_other - missed, called_other),
    }
    found = share_of_class(share, given, "B")
    assert found == share_of_class(share, given, "B", np.arange(given.n)) == metrics.wilson(*counts[share])


def test_accuracy_of_images_that_stand_alone_is_wilsons_of_their_counts():
    given = some_answers(2)
    expected = metrics.wilson(int(given.right.sum()), given.n)
    assert metrics.accuracy(given) == metrics.accuracy(given, np.arange(given.n)) == expected


def test_ten_copies_of_each_image_have_the_intervals_of_the_images():
    once = some_answers(3)
    copies = metrics.Answers(once.classes, np.arange(3000), once.y_true.repeat(10), once.y_prob.repeat(10, axis=0))
    groups = np.repeat(np.arange(300), 10)
    for of in (metrics.accuracy, lambda *given: share_of_class("sensitivity", given[0], "A", *given[1:])):
        alone, together = of(once), of(copies, groups)
        assert together.value == alone.value and together.n == 10 * alone.n
        assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=0.001)


def test_a_difference_of_images_that_stand_alone_has_no_design_effect():
    rng = np.random.default_rng(5)
    assert metrics.design_effect_of_difference(rng.random(90) < 0.7, np.arange(90) < 30, np.arange(90)) == 1


def test_ten_copies_of_each_image_count_for_one_on_one_side_and_for_ten_on_both():
    rng, groups = np.random.default_rng(6), np.repeat(np.arange(100), 10)
    right = (rng.random(100) < 0.7)[groups]
    assert metrics.design_effect_of_difference(right, groups < 40, groups) == pytest.approx(10, rel=0.02)
    assert metrics.design_effect_of_difference(right, np.arange(1000) % 2 == 0, groups) == 1


def test_shares_with_as_many_hits_are_equal_whatever_they_count_for():
    """Runs level at the top must be seen to be level."""
    rng = np.random.default_rng(4)
    right = np.arange(330) < 217
    found = {metrics.wilson_of_groups(rng.permutation(right), np.arange(330) // 7)[0].value for _ in range(50)}
    assert found == {217 / 330}
