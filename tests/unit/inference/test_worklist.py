"""What needs a look first stands first, with the reason."""

import pytest
from made_assessments import PASSED, REFUSED, UNCHECKED, assessment

from covid_core.inference.assessment import Assessment, Urgency, place, urgency, with_shared_refusal
from covid_core.reports.prediction_text import NO_REFERENCE, check, urgent_because

COVID, NORMAL, BETWEEN = (5.0, 0.0, 0.0), (0.0, 5.0, 0.0), (2.0, 1.0, 0.0)


UNREAD = [Assessment("unread", error="The image is damaged or cut off.")]
FLOWER = [assessment(checks=REFUSED)]
DIFFER = [assessment("One", COVID), assessment("Two", NORMAL, possible=("Normal",))]
OPEN = [assessment(possible=("COVID", "Normal"))]
NONE = [assessment(possible=())]
NOT_CHECKED = [assessment(checks=UNCHECKED)]
DOUBTED = [assessment(warnings=("A name may be burned in.",))]
FINDING = [assessment(logits=COVID)]
HEALTHY = [assessment(logits=NORMAL, possible=("Normal",))]


def ordered(*entries):
    return sorted(entries, key=place)


@pytest.mark.parametrize(
    ("entry", "wanted", "why"),
    [
        (UNREAD, Urgency.UNREAD, "The image is damaged or cut off."),
        (FLOWER, Urgency.REFUSED, "It does not look like a frontal chest image."),
        (DIFFER, Urgency.DIFFER, "The runs differ."),
        (OPEN, Urgency.OPEN, "COVID or Normal, not Viral Pneumonia."),
        (NONE, Urgency.OPEN, "None of the classes at 90 %: unusual for COVID, Normal or Viral Pneumonia."),
        (NOT_CHECKED, Urgency.UNCHECKED, f"This could not be checked: {NO_REFERENCE}."),
        (DOUBTED, Urgency.DOUBTED, "A name may be burned in."),
        (FINDING, Urgency.FINDING, ""),
        (HEALTHY, Urgency.NORMAL, ""),
    ],
    ids=lambda value: value.name if isinstance(value, Urgency) else "",
)
def test_each_image_has_the_most_urgent_reason_that_holds(entry, wanted, why):
    assert (urgency(entry), urgent_because(entry)) == (wanted, why)


def test_the_list_goes_from_unread_to_surely_normal():
    wanted = [UNREAD, FLOWER, DIFFER, OPEN, NOT_CHECKED, DOUBTED, FINDING, HEALTHY]
    assert ordered(*wanted[::-1]) == wanted


def test_of_findings_the_surest_stands_first_and_of_normal_images_the_least_sure():
    sure, unsure = [assessment(logits=COVID)], [assessment(logits=BETWEEN)]
    well, hardly = ([assessment(logits=(0.0, height, 0.0), possible=("Normal",))] for height in (9.0, 1.0))
    assert ordered(unsure, well, hardly, sure) == [sure, unsure, hardly, well]


@pytest.mark.parametrize("name", ["Normal", "normal", "No Finding", "healthy"])
def test_the_class_of_healthy_images_has_its_usual_names(name):
    found = assessment(logits=(0.0, 3.0), classes=("COVID", name), possible=(name,))
    assert urgency([found]) == Urgency.NORMAL


def test_an_image_whose_likeliest_class_is_ruled_out_stays_open():
    """Each class has a limit of its own, so that the likeliest one may be ruled out: somebody has to look."""
    found = assessment(logits=BETWEEN[1::-1] + (0.0,), possible=("COVID",))
    assert (found.predicted, found.label) == ("Normal", "COVID")
    assert place([found]) == (Urgency.OPEN, pytest.approx(found.probabilities[0]))


def test_runs_that_leave_different_classes_differ_though_the_likeliest_is_the_same():
    entry = [assessment("One", NORMAL, possible=("Normal",)), assessment("Two", NORMAL, possible=("COVID",))]
    assert urgency(entry) == Urgency.DIFFER


def test_a_run_that_could_not_check_takes_over_that_another_found_no_chest_image():
    """A run of an earlier version called a flower COVID beside one that refused it."""
    old, new = with_shared_refusal([assessment("Old", checks=UNCHECKED), assessment("New", checks=REFUSED)])
    assert check(old.refused_by) == "New has checked it: it does not look like a frontal chest image."
    assert new.refused_by == REFUSED[0]


@pytest.mark.parametrize("checks", [PASSED, UNCHECKED], ids=["passed", "unchecked"])
def test_a_run_that_checked_for_itself_or_with_nobody_who_refuses_stays_as_it_is(checks):
    beside = REFUSED if checks is PASSED else PASSED
    first, _ = with_shared_refusal([assessment("One", checks=checks), assessment("Two", checks=beside)])
    assert first.checks == tuple(checks)
