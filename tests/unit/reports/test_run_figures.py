"""What the command line tells of runs that are compared: all that the Compare page shows, as plain values."""

import json
import math

import numpy as np
import pytest
from made_runs import COURSE_SIZES, all_parts, made_run

from covid_core.commands import main
from covid_core.evaluation import calibration, image_selection, metrics
from covid_core.reports import run_figures
from covid_core.reports.encode import encode
from covid_core.runs import candidates, temperature_scaling
from covid_core.runs.store import EvaluationRecord, Run
from covid_core.workspace import Workspace

SIZES = {"train": 30, "validation": 60, "test": 60}


@pytest.fixture
def runs(workspace) -> list[Run]:
    return [made_run(workspace, all_parts(SIZES, skill, seed=seed), f"run {seed}") for seed, skill in enumerate((1, 3))]


def told(run: Run) -> dict:
    return encode(run_figures.of_run(run, candidates.candidate(run)))


def images_of(runs: list[Run]) -> dict:
    return encode(image_selection.image_answers({run.id: run.predictions() for run in runs}))


def test_reliability_is_told_on_both_scales_with_every_image_once(runs):
    found = told(runs[0])["reliability"]
    assert list(found) == [temperature_scaling.SCORES, temperature_scaling.PROBABILITIES]
    assert [sum(one["right"]["n"] for one in bins) for bins in found.values()] == [60, 60]


def test_without_a_temperature_there_is_no_reliability_and_the_calibration_says_why(workspace):
    found = told(made_run(workspace, all_parts({**SIZES, "validation": 0}, 1)))
    assert found["reliability"] == {}
    assert found["calibration"]["note"]


def test_operating_points_of_every_class_and_aim_are_those_of_the_page(runs):
    found = told(runs[1])["operating_points"]
    assert [(one["label"], one["aim"]) for one in found] == [
        (label, aim) for label in runs[1].classes for aim in ("sensitivity", "specificity")
    ]
    expected = calibration.operating_point(temperature_scaling.table(runs[1]), "COVID", "sensitivity", 0.95)
    assert found[0]["threshold"] == expected.threshold
    assert found[0]["validation"]["sensitivity"]["value"] >= 0.95
    assert found[0]["test"]["npv"] == vars(expected.test["npv"])


def test_a_class_without_validation_images_has_no_operating_point_and_says_so(workspace):
    table = all_parts(SIZES, 2)
    table = table[~((table["part"] == "validation") & (table["label"] == "Normal"))]
    points = told(made_run(workspace, table))["operating_points"]
    (lacking,) = [one for one in points if (one["label"], one["aim"]) == ("Normal", "sensitivity")]
    assert lacking["threshold"] is None
    assert "Normal" in lacking["note"]


def test_curves_are_the_points_of_each_class(runs):
    found = told(runs[0])["curves"]["COVID"]
    points = metrics.roc_points(metrics.answers(runs[0].predictions(), "test"), "COVID")
    assert found["roc"] == encode(points.to_dict("list"))
    assert found["undefined"] == ""


def test_a_curve_of_thousands_of_points_is_thinned_from_end_to_end(workspace):
    run = made_run(workspace, all_parts({**COURSE_SIZES, "test": 3000}, 0.5))
    points = metrics.roc_points(metrics.answers(run.predictions(), "test"), "COVID")
    thin = metrics.thinned(points)
    assert len(thin) < 600 < len(points)
    assert thin.iloc[[0, -1]].to_numpy().tolist() == points.iloc[[0, -1]].to_numpy().tolist()
    assert thin["sensitivity"].is_monotonic_increasing


def test_settings_cost_and_history_are_told(runs):
    found = told(runs[0])
    assert found["settings"] == runs[0].spec.model_dump(mode="json")
    assert found["cost"]["training_seconds"] == 60
    assert len(found["history"]) == 5


def test_a_damaged_outside_test_is_told_and_takes_nothing_along(runs):
    facts = {"created": 1.0, "dataset": {"id": "e", "name": "Elsewhere", "version": "1"}, "classes": {}}
    kept = runs[0].write_evaluation(EvaluationRecord.model_validate(facts), runs[0].predictions())
    (kept.folder / f"{kept.id}.parquet").write_bytes(b"no table")
    found = told(runs[0])
    assert [one["evaluation"] for one in found["outside"]] == [kept.id]
    assert "missing or damaged" in found["outside"][0]["note"]
    assert found["test"]["images"]


def test_images_are_told_with_every_answer_and_listed_as_on_the_page(runs):
    found = images_of(runs)
    first, second = (run.id for run in runs)
    by_id = {row["image_id"]: row for row in found["answers"]}
    assert len(by_id) == 60
    wrong = [name for name, row in by_id.items() if row[f"called_{first}"] != row["label"]]
    assert sorted(found["confident_errors"][first]) == sorted(wrong)
    sure = [by_id[name][f"score_{first}"] for name in found["confident_errors"][first]]
    assert sure == sorted(sure, reverse=True)
    either = {name for name, row in by_id.items() if row["label"] in (row[f"called_{first}"], row[f"called_{second}"])}
    assert set(by_id) - either <= set(found["hardest"])
    assert sum(sum(bars) for bars in found["scores"][second]["COVID"].values()) == 60


def test_the_verb_tells_all_of_it_as_json(workspace: Workspace, runs, capsys):
    assert main.main(["compare", *(run.id for run in runs), "--json"]) == 0
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    of_run = group["runs"][runs[0].id]
    assert {"reliability", "operating_points", "curves", "outside", "settings", "cost", "history"} <= set(of_run)
    assert len(group["test_images"]["answers"]) == 60
    assert group["test_images"]["answers"][0]["label"] in runs[0].classes
    assert not any(isinstance(value, float) and math.isnan(value) for value in of_run["cost"].values())


def test_images_without_an_answer_are_called_nothing(workspace):
    table = all_parts(SIZES, 1)
    table.loc[table.index[-1], [f"score_{label}" for label in ("COVID", "Normal", "Viral Pneumonia")]] = np.nan
    run = made_run(workspace, table)
    row = next(one for one in images_of([run])["answers"] if one["image_id"] == table["image_id"].iloc[-1])
    assert row[f"called_{run.id}"] == ""


def test_prediction_sets_are_told_with_their_coverage_on_the_test_part(runs):
    found = told(runs[0])["prediction_sets"]
    assert found["coverage"] == 0.9
    assert found["covered"]["n"] == 60
    assert set(found["of_class"]) == set(runs[0].classes)


def test_a_run_without_logits_tells_why_it_has_no_sets(workspace):
    table = all_parts(SIZES, 1)
    old = made_run(workspace, table.drop(columns=[name for name in table if name.startswith("logit_")]))
    assert "logits of every class" in run_figures.prediction_sets_of(old)["note"]


def test_without_the_data_set_there_is_a_note_in_place_of_subgroups_and_parts(workspace):
    run = made_run(workspace, all_parts(COURSE_SIZES, 1.0))
    assert set(run_figures.subgroups_of(workspace, run)) == set(run_figures.parts_of(workspace, run)) == {"note"}
