"""What runs say of an image, in sentences."""

from made_looks import REFUSED, opinion

from covid_core.reports.prediction_text import although, said

NORMAL = {"logits": (0.0, 3.0, 1.0), "possible": ("Normal",)}


def test_a_calibrated_run_names_the_classes_that_stay_possible_and_the_figures():
    told = said([opinion(possible=("COVID", "Viral Pneumonia"))])
    assert told.answer == "COVID or Viral Pneumonia, not Normal."
    assert told.figures == (
        "At 90 % coverage. COVID has the highest probability: 62.9 %. Calibrated on 322 validation images. "
        "Uncalibrated score: 84.4 %."
    )


def test_a_note_on_the_set_follows_the_figures():
    assert said([opinion(possible=(), note="It fits COVID best.")]).figures.endswith("84.4 %. It fits COVID best.")


def test_a_run_that_is_not_calibrated_says_that_its_score_is_no_probability():
    told = said([opinion(calibrated=False)])
    assert told.answer == "COVID, not Normal or Viral Pneumonia."
    assert told.figures == "At 90 % coverage. COVID has the highest score: 84.4 %. A score, not a probability."


def test_without_a_set_the_likeliest_class_is_told():
    assert said([opinion(possible=None)]).answer == "COVID has the highest probability: 62.9 %."


def test_a_refusal_gives_no_class_and_no_figure_but_the_reason():
    told = said([opinion(checks=REFUSED)])
    assert told.answer == "I do not know."
    assert told.figures == "It does not look like a frontal chest image."


def test_who_wants_the_answer_anyway_gets_it():
    assert said([opinion(checks=REFUSED)], anyway=True).answer.startswith("COVID, not")


def test_runs_that_agree_say_so_together():
    both = said([opinion("One"), opinion("Two", calibrated=False)])
    assert both.answer == "Both runs say COVID."
    assert both.figures == "One: COVID, probability 62.9 %. Two: COVID, score 84.4 %."
    assert said([opinion(name) for name in "abc"]).answer == "All 3 runs say COVID."


def test_runs_that_differ_are_named():
    told = said([opinion("One"), opinion("Two", **NORMAL)])
    assert told.answer == "The runs differ: One says COVID, Two says Normal."


def test_a_run_that_refuses_is_named_beside_what_the_others_say():
    told = said([opinion("One"), opinion("Two", checks=REFUSED)])
    assert told.answer == "One says COVID. Two does not answer."
    assert told.figures == "It does not look like a frontal chest image."


def test_when_no_run_answers_it_is_said_with_the_reason():
    told = said([opinion("One", checks=REFUSED), opinion("Two", checks=REFUSED)])
    assert told.answer == "Neither run answers."
    assert said([opinion(name, checks=REFUSED) for name in "abc"]).answer == "None of the 3 runs answers."


def test_what_is_nearly_certain_never_reads_as_certain():
    assert "over 99.9 %" in said([opinion(logits=(60.0, 0.0, 0.0))]).figures


def test_runs_whose_likeliest_class_is_the_same_agree_only_on_the_same_set():
    told = said([opinion("One"), opinion("Two", possible=("COVID", "Normal"))])
    assert told.answer == "One says COVID, Two says COVID or Normal."


def test_what_is_left_counts_and_not_the_likeliest_class():
    ruled_out = opinion("Two", logits=(0.0, 3.0, 1.0), possible=("COVID",))
    assert said([opinion("One"), ruled_out]).answer == "Both runs say COVID."


def test_beside_numbers_in_spite_of_a_refusal_stands_the_refusal():
    assert although([opinion(), opinion(checks=REFUSED)]) == (
        "Shown although a check failed: It does not look like a frontal chest image."
    )
    assert although([opinion()]) == ""
