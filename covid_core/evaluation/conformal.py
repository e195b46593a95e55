"""Sets of classes that hold the right one as often as one asks for: split conformal prediction.

Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005), chapters 2 and 4; Angelopoulos and Bates,
"A Gentle Introduction to Conformal Prediction" (2021). How unlike a class c an image is, is told by its score for c:
-log of the softmax of its logits, which orders images as 1 - score does and keeps apart scores that round to 1. Class c
is in the set of an image where the image is no more unlike c than the ceil((n + 1) * coverage)-th smallest of the n
calibration images of class c. With calibration images and image drawn alike, the set then holds the right class for a
share ``coverage`` of images at least, and at most 1 / (n + 1) more where no two images tie.

*Each class has a limit of its own* (class-conditional, or Mondrian; the least ambiguous sets of Sadinle, Lei and
Wasserman, JASA 114 (2019), section 2.3). One limit for all would give smaller sets on average, paid for by the rare
class: with 9 % viral pneumonia, 90 % of all images can be covered while every image of it is missed. And it holds when
classes become rarer or commoner than they were in training, as they do in another hospital. The price: each class
needs ``least`` images of its own. Where one has fewer, all classes share one limit, the promise holds on average over
all images only, and ``PredictionSet.few`` says so. Where all images together are too few, no class is ruled out.

*A set may be empty.* A run that is right on 97 % of images can cover no more than 90 % of them only by giving none of
the classes now and then: the image is then more unlike every class than 90 % of that class's own images. That is an
answer of its own, "none of the classes at 90 %", never hidden behind the likeliest class, which would make every
coverage below the accuracy a lie; ``PredictionSet.better`` says from which coverage on a class would be in.

The logits are taken as they are, not divided by the temperature: that was fitted on the same images, and one number
that knows them is one too many for the promise. The ground floor: this module sees arrays and prediction tables only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from covid_core.errors import DataError, InvalidChoice
from covid_core.evaluation import metrics
from covid_core.evaluation.metrics import Measure
from covid_core.formatting import share

USUAL_COVERAGE = 0.9
LOWEST, HIGHEST = 0.7, 0.99  # below, most sets of a good run are empty; above, 100 images of each class are too few
ROUNDING = 1e-9  # (n + 1) * coverage may exceed a whole number by float rounding alone


def rank(images: int, coverage: float) -> int:
    """Which of ``images`` ascending values is the limit: ceil((images + 1) * coverage), counted from 1.

    More than ``images`` where they are too few for the coverage.
    """
    return math.ceil((images + 1) * coverage - ROUNDING)


def least(coverage: float) -> int:
    """The fewest images that support a coverage: 9 for 90 %, 19 for 95 %, 99 for 99 %."""
    return math.ceil(coverage / (1 - coverage) - ROUNDING)


def quantile(values: np.ndarray, coverage: float) -> float:
    """The limit that a further value, drawn like ``values``, keeps with a probability of at least ``coverage``.

    Infinite where ``values`` are fewer than ``least(coverage)``.
    """
    place = rank(len(values), coverage)
    return math.inf if place > len(values) else float(np.sort(values)[max(place, 1) - 1])


@dataclass(frozen=True)
class PredictionSet:
    """Classes that an image may be, the likeliest first; all others are ruled out at this ``coverage``.

    ``everything`` are all classes of the run, ``images`` how many images set the limits. ``few`` are classes with too
    few images for a limit of their own, with their number: where there are any, the promise holds over all images only.
    Where the likeliest class is not in the set, ``excluded`` is that class or, of an empty set, the one that fits best,
    and ``better`` the share of the images that set its limit and fit theirs better.
    """

    classes: tuple[str, ...]
    everything: tuple[str, ...]
    coverage: float
    images: int
    few: Mapping[str, int] = field(default_factory=dict)
    excluded: str = ""
    better: float = math.nan


@dataclass(frozen=True)
class Sets:
    """How unlike their own class the calibration images are: ascending values for each of ``classes``, by position."""

    classes: tuple[str, ...]
    unlike: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, table: pd.DataFrame, part: str = "validation") -> "Sets":
        """From the images of one part of a prediction table, all of which have set nothing else.

        Raises DataError where a logit is missing or not a number.
        """
        predictions = metrics.answers(table, part)
        unlike = _unlike(_logits(table, part))
        own = unlike[np.arange(predictions.n), predictions.y_true]
        return cls(
            predictions.classes, tuple(np.sort(own[predictions.y_true == k]) for k in range(len(predictions.classes)))
        )

    @property
    def images(self) -> int:
        """Calibration images of all classes."""
        return sum(map(len, self.unlike))

    def is_by_class(self, coverage: float) -> bool:
        """Whether every class has images enough for a limit of its own."""
        return min(map(len, self.unlike)) >= least(coverage)

    def set_of(self, logits: np.ndarray, coverage: float = USUAL_COVERAGE) -> PredictionSet:
        """The set of one image from its logits, of shape (classes,). Raises InvalidChoice."""
        inside = self.inside(logits[None], coverage)[0]
        order = np.argsort(-logits, kind="stable")
        chosen = tuple(self.classes[k] for k in order if inside[k])
        made = PredictionSet(chosen, self.classes, coverage, self.images, self.too_few(coverage))
        if inside[order[0]]:
            return made
        p = self.p_values(logits[None], coverage)[0]
        best = int(order[0] if chosen else p.argmax())
        return replace(made, excluded=self.classes[best], better=float(1 - p[best]))

    def inside(self, logits: np.ndarray, coverage: float) -> np.ndarray:
        """Of shape (images, classes): whether each class is in each image's set. Raises InvalidChoice."""
        limits = np.array([quantile(values, coverage) for values in self._compared(coverage)])
        return _unlike(logits) <= limits

    def p_values(self, logits: np.ndarray, coverage: float = USUAL_COVERAGE) -> np.ndarray:
        """Of shape (images, classes): the share of the images that set a class's limit at this coverage, the image
        itself counted with them, that are at least as unlike their own class as the image is unlike that class.

        A class is in a set exactly where the coverage is above 1 less it. Raises InvalidChoice.
        """
        unlike = _unlike(logits)
        columns = [
            (len(values) - np.searchsorted(values, unlike[:, k], side="left") + 1) / (len(values) + 1)
            for k, values in enumerate(self._compared(coverage))
        ]
        return np.stack(columns, axis=1)

    def too_few(self, coverage: float) -> dict[str, int]:
        """Classes with too few images for a limit of their own, and how many they have."""
        counts = zip(self.classes, map(len, self.unlike), strict=True)
        return {label: images for label, images in counts if images < least(coverage)}

    def _compared(self, coverage: float) -> tuple[np.ndarray, ...]:
        """For each class, the ascending values that set its limit: those of its own images, or of all."""
        if not LOWEST <= coverage <= HIGHEST:
            limits = f"{share(LOWEST, 0)} to {share(HIGHEST, 0)}"
            raise InvalidChoice(f"The coverage must be {limits}, received: {coverage}.")
        if self.is_by_class(coverage):
            return self.unlike
        return (np.sort(np.concatenate(self.unlike)),) * len(self.classes)


