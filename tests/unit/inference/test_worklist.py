"""What needs a look first stands first, with the reason."""

import pytest
from made_looks import PASSED, REFUSED, UNASKED, opinion

from covid_core.inference.worklist import Entry, Urgency, heeding, ordered

COVID, NORMAL, BETWEEN = (5.0, 0.0, 0.0), (0.0, 5.0, 0.0), (2.0, 1.0, 0.0)


def entry(name: str, *opinions, **more) -> Entry:
    return Entry(name, opinions=opinions, **more)


UNREAD = Entry("unread", reason="The image is damaged or cut off.")
FLOWER = entry("flower", opinion(checks=REFUSED))
DIFFER = entry("differ", opinion("One", COVID), opinion("Two", NORMAL, possible=("Normal",)))
OPEN = entry("open", opinion(possible=("COVID", "Normal")))
NONE = entry("none", opinion(possible=()))
UNCHECKED = entry("unchecked", opinion(checks=UNASKED))
DOUBTED = entry("doubted", opinion(), warnings=("A name may be burned in.",))
FINDING = entry("finding", opinion(logits=COVID))
HEALTHY = entry("healthy", opinion(logits=NORMAL, possible=("Normal",)))


@pytest.mark.parametrize(
    ("image", "urgency", "why"),
    [
        (UNREAD, Urgency.UNREAD, "The image is damaged or cut off."),
        (FLOWER, Urgency.REFUSED, "It does not look like a frontal chest image."),
        (DIFFER, Urgency.DIFFER, "The runs differ."),
        (OPEN, Urgency.OPEN, "COVID or Normal, not Viral Pneumonia."),
        (NONE, Urgency.OPEN, "None of the classes at 90 %: unusual for COVID, Normal or Viral Pneumonia."),
        (UNCHECKED, Urgency.UNCHECKED, "This could not be checked: no reference."),
        (DOUBTED, Urgency.DOUBTED, "A name may be burned in."),
        (FINDING, Urgency.FINDING, ""),
        (HEALTHY, Urgency.NORMAL, ""),
    ],
    ids=lambda value: value.name if isinstance(value, Entry) else "",
)
def test_each_image_has_the_most_urgent_reason_that_holds(image, urgency, why):
    assert (image.urgency, image.why) == (urgency, why)


def test_the_list_goes_from_unread_to_surely_normal():
    wanted = [UNREAD, FLOWER, DIFFER, OPEN, UNCHECKED, DOUBTED, FINDING, HEALTHY]
    assert ordered(wanted[::-1]) == wanted


def test_of_findings_the_surest_stands_first_and_of_normal_images_the_least_sure():
    sure, unsure = entry("sure", opinion(logits=COVID)), entry("unsure", opinion(logits=BETWEEN))
    well = [entry(name, opinion(logits=(0.0, height, 0.0))) for name, height in (("well", 9.0), ("hardly", 1.0))]
    assert [image.name for image in ordered([unsure, *well, sure])] == ["sure", "unsure", "hardly", "well"]


@pytest.mark.parametrize("name", ["Normal", "normal", "No Finding", "healthy"])
def test_the_class_of_healthy_images_is_known_by_its_usual_names(name):
    from made_looks import PASSED, prediction

    from covid_core.evaluation.conformal import PredictionSet
    from covid_core.inference.prediction import Look
    from covid_core.inference.worklist import Opinion

    found = prediction((0.0, 3.0), classes=("COVID", name))
    said = Opinion("One", Look(found, PASSED), PredictionSet((name,), ("COVID", name), 0.9, 99))
    assert entry("image", said).urgency == Urgency.NORMAL


def test_a_image_that_may_be_one_thing_only_counts_as_that_and_not_as_its_likeliest_class():
    """Each class has a limit of its own, so that the likeliest one may be ruled out."""
    image = entry("image", opinion(logits=BETWEEN[1::-1] + (0.0,), possible=("COVID",)))
    assert image.opinions[0].look.prediction.predicted == "Normal"
    assert image.urgency == Urgency.FINDING
    assert image.surest == pytest.approx(image.opinions[0].look.prediction.probabilities[0])


def test_runs_that_leave_different_classes_differ_though_the_likeliest_is_the_same():
    image = entry("image", opinion("One", NORMAL, possible=("Normal",)), opinion("Two", NORMAL, possible=("COVID",)))
    assert image.urgency == Urgency.DIFFER


def test_a_run_that_could_not_check_heeds_one_that_found_no_chest_image():
    """A run of an earlier version called a flower COVID beside one that refused it."""
    old, new = heeding([opinion("Old", checks=UNASKED), opinion("New", checks=REFUSED)])
    assert old.look.refused_by.text == "New has checked it: it does not look like a frontal chest image."
    assert new.look.refused_by == REFUSED[0]


@pytest.mark.parametrize("checks", [PASSED, UNASKED], ids=["passed", "unasked"])
def test_a_run_that_checked_for_itself_or_with_nobody_who_refuses_stays_as_it_is(checks):
    beside = REFUSED if checks is PASSED else PASSED
    first, _ = heeding([opinion("One", checks=checks), opinion("Two", checks=beside)])
    assert first.look.checks == tuple(checks)
