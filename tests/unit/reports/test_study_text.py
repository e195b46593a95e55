"""What a study found, in its table and its sentence."""

import math

import numpy as np
import pytest
from made_runs import all_parts, answered, made_run

from covid_core.evaluation import assessment
from covid_core.evaluation.comparison import Candidate
from covid_core.formatting import share
from covid_core.reports import study_text
from covid_core.reports.encode import encode
from covid_core.runs.store import SOURCES, Study

LABELS = ["COVID", "Normal"] * 50


def candidate(name: str, wrong: int, labels: list[str] = LABELS) -> Candidate:
    """A run that is wrong on the first ``wrong`` test images."""
    given = ["Normal" if label == "COVID" else "COVID" for label in labels[:wrong]] + labels[wrong:]
    return Candidate(name, name, assessment.assess(answered(labels, given), intervals=False))


def test_the_run_that_differs_most_is_named_with_its_test_against_the_first():
    found = study_text.conclusion([candidate("None", 40), candidate("Weights", 38), candidate("Both", 10)])
    assert found.sentence == (
        "Both is significantly better than None by 30.0 points: 90.0 % against 60.0 % of 100 test images (p < 0.001, "
        "McNemar and Holm for 2 pairs); 1 of 2 runs differ significantly."
    )
    assert found.table["Difference"].str.split(" [", regex=False).str[0].tolist() == [
        "reference",
        "2.0 points",
        "30.0 points",
    ]
    assert found.table["Lowest sensitivity"].tolist() == ["60.0 % (COVID)", "62.0 % (COVID)", "90.0 % (COVID)"]
    small = found.numbers.iloc[0]  # 2 images against 0: p = 0.5, and the larger of two p stays
    assert math.isclose(small["p"], 0.5) and math.isclose(small["p_holm"], 0.5)


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        ({"On": 41}, "On does not differ significantly from Off: 59.0 % against 60.0 % of 100 test images"),
        ({"A": 41, "B": 39}, "None of 2 runs differs significantly from Off (60.0 % of 100 test images)"),
        ({"On": 80}, "On is significantly worse than Off by 40.0 points"),
    ],
)
def test_no_difference_and_a_worse_run_are_said_as_such(others, sentence):
    found = study_text.conclusion([candidate("Off", 40), *(candidate(*one) for one in others.items())])
    assert found.sentence.startswith(sentence)


def test_runs_on_other_test_images_or_a_single_run_allow_no_conclusion():
    assert study_text.conclusion([candidate("One", 3)]) is None
    assert study_text.conclusion([candidate("One", 3), candidate("Other", 3, LABELS[:-2])]) is None


def left_out(workspace, source: str, skill: float):
    """A run on sources A, B and C that was tested on ``source``, and on images of others that went with them."""
    table = all_parts({"train": 30, "validation": 60, "test": 90}, skill)
    others = [one for one in "ABC" if one != source]
    sources = np.where(table["part"] == "test", source, np.resize(others, len(table)))
    sources[-30:] = others[0]
    parts = table[["image_id", "label", "part"]].assign(group=table["image_id"], source=sources)
    split = {"method": "by_source", "held_out": (source,)}
    return made_run(workspace, table, f"Without {source}", parts=parts, split=split)


def test_sources_left_out_are_measured_on_their_images_alone_against_the_others(workspace):
    runs = [left_out(workspace, *one) for one in (("A", 6), ("B", 1), ("C", 2))]
    outcome = study_text.outcome(Study("s", "S", SOURCES, 1.0, tuple(run.id for run in runs)), runs)
    numbers = outcome.conclusion.numbers.set_index("source")
    assert numbers["images"].tolist() == [60, 60, 60]
    assert (numbers["drop"] == numbers["inside"] - numbers["outside"]).all()
    assert outcome.conclusion.table["Left out"].tolist() == ["A", "B", "C", "Mean"]
    assert f"The worst is B: {share(numbers.loc['B', 'outside'])}" in outcome.conclusion.sentence
    assert set(encode(outcome)["conclusion"]) == {"sentence", "sources"}


def test_one_source_left_out_allows_no_conclusion(workspace):
    assert study_text.of_sources([left_out(workspace, "A", 2)]) is None
