"""One training repeated over folds or with several seeds: what the runs say together, and how two studies differ.

Repeats are no independent trials, and which kind they are decides what may be said:

- *Folds* are tested on different images, but their training images overlap. A mean over folds is tested with the
  corrected resampled t-test (``corrected_tests.over_folds``); where a fold has several seeds, its value is their mean,
  because the seeds of a fold share all their images.
- *Seeds on one split* share training images and test images, so that correction has no meaning for them. They are to
  the test images what several readers are to the cases of a reading study, and are tested in the same way
  (``corrected_tests.over_seeds``). The split itself was not varied: other training images might say otherwise, and
  nothing here can tell.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from covid_core.evaluation import metrics, resampling
from covid_core.evaluation.assessment import ALPHA, Assessment
from covid_core.evaluation.comparison import holm
from covid_core.evaluation.corrected_tests import Repeated, over_folds, over_seeds
from covid_core.evaluation.measures import MEASURES
from covid_core.evaluation.metrics import Measure

FOLDS, SEEDS = "folds", "seeds"
Reason = Literal[
    "one_repeat",
    "no_images",
    "one_image",
    "alike",
    "no_run",
    "classes",
    "folds",
    "images",
    "seeds",
    "changed",
    "no_common_run",
]
SENSITIVITY = "sensitivity "  # before the class, in names of measures


# One study


@dataclass(frozen=True)
class Repeat:
    """A run of a study of repeats. ``fold`` counts from 0; ``assessment`` needs no intervals."""

    id: str
    name: str
    fold: int
    seed: int
    assessment: Assessment = field(repr=False)

    @property
    def key(self) -> tuple[int, int]:
        return self.fold, self.seed


@dataclass(frozen=True)
class ImageChoice:
    """Which images of a data set runs are tested on: ``per_class`` of each class (0: all), of these the ``held_out``
    sources, the authors' test part (``by_authors``), one fold from 0 (None: all of them together), or a share;
    ``shifted``: with labels of other images."""

    dataset: str
    per_class: int
    held_out: tuple[str, ...]
    folds: int
    fold: int | None
    share: float
    grouped: bool
    seed: int
    shifted: bool
    by_authors: bool = False


@dataclass(frozen=True)
class Remark:
    """What is to be known of a study's run: it has no result, is left out for an error or was stopped early; or so many
    runs are missing."""

    what: Literal["no result", "left out", "stopped", "missing"]
    run: str = ""
    error: str = ""
    runs: int = 0


@dataclass(frozen=True)
class Repeats:
    """The finished runs of a study of repeats, of ``planned`` in all.

    ``folds`` is 1 where all runs share one split. ``images`` says which images the study is about (None: without runs),
    ``remarks`` what is to be known of its runs.
    """

    id: str
    name: str
    folds: int
    images: ImageChoice | None
    runs: tuple[Repeat, ...]
    planned: int
    remarks: tuple[Remark, ...] = ()

    @property
    def varied(self) -> str:
        """What makes its runs differ and is tested over: FOLDS or SEEDS."""
        return FOLDS if self.folds > 1 else SEEDS

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({run.seed for run in self.runs}))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.runs[0].assessment.classes if self.runs else ()


@dataclass(frozen=True)
class Spread:
    """A measure over the runs of a study: mean, standard deviation (n - 1; nan for one run), lowest and highest value.

    ``count`` runs are in it: those for which it is defined.
    """

    mean: float
    spread: float
    lowest: float
    highest: float
    count: int


def spread(values: Iterable[float]) -> Spread:
    """Sum up the values that are numbers."""
    numbers = pd.Series(list(values), dtype=float)
    return Spread(numbers.mean(), numbers.std(), numbers.min(), numbers.max(), int(numbers.count()))


def value(run: Repeat, measure: str) -> float:
    """A measure of one run on its test images, by the names of ``measures``; nan where it is undefined."""
    tested = run.assessment.tested
    if measure.startswith(SENSITIVITY):
        return tested.per_class[measure.removeprefix(SENSITIVITY)]["sensitivity"].value
    return tested.overall[measure].value


def measures(study: Repeats) -> tuple[str, ...]:
    """Names of the measures that are summed up for a study."""
    return *(name for name, row in MEASURES.items() if row.repeated), *(SENSITIVITY + label for label in study.classes)


def spreads(study: Repeats) -> dict[str, Spread]:
    """Every measure over the runs of a study."""
    return {name: spread(value(run, name) for run in study.runs) for name in measures(study)}


@dataclass(frozen=True)
class Pooled:
    """All folds of one seed together: every image is tested once, by the model that was not trained on it.

    Accuracy with a Wilson interval or, where images belong together, one by drawing groups again (``method``), and the
    sensitivity of each class, for whose Wilson interval such images count for fewer. Scores of different models are no
    common scale, so no measure of scores is pooled.
    """

    seed: int
    accuracy: Measure
    sensitivity: dict[str, Measure]
    method: str


def pooled(study: Repeats) -> tuple[Pooled, ...]:
    """The pooled figure of every seed of which all folds are there; none for seeds on one split."""
    of_seeds = []
    for seed in study.seeds if study.folds > 1 else ():
        runs = {run.fold: run.assessment for run in study.runs if run.seed == seed}
        if set(runs) == set(range(study.folds)):
            of_seeds.append(_pooled(seed, [runs[fold] for fold in range(study.folds)]))
    return tuple(of_seeds)


def _pooled(seed: int, folds: Sequence[Assessment]) -> Pooled:
    right = np.concatenate([one.right for one in folds])
    strata = np.concatenate([one.strata for one in folds])
    accuracy, method = metrics.wilson(int(right.sum()), len(right)), "Wilson"
    groups = _pooled_groups(folds)
    if groups is not None:
        drawn = resampling.mean(right.astype(float), groups, strata)
        accuracy, method = replace(accuracy, low=drawn.low, high=drawn.high), "bootstrap of groups"
    sensitivity = {
        label: metrics.wilson_of_groups(
            right[strata == k], None if groups is None else groups[strata == k], metrics.Gap("none of class", label)
        )[0]
        for k, label in enumerate(folds[0].classes)
    }
    return Pooled(seed, accuracy, sensitivity, method)


def _pooled_groups(folds: Sequence[Assessment]) -> np.ndarray | None:
    """Numbers of the groups over all folds, which no group crosses; None where no two images share one."""
    if all(one.groups is None for one in folds):
        return None
    first = np.cumsum([0, *(len(one.right) for one in folds[:-1])])
    own = [np.arange(len(one.right)) if one.groups is None else one.groups for one in folds]
    return np.concatenate([numbers + start for numbers, start in zip(own, first, strict=True)])


# Tests


@dataclass(frozen=True)
class Tested:
    """Whether a mean over repeats is more than chance.

    ``varied`` is FOLDS or SEEDS, which decides the test. ``result`` is None where nothing can be tested, for
    ``reason``; a reason beside a result says why it has no p. ``runs`` counts the runs of each study that are in it,
    ``p_holm`` is corrected for all pairs that were compared.
    """

    varied: str
    result: Repeated | None
    reason: Reason | None = None
    runs: int = 0
    p_holm: float = math.nan

    @property
    def could_be_chance(self) -> bool:
        """Of a pair: after Holm's correction."""
        return not self.p_holm <= ALPHA

    @property
    def is_above(self) -> bool:
        """Of one study against the majority baseline: one-sided."""
        return self.result is not None and self.result.p_above <= ALPHA


