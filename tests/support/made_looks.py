"""Answers of runs, made by hand."""

import math

import numpy as np

from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import PredictionSet
from covid_core.inference.head import softmax
from covid_core.inference.prediction import CHEST_IMAGE, LIKE_TRAINING, Check, Look, Neighbour, Prediction
from covid_core.inference.predictor import UNCALIBRATED
from covid_core.inference.worklist import Opinion

CLASSES = ("COVID", "Normal", "Viral Pneumonia")
WARM = Calibration(temperature=2.0, images=322)
PASSED = (
    Check(CHEST_IMAGE, True, 0.9, 0.4, "It looks like a frontal chest image."),
    Check(LIKE_TRAINING, True, 1.0, 2.0, "It is not unlike the training images."),
)
REFUSED = (Check(CHEST_IMAGE, False, 0.1, 0.4, "It does not look like a frontal chest image."), PASSED[1])
UNASKED = (Check(CHEST_IMAGE, None, math.nan, math.nan, "This could not be checked: no reference."),)
NEAR = (Neighbour("COVID/a.png", "COVID", 0.71),)


def prediction(logits=(3.0, 1.0, 0.0), calibration: Calibration = WARM, classes=CLASSES) -> Prediction:
    values = np.array(logits, dtype=np.float32)
    return Prediction(tuple(classes), softmax(values[None])[0], values, (), calibration)


def opinion(
    run: str = "One",
    logits=(3.0, 1.0, 0.0),
    checks=PASSED,
    possible: tuple[str, ...] | None = ("COVID",),
    calibrated: bool = True,
    note: str = "",
) -> Opinion:
    """What a run says; ``possible`` are the classes that it does not rule out, None where it cannot tell."""
    answer = None if possible is None else PredictionSet(possible, CLASSES, 0.9, 322, note)
    found = prediction(logits, WARM if calibrated else UNCALIBRATED)
    return Opinion(run, Look(found, tuple(checks), NEAR), answer)
