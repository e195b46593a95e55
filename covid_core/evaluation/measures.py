"""Every measure, in two tables: a row added here is in every table, page, download and JSON answer.

A simple share has a Wilson interval (``metrics``). Every other measure is a function of many draws of the images at a
time: a weight of 1 each gives its value, drawn weights its bootstrap interval (``resampling``). Functions return arrays
of shape (draws,), or (classes, draws) for one class against the rest, nan where undefined.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from covid_core.evaluation import metrics
from covid_core.evaluation.metrics import Answers, Cause, Gap, Measure
from covid_core.evaluation.resampling import running

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BINS = 15
AT_ONCE = 1 << 17  # cells of an area's sums at a time, so that they stay in the processor's cache
SMALLEST_SCORE = float(np.finfo(np.float64).eps)  # as scikit-learn clips; the logarithm of 0 is infinite
WILSON = "Wilson's score method (Wilson 1927), images that belong together counted for fewer (Rao and Scott 1992)"
BOOTSTRAP = "stratified bootstrap, 2,000 draws (Efron and Tibshirani 1993)"
SHARE_SOURCE = "share of images"
MEAN_SOURCE = "unweighted mean over the classes (Sokolova and Lapalme 2009)"

Share = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
Areas = Callable[[np.ndarray], np.ndarray]
Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Draws:
    """Some draws of a part's images, and sums over them.

    ``cells`` of shape (classes, classes + 1, draws) counts images by label and prediction, the last of which is none.
    ``means`` has the mean of each ``per_image``. ``gaps`` of shape (BINS, draws) sums by bin of the top score how far
    it is above being right. ``curves`` gives AUROC and AUPRC of each class, and takes most of the
    time.
    """

    times: np.ndarray
    cells: np.ndarray
    means: Mapping[str, np.ndarray]
    gaps: np.ndarray
    curves: Callable[[], list[Areas]]

    @cached_property
    def total(self) -> np.ndarray:
        return self.cells.sum(axis=(0, 1))

    @cached_property
    def images(self) -> np.ndarray:
        """Of shape (classes, draws), as ``predicted`` and ``hits``."""
        return self.cells.sum(axis=1)

    @cached_property
    def predicted(self) -> np.ndarray:
        return self.cells[:, :-1].sum(axis=0)

    @cached_property
    def hits(self) -> np.ndarray:
        return np.diagonal(self.cells).T

    @cached_property
    def areas(self) -> np.ndarray:
        """AUROC and AUPRC, of shape (2, classes, draws)."""
        return np.stack([areas(self.times) for areas in self.curves()], axis=1)


@dataclass(frozen=True)
class Definition:
    """What the rows of both tables have.

    Args:
        key: in JSON answers and CSV files.
        title: of columns.
        help: in a tooltip; ``source`` follows it.
        drawn: the measure as a function of draws.
        is_share: is a simple share of images, with Wilson's interval.
    """

    key: str
    title: str
    help: str
    source: str
    drawn: Callable[[Draws], np.ndarray]
    _: KW_ONLY
    is_share: bool = False

    @property
    def explanation(self) -> str:
        """What it is, where it comes from, and how its interval is computed."""
        interval = WILSON if self.is_share else BOOTSTRAP
        return f"{self.help} Definition: {self.source}. 95 % interval: {interval}."


@dataclass(frozen=True, kw_only=True)
class ClassMeasure(Definition):
    """A measure of one class against the rest, in [0, 1].

    Args:
        share: of a share of images: which it counts, and which of these are hits, from three bool arrays: the image is
            of the class, is predicted as the class, has a prediction.
        undefined: why it may be undefined; None where the reason is that there is no ROC curve.
    """

    share: Share | None = None
    undefined: Cause | None = None

    def reason(self, predictions: Answers, label: str) -> Gap | None:
        """Why it is undefined for a class, where it is."""
        if not predictions.n:
            return metrics.NO_IMAGES
        return Gap(self.undefined, label) if self.undefined else metrics.no_curve_because(predictions, label)


@dataclass(frozen=True, kw_only=True)
class OverallMeasure(Definition):
    """A measure of all images.

    Args:
        per_image: of a mean over images: float or bool (images,).
        mean_of: of a mean over the classes of a class measure: its key.
        unit: "%" for what is shown in per cent; "" for what is shown with three digits.
        of_scores: rests on scores as probabilities: always predicting one class has none.
        compared: has columns in the table of a comparison (CSV, JSON), with its interval.
        headline: is a column of that table on the page; in per cent.
        repeated: is summed up over the runs of a study; in per cent.
        has_interval: the percentiles of bootstrap samples bound it.
    """

    per_image: Callable[[Answers], np.ndarray] | None = None
    mean_of: str = ""
    unit: str = "%"
    of_scores: bool = False
    compared: bool = False
    headline: bool = False
    repeated: bool = False
    has_interval: bool = True

    def __post_init__(self) -> None:
        if (self.headline or self.repeated) and self.unit != "%":
            raise ValueError(f"The measure {self.key!r} must be in per cent to be a headline or repeated.")


def _class_share(key: str, title: str, help: str, share: Share, undefined: Cause) -> ClassMeasure:
    """A share of the images of a class, or of those predicted as it, and the like."""

    def drawn(draws: Draws) -> np.ndarray:
        label, prediction = np.indices(draws.cells.shape[:2])
        one = np.arange(len(draws.cells))[:, None, None]
        counted, hit = share(label == one, prediction == one, np.less(prediction, len(draws.cells)))
        hits, total = (np.tensordot(cells.astype(float), draws.cells, 2) for cells in (counted & hit, counted))
        return _ratio(hits, total)

    return ClassMeasure(key, title, help, SHARE_SOURCE, drawn, is_share=True, share=share, undefined=undefined)


def _class_mean(key: str, title: str, help: str, of: str, **more: Any) -> OverallMeasure:
    """The mean of a class measure over the classes for which it is defined."""

    def drawn(draws: Draws) -> np.ndarray:
        of_classes = CLASS_MEASURES[of].drawn(draws)
        defined = np.isfinite(of_classes)
        return _ratio(np.where(defined, of_classes, 0).sum(axis=0), defined.sum(axis=0))

    return OverallMeasure(key, title, help, MEAN_SOURCE, drawn, mean_of=of, **more)


def _image_mean(
    key: str, title: str, help: str, source: str, per_image: Callable[[Answers], np.ndarray], **more: Any
) -> OverallMeasure:
    """The mean of a number of each image."""
    return OverallMeasure(key, title, help, source, lambda draws: draws.means[key], per_image=per_image, **more)


# The formulas of rows


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _matthews(draws: Draws) -> np.ndarray:
    """Correlation of labels and predictions; 0 where all labels or all predictions are one class, as scikit-learn."""
    total, images, predicted = draws.total, draws.images, draws.cells.sum(axis=0)
    covariance = draws.hits.sum(axis=0) * total - (images * predicted[:-1]).sum(axis=0)
    variances = (total**2 - (images**2).sum(axis=0)) * (total**2 - (predicted**2).sum(axis=0))
    return np.where((total > 0) & (variances <= 0), 0.0, _ratio(covariance, np.sqrt(np.maximum(variances, 0))))


def _loss(predictions: Answers) -> np.ndarray:
    own = predictions.y_prob[np.arange(predictions.n), predictions.y_true]
    return -np.log(np.clip(own, SMALLEST_SCORE, 1 - SMALLEST_SCORE))


def _squared_error(predictions: Answers) -> np.ndarray:
    return np.square(predictions.y_prob - np.eye(len(predictions.classes))[predictions.y_true]).sum(axis=1)


# The tables

CLASS_MEASURES = {
    row.key: row
    for row in (
        _class_share(
            "sensitivity",
            "Sensitivity",
            "Of the images of the class, how many are predicted as it (recall): TP / (TP + FN).",
            lambda is_class, predicted, answered: (is_class, predicted),
            "none of class",
        ),
        _class_share(
            "specificity",
            "Specificity",
            "Of the images of other classes, how many are not predicted as the class: TN / (TN + FP).",
            lambda is_class, predicted, answered: (~is_class, ~predicted),
            "all of class",
        ),
        _class_share(
            "ppv",
            "PPV",
            "Of the images predicted as the class, how many are of it (precision): TP / (TP + FP). It changes with how "
            "frequent the class is.",
            lambda is_class, predicted, answered: (predicted, is_class),
            "none predicted",
        ),
        _class_share(
            "npv",
            "NPV",
            "Of the images predicted as another class, how many are not of the class: TN / (TN + FN).",
            lambda is_class, predicted, answered: (answered & ~predicted, ~is_class),
            "all predicted",
        ),
        ClassMeasure(
            "f1",
            "F1",
            "Harmonic mean of sensitivity and PPV.",
            "van Rijsbergen 1979",
            lambda draws: _ratio(2 * draws.hits, draws.images + draws.predicted),
            undefined="neither",
        ),
        ClassMeasure(
            "auroc",
            "AUROC",
            "How often an image of the class has a higher score than an image of another class.",
            "area under the ROC curve (Hanley and McNeil 1982)",
            lambda draws: draws.areas[0],
        ),
        ClassMeasure(
            "auprc",
            "AUPRC",
            "Average PPV over all thresholds. Guessing gives the share of the class, not one half.",
            "average precision, without interpolation",
            lambda draws: draws.areas[1],
        ),
    )
}

MEASURES = {
    row.key: row
    for row in (
        _image_mean(
            "accuracy",
            "Accuracy",
            "Share of images that are predicted correctly.",
            SHARE_SOURCE,
            lambda predictions: predictions.right,
            is_share=True,
            repeated=True,
        ),
        _class_mean(
            "balanced_accuracy",
            "Balanced accuracy",
            "Mean sensitivity over the classes: rare classes count as much as frequent ones.",
            "sensitivity",
            compared=True,
            headline=True,
            repeated=True,
        ),
        _class_mean("macro_specificity", "Macro specificity", "Mean specificity over the classes.", "specificity"),
        _class_mean("macro_ppv", "Macro PPV", "Mean PPV over the classes that were predicted.", "ppv"),
        _class_mean("macro_npv", "Macro NPV", "Mean NPV over the classes.", "npv"),
        _class_mean(
            "macro_f1",
            "Macro F1",
            "Mean F1 over the classes. A class without images counts as 0 where it is predicted.",
            "f1",
            compared=True,
            headline=True,
        ),
        _class_mean(
            "macro_auroc",
            "Macro AUROC",
            "Mean AUROC over the classes.",
            "auroc",
            compared=True,
            headline=True,
            repeated=True,
        ),
        _class_mean("macro_auprc", "Macro AUPRC", "Mean AUPRC over the classes.", "auprc"),
        OverallMeasure(
            "matthews_correlation",
            "Matthews correlation",
            "Correlation of predictions and labels: 1 is perfect, 0 is guessing.",
            "for several classes (Gorodkin 2004)",
            _matthews,
            unit="",
            compared=True,
        ),
        _image_mean(
            "log_loss",
            "Log loss",
            "Mean of -ln(score of the true class). 0 is best; equal scores for three classes give 1.10.",
            "cross-entropy, natural logarithm",
            _loss,
            unit="",
            of_scores=True,
            compared=True,
        ),
        _image_mean(
            "brier_score",
            "Brier score",
            "Squared error of the scores, summed over the classes: 0 is best, 2 is worst.",
            "Brier 1950",
            _squared_error,
            unit="",
            of_scores=True,
            compared=True,
        ),
        OverallMeasure(
            "expected_calibration_error",
            "Calibration error",
            f"How far scores are from the shares that were right (expected calibration error, {BINS} bins). It has no "
            "interval: resampled images differ more from their scores than the images themselves.",
            "Naeini, Cooper and Hauskrecht 2015; Guo and others 2017",
            lambda draws: _ratio(np.abs(draws.gaps).sum(axis=0), draws.total),
            of_scores=True,
            compared=True,
            has_interval=False,
        ),
    )
}
PER_IMAGE = {row.key: value for row in MEASURES.values() if (value := row.per_image)}


# Values


def share_of_class(name: str, predictions: Answers, label: str, groups: np.ndarray | None = None) -> Measure:
    """A class measure that is a share of images, with its Wilson interval; ``groups`` as of ``metrics.accuracy``.

    Raises ValueError for a measure that is none.
    """
    row = CLASS_MEASURES[name]
    if row.share is None:
        raise ValueError(f"{name} is no share of images")
    k = predictions.classes.index(label)
    counted, hit = row.share(predictions.y_true == k, predictions.y_pred == k, predictions.answered)
    own = None if groups is None else groups[counted]
    return metrics.wilson_of_groups(hit[counted], own, row.reason(predictions, label))[0]


def on_draws(predictions: Answers, names: Iterable[str] = ()) -> Callable[[np.ndarray], Values]:
    """Measures of a part, all unless named, as a function of draws of its images (see ``resampling.draws``).

    One draw is computed in double precision, many in single: an interval's ends are known to two digits only.
    """
    table: dict[str, ClassMeasure | OverallMeasure] = {**CLASS_MEASURES, **MEASURES}
    rows = [table[name] for name in names or table]
    classes = len(predictions.classes)
    per_image = _per_image(predictions)

    @cache
    def curves() -> list[Areas]:
        return [_areas(predictions, k) for k in range(classes)]

    def of(times: np.ndarray) -> Values:
        precision = _precision(times)
        sums = (per_image.astype(precision) @ times.astype(precision)).astype(np.float64)
        cells, gaps, totals = np.split(sums, np.cumsum((classes * (classes + 1), BINS)))
        cells = cells.reshape(classes, classes + 1, -1)
        means = dict(zip(PER_IMAGE, _ratio(totals, np.broadcast_to(cells.sum(axis=(0, 1)), totals.shape)), strict=True))
        draws = Draws(times, cells, means, gaps, curves)
        return {row.key: row.drawn(draws) for row in rows}

    return of


def _precision(times: np.ndarray) -> type[np.floating]:
    return np.float64 if times.shape[1] == 1 else np.float32


def _per_image(predictions: Answers) -> "csr_array":
    """Of shape (rows, images): what is summed over images. Cells of label and prediction (the last is none), by bin of
    the top score how far it is above being right, and PER_IMAGE.

    A few values per image and the rest nothing: the sum of these alone is twice as fast as a product of full matrices,
    and does not wait for a processor core that a training keeps busy.
    """
    from scipy.sparse import csr_array  # 0.1 s to import, and not every page needs it

    classes = len(predictions.classes)
    top = predictions.y_prob.max(axis=1, initial=0)
    cells = classes * (classes + 1)
    rows = [
        predictions.y_true * (classes + 1) + np.where(predictions.answered, predictions.y_pred, classes),
        cells + bin_of(top),
    ]
    rows += [np.full(predictions.n, cells + BINS + place) for place in range(len(PER_IMAGE))]
    values = [np.ones(predictions.n), top - predictions.right, *(value(predictions) for value in PER_IMAGE.values())]
    at = np.concatenate(rows), np.tile(np.arange(predictions.n), len(rows))
    return csr_array((np.concatenate(values), at), shape=(cells + BINS + len(PER_IMAGE), predictions.n))


def bin_of(top: np.ndarray) -> np.ndarray:
    """The bin (low, high] of equal width that each score lies in, from 0."""
    return np.clip(np.ceil(np.nan_to_num(top) * BINS).astype(int) - 1, 0, BINS - 1)


def _areas(predictions: Answers, k: int) -> Areas:
    """AUROC and AUPRC of one class against the rest, of shape (2, draws).

    Images are ordered by falling score. For each image of class ``k`` it is counted how many images of ``k``, and of
    the others, have at least its score: ties count half in AUROC, and all at once in AUPRC. All classes are measured on
    the same draws of the same images, since their mean is a measure as well.
    """
    if not (predictions.n and predictions.answered.all()):
        return lambda times: np.full((2, times.shape[1]), np.nan)
    score = -predictions.y_prob[:, k]
    sides = np.flatnonzero(predictions.y_true == k), np.flatnonzero(predictions.y_true != k)
    own, others = (images[np.argsort(score[images], kind="stable")] for images in sides)
    detections, alarms = (np.searchsorted(score[images], score[own], "right") for images in (own, others))
    passed = np.searchsorted(score[others], score[own], "left")
    tied = (alarms != passed).any()

    def areas(times: np.ndarray) -> np.ndarray:
        precision = _precision(times)
        hits, false = running(times, own), running(times, others)
        lost, precise = np.zeros((2, times.shape[1]))
        step = max(1, AT_ONCE // times.shape[1])
        for some in (slice(start, start + step) for start in range(0, len(own), step)):
            drawn, called = times[own[some]].astype(precision), hits[detections[some]].astype(precision)
            above = wrong = false[alarms[some]].astype(precision)
            if tied:
                above = (wrong + false[passed[some]]) / 2
            lost += np.einsum("ij,ij->j", drawn, above)
            called /= np.maximum(called + wrong, 1)
            precise += np.einsum("ij,ij->j", drawn, called)
        positives, negatives = hits[-1].astype(np.float64), false[-1].astype(np.float64)
        return np.stack([_ratio(positives * negatives - lost, positives * negatives), _ratio(precise, positives)])

    return areas
