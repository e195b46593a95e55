"""A run's answers on one part of its images: the arrays, shares of images with their intervals, and the curves.

Every measure comes with its interval and the number of images that it rests on. Undefined is not a number, with the
reason; it is never 0. All is a few lines of NumPy, tested against scikit-learn to 1e-12, because importing
scikit-learn takes longer than a page may. Every measure has its row in ``measures``.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from covid_core.errors import DataError

SCORE_PREFIX, LOGIT_PREFIX = "score_", "logit_"
Z = 1.959963984540054  # two-sided normal quantile of 95 %, which every interval in the app has
FEWEST_OF_SHARE = 10  # images; the interval of a share of fewer spans more than a quarter, even without an error
LEAPING, SPREAD = 100, 400  # points of a thinned curve at its beginning, and along the rest: it is 400 pixels wide
Cause = Literal[
    "no images", "not numbers", "none of class", "all of class", "none predicted", "all predicted", "neither"
]


@dataclass(frozen=True)
class Gap:
    """Why a figure is undefined, of a class where ``label`` names it: no image is of the class, or all are, none or all
    were predicted as it, or no image is either. ``left_out``: of a mean that goes without that class."""

    cause: Cause
    label: str = ""
    left_out: bool = False


NO_IMAGES, NOT_NUMBERS = Gap("no images"), Gap("not numbers")


@dataclass(frozen=True)
class Measure:
    """One number that somebody may rely on.

    ``value`` is nan where it is undefined. ``low`` and ``high`` bound its 95 % interval (nan where none is computed),
    ``n`` is the number of images it rests on, ``note`` says why it is undefined or what was left out; a text is what
    an earlier version stored.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    note: tuple[Gap, ...] | str = ""

    @property
    def is_defined(self) -> bool:
        return not math.isnan(self.value)


UNDEFINED = Measure(math.nan)


def undefined(reason: Gap | None, images: int = 0) -> Measure:
    """A measure that is not a number, for that reason."""
    return Measure(math.nan, n=images, note=(reason,) if reason else "")


@dataclass(frozen=True, eq=False)
class Answers:
    """A run's answers on some images, as arrays.

    ``y_true`` of shape (images,) holds positions in ``classes``; ``y_prob`` of shape (images, classes) holds the
    scores.
    """

    classes: tuple[str, ...]
    image_ids: np.ndarray
    y_true: np.ndarray
    y_prob: np.ndarray

    @property
    def n(self) -> int:
        return len(self.y_true)

    @cached_property
    def answered(self) -> np.ndarray:
        """Of shape (images,): whether all scores of the image are finite. An image without them has no answer."""
        return np.isfinite(self.y_prob).all(axis=1)

    @cached_property
    def y_pred(self) -> np.ndarray:
        """Of shape (images,): position of the highest score, the first of equal ones, or -1 where there is no
        answer."""
        if not self.n:
            return np.empty(0, dtype=np.intp)
        return np.where(self.answered, np.argmax(np.where(self.answered[:, None], self.y_prob, 0), axis=1), -1)

    @cached_property
    def right(self) -> np.ndarray:
        """Of shape (images,): whether the answer is the label. No answer is not right."""
        return self.y_pred == self.y_true

    @cached_property
    def counts(self) -> np.ndarray:
        """Of shape (classes, classes): images by label (rows) and answer (columns). Unanswered images are in none."""
        k = len(self.classes)
        cells = self.y_true[self.answered] * k + self.y_pred[self.answered]
        return np.bincount(cells, minlength=k * k).reshape(k, k)

    @cached_property
    def images(self) -> np.ndarray:
        """Of shape (classes,): images of each label, answered or not."""
        return np.bincount(self.y_true, minlength=len(self.classes))