@dataclass(frozen=True)
class Evaluated:
    """What sets at a ``coverage`` came to on the images of a part.

    ``covered`` is the share of images whose set holds their class, ``of_class`` the same within each class; ``single``
    and ``empty`` the shares of images with one and with no class. ``mean_size`` is nan without images.
    """

    coverage: float
    covered: Measure
    of_class: Mapping[str, Measure]
    mean_size: float
    single: Measure
    empty: Measure


def evaluated(sets: Sets, table: pd.DataFrame, coverage: float = USUAL_COVERAGE, part: str = "test") -> Evaluated:
    """The sets of all images of a part. Raises InvalidChoice, DataError."""
    predictions = metrics.answers(table, part)
    inside = sets.inside(_logits(table, part), coverage)
    hit, sizes = inside[np.arange(predictions.n), predictions.y_true], inside.sum(axis=1)
    of_class = {
        label: metrics.wilson(int(hit[predictions.y_true == k].sum()), int((predictions.y_true == k).sum()))
        for k, label in enumerate(predictions.classes)
    }
    return Evaluated(
        coverage,
        metrics.wilson(int(hit.sum()), predictions.n),
        of_class,
        float(sizes.mean()) if predictions.n else math.nan,
        metrics.wilson(int((sizes == 1).sum()), predictions.n),
        metrics.wilson(int((sizes == 0).sum()), predictions.n),
    )


def _logits(table: pd.DataFrame, part: str) -> np.ndarray:
    logits = metrics.logits(table[(table["part"] == part).to_numpy()])
    if not np.isfinite(logits).all():
        raise DataError("Prediction sets need finite logits.")
    return logits


def _unlike(logits: np.ndarray) -> np.ndarray:
    """-log softmax, of shape (images, classes), log(1 + the other classes' part by its own), exact near 0."""
    logits = logits.astype(np.float64)
    columns = [
        np.logaddexp(0, np.logaddexp.reduce(np.delete(logits, k, axis=1), axis=1) - logits[:, k])
        for k in range(logits.shape[1])
    ]
    return np.stack(columns, axis=1)
