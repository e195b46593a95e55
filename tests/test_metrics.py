"""Measures of one prediction table, against values worked out by hand and against scikit-learn and SciPy."""

import math

import numpy as np
import pandas as pd
import pytest
from made_runs import CLASSES, COURSE_SIZES, all_parts, answered, course_artefact, scored
from scipy import stats
from sklearn import metrics as sk

from covid_core.errors import DataError
from covid_core.evaluation import metrics

EXACT = 1e-12
# six films: two A both right, three B of which one is called A, one C called B
SIX = answered(["A", "A", "B", "B", "B", "C"], ["A", "A", "B", "B", "A", "B"])


def six() -> metrics.Answers:
    return metrics.answers(SIX.assign(**{"score_C": 0.05, "logit_C": -3.0}), "test")


def drawn(seed: int = 3, tied: bool = False) -> metrics.Answers:
    table = all_parts(COURSE_SIZES, skill=1.0, seed=seed)
    if tied:
        scores = [f"score_{label}" for label in CLASSES]
        table[scores] = table[scores].round(1)
    return metrics.answers(table, "test")


def test_accuracy_is_the_share_of_right_answers_with_its_films():
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


def test_wilson_of_no_films_is_undefined_with_its_reason():
    measure = metrics.wilson(0, 0)
    assert math.isnan(measure.value)
    assert measure.note == metrics.NO_FILMS


def test_confusion_counts_labels_in_rows_and_answers_in_columns():
    expected = pd.DataFrame([[2, 0, 0], [1, 2, 0], [0, 1, 0]], index=list("ABC"), columns=list("ABC"))
    pd.testing.assert_frame_equal(metrics.confusion(six()), expected, check_names=False)


@pytest.mark.parametrize(
    ("measure", "label", "expected"),
    [
        (metrics.sensitivity, "B", 2 / 3),
        (metrics.specificity, "A", 3 / 4),
        (metrics.ppv, "A", 2 / 3),
        (metrics.npv, "B", 2 / 3),
        (metrics.f1, "B", 2 * 2 / (2 * 2 + 1 + 1)),
        (metrics.sensitivity, "C", 0.0),
        (metrics.f1, "C", 0.0),
    ],
)
def test_class_measures_of_six_films_are_those_worked_out_by_hand(measure, label, expected):
    assert measure(six(), label).value == pytest.approx(expected, abs=EXACT)


def test_class_measures_agree_with_scikit_learn():
    given = drawn()
    true, called = given.y_true, given.y_pred
    for k, label in enumerate(given.classes):
        found = {name: measure.value for name, measure in metrics.per_class(given)[label].items()}
        is_label = (true == k).astype(int)
        expected = {
            "sensitivity": sk.recall_score(is_label, called == k),
            "specificity": sk.recall_score(1 - is_label, called != k),
            "ppv": sk.precision_score(is_label, called == k),
            "npv": sk.precision_score(1 - is_label, called != k),
            "f1": sk.f1_score(is_label, called == k),
            "auroc": sk.roc_auc_score(is_label, given.y_prob[:, k]),
            "auprc": sk.average_precision_score(is_label, given.y_prob[:, k]),
        }
        assert found == pytest.approx(expected, abs=EXACT)


def test_areas_agree_with_scikit_learn_when_scores_are_tied():
    given = drawn(tied=True)
    for k, label in enumerate(given.classes):
        is_label, score = given.y_true == k, given.y_prob[:, k]
        assert metrics.auroc(given, label).value == pytest.approx(sk.roc_auc_score(is_label, score), abs=EXACT)
        expected = sk.average_precision_score(is_label, score)
        assert metrics.auprc(given, label).value == pytest.approx(expected, abs=EXACT)


def test_means_over_classes_agree_with_scikit_learn():
    given = drawn()
    expected = (
        sk.balanced_accuracy_score(given.y_true, given.y_pred),
        sk.f1_score(given.y_true, given.y_pred, average="macro"),
        sk.roc_auc_score(given.y_true, given.y_prob, multi_class="ovr", average="macro"),
    )
    found = tuple(of(given).value for of in (metrics.balanced_accuracy, metrics.macro_f1, metrics.macro_auroc))
    assert found == pytest.approx(expected, abs=EXACT)


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


def test_auroc_counts_a_tie_as_half():
    given = metrics.answers(scored(["A", "B"], np.array([[0.5, 0.5], [0.5, 0.5]]), ["A", "B"]), "test")
    assert metrics.auroc(given, "A").value == 0.5


def test_one_class_in_the_part_leaves_its_areas_undefined_with_the_reason():
    given = metrics.answers(scored(["A", "A"], np.array([[0.9, 0.1], [0.4, 0.6]]), ["A", "B"]), "test")
    assert math.isnan(metrics.auroc(given, "A").value)
    assert metrics.auroc(given, "A").note == "every film of this part is A"
    assert metrics.auprc(given, "B").note == "no film of this part is B"
    assert metrics.macro_auroc(given).note == "every film of this part is A"
    assert metrics.roc_points(given, "A").empty


def test_ppv_of_a_class_that_was_never_answered_is_undefined_not_zero():
    measure = metrics.ppv(six(), "C")
    assert math.isnan(measure.value)
    assert measure.note == "no film was called C"


def test_sensitivity_of_a_class_without_films_is_undefined_and_left_out_of_the_mean():
    given = metrics.answers(course_artefact(), "test")
    assert math.isnan(metrics.sensitivity(given, "Viral Pneumonia").value)
    balanced = metrics.balanced_accuracy(given)
    assert balanced.value == 0.5
    assert balanced.note == "Viral Pneumonia is left out: no film of this part is Viral Pneumonia"


def test_an_empty_part_is_undefined_everywhere():
    given = metrics.answers(SIX, "validation")
    measures = [metrics.accuracy(given), metrics.balanced_accuracy(given), metrics.macro_auroc(given)]
    measures += [measure for label in metrics.per_class(given).values() for measure in label.values()]
    assert all(math.isnan(measure.value) and measure.note for measure in measures)


def test_a_film_whose_scores_are_not_numbers_has_no_answer_and_is_not_right():
    table = answered(["A", "A", "B"], ["A", "A", "B"])
    table.loc[0, "score_A"] = np.nan
    given = metrics.answers(table, "test")
    assert list(metrics.predicted_labels(given)) == ["", "A", "B"]
    assert metrics.accuracy(given).value == 2 / 3
    assert metrics.sensitivity(given, "A").value == 1 / 2
    assert metrics.auroc(given, "A").note == metrics.NOT_A_NUMBER


def test_equal_scores_answer_the_first_class():
    given = metrics.answers(scored(["B"], np.array([[0.5, 0.5]]), ["A", "B"]), "test")
    assert list(metrics.predicted_labels(given)) == ["A"]


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
