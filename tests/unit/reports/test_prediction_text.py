"""What runs say of an image, in sentences."""

from dataclasses import replace

import pytest
from made_assessments import REFUSED, assessment

from covid_core.audit.model.evidence import FRAME
from covid_core.images.image import Turn
from covid_core.images.regions import Box
from covid_core.inference import gate
from covid_core.inference.gate import CHEST_IMAGE, LIKE_TRAINING, LUNGS_OUTLINED, Check, Limit
from covid_core.inference.heatmap import LungShare
from covid_core.inference.hottest_place import ELSEWHERE, INSIDE, LETTERS, MARGIN, HottestPlace
from covid_core.inference.lungs import Refusal
from covid_core.inference.training_match import TrainingMatch
from covid_core.reports import prediction_text
from covid_core.reports.evidence_text import EvidenceCheck
from covid_core.reports.prediction_text import although, check, notes, verdict

NORMAL = {"logits": (0.0, 3.0, 1.0), "possible": ("Normal",)}


def test_a_calibrated_run_names_the_classes_that_stay_possible_and_the_figures():
    answer, figures = verdict([assessment(possible=("COVID", "Viral Pneumonia"))])
    assert answer == "COVID or Viral Pneumonia, not Normal."
    assert figures == (
        "At 90 % coverage. COVID has the highest probability: 62.9 %. Calibrated on 322 validation images. "
        "Uncalibrated score: 84.4 %."
    )


def test_a_note_on_the_set_follows_the_figures():
    assert "84.4 %. COVID fits best, but less well than 98.0 %" in verdict([assessment(possible=())])[1]


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
    assert answer == "Both runs predict COVID."
    assert figures == "One: COVID, probability 62.9 %. Two: COVID, score 84.4 %."
    assert verdict([assessment(name) for name in "abc"])[0] == "All 3 runs predict COVID."


def test_runs_that_differ_are_named():
    answer, figures = verdict([assessment("One"), assessment("Two", **NORMAL)])
    assert answer == "The runs differ: One predicts COVID, Two predicts Normal."


def test_a_run_that_refuses_is_named_beside_what_the_others_say():
    answer, figures = verdict([assessment("One"), assessment("Two", checks=REFUSED)])
    assert answer == "One predicts COVID. Two does not answer."
    assert figures == "Two: It does not look like a frontal chest image."


def test_when_no_run_answers_it_is_said_with_the_reason():
    answer, figures = verdict([assessment("One", checks=REFUSED), assessment("Two", checks=REFUSED)])
    assert answer == "Neither run answers."
    assert verdict([assessment(name, checks=REFUSED) for name in "abc"])[0] == "None of the 3 runs answers."


def test_what_is_nearly_certain_never_reads_as_certain():
    assert "over 99.9 %" in verdict([assessment(logits=(60.0, 0.0, 0.0))])[1]


def test_runs_whose_likeliest_class_is_the_same_agree_only_on_the_same_set():
    answer, figures = verdict([assessment("One"), assessment("Two", possible=("COVID", "Normal"))])
    assert answer == "One predicts COVID, Two predicts COVID or Normal."


def test_what_is_left_counts_and_not_the_likeliest_class():
    ruled_out = assessment("Two", logits=(0.0, 3.0, 1.0), possible=("COVID",))
    assert verdict([assessment("One"), ruled_out])[0] == "Both runs predict COVID."


def test_beside_numbers_in_spite_of_a_refusal_stands_the_refusal():
    shown = [assessment(anyway=True), assessment(checks=REFUSED, anyway=True)]
    assert although(shown) == "Shown although a check failed: It does not look like a frontal chest image."
    assert although(shown[:1]) == although([assessment(checks=REFUSED)]) == ""


LIMIT = Limit(0.4, 321, 0.98)
NEEDED = "98 % of 321 validation images have a lead of 0.40 or more."


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (
            Check(CHEST_IMAGE, True, 0.9, LIMIT),
            f"Nothing speaks against a frontal chest image: the upright reading leads by 0.90. {NEEDED} "
            "A lateral view can still pass.",
        ),
        (
            Check(CHEST_IMAGE, False, 0.9, LIMIT, against=5.94),
            "It looks like a lateral view, a CT slice or no chest: the evidence against a frontal view is 5.9. Frontal "
            "images have 2.8 or less.",
        ),
        (
            Check(CHEST_IMAGE, False, -0.1, LIMIT),
            f"It does not look like a frontal chest image: the upright reading trails by 0.10. {NEEDED}",
        ),
        (
            Check(CHEST_IMAGE, False, -0.1, LIMIT, gate.DOWN),
            f"It looks like a chest image that is upside down: the upright reading trails by 0.10. {NEEDED} "
            "Put right, it would pass.",
        ),
        (
            Check(LIKE_TRAINING, False, 3.0, LIMIT),
            "It is unlike the training images: its distance is 3.0, where 1 is usual. 98 % of 321 validation images "
            "have 0.4 or less.",
        ),
        (
            Check(LIKE_TRAINING, None, limit=Limit(float("nan"), 12, float("nan"))),
            "This could not be checked: a limit needs 19 validation images, and the run has 12.",
        ),
        (
            Check(LUNGS_OUTLINED, False, outline=Refusal("box", 0.2, 0.3, 1.0)),
            "No lungs were found in this image: what looks like lungs is 20.0 % of its width or height, and 30 % is "
            "the least.",
        ),
        (Check(CHEST_IMAGE, None, has_reference=False), f"This could not be checked: {prediction_text.NO_REFERENCE}."),
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
        "75 % of the heat lies inside the lungs, 1.5 times chance: the lungs fill 50 % of the image."
    )
    assert prediction_text.lung_share(LungShare(float("nan"), 0.5, "no heat")) == (
        "The share of the heat inside the lungs is not defined: the heat map is empty."
    )