def classes_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Class names of a prediction table, in the order of its score columns."""
    return tuple(name.removeprefix(SCORE_PREFIX) for name in table.columns if name.startswith(SCORE_PREFIX))


def answers(table: pd.DataFrame, part: str) -> Answers:
    """The images of one part of a prediction table as arrays.

    Raises DataError for a table without the columns of one, and for a label that has no score column.
    """
    classes = classes_of(table)
    if not classes or not {"image_id", "part", "label"} <= set(table.columns):
        raise DataError("The predictions lack a column: image_id, part, label and a score for every class are needed.")
    images = table.loc[(table["part"] == part).to_numpy()]
    y_true = pd.Index(classes).get_indexer(images["label"])
    if (y_true < 0).any():
        unknown = images["label"].iloc[int(np.argmax(y_true < 0))]
        raise DataError(f"The predictions hold images of the class {unknown!r}, for which there are no scores.")
    y_prob = images[[SCORE_PREFIX + label for label in classes]].to_numpy(dtype=float)
    return Answers(classes, images["image_id"].to_numpy(dtype=object), y_true, y_prob)


def logits(table: pd.DataFrame) -> np.ndarray:
    """The logits of a prediction table, of shape (images, classes). Raises DataError where it has none."""
    columns = [LOGIT_PREFIX + label for label in classes_of(table)]
    if not set(columns) <= set(table.columns):
        raise DataError("The logits of every class are needed, and the predictions have none.")
    return table[columns].to_numpy(dtype=float)


def design_effect(right: np.ndarray, groups: np.ndarray) -> float:
    """How many images stand for one where images that belong together are answered alike; 1 where each is by itself.

    Variance of a share of clustered images over that of as many single ones, never less than 1. Where all answers are
    right, or none, it cannot be seen how alike a group is answered, and each group counts as one.

    Source: Rao and Scott, "A simple method for the analysis of clustered binary data", Biometrics 48 (1992) 577-585.

    Args:
        right: bool (images,).
        groups: of shape (images,), equal for images that belong together.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(codes)
    images, several = len(codes), len(sizes)
    if several == images:
        return 1.0
    value = float(np.mean(right))
    if value in (0.0, 1.0) or several == 1:
        return float(np.square(sizes).sum() / images)
    residuals = np.bincount(codes, np.asarray(right, float)) - sizes * value
    effect = several / (several - 1) * float(np.square(residuals).sum()) / (images * value * (1 - value))
    return max(1.0, effect)


