"""Which of many images needs a look first, and why.

First what no run could answer for, then what runs or classes disagree on, then what was called anything but normal, the
surest first; last what was called normal, the least sure first. Within one urgency the order is stable.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from covid_core.evaluation.conformal import PredictionSet
from covid_core.inference.prediction import CHEST_IMAGE, Check, Look

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


@dataclass(frozen=True)
class Opinion:
    """What one run says of one image: the look, and the classes that it does not exclude at the coverage asked for.

    ``answer`` is None where the run's predictions do not tell them.
    """

    run: str
    look: Look
    answer: PredictionSet | None

    @property
    def says(self) -> str:
        """The classes that stay possible, or else the likeliest one, as a sentence."""
        text = self.answer.in_words if self.answer else self.look.prediction.predicted
        return f"{text[:1].upper()}{text[1:]}."

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that stay possible, the likeliest first; without a set the likeliest one alone."""
        return (self.look.prediction.predicted,) if self.answer is None else self.answer.classes

    @property
    def in_short(self) -> str:
        """The same for a cell or a list of runs."""
        return " or ".join(self.classes) or "none of the classes"

    @property
    def called(self) -> str:
        """The class that the image is taken for: of those that stay possible the likeliest, of all where none does.

        A class can be the likeliest and ruled out all the same, for each has a limit of its own (see ``conformal``).
        """
        return self.classes[0] if self.classes else self.look.prediction.predicted

    @property
    def height(self) -> float:
        """The probability of ``called``, or its score where the run has no probabilities."""
        prediction = self.look.prediction
        return prediction.by_class(prediction.best_known)[self.called]

    @property
    def is_open(self) -> bool:
        """Whether the run leaves open which class it is: several are left, or none fits."""
        return self.answer is not None and not self.answer.is_single


@dataclass(frozen=True)
class Entry:
    """One image of a work-list. ``reason`` says why it could not be read; then there are no opinions."""

    name: str
    reason: str = ""
    warnings: tuple[str, ...] = ()
    opinions: tuple[Opinion, ...] = ()

    @property
    def called(self) -> tuple[str, ...]:
        """What each run takes it for."""
        return tuple(opinion.called for opinion in self.opinions)

    @property
    def urgency(self) -> Urgency:
        if self.reason or not self.opinions:
            return Urgency.UNREAD
        if any(opinion.look.refused_by for opinion in self.opinions):
            return Urgency.REFUSED
        if len(set(self.called)) > 1:
            return Urgency.DIFFER
        if any(opinion.is_open for opinion in self.opinions):
            return Urgency.OPEN
        if any(opinion.look.unasked for opinion in self.opinions):
            return Urgency.UNCHECKED
        if self.warnings:
            return Urgency.DOUBTED
        return Urgency.NORMAL if self.called[0].lower() in NORMAL_NAMES else Urgency.FINDING

    @property
    def surest(self) -> float:
        """The mean probability of what the runs take it for (the score, where a run has no probabilities)."""
        return sum(one.height for one in self.opinions) / max(len(self.opinions), 1)

    @property
    def why(self) -> str:
        """Why it stands there, in a few words."""
        match self.urgency:
            case Urgency.UNREAD:
                return self.reason
            case Urgency.REFUSED:
                refused = next(opinion.look.refused_by for opinion in self.opinions if opinion.look.refused_by)
                return refused.text
            case Urgency.DIFFER:
                return "The runs differ."
            case Urgency.OPEN:
                return next(one.says for one in self.opinions if one.is_open)
            case Urgency.UNCHECKED:
                return next(opinion.look.unasked for opinion in self.opinions if opinion.look.unasked).text
            case Urgency.DOUBTED:
                return " ".join(self.warnings)
        return ""


def heeding(opinions: Iterable[Opinion]) -> list[Opinion]:
    """The opinions, where a run that could not check the picture heeds one that found it to be no chest image.

    That is said of the picture, not of the run: who has not looked for it cannot answer all the same.
    """
    given = list(opinions)
    refusing = next((one for one in given if _is_no_chest(one.look.refused_by)), None)
    if refusing is None:
        return given
    found = refusing.look.refused_by
    told = replace(found, text=f"{refusing.run} has checked it: {found.text[:1].lower()}{found.text[1:]}")
    return [_heeding(one, told) for one in given]


def _is_no_chest(check: Check | None) -> bool:
    return check is not None and check.name == CHEST_IMAGE


def _heeding(opinion: Opinion, told: Check) -> Opinion:
    checks = tuple(
        told if check.name == CHEST_IMAGE and check.passed is None else check for check in opinion.look.checks
    )
    return replace(opinion, look=replace(opinion.look, checks=checks))


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """The work-list: what needs a look first stands first."""
    return sorted(entries, key=_place)


def _place(entry: Entry) -> tuple[Urgency, float]:
    urgency = entry.urgency
    return urgency, -entry.surest if urgency == Urgency.FINDING else entry.surest
