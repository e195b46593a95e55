"""Scores as probabilities: reliability, temperature, thresholds chosen on validation, and prevalence."""

import math

import numpy as np
import pandas as pd
import pytest
from made_runs import all_parts, answered, scored
from scipy import optimize
from sklearn.metrics import log_loss

from covid_core.errors import DataError
from covid_core.evaluation import calibration, metrics
from covid_core.evaluation.metrics import wilson

CLASSES = ("A", "B", "C")


def honest(seed: int, images: int, part: str, sharpened: float = 1.0) -> pd.DataFrame:
    """Images whose labels are drawn from the scores, which are then made ``sharpened`` times too sure."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(images, 3))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = [CLASSES[rng.choice(3, p=row)] for row in scores]
    powers = np.exp(sharpened * logits)
    return scored(labels, powers / powers.sum(axis=1, keepdims=True), CLASSES, part)


def both(sharpened: float, images: int = 4000) -> pd.DataFrame:
    return pd.concat(
        [honest(0, images, "validation", sharpened), honest(1, images, "test", sharpened)], ignore_index=True
    )


@pytest.mark.parametrize("sharpened", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_scores_too_sure(sharpened):
    assert calibration.fitted_temperature(both(sharpened)) == pytest.approx(sharpened, rel=0.06)


def test_the_temperature_is_the_one_of_least_log_loss():
    table = both(2.0, images=300)
    validation = table[table["part"] == "validation"]

    def loss(temperature: float) -> float:
        scores = calibration.tempered(validation, temperature)[[f"score_{label}" for label in CLASSES]]
        return log_loss(validation["label"], scores)

    expected = optimize.minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-7}).x
    assert calibration.fitted_temperature(table) == pytest.approx(expected, abs=1e-4)


def test_tempered_scores_change_no_answer():
    table = both(3.0)
    before, after = (metrics.answers(one, "test").y_pred for one in (table, calibration.tempered(table, 3.0)))
    assert (before == after).all()


def test_a_temperature_of_one_leaves_the_scores():
    table = both(1.0)
    columns = [f"score_{label}" for label in CLASSES]
    np.testing.assert_allclose(calibration.tempered(table, 1.0)[columns], table[columns], atol=1e-12)


def test_calibration_says_what_the_temperature_brings_on_test():
    found = calibration.calibrate(both(3.0))
    assert found.images == 4000
    assert found.expected_calibration_error_after < 0.03 < found.expected_calibration_error_before
    assert found.log_loss_after < found.log_loss_before


def test_without_validation_images_there_is_no_temperature():
    with pytest.raises(DataError, match="validation images"):
        calibration.fitted_temperature(honest(0, 20, "test"))


@pytest.mark.parametrize("skill", [50.0, -50.0], ids=["all right", "all wrong"])
def test_no_temperature_where_the_loss_is_least_beyond_the_bounds(skill):
    """Images that are all answered rightly would become certain, those that are all wrong a coin."""
    found = calibration.calibrate(all_parts({"train": 3, "validation": 30, "test": 30}, skill))
    assert not found.is_defined
    assert found.note.startswith("No temperature fits the 30 validation images")


def test_a_calibration_without_test_images_has_a_temperature_and_no_figures():
    found = calibration.calibrate(honest(0, 300, "validation", 2.0))
    assert found.is_defined
    assert math.isnan(found.log_loss_after)


def test_bins_hold_every_image_once_with_the_share_that_was_right():
    given = metrics.answers(honest(0, 500, "test"), "test")
    bins = calibration.reliability(given)
    assert sum(one.right.n for one in bins) == 500
    for one in bins:
        assert one.low < one.mean_score <= one.high
    assert sum(one.right.value * one.right.n for one in bins) == pytest.approx(given.right.sum())


def test_a_score_on_the_edge_of_a_bin_belongs_below():
    given = metrics.answers(scored(["A"], np.array([[0.8, 0.2]]), ["A", "B"]), "test")
    (one,) = calibration.reliability(given)
    assert (one.low, one.high) == pytest.approx((11 / 15, 12 / 15))


def test_a_image_without_an_answer_is_in_no_bin():
    table = answered(["A", "B"], ["A", "B"])
    table.loc[0, "score_A"] = np.nan
    assert sum(one.right.n for one in calibration.reliability(metrics.answers(table, "test"))) == 1


@pytest.mark.parametrize("aim", ["sensitivity", "specificity"])
def test_a_threshold_reaches_its_aim_on_validation_and_one_step_further_does_not(aim):
    table = both(1.0, images=300)
    point = calibration.operating_point(table, "A", aim, 0.9)
    assert point.validation[aim].value >= 0.9
    scores = np.sort(table.loc[table["part"] == "validation", "score_A"].unique())
    place = int(np.searchsorted(scores, point.threshold))
    further = scores[place + (1 if aim == "sensitivity" else -1)]
    assert calibration.at(metrics.answers(table, "validation"), "A", further)[aim].value < 0.9


def test_the_test_part_has_no_say_in_the_threshold():
    table = both(1.0, images=300)
    other = table.assign(label=table["label"].where(table["part"] == "validation", "B"))
    one, two = (calibration.operating_point(given, "A", "sensitivity", 0.9) for given in (table, other))
    assert one.threshold == two.threshold


def test_no_threshold_without_images_of_the_class():
    table = pd.concat([answered(["B", "C"], ["B", "C"], "validation"), answered(["A", "B"], ["A", "B"])])
    with pytest.raises(DataError, match="No threshold for A"):
        calibration.operating_point(table.fillna(0.1), "A", "sensitivity", 0.9)


def test_ppv_at_a_prevalence_is_bayes_theorem():
    found = calibration.at_prevalence(wilson(90, 100), wilson(80, 100), 0.02)
    assert found["ppv"].value == pytest.approx(0.9 * 0.02 / (0.9 * 0.02 + 0.2 * 0.98))
    assert found["npv"].value == pytest.approx(0.8 * 0.98 / (0.8 * 0.98 + 0.1 * 0.02))
    assert found["ppv"].low < found["ppv"].value < found["ppv"].high


def test_at_the_parts_own_prevalence_ppv_is_the_parts_own():
    given = metrics.answers(honest(0, 500, "test"), "test")
    point = calibration.at(given, "A", 0.5)
    there = calibration.at_prevalence(point["sensitivity"], point["specificity"], float((given.y_true == 0).mean()))
    assert there["ppv"].value == pytest.approx(point["ppv"].value)
    assert there["npv"].value == pytest.approx(point["npv"].value)


def test_where_nothing_is_called_ppv_is_undefined():
    assert math.isnan(calibration.at_prevalence(wilson(0, 10), wilson(10, 10), 0.1)["ppv"].value)
