"""What a study found, in its table and its sentence."""

import math

import pytest
from made_runs import answered

from covid_core.evaluation import assessment
from covid_core.evaluation.comparison import Candidate
from covid_core.reports import study_text

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
