"""Several runs side by side: which may be ranked together, in which order, and what their differences are worth.

Everything rests on the runs' assessments, so a page can keep these and compare any selection of them at once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np
import pandas as pd

from covid_core.evaluation import assessment, resampling
from covid_core.evaluation.assessment import ALPHA, PARTS, Assessment, Mark, Measured
from covid_core.evaluation.label_check import LabelCheck
from covid_core.evaluation.measures import MEASURES
from covid_core.evaluation.metrics import UNDEFINED, Answers, Measure

MAJORITY = "Majority baseline"
CHANCE = "Chance (guessing evenly)"
HAIR = 1e-9  # of a score: decides what is predicted, and moves no measure by more


@dataclass(frozen=True)
class Paired:
    """Two runs on the same test images. ``difference`` is accuracy of the first minus that of the second.

    ``only_first`` images were right in the first run alone, ``only_second`` in the second alone; ``low`` and ``high``
    bound the difference (95 %, bootstrap of images). ``p`` is that of the exact McNemar test (see ``pairs``),
    ``p_holm`` the same after Holm's correction for all pairs that were compared.
    """

    n: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float

    @property
    def could_be_chance(self) -> bool:
        return not self.p_holm <= ALPHA

    @property
    def interval_holds_zero(self) -> bool:
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Pairs:
    """Every run of a group against every other: matrices of shape (runs, runs), row against column, nan in the middle.

    ``compared`` is the number of pairs; the other fields are those of ``Paired``.
    """

    n: int
    compared: int
    only_first: np.ndarray
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    p_holm: np.ndarray

    def of(self, first: int, second: int) -> Paired:
        """The pair of two positions."""
        at = first, second
        numbers = (float(matrix[at]) for matrix in (self.difference, self.low, self.high, self.p, self.p_holm))
        return Paired(self.n, int(self.only_first[at]), int(self.only_first[second, first]), *numbers)


def pairs(assessments: Sequence[Assessment]) -> Pairs:
    """Compare all runs of a group image by image. Raises ValueError when they were not tested on the same images.

    p of the exact McNemar test: twice the smaller tail of binomial(b + c, 1/2), b and c the images that one run alone
    had right (McNemar, Psychometrika 12 (1947) 153-157, with the binomial instead of its chi-squared approximation).
    Where images belong together, that of ``mcnemar_of_groups``.
    """
    if not assessments or any(not comparable(assessments[0], other) for other in assessments[1:]):
        raise ValueError("pairs() needs runs with the same test images")
    right = np.array([run.right for run in assessments], np.float32)
    only_first = np.rint(right @ (1 - right).T).astype(int)
    n, runs = right.shape[1], len(right)
    difference = (only_first - only_first.T) / n if n else np.full((runs, runs), math.nan)
    groups = assessments[0].groups
    p = mcnemar(only_first, only_first.T) if groups is None else mcnemar_of_groups(right, groups)
    p_holm = np.full((runs, runs), math.nan)
    upper = np.triu_indices(runs, 1)
    p_holm[upper] = holm(p[upper])
    np.fill_diagonal(p, math.nan)
    low, high = _bounds(right, assessments[0])
    return Pairs(n, len(upper[0]), only_first, difference, low, high, p, np.where(np.isnan(p_holm), p_holm.T, p_holm))


def mcnemar(only_first: np.ndarray, only_second: np.ndarray) -> np.ndarray:
    """Two-sided p of the exact McNemar test; 1 where two runs never disagree in being right."""
    from scipy.special import bdtrc  # 0.4 s to import, and not every page needs it

    total, most = only_first + only_second, np.maximum(only_first, only_second)
    return np.where(most > 0, np.minimum(1.0, 2 * bdtrc(np.maximum(most - 1, 0), np.maximum(total, 1), 0.5)), 1.0)


def mcnemar_of_groups(right: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Two-sided p of every pair where images come in groups, which are not independent within: copies, one patient.

    If two runs are equally good, every group could as well have come out the other way round, as a whole. p is the
    share of all ways to turn groups round that leave the two at least as far apart (randomization test: Fisher, "The
    Design of Experiments", 1935, section 21). Of images that stand by themselves it is the exact McNemar test.

    Args:
        right: of shape (runs, images), which images each run has right.
        groups: of shape (images,), numbers from 0: images with equal ones belong together.

    Returns:
        Of shape (runs, runs); 1 where two runs never disagree.
    """
    sums = np.array([np.bincount(groups, weights=row) for row in right]).astype(int)
    p = np.ones((len(right), len(right)))
    for i in range(len(right) - 1):
        leads = sums[i] - sums[i + 1 :]  # by how many images of each group the first is ahead
        apart, sizes = np.abs(leads.sum(axis=1)), np.abs(leads)
        ones = (sizes == 1).sum(axis=1)
        p[i, i + 1 :] = mcnemar((ones + apart) // 2, (ones - apart) // 2)
        for row in np.flatnonzero(sizes.max(axis=1, initial=0) > 1):
            p[i, i + 1 + row] = _turned_round(np.bincount(sizes[row]), int(apart[row]))
    return np.minimum(p, p.T)


def _turned_round(groups: np.ndarray, apart: int) -> float:
    """Chance that leads of which each is turned round or not add up to ``apart`` at least, to either side; ``groups``
    counts them by size (0, 1, 2, ...)."""
    from scipy.special import gammaln

    chances = np.ones(1)  # of the sum of the leads that stay, from 0
    for size, count in enumerate(groups):
        if size and count:
            spread = np.zeros(size * count + 1)
            stay = np.arange(count + 1)
            ways = gammaln(count + 1) - gammaln(stay + 1) - gammaln(count - stay + 1)
            spread[::size] = np.exp(ways - count * math.log(2))
            chances = np.convolve(chances, spread)
    return min(1.0, 2 * float(chances[(len(chances) + apart) // 2 :].sum())) if apart else 1.0


def holm(p: np.ndarray) -> np.ndarray:
    """p values corrected for their number, so that any false alarm among them is as rare as each claims.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, stepped)
    return corrected


def _bounds(right: np.ndarray, like: Assessment) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of all differences: the same drawn images for both runs of a pair (paired bootstrap)."""
    runs, n = right.shape
    low, high = np.full((2, runs, runs), math.nan)
    if not n or runs < 2:
        return low, high
    drawn = resampling.replicates(
        lambda times: {"hits": right @ times.astype(np.float32), "images": times.sum(axis=0)},
        like.strata,
        like.groups,
    )
    accuracy = drawn["hits"] / drawn["images"]
    for i in range(runs - 1):  # a row at a time: all differences of 200 runs would be 160 MB
        bounds = resampling.interval(accuracy[i] - accuracy[i + 1 :])
        low[i, i + 1 :], high[i, i + 1 :] = bounds
        low[i + 1 :, i], high[i + 1 :, i] = -bounds[1], -bounds[0]
    return low, high


def comparable(first: Assessment, second: Assessment) -> bool:
    """Whether two runs were tested on the same images with the same labels, and may be ranked together."""
    return first.test_images == second.test_images


@dataclass(frozen=True)
class Candidate:
    """A run in a comparison: its assessment and what only its record knows.

    ``seconds`` is the training time, ``ms_per_image`` that of one prediction (nan where unknown). ``marks`` may hold
    more than ``marks()`` finds, for instance that the run was stopped; ``labels`` are what the run learned. ``number``
    gives its colour in every figure. ``image_size`` is in pixels, 0 where unknown.
    """

    id: str
    name: str
    assessment: Assessment = field(repr=False)
    marks: tuple[Mark, ...] = ()
    labels: LabelCheck = LabelCheck()
    split_hash: str = ""
    seconds: float = math.nan
    ms_per_image: float = math.nan
    number: int = 0
    image_size: int = 0


AnyCandidate = TypeVar("AnyCandidate", bound=Candidate)


def grouped(candidates: Sequence[AnyCandidate]) -> list[list[AnyCandidate]]:
    """Candidates that were tested on the same images, the largest group first, each in the order given."""
    groups: dict[str, list[AnyCandidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.assessment.test_images, []).append(candidate)
    return sorted(groups.values(), key=len, reverse=True)


@dataclass(frozen=True)
class Ranking(Generic[AnyCandidate]):
    """Candidates of one group, the best first, and every pair of them in that order."""

    order: tuple[AnyCandidate, ...]
    pairs: Pairs


def ranking(candidates: Sequence[AnyCandidate]) -> Ranking[AnyCandidate]:
    """Rank candidates of one group by test accuracy, equal ones by validation accuracy and by name; compare all pairs.

    Raises ValueError for none, and for unlike test images.
    """

    def place(one: Candidate) -> tuple[float, float, str]:
        reached = one.assessment.test, one.assessment.validation
        test, validation = (-measure.value if measure.is_defined else 1.0 for measure in reached)
        return test, validation, one.name

    order = sorted(candidates, key=place)
    return Ranking(tuple(order), pairs([candidate.assessment for candidate in order]))


def chosen_by_validation(candidates: Sequence[AnyCandidate]) -> AnyCandidate | None:
    """The candidate with the highest accuracy on validation images (see ``to_choose_by``), which is the one to choose;
    None where none has any."""
    defined = [(c, own) for c, own in zip(candidates, to_choose_by(candidates), strict=True) if own.is_defined]
    return max(defined, key=lambda pair: pair[1].value, default=(None, None))[0]


def to_choose_by(candidates: Sequence[Candidate]) -> list[Measure]:
    """Accuracy of each candidate on the validation images that may choose between runs.

    Where some halved their validation part and others did not, all validation images choose: a choice needs the same
    images for all.
    """
    selection = [c.assessment.selection for c in candidates]
    if len({accuracy.n for accuracy in selection}) < 2:
        return selection
    return [c.assessment.validation for c in candidates]


COMPARED = tuple(name for name, row in MEASURES.items() if row.compared)


def performance_table(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """The course's first table for one group of candidates; the two reference rows, with an empty ``id``, come last.

    Columns id, name, those of PARTS (accuracy), test_low, test_high, images (of the test part), COMPARED with their
    bounds (``_low``, ``_high``), marks (a tuple). Shares are in [0, 1], nan where undefined.
    """
    rows = [_row(c.name, c.assessment.accuracy, c.assessment.tested, c.id, c.marks) for c in candidates]
    if candidates:
        first = candidates[0].assessment
        majority, chance = references(first.tested).values()
        guess = 1 / len(first.classes)
        evenly = {part: Measure(guess if measure.is_defined else math.nan) for part, measure in first.accuracy.items()}
        name = f"{MAJORITY} ({first.majority_label})" if first.majority_label else MAJORITY
        rows += [_row(name, first.majority, majority), _row(CHANCE, evenly, chance)]
    return pd.DataFrame(rows)


def _row(
    name: str, accuracy: Mapping[str, Measure], tested: Measured, id: str = "", marks: tuple[Mark, ...] = ()
) -> dict[str, object]:
    return {
        "id": id,
        "name": name,
        **{part: accuracy[part].value for part in PARTS},
        "test_low": accuracy["test"].low,
        "test_high": accuracy["test"].high,
        "images": tested.n,
        **_with_bounds({name: tested.overall.get(name, UNDEFINED) for name in COMPARED}),
        "marks": marks,
    }


def _with_bounds(measures: Mapping[str, Measure]) -> dict[str, float]:
    return {
        column: number
        for name, measure in measures.items()
        for column, number in ((name, measure.value), (f"{name}_low", measure.low), (f"{name}_high", measure.high))
    }


def references(figures: Measured) -> dict[str, Measured]:
    """The figures to beat on the images of a part, by name and without intervals.

    The majority baseline predicts the largest class for every image. It has no scores: measures of them are undefined,
    and as a ranking all images are tied. Chance predicts every class equally often, in the long run: each image counts
    once per class, predicted as that class by a hair.
    """
    images = np.array(list(figures.images.values()))
    one_hot = np.eye(len(images))
    evenly = np.full_like(one_hot, 1 / len(images)) + HAIR * (one_hot - 1 / len(images))
    measured = {}
    for name, scores in ((MAJORITY, one_hot[[int(np.argmax(images))]]), (CHANCE, evenly)):
        y_true = np.repeat(np.arange(len(images)), len(scores) * images)
        y_prob = np.tile(scores, (int(images.sum()), 1))
        answers = Answers(tuple(figures.images), np.arange(len(y_true)), y_true, y_prob)
        reached = assessment.measured(answers, intervals=False)
        overall, *of_classes = (
            {key: Measure(measure.value) for key, measure in measures.items()}
            for measures in (reached.overall, *reached.per_class.values())
        )
        if name == MAJORITY:
            overall |= {key: UNDEFINED for key, row in MEASURES.items() if row.of_scores}
        per_class = dict(zip(reached.per_class, of_classes, strict=True))
        measured[name] = replace(figures, overall=overall, per_class=per_class, confusion=reached.confusion)
    return measured


def measure_table(figures: Mapping[str, Measured]) -> pd.DataFrame:
    """Every overall measure of one part of several runs by name, then of the two references.

    Columns name, n, and MEASURES with their bounds (``_low``, ``_high``).
    """
    return pd.DataFrame([{"name": name, "n": one.n, **_with_bounds(one.overall)} for name, one in _referenced(figures)])


def class_table(figures: Mapping[str, Measured]) -> pd.DataFrame:
    """Every measure of every class of one part of several runs by name, then of the two references.

    Columns name, label, images, and CLASS_MEASURES with their bounds (``_low``, ``_high``).
    """
    return pd.DataFrame(
        [
            {"name": name, "label": label, "images": one.images[label], **_with_bounds(measures)}
            for name, one in _referenced(figures)
            for label, measures in one.per_class.items()
        ]
    )


def _referenced(figures: Mapping[str, Measured]) -> list[tuple[str, Measured]]:
    return [*figures.items(), *references(next(iter(figures.values()))).items()]


def against_first(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """Every candidate of one group against the first, the reference, tested image by image (see ``Paired``).

    Columns name, images, only_this and only_reference (images that one of the two alone has right), difference (of
    accuracies, this minus reference), low, high, p, and p_holm, which is corrected for these comparisons alone.
    Raises ValueError when they were not tested on the same images.
    """
    compared = pairs([candidate.assessment for candidate in candidates])
    table = {name: getattr(compared, name)[1:, 0] for name in ("difference", "low", "high", "p")}
    return pd.DataFrame(
        {
            "name": [candidate.name for candidate in candidates[1:]],
            "images": compared.n,
            "only_this": compared.only_first[1:, 0],
            "only_reference": compared.only_first[0, 1:],
            **table,
            "p_holm": holm(table["p"]),
        }
    )


def pair_table(ranking: Ranking[AnyCandidate]) -> pd.DataFrame:
    """Every pair of a ranking, the better one first (see ``Paired``).

    Columns first, second, images, only_first, only_second, difference, low, high, p, p_holm.
    """
    names = np.array([candidate.name for candidate in ranking.order], dtype=object)
    pairs = ranking.pairs
    first, second = np.triu_indices(len(names), 1)
    return pd.DataFrame(
        {
            "first": names[first],
            "second": names[second],
            "images": pairs.n,
            "only_first": pairs.only_first[first, second],
            "only_second": pairs.only_first[second, first],
            **{name: getattr(pairs, name)[first, second] for name in ("difference", "low", "high", "p", "p_holm")},
        }
    )
