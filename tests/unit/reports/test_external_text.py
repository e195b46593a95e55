"""The words for an outside test."""

from made_runs import all_parts, made_run

from covid_core.inference import external_test
from covid_core.reports import external_text, run_figures
from covid_core.reports.encode import encode
from covid_core.runs.store import EvaluationRecord, OutsideDataset

SIZES = {"train": 6, "validation": 6, "test": 6}


def test_an_outside_test_is_said_with_its_drop_and_what_was_left_out(workspace):
    run = made_run(workspace, all_parts(SIZES, 1))
    answers = run.predictions().query("part == 'test'").assign(part=external_test.OUTSIDE, twin=None)
    answers = answers.assign(own_label=answers["label"], twin_label="", twin_part="", detail=0.99)
    answers.loc[answers.index[0], "twin"] = "another"
    classes = {label: label for label in run.classes}
    facts = {"classes": classes, "unknown": {"Fracture": 3}, "shared": 1, "conflicts": 1}
    record = EvaluationRecord(created=1.0, dataset=OutsideDataset(name="Elsewhere"), **facts)
    evaluation = run.write_evaluation(record, answers)
    sentence = external_text.conclusion(run, evaluation, external_test.report(run, evaluation))
    lines = external_text.lines(encode(run_figures.external_test_of(run, evaluation)))
    n = len(answers) - 1
    assert f" of {n} images of Elsewhere correctly: a gain of " in sentence
    assert lines[1].startswith(external_text.HEADINGS[external_test.UNNAMED])
    assert [lines[0], *lines[2:4]] == [
        f"{run.id} on Elsewhere: {n} images",
        "left out: 1 image that the run's own data set has as well, 1 with another class there",
        "left out: 3 images of Fracture, which the run does not know",
    ]
    assert [line.split(":")[0] for line in lines[4:]] == [
        "accuracy",
        *(f"sensitivity for {one}" for one in run.classes),
        "Recalibration needs at least 40 outside images, of two classes or more.",
    ]


def test_an_outside_class_that_is_broader_than_the_runs_is_a_warning():
    classes = {"COVID-19": "COVID", "Pneumonia": "Viral Pneumonia"}
    expected = "Pneumonia may have other causes than Viral Pneumonia: these labels may be wrong."
    assert external_text.broader(classes) == [expected]


def test_an_accuracy_that_is_higher_outside_is_a_gain(workspace):
    run = made_run(workspace, all_parts(SIZES, 1))
    answers = run.predictions().query("part == 'test'").assign(part=external_test.OUTSIDE, twin=None)
    right = [answers.columns.get_loc(f"score_{label}") for label in answers["label"]]
    scores = [column for column in answers if column.startswith("score_")]
    answers[scores] = 0.0
    for row, column in enumerate(right):
        answers.iloc[row, column] = 1.0
    answers = answers.assign(own_label=answers["label"], twin_label="", twin_part="", detail=0.99)
    facts = {"classes": {label: label for label in run.classes}, "unknown": {}, "shared": 0, "conflicts": 0}
    record = EvaluationRecord(created=1.0, dataset=OutsideDataset(name="Elsewhere"), **facts)
    evaluation = run.write_evaluation(record, answers)
    report = external_test.report(run, evaluation)
    assert report.figures.overall["accuracy"].value == 1
    assert "correctly: a gain of 66.7 points" in external_text.conclusion(run, evaluation, report)
