"""What runs say of an image, in sentences."""

import pytest
from made_assessments import REFUSED, assessment

from covid_core.inference import gate
from covid_core.inference.gate import CHEST_IMAGE, LIKE_TRAINING, Check, Limit
from covid_core.inference.heatmap import LungShare
from covid_core.reports import prediction_text
from covid_core.reports.prediction_text import although, check, verdict

NORMAL = {"logits": (0.0, 3.0, 1.0), "possible": ("Normal",)}


def test_a_calibrated_run_names_the_classes_that_stay_possible_and_the_figures():
    answer, figures = verdict([assessment(possible=("COVID", "Viral Pneumonia"))])
    assert answer == "COVID or Viral Pneumonia, not Normal."
    assert figures == (
        "At 90 % coverage. COVID has the highest probability: 62.9 %. Calibrated on 322 validation images. "
        "Uncalibrated score: 84.4 %."
    )


def test_a_note_on_the_set_follows_the_figures():
    assert "84.4 %. Of all classes COVID fits best, but less well than 98.0 %" in verdict([assessment(possible=())])[1]


def test_a_run_that_is_not_calibrated_says_that_its_score_is_no_probability():
    answer, figures = verdict([assessment(calibrated=False)])
    assert answer == "COVID, not Normal or Viral Pneumonia."
    assert figures == "At 90 % coverage. COVID has the highest score: 84.4 %. A score, not a probability."


def test_without_a_set_the_likeliest_class_is_told():
    assert verdict([assessment(possible=None)])[0] == "COVID has the highest probability: 62.9 %."


def test_a_refusal_gives_no_class_and_no_figure_but_the_reason():
    answer, figures = verdict([assessment(checks=REFUSED)])
    assert answer == "I do not know."
    assert figures == "It does not look like a frontal chest image."


def test_who_wants_the_answer_anyway_gets_it():
    assert verdict([assessment(checks=REFUSED, anyway=True)])[0].startswith("COVID, not")


def test_runs_that_agree_say_so_together():
    answer, figures = verdict([assessment("One"), assessment("Two", calibrated=False)])
    assert answer == "Both runs say COVID."
    assert figures == "One: COVID, probability 62.9 %. Two: COVID, score 84.4 %."
    assert verdict([assessment(name) for name in "abc"])[0] == "All 3 runs say COVID."


def test_runs_that_differ_are_named():
    answer, figures = verdict([assessment("One"), assessment("Two", **NORMAL)])
    assert answer == "The runs differ: One says COVID, Two says Normal."


def test_a_run_that_refuses_is_named_beside_what_the_others_say():
    answer, figures = verdict([assessment("One"), assessment("Two", checks=REFUSED)])
    assert answer == "One says COVID. Two does not answer."
    assert figures == "It does not look like a frontal chest image."


def test_when_no_run_answers_it_is_said_with_the_reason():
    answer, figures = verdict([assessment("One", checks=REFUSED), assessment("Two", checks=REFUSED)])
    assert answer == "Neither run answers."
    assert verdict([assessment(name, checks=REFUSED) for name in "abc"])[0] == "None of the 3 runs answers."


def test_what_is_nearly_certain_never_reads_as_certain():
    assert "over 99.9 %" in verdict([assessment(logits=(60.0, 0.0, 0.0))])[1]


def test_runs_whose_likeliest_class_is_the_same_agree_only_on_the_same_set():
    answer, figures = verdict([assessment("One"), assessment("Two", possible=("COVID", "Normal"))])
    assert answer == "One says COVID, Two says COVID or Normal."


def test_what_is_left_counts_and_not_the_likeliest_class():
    ruled_out = assessment("Two", logits=(0.0, 3.0, 1.0), possible=("COVID",))
    assert verdict([assessment("One"), ruled_out])[0] == "Both runs say COVID."


def test_beside_numbers_in_spite_of_a_refusal_stands_the_refusal():
    shown = [assessment(anyway=True), assessment(checks=REFUSED, anyway=True)]
    assert although(shown) == "Shown although a check failed: It does not look like a frontal chest image."
    assert although(shown[:1]) == although([assessment(checks=REFUSED)]) == ""


LIMIT = Limit(0.4, 321, 0.98)
BEST = "the best other reading"
NEEDED = "98 % of 321 validation images are 0.40 ahead or more"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (
            Check(CHEST_IMAGE, True, 0.9, LIMIT),
            f"It looks like a frontal chest image: read upright it is 0.90 ahead of {BEST} (turned, upside down, "
            f"inverted); {NEEDED}.",
        ),
        (
            Check(CHEST_IMAGE, False, -0.1, LIMIT),
            f"It does not look like a frontal chest image: read upright it is 0.10 behind {BEST} (turned, upside down, "
            f"inverted); {NEEDED}.",
        ),
        (
            Check(CHEST_IMAGE, False, -0.1, LIMIT, gate.DOWN),
            f"It looks like a chest image that is upside down: read upright it is 0.10 behind {BEST}, where {NEEDED}; "
            "put right, it would pass.",
        ),
        (
            Check(LIKE_TRAINING, False, 3.0, LIMIT),
            "It is unlike the training images: its distance to the nearest of them is 3.0 times the usual one; 98 % of "
            "321 validation images stay at 0.4 or below.",
        ),
        (
            Check(LIKE_TRAINING, None, limit=Limit(float("nan"), 12, float("nan"))),
            "This could not be checked: the run has 12 validation images to set a limit by, and at least 19 are "
            "needed.",
        ),
        (Check(CHEST_IMAGE, None, reason="no reference"), "This could not be checked: no reference."),
        (Check(CHEST_IMAGE, False, reason="The file says hand.", run="A"), "A has checked it: the file says hand."),
    ],
)
def test_a_check_is_told_with_its_figure_and_its_limit(made, text):
    assert check(made) == text


@pytest.mark.parametrize(
    ("images", "kept", "text"),
    [(49, 0.98, "all 49 validation images"), (99, 0.98, "98 % of 99 validation images")],
)
def test_a_limit_says_how_many_images_keep_it(images, kept, text):
    assert prediction_text.images_within(Limit(1.0, images, kept)) == text


def test_every_reading_has_words():
    assert set(prediction_text.READINGS) == set(gate.READINGS) - {gate.UPRIGHT}


def test_the_share_of_a_map_inside_the_lungs_is_told_against_chance():
    assert prediction_text.lung_share(LungShare(0.75, 0.5)) == (
        "75 % of the heat lies inside the lungs, which fill 50 % of the picture: 1.5 times chance."
    )
    assert prediction_text.lung_share(LungShare(float("nan"), 0.5, "the heat map is empty")) == (
        "The share inside the lungs cannot be told: the heat map is empty."
    )
