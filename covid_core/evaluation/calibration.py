"""How far scores are from being probabilities, the one number that brings them nearer, and thresholds for an aim.

A score of 0.9 is calibrated when nine of ten images with it are what they were called. The reliability diagram shows it
bin by bin; ``measures`` sums it up as the expected calibration error. Temperature scaling (Guo, Pleiss, Sun
and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 4.2) divides all logits by one number,
fitted on validation images: the order of the classes, and with it every answer, stays.

Everything is chosen on the validation images that the caller hands over, and reported on the test part.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from covid_core.errors import DataError
from covid_core.evaluation import measures, metrics
from covid_core.evaluation.measures import BINS, CLASS_MEASURES, bin_of
from covid_core.evaluation.metrics import Answers, Measure
from covid_core.evaluation.resampling import once
from covid_core.formatting import plural

COLDEST, HOTTEST = 0.05, 20.0  # bounds of a temperature; beyond them a softmax is a step or flat
PRECISION = 1e-6  # of the logarithm of a temperature
AT_BOUND = 1e-4  # so near a bound, the loss is least beyond it: no temperature has been found

Aim = Literal["sensitivity", "specificity"]
AIMS: tuple[Aim, ...] = get_args(Aim)
USUAL_AIM = 0.95  # of sensitivity or specificity, where nobody has said what is wanted


@dataclass(frozen=True)
class Bin:
    """Images whose top score lies in (low, high]: their mean score, and the share that was answered rightly."""

    low: float
    high: float
    mean_score: float
    right: Measure

    @property
    def number(self) -> int:
        """Its place among all bins, as ``weighted_measures.bin_of`` counts them."""
        return round(self.low * BINS)


def reliability(predictions: Answers) -> list[Bin]:
    """The diagram's bins that have images, by the score of the class that was answered; unanswered images are in
    none."""
    top = predictions.y_prob.max(axis=1, initial=0)
    place = np.where(predictions.answered, bin_of(top), -1)
    bins = []
    for number in np.unique(place[place >= 0]):
        inside = place == number
        right = metrics.wilson(int(predictions.right[inside].sum()), int(inside.sum()))
        bins.append(Bin(number / BINS, (number + 1) / BINS, float(top[inside].mean()), right))
    return bins


def fitted_temperature(table: pd.DataFrame) -> float:
    """What the logits of a prediction table have to be divided by so that the log loss of its validation part is least.

    Between COLDEST and HOTTEST. Raises DataError where there is no validation image, a logit is not a number, or the
    loss is least beyond these bounds.
    """
    validation = table[(table["part"] == "validation").to_numpy()]
    logits = metrics.logits(validation)
    if not len(validation) or not np.isfinite(logits).all():
        raise DataError("A temperature needs validation images with finite logits.")
    fitted = temperature(logits, metrics.answers(validation, "validation").y_true)
    if not COLDEST * (1 + AT_BOUND) < fitted < HOTTEST * (1 - AT_BOUND):
        raise DataError(
            f"No temperature fits the {plural(len(validation), 'validation image')}: either all are predicted "
            "correctly, or their scores say nothing about their classes."
        )
    return fitted


def temperature(logits: np.ndarray, y_true: np.ndarray) -> float:
    """The same for logits (images, classes) and the position of each image's class.

    The loss is convex in the temperature's inverse, so it has one minimum.
    """
    from scipy.optimize import minimize_scalar  # 0.2 s to import, and hardly a page needs it

    bounds = math.log(COLDEST), math.log(HOTTEST)
    minimum = minimize_scalar(_loss_at, bounds=bounds, args=(logits, y_true), options={"xatol": PRECISION})
    # Where the loss is flat the search ends anywhere, and a bound is as good.
    return math.exp(min((*bounds, minimum.x), key=lambda at: _loss_at(at, logits, y_true)))


def _loss_at(log_temperature: float, logits: np.ndarray, y_true: np.ndarray) -> float:
    scaled = logits / math.exp(log_temperature)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(y_true)), y_true]).mean())


def tempered(table: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """The prediction table with the scores that the divided logits give; these are probabilities, once fitted."""
    logits = metrics.logits(table) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = powers / powers.sum(axis=1, keepdims=True)
    names = [metrics.SCORE_PREFIX + label for label in metrics.classes_of(table)]
    return table.assign(**dict(zip(names, scores.T, strict=True)))


@dataclass(frozen=True)
class Calibration:
    """A temperature fitted on ``images`` validation images, and what it makes of the test part: log loss and expected
    calibration error before and after (nan without test images). Where no temperature could be fitted all numbers are
    nan, and ``note`` says why."""

    temperature: float = math.nan
    images: int = 0
    log_loss_before: float = math.nan
    log_loss_after: float = math.nan
    expected_calibration_error_before: float = math.nan
    expected_calibration_error_after: float = math.nan
    note: str = ""

    @property
    def is_defined(self) -> bool:
        return not math.isnan(self.temperature)


def calibrate(table: pd.DataFrame) -> Calibration:
    """Fit a temperature on all validation images of a prediction table, and report it on its test images."""
    images = int((table["part"] == "validation").sum())
    try:
        fitted = fitted_temperature(table)
    except DataError as error:
        return Calibration(images=images, note=str(error))
    return reported(table, fitted, images)


def reported(table: pd.DataFrame, fitted: float, images: int) -> Calibration:
    """What a temperature, fitted on so many ``images``, makes of the test images of a prediction table."""
    figures: dict[str, Any] = {}
    for when, one in (("before", table), ("after", tempered(table, fitted))):
        predictions = metrics.answers(one, "test")
        values = measures.on_draws(predictions, ("log_loss", "expected_calibration_error"))(once(predictions.y_true))
        figures |= {f"{name}_{when}": float(value[0]) for name, value in values.items()}
    return Calibration(fitted, images, **figures)


@dataclass(frozen=True)
class OperatingPoint:
    """One class called at or above a threshold that was chosen on validation: what it reaches there and on test."""

    label: str
    threshold: float
    validation: dict[str, Measure]
    test: dict[str, Measure]


def operating_point(table: pd.DataFrame, label: str, aim: Aim, at_least: float) -> OperatingPoint:
    """The threshold that reaches the aim on validation and costs least of the other measure.

    Args:
        table: a prediction table.
        label: the class to call.
        aim: what must be reached.
        at_least: how much of it, in [0, 1].

    Raises DataError where validation has no image of the class, or none of another.
    """
    validation, test = (metrics.answers(table, part) for part in ("validation", "test"))
    points = metrics.roc_points(validation, label)
    if points.empty:
        needed = "it takes validation images of this class and of another, all with scores"
        raise DataError(f"No threshold for {label} can be chosen: {needed}.")
    reached = points["sensitivity"] if aim == "sensitivity" else 1 - points["false_positive_rate"]
    enough = np.flatnonzero(reached.to_numpy() >= at_least)
    row = enough[0] if aim == "sensitivity" else enough[-1]  # sensitivity rises along the curve, specificity falls
    threshold = float(points["threshold"].iloc[row])
    return OperatingPoint(label, threshold, at(validation, label, threshold), at(test, label, threshold))


def at(predictions: Answers, label: str, threshold: float) -> dict[str, Measure]:
    """Every class measure that is a share, where an image is called ``label`` at or above a threshold."""
    k = predictions.classes.index(label)
    is_class, predicted = predictions.y_true == k, predictions.y_prob[:, k] >= threshold
    shares = {}
    for name, row in CLASS_MEASURES.items():
        if row.share:
            counted, hit = row.share(is_class, predicted, np.ones(predictions.n, bool))
            images, reason = int(counted.sum()), row.reason(predictions, label)
            shares[name] = metrics.wilson(int((counted & hit).sum()), images, reason)
    return shares


def at_prevalence(sensitivity: Measure, specificity: Measure, prevalence: float) -> dict[str, Measure]:
    """ppv and npv where a share ``prevalence`` of all images is of the class, by Bayes' theorem.

    Bounds take both lower or both upper bounds of sensitivity and specificity, so they are wider than 95 %. Undefined
    where nothing, or everything, would be called so.
    """

    def values(reached: float, spared: float) -> tuple[float, float]:
        called, other = reached * prevalence, (1 - spared) * (1 - prevalence)
        missed, right = (1 - reached) * prevalence, spared * (1 - prevalence)
        ppv = called / (called + other) if called + other else math.nan
        return ppv, right / (right + missed) if right + missed else math.nan

    ends = [values(getattr(sensitivity, end), getattr(specificity, end)) for end in ("value", "low", "high")]
    n = sensitivity.n + specificity.n
    return {
        name: Measure(value, low, high, n)
        for name, (value, low, high) in zip(("ppv", "npv"), zip(*ends, strict=True), strict=True)
    }
