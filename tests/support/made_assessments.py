"""Assessments of images, made by hand."""

from dataclasses import dataclass

import numpy as np

from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import PredictionSet
from covid_core.images.codec import GreyImage
from covid_core.inference.assessment import Assessment
from covid_core.inference.gate import CHEST_IMAGE, LIKE_TRAINING, Check
from covid_core.inference.predictor import UNCALIBRATED
from covid_core.inference.reference import Neighbour

CLASSES = ("COVID", "Normal", "Viral Pneumonia")
WARM = Calibration(temperature=2.0, images=322)
PASSED = (
    Check(CHEST_IMAGE, True, 0.9, reason="It looks like a frontal chest image."),
    Check(LIKE_TRAINING, True, 1.0, reason="It is like the training images."),
)
REFUSED = (Check(CHEST_IMAGE, False, 0.1, reason="It does not look like a frontal chest image."), PASSED[1])
UNCHECKED = (Check(CHEST_IMAGE, None, has_reference=False),)
NEAR = (Neighbour("COVID/a.png", "COVID", 0.71),)


@dataclass
class FixedSet:
    """The same prediction set whatever the logits are."""

    possible: tuple[str, ...]
    classes: tuple[str, ...]

    def set_of(self, logits: np.ndarray, coverage: float) -> PredictionSet:
        first = self.classes[int(logits.argmax())]
        excluded = "" if first in self.possible else first
        return PredictionSet(self.possible, self.classes, coverage, 322, excluded=excluded, better=0.98)


def assessment(
    run: str = "One",
    logits=(3.0, 1.0, 0.0),
    checks=PASSED,
    possible: tuple[str, ...] | None = ("COVID",),
    calibrated: bool = True,
    classes: tuple[str, ...] = CLASSES,
    **more,
) -> Assessment:
    """What a run makes of an image; ``possible`` are the classes not ruled out, None where it has no set."""
    return Assessment(
        **{"name": "image.png", **more},
        run=run,
        classes=classes,
        logits=np.array(logits, dtype=np.float32),
        calibration=WARM if calibrated else UNCALIBRATED,
        checks=tuple(checks),
        neighbours=NEAR,
        sets=None if possible is None else FixedSet(possible, classes),
    )


def grey(**more) -> GreyImage:
    """Noise of 60 x 80 pixels."""
    return GreyImage(np.random.default_rng(0).integers(0, 255, (60, 80)).astype(np.uint8), "L", **more)
