"""Intervals by drawing images again: for every measure that is not a simple share.

The images of a part are drawn again, as many and with replacement, REPLICATES times; the middle 95 % of what a measure
gives on these draws is its interval (percentile bootstrap: Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, chapter 13). Each class is drawn from by itself, so every draw has the images per class that the part has. Where
images belong together (duplicates, one patient), whole groups are drawn, because their images are not independent
(cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np

from covid_core.evaluation.metrics import NO_IMAGES, Measure, undefined

REPLICATES = 2000
SEED = 0  # the same images are drawn alike for every run, whenever one looks
OUTSIDE = (2.5, 97.5)  # percentiles that bound an interval
MOST_UNDEFINED = 0.05  # share of draws in which a measure may be undefined and still get an interval
BLOCK = 1 << 22  # cells drawn at a time: 8 MB of counts
LEAST = 400  # draws at a time where images are many: fewer would make each step too small to be worth its call
CACHED = 32 << 20  # bytes of counts that are kept for the next run on the same images; 8,000 images fit


def once(strata: np.ndarray) -> np.ndarray:
    """Every image once, of shape (images, 1): what a measure gives on it is its value."""
    return np.ones((len(strata), 1), np.uint32)


def running(times: np.ndarray, order: np.ndarray) -> np.ndarray:
    """How often the first 0, 1, 2, ... images of an order were drawn, of shape (1 + images of the order, draws).

    Row by row, many draws are ten times as fast as by ``numpy.cumsum``.
    """
    summed = np.zeros((len(order) + 1, times.shape[1]), times.dtype)
    if times.shape[1] == 1:
        np.cumsum(times[order], axis=0, dtype=times.dtype, out=summed[1:])
        return summed
    for row, image in enumerate(order.tolist()):
        np.add(summed[row], times[image], out=summed[row + 1])
    return summed


def replicates(
    of: Callable[[np.ndarray], dict[str, np.ndarray]], strata: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """What measures are in every draw.

    Args:
        of: takes some draws (see ``draws``), returns arrays whose last axis is these draws.
        strata: of shape (images,): the class of each image, as integers.
        groups: of shape (images,): images with equal values are drawn together; None: each image by itself.

    Returns:
        The arrays of all REPLICATES draws.
    """
    blocks = [of(some) for some in draws(strata, groups)]
    return {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in blocks[0]}


def interval(values: np.ndarray) -> np.ndarray:
    """The middle 95 % over the last axis, of shape (2, ...); nan where a measure is undefined in too many draws."""
    defined = np.isfinite(values)
    if defined.all():
        return np.percentile(values, OUTSIDE, axis=-1)
    enough = defined.mean(axis=-1) >= 1 - MOST_UNDEFINED
    bounded = np.where(defined | ~enough[..., None], np.where(defined, values, 0), np.nan)
    return np.where(enough, np.nanpercentile(bounded, OUTSIDE, axis=-1), np.nan)


def estimates(
    of: Callable[[np.ndarray], dict[str, np.ndarray]], strata: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, Measure]:
    """Measures of shape (draws,) with their intervals; arguments as of ``replicates``."""
    drawn, measures = replicates(of, strata, groups), {}
    for name, value in of(once(strata)).items():
        low, high = map(float, interval(drawn[name]))
        measures[name] = Measure(float(value[0]), low, high, len(strata))
    return measures


def mean(values: np.ndarray, groups: np.ndarray | None = None, strata: np.ndarray | None = None) -> Measure:
    """The mean over images with its interval, undefined without images; ``values`` of shape (images,).

    ``groups`` and ``strata`` as of ``replicates``; without ``strata`` all images are drawn alike.
    """
    if not len(values):
        return undefined(NO_IMAGES)
    alike = np.zeros(len(values), int) if strata is None else strata
    estimate = estimates(lambda times: {"mean": values @ times / times.sum(axis=0)}, alike, groups)["mean"]
    return replace(estimate, value=float(values.mean()))


def draws(strata: np.ndarray, groups: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """REPLICATES draws in blocks of shape (images, draws): how often each image was drawn.

    A group belongs to the class of its first image.
    """
    units = None if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int32).tobytes()
    content = strata.astype(np.int32).tobytes()
    yield from _cached(content, units) if 2 * REPLICATES * len(strata) <= CACHED else _drawn(content, units)


@lru_cache(maxsize=2)
def _cached(strata: bytes, units: bytes | None) -> list[np.ndarray]:
    return [np.concatenate(list(_drawn(strata, units)), axis=1)]  # in one piece: fewer and longer steps


def _drawn(strata: bytes, units: bytes | None) -> Iterator[np.ndarray]:
    of_image = np.frombuffer(strata, np.int32)
    unit_of = np.arange(len(of_image)) if units is None else np.frombuffer(units, np.int32)
    of_unit = of_image[np.unique(unit_of, return_index=True)[1]]
    rng = np.random.default_rng(SEED)
    counts = np.uint16 if len(of_image) < 2**16 else np.uint32  # an image, or all of them, may be drawn that often
    at_once = max(LEAST, BLOCK // max(1, len(of_image)))
    for start in range(0, REPLICATES, at_once):
        count = min(at_once, REPLICATES - start)
        times = np.zeros((len(of_unit), count), counts)
        for stratum in np.unique(of_unit):
            members = np.flatnonzero(of_unit == stratum)
            times[members] = _times(len(members), count, rng)
        yield times if units is None else times[unit_of]


def _times(units: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of ``units`` is among as many draws with replacement, of shape (units, count)."""
    chosen = rng.integers(0, units, (units, count)) * count + np.arange(count)
    return np.bincount(chosen.ravel(), minlength=units * count).reshape(units, count)
