"""What one run is worth: measures against scikit-learn, intervals against theory, and the marks."""

import math

import numpy as np
import pandas as pd
import pytest
import tossed_coins
from made_runs import CLASSES, COURSE_SIZES, all_parts, answered, course_artefact, scored
from scipy import stats
from sklearn import metrics as sk

from covid_core.evaluation import assessment, measures, metrics, resampling
from covid_core.evaluation.assessment import assess, measured
from covid_core.evaluation.metrics import Answers, Gap

EXACT = 1e-12


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Fewer than the app draws, so that tests are quick; those that look at an interval ask for all."""
    monkeypatch.setattr(resampling, "REPLICATES", 50)
    resampling._cached.cache_clear()
    yield
    resampling._cached.cache_clear()


@pytest.fixture
def all_draws(monkeypatch, few_draws):
    monkeypatch.setattr(resampling, "REPLICATES", 2000)
    resampling._cached.cache_clear()


def drawn(seed: int = 3, tied: bool = False) -> Answers:
    table = all_parts(COURSE_SIZES, skill=1.0, seed=seed)
    if tied:
        scores = [f"score_{label}" for label in CLASSES]
        table[scores] = table[scores].round(1)
    return metrics.answers(table, "test")


def values(given: Answers) -> dict[str, float]:
    return {name: measure.value for name, measure in measured(given).overall.items()}


# Measures


@pytest.mark.parametrize("tied", [False, True])
def test_class_measures_agree_with_scikit_learn(tied):
    given = drawn(tied=tied)
    true, called = given.y_true, given.y_pred
    for k, label in enumerate(given.classes):
        found = {name: measure.value for name, measure in measured(given).per_class[label].items()}
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


def test_overall_measures_agree_with_scikit_learn():
    given = drawn()
    true, called, scores = given.y_true, given.y_pred, given.y_prob
    truth = np.eye(3)[true]
    expected = {
        "accuracy": sk.accuracy_score(true, called),
        "balanced_accuracy": sk.balanced_accuracy_score(true, called),
        "macro_specificity": np.mean([sk.recall_score(true != k, called != k) for k in range(3)]),
        "macro_ppv": sk.precision_score(true, called, average="macro"),
        "macro_npv": np.mean([sk.precision_score(true != k, called != k) for k in range(3)]),
        "macro_f1": sk.f1_score(true, called, average="macro"),
        "macro_auroc": sk.roc_auc_score(true, scores, multi_class="ovr", average="macro"),
        "macro_auprc": sk.average_precision_score(truth, scores, average="macro"),
        "matthews_correlation": sk.matthews_corrcoef(true, called),
        "log_loss": sk.log_loss(true, scores),
        "brier_score": sk.brier_score_loss(true, scores, scale_by_half=False),
    }
    found = values(given)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=EXACT)


def with_interval(found) -> list:
    """Overall measures but the calibration error, whose bootstrap is biased upwards."""
    assert math.isnan(found.overall["expected_calibration_error"].low)
    return [one for name, one in found.overall.items() if name != "expected_calibration_error"]


def test_every_measure_has_an_interval_around_it_and_its_images():
    given = drawn()
    found = measured(given)
    assert list(found.overall) == list(measures.MEASURES)
    assert all(list(of_class) == list(measures.CLASS_MEASURES) for of_class in found.per_class.values())
    for measure in [*with_interval(found), *(found.per_class["COVID"][name] for name in ("f1", "auroc", "auprc"))]:
        assert measure.low < measure.value < measure.high
        assert measure.n == given.n
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        assert 0 < found.per_class["COVID"][name].n < given.n  # of the images that it is a share of


def test_a_measure_added_to_the_table_is_in_every_answer(monkeypatch):
    row = measures.OverallMeasure("errors", "Errors", "", "", lambda draws: draws.total - draws.hits.sum(axis=0))
    monkeypatch.setitem(measures.MEASURES, "errors", row)
    given = drawn()
    assert measured(given).overall["errors"].value == (~given.right).sum()


def test_shares_drawn_once_are_the_shares_of_the_part():
    given = drawn()
    once = measures.on_draws(given)(resampling.once(given.y_true))
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        expected = [measures.share_of_class(name, given, label).value for label in given.classes]
        assert once[name][:, 0] == pytest.approx(expected, abs=EXACT)


def test_calibration_error_is_the_gap_of_each_bin_weighted_by_its_images():
    right, wrong = [0.95, 0.05], [0.05, 0.95]
    given = metrics.answers(scored(["A"] * 10, np.array([right] * 6 + [wrong] * 4), ["A", "B"]), "test")
    assert values(given)["expected_calibration_error"] == pytest.approx(0.95 - 0.6, abs=EXACT)


def test_calibration_error_does_not_cancel_between_bins():
    scores = np.array([[0.95, 0.05]] * 10 + [[0.55, 0.45]] * 10)
    given = metrics.answers(scored(["A"] * 5 + ["B"] * 5 + ["A"] * 10, scores, ["A", "B"]), "test")
    assert values(given)["expected_calibration_error"] == pytest.approx((0.45 + 0.45) / 2, abs=EXACT)


def test_auroc_counts_a_tie_as_half():
    given = metrics.answers(scored(["A", "B"], np.array([[0.5, 0.5], [0.5, 0.5]]), ["A", "B"]), "test")
    assert measured(given).per_class["A"]["auroc"].value == 0.5


def test_one_class_in_the_part_leaves_its_areas_undefined_with_the_reason():
    given = metrics.answers(scored(["A", "A"], np.array([[0.9, 0.1], [0.4, 0.6]]), ["A", "B"]), "test")
    found = measured(given)
    assert math.isnan(found.per_class["A"]["auroc"].value)
    assert found.per_class["A"]["auroc"].note == (Gap("all of class", "A"),)
    assert found.per_class["B"]["auprc"].note == (Gap("none of class", "B"),)
    assert found.overall["macro_auroc"].note == (Gap("all of class", "A"),)


def test_a_class_without_images_is_left_out_of_the_mean_and_named():
    found = measured(metrics.answers(course_artefact(), "test"))
    assert math.isnan(found.per_class["Viral Pneumonia"]["sensitivity"].value)
    assert found.overall["balanced_accuracy"].value == 0.5
    assert found.overall["balanced_accuracy"].note == (Gap("none of class", "Viral Pneumonia", left_out=True),)


def test_an_empty_part_is_undefined_everywhere():
    found = measured(metrics.answers(answered(["A", "B"], ["A", "B"]), "validation"))
    measures = [*found.overall.values(), *(one for label in found.per_class.values() for one in label.values())]
    assert all(math.isnan(measure.value) and measure.note for measure in measures)


def test_scores_that_are_not_numbers_leave_what_rests_on_them_undefined():
    table = answered(["A", "A", "B"], ["A", "A", "B"])
    table.loc[0, "score_A"] = np.nan
    found = measured(metrics.answers(table, "test")).overall
    assert [found[name].note[0].cause for name in ("log_loss", "macro_auroc")] == ["not numbers"] * 2
    assert found["balanced_accuracy"].value == 0.75


# Intervals


def test_an_interval_of_balanced_classes_is_as_wide_as_theory_says(all_draws):
    """With equal classes, balanced accuracy is accuracy, whose standard error is known."""
    found = measured(drawn()).overall
    share, n = found["accuracy"].value, found["accuracy"].n
    half = 1.96 * math.sqrt(share * (1 - share) / n)
    measure = found["balanced_accuracy"]
    assert (measure.high - measure.low) / 2 == pytest.approx(half, rel=0.06)


def test_an_auroc_interval_agrees_with_the_one_by_hanley_and_mcneil(all_draws):
    """Their standard error of an area A of P and N images, with Q1 = A / (2 - A) and Q2 = 2 A^2 / (1 + A)."""
    given = drawn()
    measure = measured(given).per_class["COVID"]["auroc"]
    area, images = measure.value, int((given.y_true == 0).sum())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    others = given.n - images
    variance = area * (1 - area) + (images - 1) * (q1 - area**2) + (others - 1) * (q2 - area**2)
    assert (measure.high - measure.low) / 2 == pytest.approx(1.96 * math.sqrt(variance / images / others), rel=0.15)


def test_every_defined_measure_lies_within_its_interval(all_draws):
    found = measured(drawn())
    for measure in [*with_interval(found), *(one for label in found.per_class.values() for one in label.values())]:
        assert measure.low <= measure.value <= measure.high


def test_the_same_images_give_the_same_interval_in_any_order():
    table = all_parts(COURSE_SIZES, skill=1.0)
    one, other = assess(table), assess(table.sample(frac=1, random_state=1))
    assert one.tested.overall == other.tested.overall


def test_a_mean_of_areas_is_drawn_on_the_same_images_as_each_of_them(all_draws):
    """Of two classes, both areas are one and the same on every draw, so their mean has the same interval."""
    table = all_parts({"train": 3, "validation": 3, "test": 200}, skill=1.0, classes=("A", "B"))
    found = measured(metrics.answers(table, "test"))
    one, other = (found.per_class[label]["auroc"] for label in "AB")
    mean = found.overall["macro_auroc"]
    assert (mean.low, mean.high) == pytest.approx((one.low, one.high), abs=1e-6)
    assert (mean.low, mean.high) == pytest.approx((other.low, other.high), abs=1e-6)


def test_images_that_come_in_fives_have_intervals_wider_by_the_root_of_five(all_draws):
    """Five copies of each image tell as much as one: drawn as groups, they must not look like five times as many."""
    once = all_parts({"train": 3, "validation": 3, "test": 300}, skill=1.0)
    copies = [once.assign(image_id=once["image_id"] + f"-{i}") for i in range(5)]
    table = pd.concat(copies, ignore_index=True)
    groups = pd.Series(table["image_id"].str.rsplit("-", n=1).str[0].to_numpy(), index=table["image_id"])

    def width(found: assessment.Assessment) -> float:
        measure = found.tested.overall["macro_f1"]
        return measure.high - measure.low

    alone, naive, together = assess(once), assess(table), assess(table, groups=groups)
    assert width(naive) == pytest.approx(width(alone) / math.sqrt(5), rel=0.1)
    assert width(together) == pytest.approx(width(alone), rel=0.1)


def test_groups_of_one_image_each_are_no_groups():
    table = all_parts(COURSE_SIZES, skill=1.0)
    assert assess(table, groups=pd.Series(table["image_id"].to_numpy(), index=table["image_id"])).groups is None


def test_images_that_stand_alone_are_tested_by_their_counts():
    table = all_parts(COURSE_SIZES, skill=1.0)
    found = assess(table, groups=pd.Series(table["image_id"].to_numpy(), index=table["image_id"]), intervals=False)
    hits = {part: round(measure.value * measure.n) for part, measure in found.accuracy.items()}
    largest = found.majority["test"].value
    assert found.p_majority == assessment.at_least_by_chance(hits["test"], 646, largest)
    assert found.p_parts == assessment.unlike_by_chance(hits["validation"], 645, hits["test"], 646)
    assert found.accuracy["test"] == found.tested.overall["accuracy"] == metrics.wilson(hits["test"], 646)


def test_forty_patients_of_ten_images_give_no_more_false_alarms_than_the_level_says():
    tossed_coins.no_more_false_alarms_than_the_level_says(trials=100)


# Marks


def test_the_course_artefact_is_89_63_per_cent_and_marked_twice():
    found = assess(course_artefact())
    assert f"{100 * found.test.value:.2f}" == "89.63"
    assert f"{100 * found.validation.value:.2f}" == "89.77"
    assert assessment.marks(found) == ["one class", "not better"]


def test_two_images_above_the_majority_class_do_not_beat_it():
    table = course_artefact()
    normal = table.index[(table["part"] == "test") & (table["label"] == "Normal")][:2]
    table.loc[normal, ["score_COVID", "score_Normal"]] = [0.15, 0.8]
    found = assess(table)
    assert f"{100 * found.test.value:.2f}" == "89.94"
    assert assessment.marks(found) == ["not better"]


def test_a_run_well_above_the_majority_class_has_no_marks():
    assert assessment.marks(assess(all_parts(COURSE_SIZES, skill=3))) == []


def test_a_loss_that_is_not_a_number_is_marked_first():
    marks = assessment.marks(assess(course_artefact()), loss_is_a_number=False)
    assert marks[0] == "loss not a number"


def test_scores_that_are_not_numbers_are_marked():
    table = all_parts(COURSE_SIZES, skill=3)
    table.loc[0, "score_COVID"] = np.nan
    assert assessment.marks(assess(table)) == ["no answer"]


def test_a_test_part_far_below_validation_is_marked():
    labels = ["A", "B"] * 100
    good, bad = answered(labels, labels, "validation"), answered(labels, ["A", "B", "B", "A"] * 25 + labels[:100])
    assert assessment.marks(assess(pd.concat([good, bad]))) == ["parts disagree"]


@pytest.mark.parametrize(
    ("hits", "total", "chance"), [(0, 5, 0.3), (3, 5, 0.3), (581, 646, 579 / 646), (646, 646, 0.5)]
)
def test_one_sided_binomial_agrees_with_scipy(hits, total, chance):
    expected = stats.binomtest(hits, total, chance, alternative="greater").pvalue
    assert assessment.at_least_by_chance(hits, total, chance) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "cells", [(90, 100, 80, 100), (5, 5, 0, 7), (600, 645, 560, 646), (3, 3, 3, 3), (10, 20, 5, 10)]
)
def test_fishers_exact_test_agrees_with_scipy(cells):
    hits, total, other_hits, other_total = cells
    expected = stats.fisher_exact([[hits, total - hits], [other_hits, other_total - other_hits]]).pvalue
    assert assessment.unlike_by_chance(*cells) == pytest.approx(expected, rel=1e-9)


def test_parts_without_images_are_not_compared():
    assert math.isnan(assessment.unlike_by_chance(0, 0, 5, 9))
