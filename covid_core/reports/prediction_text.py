"""All sentences about an image: the same on the page, in the report and on the command line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from covid_core.audit.model.evidence import FRAME
from covid_core.evaluation import conformal
from covid_core.evaluation.conformal import PredictionSet
from covid_core.formatting import apart, count, decimals, number, plural, probability, share
from covid_core.images.regions import Box
from covid_core.inference import gate, hottest_place
from covid_core.inference.assessment import Assessment, Urgency, urgency, warnings_of
from covid_core.inference.gate import CHEST_IMAGE, LUNGS_OUTLINED, Check, Limit
from covid_core.inference.heatmap import LungShare
from covid_core.reports.evidence_text import EvidenceCheck, no_outline

NO_ANSWER = "I do not know."
NO_REFERENCE = "the run keeps no reference of its training images; it can be made from the data set at any time"
NO_SHARE = {"no lung": "no lung is marked on the image", "no heat": "the heat map is empty"}
FRAME_FOLLOWS = (
    " Do not rely on this prediction: what surrounds the lungs may decide it. Choose a run that reads the lungs."
)
READINGS = {
    gate.LEFT: "turned by 90 degrees to the left",
    gate.DOWN: "upside down",
    gate.RIGHT: "turned by 90 degrees to the right",
    gate.INVERTED: "inverted, black for white",
}


def verdict(assessments: Sequence[Assessment]) -> tuple[str, str]:
    """What one run or several make of an image, in a few words, and what that rests on in a sentence or two."""
    silent = [one for one in assessments if not one.has_answer]
    reason = refusal(silent)
    if len(assessments) == 1:
        return (NO_ANSWER, reason) if silent else _of_one(assessments[0])
    if len(silent) == len(assessments):
        return ("Neither run answers." if len(silent) == 2 else f"None of the {len(silent)} runs answers."), reason
    answer, figures = _of_several([one for one in assessments if one.has_answer], len(assessments))
    if not silent:
        return answer, figures
    verb = "does" if len(silent) == 1 else "do"
    first = next((f"{one.run}: " for one in silent if one.refused_by), "")
    return f"{answer} {' and '.join(one.run for one in silent)} {verb} not answer.", f"{first}{reason}"


@dataclass(frozen=True)
class Note:
    """A sentence that stands beside an answer. ``is_warning`` where it speaks against trusting the answer."""

    text: str
    is_warning: bool = False


def notes(
    assessments: Sequence[Assessment], evidence: Sequence[EvidenceCheck], *, with_names: bool = True
) -> list[Note]:
    """What has to stand beside the answers of runs, in this order: that there are no other classes, what the networks
    are shown, the runs' evidence checks, whether the image was in the training part, and where the heat map is highest.

    The last two are missing until they are made (``assessment.examined``). What all runs have alike is one sentence.
    ``with_names`` of training images; a file's name may be a patient's.
    """
    runs = [one for one in assessments if not one.error]
    rows = [
        [(one.run, Note(only_classes(one))) for one in runs],
        [(one.run, Note(region(one.shown_box))) for one in runs if not one.shown_box.is_whole],
        [
            (one.run, Note(f"{made.note}{FRAME_FOLLOWS * reads_frame}", reads_frame))
            for one, made in zip(runs, evidence, strict=False)
            for reads_frame in [made.verdict == FRAME]
        ],
        [(one.run, note) for one in runs if (note := training_note(one, with_name=with_names))],
        [(one.run, note) for one in runs if (note := hottest_note(one))],
    ]
    return [note for row in rows for note in _merged(row)]


def _merged(row: Sequence[tuple[str, Note]]) -> list[Note]:
    """What all runs have alike as it is; else each sentence once, after the names of the runs that it is of."""
    runs_of: dict[Note, list[str]] = {}
    for name, note in row:
        runs_of.setdefault(note, []).append(name)
    if len(runs_of) < 2:
        return list(runs_of)
    return [Note(f"{_all(runs)}: {note.text}", note.is_warning) for note, runs in runs_of.items()]


def checks(assessments: Sequence[Assessment]) -> list[tuple[str, bool | None]]:
    """Each check as it is for all runs, or for those that are named, and whether it was passed."""
    rows: dict[str, dict[tuple[str, bool | None], list[str]]] = {}
    for one in assessments:
        for made in one.checks:
            question = f"{made.name.capitalize()}? " if made.passed is None else ""
            outcomes = rows.setdefault(made.name, {})
            outcomes.setdefault((f"{question}{check(made)}", made.passed), []).append(one.run)
    return [
        (text if len(runs) == len(assessments) else f"{_all(runs)}: {text}", passed)
        for outcomes in rows.values()
        for (text, passed), runs in outcomes.items()
    ]


def _all(names: Sequence[str]) -> str:
    """``One, Two and Three``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def only_classes(assessment: Assessment) -> str:
    """``One of these classes only: COVID, Normal or Viral Pneumonia. Other diseases are called one of them.``"""
    return f"One of these classes only: {_either(assessment.classes)}. Other diseases are called one of them."


