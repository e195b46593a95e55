"""A run's temperature: stored, or computed from its predictions; fitted on the half that chose nothing else."""

import math

import numpy as np
import pytest
from made_runs import COURSE_SIZES, all_parts, made_run

from covid_core import files
from covid_core.data.split import CALIBRATION, SELECTION, halves, validation_for
from covid_core.errors import RunDamaged
from covid_core.evaluation import calibration, comparison
from covid_core.evaluation.calibration import Calibration
from covid_core.inference.network import softmax
from covid_core.reports import run_text
from covid_core.runs import candidates, store, temperature_scaling

TABLE = all_parts(COURSE_SIZES, skill=2)
SMALL = all_parts({"train": 30, "validation": 90, "test": 30}, skill=1)
STORED = {
    "temperature": 1.5,
    "images": 322,
    "log_loss_before": 0.5,
    "log_loss_after": 0.4,
    "expected_calibration_error_before": 0.1,
    "expected_calibration_error_after": 0.05,
    "note": "",
}


def sharpened(half: str, times: float):
    """TABLE with the logits of one half of its validation images ``times`` as large."""
    split = TABLE.assign(group=TABLE["image_id"])
    split["half"] = halves(split, seed=0)
    rows = validation_for(split, half)
    logits = [name for name in TABLE if name.startswith("logit_")]
    changed = TABLE.copy()
    changed.loc[rows, logits] *= times
    changed.loc[rows, [name.replace("logit", "score") for name in logits]] = softmax(
        changed.loc[rows, logits].to_numpy()
    )
    return changed


def test_a_stored_calibration_counts_more_than_the_predictions(workspace):
    run = made_run(workspace, TABLE, result={"calibration": STORED})
    assert temperature_scaling.of(run) == Calibration(**STORED)


def test_a_run_from_before_is_calibrated_by_its_predictions(workspace):
    found = temperature_scaling.of(made_run(workspace, TABLE))
    assert found == calibration.calibrate(TABLE)
    assert found.images == COURSE_SIZES["validation"]


def test_images_that_chose_the_epoch_have_no_say_in_the_temperature(workspace):
    plain, other = (
        temperature_scaling.of(made_run(workspace, table, halved=True)) for table in (TABLE, sharpened(SELECTION, 5))
    )
    assert plain.temperature == other.temperature
    assert plain.images == 322


def test_images_that_calibrate_have_it_all(workspace):
    plain, other = (
        temperature_scaling.of(made_run(workspace, table, halved=True)) for table in (TABLE, sharpened(CALIBRATION, 5))
    )
    assert other.temperature == pytest.approx(5 * plain.temperature, rel=1e-4)


def test_thresholds_are_chosen_on_the_images_that_calibrate(workspace):
    run = made_run(workspace, TABLE, halved=True)
    point = calibration.operating_point(temperature_scaling.table(run), "COVID", "sensitivity", 0.9)
    assert point.validation["sensitivity"].n + point.validation["specificity"].n == 322
    assert point.test["sensitivity"].n + point.test["specificity"].n == COURSE_SIZES["test"]


def test_what_is_published_is_what_readers_would_compute(workspace):
    run = made_run(workspace, TABLE, halved=True)
    assert temperature_scaling.fitted(TABLE, run.split()) == temperature_scaling.of(run)


@pytest.mark.parametrize(
    "table", [TABLE, all_parts({"train": 3, "validation": 0, "test": 3}, 1)], ids=["fitted", "not"]
)
def test_a_calibration_is_kept_in_json_and_read_again(workspace, tmp_path, table):
    found = calibration.calibrate(table)
    files.write_json(tmp_path / "kept.json", temperature_scaling.as_record(found))
    run = made_run(workspace, table, result={"calibration": files.read_json(tmp_path / "kept.json")})
    np.testing.assert_equal(vars(temperature_scaling.of(run)), vars(found))


def test_a_run_that_cannot_be_calibrated_says_why(workspace):
    found = temperature_scaling.of(made_run(workspace, all_parts({"train": 9, "validation": 0, "test": 9}, 1)))
    assert not found.is_defined
    assert found.note == "A temperature needs validation images with finite logits."