def design_effect_of_difference(right: np.ndarray, inside: np.ndarray, groups: np.ndarray) -> float:
    """How many images stand for one where a share of some images is held against that of all others; 1 at least.

    A group may lie on one side, where it counts for fewer, or on both, where what its images have in common cancels.
    With r the correlation of two images of a group, n and N the images of a group and of all on each side, the variance
    of the difference is 1 - r + r * sum((n1/N1 - n2/N2)**2) / (1/N1 + 1/N2) times that of as many single images. r is
    the mean product of residuals from the share of all images over the pairs within groups, by their mean square: it
    does not rest on the few groups that one side may have.

    Source: Donner, Birkett and Buck, American Journal of Epidemiology 114 (1981) 906-914, for clusters on one side.

    Args:
        right: bool (images,).
        inside: bool (images,), the side of each image; both sides need one.
        groups: of shape (images,), equal for images that belong together.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(codes)
    several, residuals = len(sizes), right - np.mean(right)
    if several in (1, len(codes)) or not residuals.any():
        return 1.0
    sums, square = np.bincount(codes, residuals), float(np.square(residuals).mean())
    products = float(np.square(sums).sum()) * several / (several - 1) - square * len(codes)
    alike = min(1.0, max(0.0, products / (square * float((sizes * (sizes - 1)).sum()))))
    of_side = [np.bincount(codes, side) / side.sum() for side in (inside, ~inside)]
    apart = float(np.square(of_side[0] - of_side[1]).sum()) / (1 / inside.sum() + 1 / (~inside).sum())
    return max(1.0, 1 - alike + alike * apart)


def wilson_of_groups(
    right: np.ndarray, groups: np.ndarray | None, reason: Gap | None = NO_IMAGES
) -> tuple[Measure, float]:
    """A share of images with the Wilson interval of as many as they count for, and their design effect.

    ``right`` and ``groups`` as of ``design_effect``; None: each image is by itself. Undefined without images, for
    ``reason``.
    """
    if not len(right):
        return wilson(0, 0, reason), 1.0
    effect = 1.0 if groups is None else design_effect(right, groups)
    hits, images = int(np.count_nonzero(right)), len(right)
    adjusted = wilson(hits / effect, images / effect)
    return replace(adjusted, value=hits / images, n=images), effect  # runs with equal hits are equal to the last digit


def wilson(hits: float, total: float, reason: Gap | None = NO_IMAGES) -> Measure:
    """A share with its 95 % score interval: (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212.
    Undefined for ``total`` 0, for ``reason``.
    """
    if total == 0:
        return undefined(reason)
    share = hits / total
    centre = share + Z**2 / (2 * total)
    half = Z * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    scale = 1 + Z**2 / total
    low = 0.0 if hits == 0 else (centre - half) / scale
    high = 1.0 if hits == total else (centre + half) / scale
    return Measure(share, low, high, int(total))


def accuracy(predictions: Answers, groups: np.ndarray | None = None) -> Measure:
    """Share of images whose answer is the label, with its Wilson interval.

    Here and below, ``groups`` of shape (images,) says which images belong together: they count for fewer.
    """
    return wilson_of_groups(predictions.right, groups)[0]


def confusion(predictions: Answers) -> pd.DataFrame:
    """Images by label (rows) and answer (columns)."""
    return pd.DataFrame(
        predictions.counts,
        index=pd.Index(predictions.classes, name="label"),
        columns=pd.Index(predictions.classes, name="answer"),
    )


def no_curve_because(predictions: Answers, label: str) -> Gap | None:
    """Why there is no ROC or precision-recall curve for ``label``; None where there is one."""
    images = int(predictions.images[predictions.classes.index(label)])
    if predictions.n == 0:
        return NO_IMAGES
    if images == 0:
        return Gap("none of class", label)
    if images == predictions.n:
        return Gap("all of class", label)
    return None if predictions.answered.all() else NOT_NUMBERS


@dataclass(frozen=True, eq=False)
class ThresholdCurves:
    """A class over all thresholds, one point per distinct score, no more points than can be told apart when drawn.

    ``roc`` and ``precision_recall`` as of ``roc_points`` and ``precision_recall_points``; ``prevalence`` is the share
    of the images that are of the class, the PPV of guessing; ``undefined`` says why there is no curve, where none is.
    """

    roc: pd.DataFrame
    precision_recall: pd.DataFrame
    prevalence: float
    undefined: Gap | None


def threshold_curves(predictions: Answers) -> dict[str, ThresholdCurves]:
    """The curves of every class."""
    shares = predictions.images / (predictions.n or np.nan)
    return {
        label: ThresholdCurves(
            thinned(roc_points(predictions, label)),
            thinned(precision_recall_points(predictions, label)),
            float(share),
            no_curve_because(predictions, label),
        )
        for label, share in zip(predictions.classes, shares, strict=True)
    }


def roc_points(predictions: Answers, label: str) -> pd.DataFrame:
    """Points of the ROC curve, one per distinct score, from "predict nothing as the class" to "predict everything".

    Columns false_positive_rate, sensitivity, threshold (an image is predicted as ``label`` at or above it). Empty where
    the curve is undefined.
    """
    hits, predicted, threshold = _by_falling_threshold(predictions, label)
    first = np.zeros(min(1, len(hits)))
    false_alarms = predicted - hits
    return pd.DataFrame(
        {
            "false_positive_rate": np.concatenate([first, false_alarms / false_alarms[-1:]]),
            "sensitivity": np.concatenate([first, hits / hits[-1:]]),
            "threshold": np.concatenate([first + np.inf, threshold]),
        }
    )


def precision_recall_points(predictions: Answers, label: str) -> pd.DataFrame:
    """Points of the precision-recall curve, one per distinct score, from the highest threshold to the lowest.

    Columns sensitivity, ppv, threshold. Empty where the curve is undefined. Where nothing is predicted as the class,
    ppv is undefined, so unlike scikit-learn's there is no made-up first point at ppv 1.
    """
    hits, predicted, threshold = _by_falling_threshold(predictions, label)
    return pd.DataFrame({"sensitivity": hits / hits[-1:], "ppv": hits / predicted, "threshold": threshold})


def _by_falling_threshold(predictions: Answers, label: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each distinct score: images of the class among those predicted as it, images predicted as it, the threshold.
    Empty where there is no curve."""
    if no_curve_because(predictions, label):
        return np.empty(0), np.empty(0), np.empty(0)
    k = predictions.classes.index(label)
    order = np.argsort(-predictions.y_prob[:, k], kind="stable")
    ranked = predictions.y_prob[order, k]
    last_of_tie = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    return np.cumsum(predictions.y_true[order] == k)[last_of_tie], last_of_tie + 1, ranked[last_of_tie]


def thinned(points: pd.DataFrame) -> pd.DataFrame:
    """So many points of a curve that no more could be seen: the first, where it leaps, and others evenly spread."""
    if len(points) <= 2 * LEAPING + SPREAD:
        return points
    spread = np.linspace(LEAPING, len(points) - 1, SPREAD).round().astype(int)
    return points.iloc[np.concatenate([np.arange(LEAPING), spread])].reset_index(drop=True)