def region(box: Box) -> str:
    """``The network is shown only 80 % of the width and 74 % of the height: the box on the image.``"""
    width, height = (share(value, 0) for value in (box.right - box.left, box.bottom - box.top))
    return f"The network is shown only {width} of the width and {height} of the height: the box on the image."


def training_note(assessment: Assessment, *, with_name: bool = True) -> Note | None:
    """Whether the run was trained on the image; None until that is known."""
    match assessment.training:
        case None:
            return None
        case training if training.why:
            return Note(f"Not compared with the training images: {training.why}.")
        case training if training.image_id:
            name = f", as {training.image_id}" if with_name else ""
            turned = f" This one is {training.turn.in_words}." if training.turn.in_words else ""
            return Note(f"This image was in the training part{name}.{turned} It shows nothing about new images.", True)
    return Note("This image was not in the training part.")


def hottest_note(assessment: Assessment) -> Note | None:
    """Where the heat map is highest; None until that is known."""
    if assessment.hottest is None:
        return None
    return {
        hottest_place.MARGIN: Note("The hottest place lies on the margin, where no lung is.", True),
        hottest_place.LETTERS: Note("The hottest place lies on letters or a marker.", True),
        hottest_place.INSIDE: Note("The hottest place lies inside the outlined lungs."),
        hottest_place.BETWEEN: Note("The hottest place lies between the lungs, where heart and spine are.", True),
        hottest_place.OUTSIDE: Note("The hottest place lies outside the outlined lungs.", True),
        hottest_place.ELSEWHERE: Note(
            "The hottest place lies neither on the margin nor on letters. It may still lie outside the lungs."
        ),
        hottest_place.NOWHERE: Note("The heat map is empty."),
    }[assessment.hottest.on]


def refusal(assessments: Sequence[Assessment]) -> str:
    """The first check that failed; nothing where none did."""
    return next((check(one.refused_by) for one in assessments if one.refused_by), "")


def although(assessments: Sequence[Assessment]) -> str:
    """What has to stand beside numbers that are shown although a check failed; nothing where none are."""
    failed = refusal([one for one in assessments if one.anyway])
    return f"Shown although a check failed: {failed}" if failed else ""


def in_short(assessment: Assessment) -> str:
    """The classes that stay possible, or that there is no answer, for a cell or a list of runs."""
    return (" or ".join(assessment.possible) or "none of the classes") if assessment.has_answer else "no answer"


def highest(assessment: Assessment) -> str:
    """The predicted class and its number."""
    return f"{assessment.predicted}, {assessment.scale} {_top(assessment)}"


LOWERED = "The {} is lowered: the image is farther from the training images than nine of ten usual ones."


