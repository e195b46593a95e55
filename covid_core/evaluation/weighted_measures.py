"""Measures of images that count several times: a weight of 1 each gives a measure's value, drawn weights its interval.

Every measure that is not a simple share is written once, here, for many draws of images at a time. Results are of shape
(draws,), or (classes, draws) for the measures of one class against the rest, and nan where they are undefined.

Sources:

- balanced_accuracy and the macro measures: unweighted means over the classes (Sokolova and Lapalme, Information
  Processing and Management 45 (2009) 427-437).
- f1: van Rijsbergen, "Information Retrieval" (1979), chapter 7.
- auroc: Hanley and McNeil, Radiology 143 (1982) 29-36.
- auprc: average precision without interpolation, as scikit-learn's ``average_precision_score``.
- matthews_correlation: Gorodkin, Computational Biology and Chemistry 28 (2004) 367-374, for several classes.
- log_loss: mean of -ln(score of the true class), scores clipped at SMALLEST_SCORE.
- brier_score: Brier, Monthly Weather Review 78 (1950) 1-3: the squared error summed over the classes, in [0, 2].
- expected_calibration_error: Naeini, Cooper and Hauskrecht, AAAI 2015, on the top score, in BINS bins of equal width as
  Guo, Pleiss, Sun and Weinberger, ICML 2017.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from covid_core.evaluation.metrics import Answers
from covid_core.evaluation.resampling import running

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BINS = 15
AT_ONCE = 1 << 17  # cells of an area's sums at a time, so that they stay in the processor's cache
SMALLEST_SCORE = float(np.finfo(np.float64).eps)  # as scikit-learn clips; the logarithm of 0 is infinite


def measures(given: Answers, areas: bool = True) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """What every measure of a part is on given draws of its images, which are looked at once, not per call.

    Without ``areas``, those that rest on sums alone: AUROC and AUPRC take most of the time. One draw is computed in
    double precision, many in single: an interval's ends are known to two digits only.
    """
    per_image = _per_image(given)
    area_of = [_areas(given, k) for k in range(len(given.classes))] if areas else []

    def of(times: np.ndarray) -> dict[str, np.ndarray]:
        precision = np.float64 if times.shape[1] == 1 else np.float32
        sums = per_image.astype(precision) @ times.astype(precision)
        found = _of_sums(sums.astype(np.float64), len(given.classes))
        if not areas:
            return found
        found["auroc"], found["auprc"] = np.stack([area(times, precision) for area in area_of], axis=1)
        return {**found, "macro_auroc": _mean(found["auroc"]), "macro_auprc": _mean(found["auprc"])}

    return of


def _per_image(given: Answers) -> "csr_array":
    """Of shape (rows, images): what is summed over images. Cells of label and answer (the last answer is none), loss,
    squared error, and by bin of the top score how far it is above being right.

    Four values per image and the rest nothing: the sum of these alone is twice as fast as a product of full matrices,
    and does not wait for a processor core that a training keeps busy.
    """
    from scipy.sparse import csr_array  # 0.1 s to import, and not every page needs it

    k, images = len(given.classes), np.arange(given.n)
    own = given.y_prob[images, given.y_true]
    loss = -np.log(np.clip(own, SMALLEST_SCORE, 1 - SMALLEST_SCORE))
    squares = np.square(given.y_prob - np.eye(k)[given.y_true]).sum(axis=1)
    top = given.y_prob.max(axis=1, initial=0)
    cell = given.y_true * (k + 1) + np.where(given.answered, given.y_pred, k)
    cells = k * (k + 1)
    rows = [cell, np.full(given.n, cells), np.full(given.n, cells + 1), cells + 2 + bin_of(top)]
    values = [np.ones(given.n), loss, squares, top - given.right]
    at = np.concatenate(rows), np.tile(images, len(rows))
    return csr_array((np.concatenate(values), at), shape=(cells + 2 + BINS, given.n))


def bin_of(top: np.ndarray) -> np.ndarray:
    """The bin (low, high] of equal width that each score lies in, from 0."""
    return np.clip(np.ceil(np.nan_to_num(top) * BINS).astype(int) - 1, 0, BINS - 1)


def _of_sums(sums: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """The measures that rest on sums over images."""
    cells = sums[: k * (k + 1)].reshape(k, k + 1, -1)  # label, answer (the last is none), draw
    loss, squares, gaps = sums[-BINS - 2], sums[-BINS - 1], sums[-BINS:]
    total, images, called = cells.sum(axis=(0, 1)), cells.sum(axis=1), cells[:, :k].sum(axis=0)
    hits, answered = cells[np.arange(k), np.arange(k)], cells[:, :k].sum(axis=1)
    f1 = _ratio(2 * hits, images + called)
    return {
        "balanced_accuracy": _mean(_ratio(hits, images)),
        "macro_specificity": _mean(_ratio(total - images - called + hits, total - images)),
        "macro_ppv": _mean(_ratio(hits, called)),
        "macro_npv": _mean(_ratio(answered.sum(axis=0) - called - answered + hits, answered.sum(axis=0) - called)),
        "f1": f1,
        "macro_f1": _mean(f1),
        "matthews_correlation": _matthews(cells),
        "log_loss": _ratio(loss, total),
        "brier_score": _ratio(squares, total),
        "expected_calibration_error": _ratio(np.abs(gaps).sum(axis=0), total),
    }


def _matthews(cells: np.ndarray) -> np.ndarray:
    """Correlation of labels and answers; 0 where all labels or all answers are one class, as in scikit-learn."""
    k = len(cells)
    total, images, called = cells.sum(axis=(0, 1)), cells.sum(axis=1), cells.sum(axis=0)
    hits = cells[np.arange(k), np.arange(k)].sum(axis=0)
    covariance = hits * total - (images * called[:k]).sum(axis=0)
    spread = (total**2 - (images**2).sum(axis=0)) * (total**2 - (called**2).sum(axis=0))
    return np.where((total > 0) & (spread <= 0), 0.0, _ratio(covariance, np.sqrt(np.maximum(spread, 0))))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _mean(of_classes: np.ndarray) -> np.ndarray:
    """Mean over the classes for which the measure is defined."""
    defined = np.isfinite(of_classes)
    return _ratio(np.where(defined, of_classes, 0).sum(axis=0), defined.sum(axis=0))


def _areas(given: Answers, k: int) -> Callable[[np.ndarray, type], np.ndarray]:
    """AUROC and AUPRC of one class against the rest, of shape (2, draws).

    Images are ordered by falling score. For each image of class ``k`` it is counted how many images of ``k``, and of
    the others, have at least its score: ties count half in AUROC, and all at once in AUPRC. All classes are measured on
    the same draws of the same images, since their mean is a measure as well.
    """
    if not (given.n and given.answered.all()):
        return lambda times, precision: np.full((2, times.shape[1]), np.nan)
    score = -given.y_prob[:, k]
    own, others = (images[np.argsort(score[images], kind="stable")] for images in _class_and_rest(given, k))
    found, alarms = (np.searchsorted(score[images], score[own], "right") for images in (own, others))
    passed = np.searchsorted(score[others], score[own], "left")
    tied = (alarms != passed).any()

    def areas(times: np.ndarray, precision: type) -> np.ndarray:
        hits, false = running(times, own), running(times, others)
        lost, precise = np.zeros((2, times.shape[1]))
        step = max(1, AT_ONCE // times.shape[1])
        for some in (slice(start, start + step) for start in range(0, len(own), step)):
            drawn, called = times[own[some]].astype(precision), hits[found[some]].astype(precision)
            above = wrong = false[alarms[some]].astype(precision)
            if tied:
                above = (wrong + false[passed[some]]) / 2
            lost += np.einsum("ij,ij->j", drawn, above)
            called /= np.maximum(called + wrong, 1)
            precise += np.einsum("ij,ij->j", drawn, called)
        positives, negatives = hits[-1].astype(np.float64), false[-1].astype(np.float64)
        return np.stack([_ratio(positives * negatives - lost, positives * negatives), _ratio(precise, positives)])

    return areas


def _class_and_rest(given: Answers, k: int) -> tuple[np.ndarray, np.ndarray]:
    return np.flatnonzero(given.y_true == k), np.flatnonzero(given.y_true != k)