def test_a_run_whose_predictions_are_gone_says_so(workspace):
    run = made_run(workspace, TABLE)
    run.predictions_path.unlink()
    assert "missing or damaged" in temperature_scaling.of(run).note


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"temperature": -1.0}, {"temperature": "warm"}, {"log_loss_after": "low"}, {"more": 1}],
    ids=str,
)
def test_a_stored_calibration_that_cannot_be_is_refused(workspace, change):
    run = made_run(workspace, TABLE, "Torn", result={"calibration": {**STORED, **change}})
    with pytest.raises(RunDamaged, match="Torn: the calibration in its result is damaged"):
        temperature_scaling.of(run)


@pytest.mark.parametrize("stored", [[1.5], 1.5, "1.5"], ids=str)
def test_a_stored_calibration_of_another_shape_is_refused(workspace, stored):
    with pytest.raises(RunDamaged):
        temperature_scaling.of(made_run(workspace, TABLE, result={"calibration": stored}))


def test_the_images_are_told_with_what_else_they_chose(workspace):
    def words(table, **made) -> str:
        run = made_run(workspace, table, **made)
        return run_text.calibration_images(run, temperature_scaling.of(run))

    assert words(TABLE, halved=True) == "322 validation images, which chose nothing else"
    assert words(TABLE).endswith("645 validation images, which also chose the epoch (they were not halved)")
    assert "which also chose between runs" in words(SMALL, keep="last", patience=0)
    assert "which also chose the epoch" in words(SMALL, keep="last", patience=3)
    assert words(SMALL) == "90 validation images, which also chose the epoch (validation has fewer than 200 images)"


def test_the_record_of_a_run_says_whether_it_halved(workspace):
    assert made_run(workspace, TABLE, halved=True).is_halved
    assert not made_run(workspace, SMALL, halved=True).is_halved
    assert not made_run(workspace, TABLE).is_halved


def test_a_run_from_before_halves_opens_as_it_was(workspace):
    made = made_run(workspace, TABLE)
    content = files.read_json(made.path / "spec.json")
    del content["halved"]
    files.write_json(made.path / "spec.json", content)
    run = store.open_run(workspace, made.id)
    assert not run.is_halved
    assert candidates.assess(run).selection == candidates.assess(run).validation


def test_images_that_calibrate_do_not_choose_between_runs(workspace):
    run = made_run(workspace, TABLE, halved=True)
    found = candidates.assess(run)
    assert (found.validation.n, found.selection.n) == (645, 323)
    chosen = validation_for(run.split(), SELECTION)
    scores = TABLE.loc[chosen, [f"score_{label}" for label in run.classes]].to_numpy()
    right = np.asarray(run.classes)[scores.argmax(axis=1)] == TABLE.loc[chosen, "label"]
    assert found.selection.value == right.mean()


def test_the_choice_between_runs_is_by_the_half_that_chooses(workspace):
    """Wrong answers in the calibration half lower the validation accuracy and not the choice."""
    better, worse = sharpened(CALIBRATION, -1), all_parts(COURSE_SIZES, skill=1.5, seed=1)
    runs = [candidates.candidate(made_run(workspace, table, halved=True)) for table in (better, worse)]
    assert runs[0].assessment.validation.value < runs[1].assessment.validation.value
    assert comparison.chosen_by_validation(runs).id == runs[0].id


def test_a_run_from_before_is_chosen_against_a_halved_one_on_all_validation_images(workspace):
    """Better in the half that chooses, worse in all: an old run is known on all images only."""
    better, worse = sharpened(CALIBRATION, -1), all_parts(COURSE_SIZES, skill=1.5, seed=1)
    runs = [
        candidates.candidate(made_run(workspace, better, halved=True)),
        candidates.candidate(made_run(workspace, worse)),
    ]
    assert comparison.chosen_by_validation(runs).id == runs[1].id
    assert [found.n for found in comparison.to_choose_by(runs)] == [645, 645]


def test_selection_accuracy_of_a_run_from_before_is_that_of_all_validation_images(workspace):
    run = made_run(workspace, SMALL, result={"accuracy": {"validation": 0.75}})
    assert run.selection_accuracy == 0.75
    assert made_run(workspace, SMALL, result={"selection_accuracy": 0.5}).selection_accuracy == 0.5
    assert math.isnan(made_run(workspace, SMALL).selection_accuracy)