def _of_several(assessments: Sequence[Assessment], runs: int) -> tuple[str, str]:
    possible = [in_short(one) for one in assessments]
    why = [f"{one.run}: {reason}" for one in assessments if (reason := ruled_out(one.prediction_set))]
    if len(set(possible)) == 1 and len(assessments) == runs:
        everyone = "Both runs" if runs == 2 else f"All {runs} runs"
        return f"{everyone} predict {possible[0]}.", " ".join(
            [*(f"{one.run}: {highest(one)}." for one in assessments), *why]
        )
    parts = ", ".join(f"{one.run} predicts {classes}" for one, classes in zip(assessments, possible, strict=True))
    answer = f"The runs differ: {parts}." if len({one.label for one in assessments}) > 1 else f"{parts}."
    return answer, " ".join(why)


def _of_one(assessment: Assessment) -> tuple[str, str]:
    top = f"{assessment.predicted} has the highest {assessment.scale}: {_top(assessment)}"
    scale = "A score, not a probability."
    if assessment.calibration.is_defined:
        images = plural(assessment.calibration.images, "validation image")
        score = probability(float(assessment.scores.max()))
        scale = f"Calibrated on {images}. Uncalibrated score: {score}."
    if assessment.typicality < 1:
        scale = f"{scale} {LOWERED.format(assessment.scale)}"
    possible = assessment.prediction_set
    if possible is None:
        return f"{top}.", scale
    coverage = f"At {share(possible.coverage, 0)} coverage."
    return _classes(assessment), " ".join([coverage, f"{top}.", scale, *set_notes(possible)])


def _classes(assessment: Assessment) -> str:
    text = prediction_set(assessment.prediction_set) if assessment.prediction_set else assessment.predicted
    return f"{text[:1].upper()}{text[1:]}."


def prediction_set(made: PredictionSet) -> str:
    """``COVID or Viral Pneumonia, not Normal``."""
    if not made.classes:
        return f"none of the classes at {share(made.coverage, 0)}: unusual for {_either(made.everything)}"
    if len(made.classes) == len(made.everything):
        return f"{_either(made.classes)}: no class can be ruled out"
    return f"{_either(made.classes)}, not {_either([label for label in made.everything if label not in made.classes])}"


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def set_notes(made: PredictionSet) -> list[str]:
    """What to beware of: a promise that does not hold within each class, and the likeliest class not in the set."""
    notes, least = [], conformal.least(made.coverage)
    needed, wanted, better = plural(least, "image"), share(made.coverage, 0), share(made.better)
    if made.few and made.images < least:
        have = count(made.images)
        notes.append(f"No class can be ruled out: {wanted} needs at least {needed}, and there are {have}.")
    elif made.few:
        have = ", ".join(f"{label} has {count(images)}" for label, images in made.few.items())
        notes.append(
            f"{wanted} holds over all images together, not within each class: {have}, and at least {needed} are needed."
        )
    if made.excluded and made.classes:
        notes.append(ruled_out(made))
    elif made.excluded:
        whose = "all" if made.few else "its own"
        notes.append(
            f"{made.excluded} fits best, but less well than {better} of {whose} images. "
            "Above that coverage it would be in the set."
        )
    return notes


def ruled_out(made: PredictionSet | None) -> str:
    """Why the likeliest class is not among those that stay possible; nothing where it is, or none does."""
    if made is None or not (made.excluded and made.classes):
        return ""
    return (
        f"{made.excluded} is first but ruled out: each class has its own limit, and {share(made.better)} of its own "
        "validation images fit it better."
    )


def _top(assessment: Assessment) -> str:
    return probability(float(assessment.numbers.max()))


def urgent_because(entry: Sequence[Assessment]) -> str:
    """Why an image stands where it stands in the work-list; nothing for findings and normal images."""
    match urgency(entry):
        case Urgency.UNREAD:
            return entry[0].error
        case Urgency.REFUSED:
            return refusal(entry)
        case Urgency.DIFFER:
            return "The runs differ."
        case Urgency.OPEN:
            one = next(one for one in entry if one.is_open)
            return f"{_classes(one)} {ruled_out(one.prediction_set)}".rstrip()
        case Urgency.UNCHECKED:
            return next(check(one.unchecked) for one in entry if one.unchecked)
        case Urgency.DOUBTED:
            return " ".join(warnings_of(entry))
    return ""


