"""What one run says of one image, and the reasons for and against believing it.

The checks come in the order in which they are made; the first that fails is why there is no answer. A check that could
not be made is told as such, never as passed.
"""

import math
from dataclasses import dataclass

import numpy as np

from covid_core.evaluation.calibration import Calibration
from covid_core.images.codec import GreyImage
from covid_core.inference.head import softmax

CHEST_IMAGE = "frontal chest image"
LIKE_TRAINING = "like the training images"


@dataclass(frozen=True)
class Prediction:
    """What a run says of one image. ``scores`` are softmax outputs, not probabilities: they are not calibrated.

    ``calibration`` is the run's; where it is defined there are ``probabilities`` too.
    """

    classes: tuple[str, ...]
    scores: np.ndarray
    logits: np.ndarray
    done: tuple[str, ...]
    calibration: Calibration

    @property
    def predicted(self) -> str:
        """The class with the highest score, which has the highest probability too."""
        return self.classes[int(self.scores.argmax())]

    @property
    def is_calibrated(self) -> bool:
        return self.calibration.is_defined

    @property
    def probabilities(self) -> np.ndarray | None:
        """The softmax of the logits divided by the run's temperature; None where it has none."""
        if not self.is_calibrated:
            return None
        return softmax(self.logits[None].astype(np.float64) / self.calibration.temperature)[0]

    @property
    def best_known(self) -> np.ndarray:
        """Probabilities where there are some, else scores: whoever shows them says which."""
        return self.probabilities if self.is_calibrated else self.scores

    def by_class(self, values: np.ndarray) -> dict[str, float]:
        """Scores, probabilities or logits by the name of their class."""
        return dict(zip(self.classes, map(float, values), strict=True))


@dataclass(frozen=True)
class Check:
    """One question that is asked before an answer is given.

    ``passed`` is None where the question could not be asked. ``figure`` is what was measured and ``limit`` what it is
    held against, both nan where nothing was. ``text`` says all of it in one sentence.
    """

    name: str
    passed: bool | None
    figure: float
    limit: float
    text: str


@dataclass(frozen=True)
class Neighbour:
    """A training image that looks like the image to the network. ``distance`` is 0 for the same picture, and 1 is usual
    for an image of the same kind (see ``inference.neighbours``)."""

    image_id: str
    label: str
    distance: float


@dataclass(frozen=True)
class Look:
    """A prediction with the checks that were made before it and the training images that look most like it."""

    prediction: Prediction
    checks: tuple[Check, ...]
    neighbours: tuple[Neighbour, ...] = ()

    @property
    def refused_by(self) -> Check | None:
        """The first check that failed: why the run does not answer."""
        return next((check for check in self.checks if check.passed is False), None)

    @property
    def unasked(self) -> Check | None:
        """The first check that could not be made."""
        return next((check for check in self.checks if check.passed is None), None)


def unasked(name: str, reason: str) -> Check:
    """A check that could not be made. ``reason`` completes the sentence and has no full stop."""
    return Check(name, None, math.nan, math.nan, f"This could not be checked: {reason}.")


def told_by_file(image: GreyImage) -> Check | None:
    """The failed check of an image whose own file says that it is no frontal chest image; None where it says
    nothing."""
    if not image.not_chest:
        return None
    return Check(CHEST_IMAGE, False, math.nan, math.nan, " ".join(image.not_chest))
