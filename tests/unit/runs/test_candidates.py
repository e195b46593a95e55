"""What runs took, with and without what they found ready."""

import math

import numpy as np
import pandas as pd
import pytest
from made_runs import all_parts, course_artefact, made_repeats, made_run, run_on_shifted_labels, with_dataset

from covid_core.evaluation import comparison
from covid_core.evaluation.label_check import LabelCheck
from covid_core.reports import run_text
from covid_core.reports.repeats_text import made_of
from covid_core.runs import candidates, store
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

PARTS = {"train": 6, "validation": 6, "test": 6}
STAGES = {"decode": 1.0, "tensorflow": 5.0, "build": 2.0, "features": 10.0, "fit": 3.0}


def run_with(workspace: Workspace, **result) -> Run:
    return made_run(workspace, all_parts(PARTS, 2), result={"seconds": STAGES, **result})


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path)


def test_training_counts_the_features_and_the_fit(workspace):
    run = run_with(workspace, reused={})
    assert candidates.training_seconds(run) == 13.0
    assert candidates.waited_seconds(run) == 21.0


def test_features_that_were_there_already_count_with_what_they_had_taken(workspace):
    run = run_with(workspace, seconds={"decode": 1.0, "fit": 3.0}, reused={"frozen network": None, "features": 10.0})
    assert candidates.training_seconds(run) == 13.0
    assert candidates.waited_seconds(run) == 4.0


def test_features_of_which_a_part_was_there_count_whole(workspace):
    run = run_with(workspace, seconds={"features": 4.0, "fit": 3.0}, reused={"features": 6.0})
    assert candidates.training_seconds(run) == 13.0


@pytest.mark.parametrize("reused", [["frozen network"], {"frozen network": None}])
def test_the_cost_of_a_run_does_not_depend_on_who_exported_its_network(workspace, reused):
    assert candidates.training_seconds(run_with(workspace, reused=reused)) == 13.0


@pytest.mark.parametrize("reused", [["features"], {"features": None}])
def test_the_cost_of_a_run_is_unknown_where_that_of_its_features_is(workspace, reused):
    assert math.isnan(candidates.training_seconds(run_with(workspace, reused=reused)))


def test_nobody_waited_for_an_outcome_that_was_taken_over(workspace):
    run = run_with(workspace, taken_over_from="first-12345")
    assert candidates.training_seconds(run) == 13.0
    assert math.isnan(candidates.waited_seconds(run))


def test_a_run_without_seconds_has_no_cost(workspace):
    assert math.isnan(candidates.training_seconds(run_with(workspace, seconds={})))
    assert math.isnan(candidates.waited_seconds(run_with(workspace, seconds={})))


def test_the_table_of_costs_has_both_times(workspace):
    row = candidates.costs([run_with(workspace, reused={"features": 10.0})], ["Mine"]).iloc[0]
    assert (row["training_seconds"], row["waited_seconds"]) == (23.0, 21.0)


def members(workspace: Workspace, study: store.Study) -> list[Run]:
    return [store.open_run(workspace, run) for run in study.runs]


def test_a_study_of_repeats_knows_its_folds_seeds_and_images(workspace):
    study = made_repeats(workspace, "Mine", 2, folds=3, seeds=(4, 5), split={"method": "stratified", "seed": 7})
    (found,) = candidates.repeats([(study, members(workspace, study))]).studies
    assert (found.folds, found.seeds, found.planned, found.remarks) == (3, (4, 5), 6, ())
    assert made_of(found) == "3 folds x 2 seeds"
    assert run_text.images(found.images) == "Made: 3 folds, seed 7"


def test_a_run_is_measured_once_where_somebody_remembers_it(workspace):
    study = made_repeats(workspace, "Mine", 2)
    runs = members(workspace, study)
    known = {run.id: candidates.repeat(run) for run in runs}
    for run in runs:
        run.predictions_path.unlink()
    (found,) = candidates.repeats([(study, runs)], lambda run: known[run.id]).studies
    assert found.runs == tuple(known.values())


def test_studies_of_repeats_of_one_name_are_told_apart(workspace):
    first = made_repeats(workspace, "Mine", 2)
    other = store.Study("other-1", "Mine", store.REPEATS, 1.0, first.runs)
    found = candidates.repeats([(study, members(workspace, study)) for study in (first, other)])
    assert {study.name for study in found.studies} == {"Mine (mine-1)", "Mine (other-1)"}


# Labels


def test_a_run_on_shifted_labels_is_marked_and_explained(workspace):
    found = candidates.candidate(run_on_shifted_labels(workspace))
    assert found.assessment.test.value == 579 / 646
    assert found.marks == ("wrong labels", "one class", "not better")
    assert (found.labels.cause, found.labels.images, found.labels.number) == ("cut", 4032, 15153)


def test_a_run_of_an_earlier_version_has_no_labels_to_check(workspace):
    run = with_dataset(made_run(workspace, course_artefact()), counts=None)
    assert "folder_label" not in run.split()
    found = candidates.candidate(run)
    assert (found.marks, found.labels) == (("one class", "not better"), LabelCheck())


def test_without_the_counts_of_the_data_set_shifted_labels_are_found_all_the_same(workspace):
    run = with_dataset(run_on_shifted_labels(workspace), counts=None)
    found = candidates.label_check(run)
    assert (found.cause, found.number) == ("blocks", 2)


def test_runs_on_shifted_and_right_labels_of_the_same_images_are_never_ranked_together(workspace):
    shifted = run_on_shifted_labels(workspace)
    parts = shifted.split().assign(label=lambda split: split["folder_label"])
    table = shifted.predictions().assign(label=parts["label"])
    right = made_run(workspace, table, parts=parts)
    loaded = [candidates.candidate(run) for run in (shifted, right)]
    assert len(comparison.grouped(loaded)) == 2
    assert "wrong labels" not in loaded[1].marks
    assert [candidates.image_choice(run).shifted for run in (shifted, right)] == [True, False]


def test_the_sensitivity_for_a_class_without_test_images_is_undefined(workspace):
    found = candidates.sensitivities(run_on_shifted_labels(workspace))
    assert (found["COVID"], found["Normal"]) == (1, 0)
    assert math.isnan(found["Viral Pneumonia"])


def test_subgroups_are_those_of_the_test_images_with_images_of_one_patient_together(workspace):
    run = made_run(workspace, all_parts({"train": 30, "validation": 30, "test": 60}, 2.0))
    ids = run.predictions()["image_id"]
    facts = pd.DataFrame({"image_id": ids, "sex": np.resize(["F", "M"], len(ids)), "age": "", "view": "", "source": ""})
    facts["patient_id"] = [f"{sex}{place // 4}" for place, sex in enumerate(facts["sex"])]
    rows = candidates.subgroups(run, facts.sample(frac=1, random_state=0)).rows
    assert [(row.value, row.images, row.patients, row.clusters) for row in rows] == [
        ("F", 30, 15, 15),
        ("M", 30, 15, 15),
    ]