def check(made: Check) -> str:
    """A check with its figure and its limit, in one sentence."""
    text = made.reason or _figures(made)
    return f"{made.run} has checked it: {text[:1].lower()}{text[1:]}" if made.run else text


def outcome(made: Check) -> str:
    """How a check ended, in a word."""
    return {True: "Passed", False: "Failed", None: "Not checked"}[made.passed]


def _figures(made: Check) -> str:
    if made.name == LUNGS_OUTLINED:
        return (
            no_outline(made.outline)
            if made.outline
            else "The lungs are outlined. The run is shown the box around them."
        )
    limit = made.limit
    if not math.isnan(made.against):
        evidence, most = apart(made.against, gate.AGAINST, 1)
        against = f"the evidence against a frontal view is {evidence}. Frontal images have {most} or less."
        return f"It looks like a lateral view, a CT slice or no chest: {against}"
    if made.passed is None:
        few = f"a limit needs {gate.LEAST} validation images, and the run has {limit.images}"
        return f"This could not be checked: {few if made.has_reference else NO_REFERENCE}."
    if made.name != CHEST_IMAGE:
        distance, most = apart(made.figure, limit.value, 1)
        unlike = "It is like" if made.passed else "It is unlike"
        return (
            f"{unlike} the training images: its distance is {distance}, where 1 is usual. "
            f"{_limit(images_within(limit))} {most} or less."
        )
    by, least = apart(abs(made.figure), limit.value, 2)
    lead = f"the upright reading {'leads' if made.figure >= 0 else 'trails'} by {by}"
    needed = f"{_limit(images_within(limit))} a lead of {least} or more."
    if made.reading:
        like = f"It looks like a chest image that is {READINGS[made.reading]}"
        return f"{like}: {lead}. {needed} Put right, it would pass."
    if made.passed:  # drawn lateral views can: docs/reliability.md
        return f"Nothing speaks against a frontal chest image: {lead}. {needed} A lateral view can still pass."
    return f"It does not look like a frontal chest image: {lead}. {needed}"


def _limit(images: str) -> str:
    """The subject of a limit with its verb: ``98 % of 321 validation images have``."""
    return f"{images[:1].upper()}{images[1:]} have"


def images_within(limit: Limit) -> str:
    """``98 % of 321 validation images``, as the subject of a sentence."""
    images = plural(limit.images, "validation image")
    every = conformal.rank(limit.images, limit.share) >= limit.images
    return f"all {images}" if every else f"{share(limit.share, 0)} of {images}"


def lung_share(inside: LungShare) -> str:
    """How much of a heat map lies inside the lungs, against chance."""
    if not inside.is_defined:
        return f"The share of the heat inside the lungs is not defined: {NO_SHARE[inside.why]}."
    return (
        f"{share(inside.share, 0)} of the heat lies inside the lungs, {decimals(inside.ratio, 1)} times chance: the "
        f"lungs fill {share(inside.chance, 0)} of the image."
    )


def line(row: Mapping[str, Any]) -> str:
    """An image as ``predict`` answers: its answer, what was not checked, and the numbers, or why there are none."""
    if "error" in row:
        return f"{row['file']}: {row['error']}"
    lines = [f"{row['file']}: {row['answer']} {row['figures']}".rstrip()]
    lines += [*row["notes"], *filter(None, [row["although"]]), *row["warnings"], *_not_checked(row)]
    for scale in ("probabilities", "scores"):
        if row[scale]:
            lines.append(f"{scale}: {', '.join(f'{label} {number(value)}' for label, value in row[scale].items())}")
    return "\n    ".join(lines)


def _not_checked(row: Mapping[str, Any]) -> list[str]:
    """What could not be checked before the answer, a sentence for each reason."""
    reasons: dict[str, list[str]] = {}
    for check in row["checks"]:
        if check["passed"] is None:
            reasons.setdefault(check["in_words"], []).append(check["name"])
    return [f"{' and '.join(names).capitalize()}? {reason}" for reason, names in reasons.items()]
