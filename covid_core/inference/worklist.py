"""Which of many images needs a look first.

First what no run could answer for, then what runs or classes disagree on, then what was called anything but normal, the
surest first; last what was called normal, the least sure first. Within one urgency the order is stable. An entry is the
assessments of one image, one per run.
"""

from collections.abc import Sequence
from enum import IntEnum

from covid_core.inference.assessment import Assessment

NORMAL_NAMES = frozenset({"normal", "no finding", "healthy", "negative", "control"})  # of folders, in small letters


class Urgency(IntEnum):
    """Why an image stands where it stands in the list; lower is more urgent."""

    UNREAD = 0
    REFUSED = 1
    DIFFER = 2
    OPEN = 3
    UNCHECKED = 4
    DOUBTED = 5
    FINDING = 6
    NORMAL = 7


def urgency(entry: Sequence[Assessment]) -> Urgency:
    """The most urgent reason that holds."""
    if any(one.error for one in entry):
        return Urgency.UNREAD
    if any(one.refused_by for one in entry):
        return Urgency.REFUSED
    if len({one.label for one in entry}) > 1:
        return Urgency.DIFFER
    if any(one.is_open for one in entry):
        return Urgency.OPEN
    if any(one.unchecked for one in entry):
        return Urgency.UNCHECKED
    if entry[0].warnings:
        return Urgency.DOUBTED
    return Urgency.NORMAL if entry[0].label.lower() in NORMAL_NAMES else Urgency.FINDING


def place(entry: Sequence[Assessment]) -> tuple[Urgency, float]:
    """What entries are sorted by: their urgency, and the mean probability of the class (its score where the run has no
    probabilities)."""
    first = urgency(entry)
    if first == Urgency.UNREAD:
        return first, 0.0
    surest = sum(one.by_class(one.numbers)[one.label] for one in entry) / len(entry)
    return first, -surest if first == Urgency.FINDING else surest
