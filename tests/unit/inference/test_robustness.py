"""The robustness curve: changes of stated amounts, a made model that reads one corner, and a trained run's own."""

import json

import numpy as np
import pandas as pd
import pytest
from made_audits import EACH, IN_CORNER, images, keep_curve, predictor
from made_runs import all_parts, made_run

from covid_core.commands import main
from covid_core.errors import RunDamaged, Stopped
from covid_core.evaluation import metrics
from covid_core.inference import robustness
from covid_core.inference.robustness import CHANGES
from covid_core.reports import run_text
from covid_core.runs import store

SIZES = {"train": 6, "validation": 3, "test": 3}
GREY = np.full((100, 100), 100, np.uint8)
DOT = np.pad(np.full((4, 4), 255, np.uint8), 48)  # white in the middle of 100 x 100
MEASURED = {  # what a change does to an image, as a figure of the changed one, and what an amount should give
    "noise": (GREY, lambda image: image.std(), lambda amount: 2.55 * amount, 0.15),
    "exposure": (GREY, lambda image: abs(image.mean() - 100), lambda amount: 2.55 * amount, 0.05),
    "crop": (DOT, lambda image: (image > 127).sum() ** 0.5, lambda amount: 4 / (1 - amount / 50), 0.2),
    "shift": (DOT, lambda image: abs(np.argwhere(image > 127) - 49.5).mean(), lambda amount: amount, 0.15),
}


def curve(progress=lambda share, message: None, groups=None):
    made = images()
    labels = np.array(["ill", "well"])[made.labels]
    table = pd.DataFrame({"image_id": [f"i-{n}" for n in range(2 * EACH)], "label": labels, "part": "test"})
    return robustness.measured(predictor(IN_CORNER), table, made.pixels, groups, 100, progress)


@pytest.mark.parametrize("key", MEASURED)
def test_a_change_has_its_stated_amount(key):
    image, figure, expected, tolerance = MEASURED[key]
    for amount in CHANGES[key].amounts[:4]:
        assert figure(CHANGES[key].on(image, amount, "one")) == pytest.approx(expected(amount), rel=tolerance)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_has_five_rising_strengths_and_comes_again_for_the_same_image(change):
    image = np.add.outer(np.arange(200) ** 2 // 400, np.arange(200) % 50).astype(
        np.uint8
    )  # neither side is like another
    off = [np.abs(change.on(image, amount, "one").astype(int) - image).mean() for amount in change.amounts]
    assert len(off) == 5 and 0 < off[0] < off[-1]
    assert (change.on(image, change.amounts[2], "one") == change.on(image, change.amounts[2], "one")).all()


def test_as_many_images_of_each_class_are_drawn_as_there_are():
    table = pd.DataFrame({"image_id": range(50), "label": ["ill"] * 8 + ["well"] * 42})
    assert robustness.spread(table, 30)["label"].value_counts().to_dict() == {"ill": 8, "well": 22}
    assert len(robustness.spread(table, 99)) == 50


def test_a_model_of_one_corner_loses_by_what_takes_the_corner_away_and_not_by_what_leaves_it():
    made = curve()
    assert made.unchanged.accuracy.value == 1 and (made.images, made.of_all) == (60, 100)
    assert made.limit("crop") == CHANGES["crop"].amounts[0] and made.limit("jpeg") is None
    assert all(one.sensitivity["ill"].n == EACH for one in made.changes["noise"])
    key, worst = made.worst
    assert made.is_worse(worst) and worst.accuracy.value == min(one.accuracy.value for one in made.changes[key])


def test_images_that_belong_together_count_for_fewer():
    one, other = curve().unchanged.accuracy, curve(groups=np.arange(2 * EACH) // 4).unchanged.accuracy
    assert other.value == one.value and other.low < one.low


def test_a_loss_that_chance_allows_is_not_named(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), result={"head_sha256": "one"})
    for p_holm, falls in ((0.01, True), (0.2, False)):
        keep_curve(run, p_holm=p_holm)
        made = robustness.stored(run)
        assert (made.worst is not None) == falls == ("Largest drop" in run_text.robustness(made)[0])


def test_a_kept_curve_is_that_of_the_head_and_the_version(workspace):
    run = made_run(workspace, all_parts(SIZES, 1), result={"head_sha256": "one"})
    assert robustness.stored(run) is None
    keep_curve(run)
    assert robustness.stored(run).changes.keys() == CHANGES.keys()
    keep_curve(run, version=0)
    assert robustness.stored(run) is None
    keep_curve(run, changes={})
    with pytest.raises(RunDamaged, match="robustness curve is damaged"):
        robustness.stored(run)


def test_measuring_can_be_stopped():
    def stopped(share: float, _message: str) -> None:
        if share > 0.5:
            raise Stopped("Stopped by the user.")

    with pytest.raises(Stopped):
        curve(stopped)


@pytest.mark.slow
def test_the_unchanged_point_of_a_trained_run_has_its_own_accuracy(workspace, copy_of_trained, capsys):
    run = copy_of_trained(workspace)
    assert main.main(["robustness", run.id, "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["runs"]
    own = metrics.answers(run.predictions(), "test")
    assert answer["images"] == own.n
    assert answer["unchanged"]["accuracy"]["value"] == pytest.approx(own.right.mean())
    assert robustness.VIEW in [one.what for one in run.openings()]
    assert robustness.stored(store.open_run(workspace, run.id)).unchanged.accuracy.n == own.n
