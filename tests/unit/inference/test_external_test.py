"""A finished run on images from elsewhere."""

import numpy as np
import pytest
from made_data import class_folders
from made_runs import all_parts, made_run, with_dataset
from scipy import stats

from covid_core.data.imports import importing
from covid_core.errors import InvalidChoice
from covid_core.evaluation.metrics import wilson
from covid_core.inference import external_test
from covid_core.runs import candidates
from covid_core.runs.store import EvaluationRecord
from covid_core.workspace import Workspace


@pytest.fixture
def run(tmp_path):
    return made_run(Workspace(tmp_path), all_parts({"train": 6, "validation": 6, "test": 6}, 1))


def test_classes_are_matched_by_name_in_any_case(run):
    assert external_test.mapped(run, {"covid": 3, "Normal": 2, "Other": 1}, {}) == {
        "covid": "COVID",
        "Normal": "Normal",
    }


def test_a_mapping_comes_before_the_name(run):
    known = external_test.mapped(run, {"Normal": 2, "Pneumonia": 1}, {"Pneumonia": "Viral Pneumonia"})
    assert known == {"Normal": "Normal", "Pneumonia": "Viral Pneumonia"}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"None": "COVID"}, "The outside images have no class 'None'"),
        ({"Other": "None"}, "knows no class 'None'"),
        ({}, "None of the outside classes"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(run, mapping, message):
    with pytest.raises(InvalidChoice, match=message):
        external_test.mapped(run, {"Other": 3}, mapping)


def test_a_drop_has_the_interval_by_newcombe():
    """Table II of Newcombe 1998 (Statistics in Medicine 17, 873-890), 56/70 less 48/80, method 10."""
    found = external_test.difference(wilson(56, 70), wilson(48, 80))
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_drop_from_or_to_nothing_is_undefined():
    assert np.isnan(external_test.difference(wilson(5, 9), wilson(0, 0)).value)


def test_a_drop_holds_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    first, second = rng.binomial(80, 0.9, 1000), rng.binomial(120, 0.8, 1000)
    found = [external_test.difference(wilson(a, 80), wilson(b, 120)) for a, b in zip(first, second, strict=True)]
    inside = sum(one.low <= 0.1 <= one.high for one in found)
    assert stats.binomtest(inside, 1000, 0.95).pvalue > 0.001


def test_the_runs_own_data_set_is_no_outside(tmp_path, run):
    workspace = Workspace(tmp_path)
    dataset = importing.import_folder(workspace, class_folders(tmp_path / "images", {"COVID": 3, "Normal": 3}))
    with pytest.raises(InvalidChoice, match="trained on this data set"):
        external_test.evaluate(workspace, with_dataset(run, id=dataset.id), dataset)


def test_every_look_at_test_images_is_noted(run):
    run.note_opening('outside test: "quoted", with a comma')
    run.note_opening("again")
    assert [one.what for one in run.openings()] == ['outside test: "quoted", with a comma', "again"]


def test_inside_figures_leave_out_a_class_whose_outside_images_are_all_shared(tmp_path):
    table = all_parts({"train": 6, "validation": 6, "test": 60}, 1)
    run = made_run(Workspace(tmp_path), table)
    answers = table[table["part"] == "test"].assign(part=external_test.OUTSIDE, own_label=table["label"], twin=None)
    facts = {"twin_label": "", "twin_part": "", "detail": 0.99}
    answers = answers.assign(**facts)
    answers.loc[answers["label"] == "COVID", "twin"] = "another"
    record = {"created": 1.0, "dataset": {"name": "Elsewhere"}, "classes": {label: label for label in run.classes}}
    found = external_test.report(run, run.write_evaluation(EvaluationRecord.model_validate(record), answers))
    others = run.predictions().query("part == 'test' and label != 'COVID'")
    assert found.inside.overall["accuracy"].n == len(others) and "COVID" not in found.drops


def test_inside_figures_have_the_intervals_of_the_comparison_where_images_belong_together(tmp_path):
    table = all_parts({"train": 6, "validation": 6, "test": 60}, 1)
    parts = table[["image_id", "label", "part"]].assign(group=table["part"] + (table.index // 10).astype(str))
    run = made_run(Workspace(tmp_path), table, parts=parts)
    answers = table[table["part"] == "test"].assign(part=external_test.OUTSIDE, own_label=table["label"], twin=None)
    facts = {"created": 1.0, "dataset": {"name": "Elsewhere"}, "classes": {label: label for label in run.classes}}
    kept = run.write_evaluation(EvaluationRecord.model_validate(facts), answers)
    found, inside = external_test.report(run, kept), candidates.assess(run).tested
    assert found.inside.overall == inside.overall and found.inside.per_class == inside.per_class
    assert found.inside.overall["accuracy"] != found.figures.overall["accuracy"]