READS_FRAME = EvidenceCheck(FRAME, "", "own masks")


def test_beside_an_answer_stand_its_classes_its_evidence_its_training_and_its_hottest_place_in_this_order():
    one = assessment(training=TrainingMatch("COVID-7"), hottest=HottestPlace(LETTERS, 0.1, 0.1))
    assert [(note.text, note.is_warning) for note in notes([one], [READS_FRAME])] == [
        (
            "One of these classes only: COVID, Normal or Viral Pneumonia. Other diseases are called one of them.",
            False,
        ),
        (f"Evidence check: reads the frame (own masks).{prediction_text.FRAME_FOLLOWS}", True),
        ("This image was in the training part, as COVID-7. It shows nothing about new images.", True),
        ("The hottest place lies on letters or a marker.", True),
    ]


def test_a_turned_copy_of_a_training_image_is_named_with_what_was_done():
    one = assessment(training=TrainingMatch("COVID-7", turn=Turn(2, True)))
    assert notes([one], [READS_FRAME])[2].text == (
        "This image was in the training part, as COVID-7. This one is turned by 180 degrees, mirrored. "
        "It shows nothing about new images."
    )


def test_what_takes_longer_than_the_scores_is_missing_until_it_is_there():
    assert len(notes([assessment()], [READS_FRAME])) == 2


def test_what_runs_have_alike_is_one_sentence_and_what_differs_bears_their_names():
    one = assessment("One", training=TrainingMatch(), hottest=HottestPlace(ELSEWHERE))
    two = replace(one, run="Two", training=TrainingMatch(why="its data set is gone"))
    texts = [note.text for note in notes([one, two], [READS_FRAME] * 2)]
    assert texts[2:] == [
        "One: This image was not in the training part.",
        "Two: Not compared with the training images: its data set is gone.",
        "The hottest place lies neither on the margin nor on letters. It may still lie outside the lungs.",
    ]


def test_a_sentence_that_some_runs_have_alike_stands_once_with_their_names():
    one = assessment("One", training=TrainingMatch(), hottest=HottestPlace(MARGIN))
    runs = [one, replace(one, run="Two"), replace(one, run="Three", hottest=HottestPlace(INSIDE))]
    assert [note.text for note in notes(runs, [READS_FRAME] * 3)][3:] == [
        "One and Two: The hottest place lies on the margin, where no lung is.",
        "Three: The hottest place lies inside the outlined lungs.",
    ]


def test_a_check_with_one_outcome_for_all_runs_stands_once_without_their_names():
    runs = [assessment("One"), assessment("Two"), assessment("Three", checks=REFUSED)]
    assert prediction_text.checks(runs) == [
        ("One and Two: It looks like a frontal chest image.", True),
        ("Three: It does not look like a frontal chest image.", False),
        ("It is like the training images.", True),
    ]


def test_a_sentence_bears_the_name_of_its_own_run_where_another_run_refuses():
    one = assessment("One", checks=REFUSED)
    runs = [one, *(assessment(name, hottest=HottestPlace(on)) for name, on in (("Two", MARGIN), ("Three", INSIDE)))]
    assert [note.text.partition(":")[0] for note in notes(runs, [READS_FRAME] * 3)][2:] == ["Two", "Three"]


@pytest.mark.parametrize("runs", [1, 2])
def test_a_likeliest_class_that_is_ruled_out_is_explained_whatever_the_number_of_runs(runs):
    entry = [assessment(name, NORMAL["logits"], possible=("COVID",)) for name in ("One", "Two")[:runs]]
    assert verdict(entry)[1].count("98.0 %") == runs


def test_what_the_network_is_shown_stands_beside_an_answer_from_a_part_of_the_image():
    part = replace(assessment(), box=Box(0.1, 0.2, 0.9, 0.9))
    text = prediction_text.region(part.box)
    assert "80 %" in text and "70 %" in text
    assert text in [note.text for note in prediction_text.notes([part], [])]
    refused = replace(part, checks=(*REFUSED, Check(LUNGS_OUTLINED, True)))
    assert refused.shown_box == part.box
    assert replace(part, checks=(Check(LUNGS_OUTLINED, False),)).shown_box.is_whole
    assert text not in [note.text for note in prediction_text.notes([assessment()], [])]