def above_majority(study: Repeats) -> Tested:
    """By how much a study's accuracy is above the majority baseline of the test images, run by run.

    Which class is the largest is read off the test images themselves, so the figure to beat is as high as can be.
    """
    of = {run.key: run.assessment for run in study.runs}
    gains = {
        key: one.right.astype(float)
        - (one.strata == (one.classes.index(one.majority_label) if one.majority_label else -1))
        for key, one in of.items()
    }
    return _tested(study, of, gains)


def difference(first: Repeats, second: Repeats) -> Tested:
    """Accuracy of the first study less that of the second, over the runs of equal fold, seed and test images."""
    mine, others = ({run.key: run.assessment for run in study.runs} for study in (first, second))
    common = [key for key in mine if key in others and mine[key].test_images == others[key].test_images]
    if not common or first.folds != second.folds:
        return Tested(first.varied, None, _unlike(first, second))
    gains = {key: mine[key].right.astype(float) - others[key].right for key in common}
    smaller = {key: min(mine[key], others[key], key=trained_on) for key in common}
    return _tested(first, smaller, gains)


def trained_on(run: Assessment) -> int:
    """Images of the training part."""
    return run.accuracy["train"].n


def _tested(study: Repeats, of: dict[tuple[int, int], Assessment], gains: dict[tuple[int, int], np.ndarray]) -> Tested:
    """The test that fits what the study varied. ``gains`` holds (images,) per fold and seed."""
    keys, varied = sorted(gains), study.varied
    repeats = {key[0 if varied == FOLDS else 1] for key in keys}
    if len(repeats) < 2:
        return Tested(varied, None, "one_repeat", len(keys))
    if any(not len(gains[key]) or not trained_on(of[key]) for key in keys):
        return Tested(varied, None, "no_images", len(keys))
    if varied == FOLDS:
        values = [np.mean([gains[key].mean() for key in keys if key[0] == fold]) for fold in sorted(repeats)]
        trained = np.mean([trained_on(of[key]) for key in keys])
        result = over_folds(values, float(trained), float(np.mean([len(gains[key]) for key in keys])))
    else:
        groups = of[keys[0]].groups
        if len(gains[keys[0]] if groups is None else np.unique(groups)) < 2:
            return Tested(varied, None, "one_image", len(keys))
        result = over_seeds(np.stack([gains[key] for key in keys]), groups)
    return Tested(varied, result, "alike" if math.isnan(result.p) else None, len(keys))


