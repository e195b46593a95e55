"""Tests of a mean whose values are not independent: folds that share training images, seeds that share test images.

A t-test that takes such values for independent finds differences where there are none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NO_SPREAD = 1e-12  # a smaller deviation is rounding


@dataclass(frozen=True)
class Repeated:
    """A mean over repeats of a training, or of the difference of two, with an interval that does not take repeats for
    independent: ``spread`` is their standard deviation (n - 1), ``p`` that of a mean of 0 (two-sided).

    Where all repeats are exactly alike there is nothing to judge by: unless the mean is 0, bounds and p are nan.
    """

    mean: float = math.nan
    spread: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    count: int = 0

    @property
    def p_above(self) -> float:
        """One-sided p of a mean of 0 or less."""
        return self.p / 2 if self.mean > 0 else 1 - self.p / 2


def over_folds(values: Sequence[float], trained: float, tested: float) -> Repeated:
    """The corrected resampled t-test over folds or random splits.

    Folds share training images, so their values vary less than those of independent trials would; the variance of the
    mean is taken as (1/k + tested/trained) times that of the values. Source: Nadeau and Bengio, Machine Learning 52
    (2003) 239-281; for folds: Bouckaert and Frank, PAKDD 2004, LNCS 3056, 3-12.

    Args:
        values: one accuracy, or one difference of two, per fold.
        trained: images that each was trained on.
        tested: images that each was tested on.

    Raises ValueError for fewer than two values.
    """
    if len(values) < 2:
        raise ValueError("over_folds() needs two values at least")
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    error = spread * math.sqrt(1 / len(values) + tested / trained)
    return _t_test(mean, spread, error, len(values) - 1, len(values))


def over_seeds(gains: np.ndarray, groups: np.ndarray | None = None) -> Repeated:
    """The t-test over seeds and images, both a sample: seeds are the readers of a reading study, images its cases.

    With mean squares of seeds S, images F and the rest R, the variance of the mean is (S + max(F - R, 0)) / (seeds x
    images). Source: Dorfman, Berbaum and Metz, Investigative Radiology 27 (1992) 723-731; degrees of freedom (S +
    max(F - R, 0))² / (S² / (seeds - 1)): Hillis, Statistics in Medicine 26 (2007) 596-619, here at most images - 1.

    Args:
        gains: of shape (seeds, images): what each seed gains on each image, for instance 1 where the first of two
            models alone is right, -1 where the second is, 0 elsewhere.
        groups: of shape (images,): images with equal values belong together and are one case; None: each is its own.

    Raises ValueError for fewer than two seeds or cases.
    """
    cases = _cases(gains, groups)
    seeds, images = cases.shape
    if seeds < 2 or images < 2:
        raise ValueError("over_seeds() needs two seeds and two images at least")
    of_seed, of_image = cases.mean(axis=1), cases.mean(axis=0)
    mean, spread = float(of_seed.mean()), float(of_seed.std(ddof=1))
    square_seeds = images * spread**2
    rest = ((cases - of_seed[:, None] - of_image + mean) ** 2).sum() / ((seeds - 1) * (images - 1))
    variance = square_seeds + max(seeds * float(of_image.var(ddof=1)) - float(rest), 0)
    freedom = images - 1.0
    if spread > NO_SPREAD:
        freedom = min(freedom, (seeds - 1) * (variance / square_seeds) ** 2)
    return _t_test(mean, spread, math.sqrt(variance / (seeds * images)), freedom, seeds)


def _cases(gains: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Of shape (seeds, cases): one column per group, made so that the mean over cases is that over images."""
    gains = np.asarray(gains, float)
    if groups is None:
        return gains
    number = np.unique(groups, return_inverse=True)[1]
    mean = gains.mean(axis=1, keepdims=True)
    summed = np.stack([np.bincount(number, row) for row in gains - mean])
    return mean + summed * (summed.shape[1] / gains.shape[1])


def _t_test(mean: float, spread: float, error: float, freedom: float, count: int) -> Repeated:
    from scipy.special import stdtr, stdtrit  # 0.4 s to import, and not every page needs it

    if error <= NO_SPREAD:
        never = abs(mean) <= NO_SPREAD
        return Repeated(mean, spread, *((0.0, 0.0, 1.0) if never else (math.nan,) * 3), count)
    half = float(stdtrit(freedom, 0.975)) * error
    return Repeated(mean, spread, mean - half, mean + half, float(2 * stdtr(freedom, -abs(mean) / error)), count)
