"""What runs say of an image, in plain English: the same sentences on the page, in the report and on the command
line."""

from collections.abc import Sequence
from dataclasses import dataclass

from covid_core.formatting import plural, probability, share
from covid_core.inference.prediction import Prediction
from covid_core.inference.worklist import Opinion

SCORE, PROBABILITY = "score", "probability"
NO_ANSWER = "I do not know."


@dataclass(frozen=True)
class Said:
    """``answer`` in a few words, ``figures`` that it rests on in a sentence or two."""

    answer: str
    figures: str = ""


def scale_of(prediction: Prediction) -> str:
    """What a run's numbers are, in a word."""
    return PROBABILITY if prediction.is_calibrated else SCORE


def said(opinions: Sequence[Opinion], anyway: bool = False) -> Said:
    """What one run or several say of an image. ``anyway``: of an image that failed a check, too."""
    refused = [] if anyway else [opinion for opinion in opinions if opinion.look.refused_by]
    if len(opinions) == 1:
        return Said(NO_ANSWER, refused[0].look.refused_by.text) if refused else _of_one(opinions[0])
    if len(refused) == len(opinions):
        none = "Neither run answers." if len(opinions) == 2 else f"None of the {len(opinions)} runs answers."
        return Said(none, refused[0].look.refused_by.text)
    answering = [opinion for opinion in opinions if opinion not in refused]
    told = _of_several(answering, len(opinions))
    if not refused:
        return told
    silent = " and ".join(opinion.run for opinion in refused)
    verb = "does" if len(refused) == 1 else "do"
    return Said(f"{told.answer} {silent} {verb} not answer.", refused[0].look.refused_by.text)


def although(opinions: Sequence[Opinion]) -> str:
    """What has to stand beside numbers that are shown although a check failed; nothing where none did."""
    failed = next((opinion.look.refused_by for opinion in opinions if opinion.look.refused_by), None)
    return f"Shown although a check failed: {failed.text}" if failed else ""


def _of_several(opinions: Sequence[Opinion], asked: int) -> Said:
    told = [opinion.in_short for opinion in opinions]
    if len(set(told)) == 1 and len(opinions) == asked:
        everyone = "Both runs" if asked == 2 else f"All {asked} runs"
        return Said(f"{everyone} say {told[0]}.", " ".join(map(_figures_of, opinions)))
    parts = ", ".join(f"{opinion.run} says {classes}" for opinion, classes in zip(opinions, told, strict=True))
    return Said(f"The runs differ: {parts}." if len({one.called for one in opinions}) > 1 else f"{parts}.")


def _figures_of(opinion: Opinion) -> str:
    """One of several runs: its likeliest class and that one's number."""
    prediction = opinion.look.prediction
    return f"{opinion.run}: {prediction.predicted}, {scale_of(prediction)} {_top(prediction)}."


def _of_one(opinion: Opinion) -> Said:
    prediction = opinion.look.prediction
    score = probability(float(prediction.scores.max()))
    top = f"{prediction.predicted} has the highest {scale_of(prediction)}: {_top(prediction)}"
    images = plural(prediction.calibration.images, "validation image")
    scale = f"Calibrated on {images}. Uncalibrated score: {score}."
    if not prediction.is_calibrated:
        scale = "A score, not a probability."
    if opinion.answer is None:
        return Said(f"{top}.", scale)
    coverage = f"At {share(opinion.answer.coverage, 0)} coverage."
    return Said(opinion.says, " ".join(filter(None, (coverage, f"{top}.", scale, opinion.answer.note))))


def _top(prediction: Prediction) -> str:
    return probability(float(prediction.best_known.max()))