def _unlike(first: Repeats, second: Repeats) -> Reason:
    """Why no run of one study has its like in the other: what differs."""
    if not (first.runs and second.runs):
        return "no_run"
    if set(first.classes) != set(second.classes):
        return "classes"
    if first.folds != second.folds:
        return "folds"
    if first.images != second.images:
        return "images"
    if not set(first.seeds) & set(second.seeds):
        return "seeds"
    return "changed" if {run.key for run in first.runs} & {run.key for run in second.runs} else "no_common_run"


# Several studies


@dataclass(frozen=True)
class Comparison:
    """Studies of repeats side by side, the highest mean accuracy first, and every pair of them by positions."""

    studies: tuple[Repeats, ...]
    spreads: tuple[dict[str, Spread], ...]
    pooled: tuple[tuple[Pooled, ...], ...]
    majority: tuple[Tested, ...]
    pairs: dict[tuple[int, int], Tested]

    @property
    def compared(self) -> int:
        """Pairs that could be tested: Holm's correction is for so many."""
        return sum(not math.isnan(pair.p_holm) for pair in self.pairs.values())


def compare(studies: Sequence[Repeats]) -> Comparison:
    """Sum up every study and test every pair, with Holm's correction for all pairs that can be tested."""
    means = {study.id: np.nan_to_num(spreads(study)["accuracy"].mean, nan=-1.0) for study in studies}
    order = sorted(studies, key=lambda study: (-means[study.id], study.name))
    pairs = {at: difference(order[at[0]], order[at[1]]) for at in combinations(range(len(order)), 2)}
    tested = {at: pair.result.p for at, pair in pairs.items() if pair.result and not math.isnan(pair.result.p)}
    corrected = holm(np.array(list(tested.values())))
    pairs |= {at: replace(pairs[at], p_holm=float(p)) for at, p in zip(tested, corrected, strict=True)}
    return Comparison(
        tuple(order), tuple(map(spreads, order)), tuple(map(pooled, order)), tuple(map(above_majority, order)), pairs
    )
