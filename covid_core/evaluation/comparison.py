"""Several runs side by side: what each is worth, which may be ranked together, and what their difference is worth.

Everything rests on the prediction tables alone, so a new measure works for old runs. ``assess`` looks at one table; all
other functions compare what it returns, so a page can keep assessments and compare any selection of them at once.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from covid_core.evaluation import metrics
from covid_core.evaluation.metrics import Answers, Measure

PARTS = ("train", "validation", "test")
ALPHA = 0.05  # level of every test in the app
MAJORITY = "Majority class"

ONE_CLASS = "predicts one class only"
NOT_BETTER = "does not beat the majority class"
LOSS_NOT_A_NUMBER = "loss is not a number"
NO_ANSWER = "has no answer for some films"


@dataclass(frozen=True)
class Assessment:
    """What one run's prediction table says. All measures but ``accuracy`` are those of the test part.

    ``right`` holds, for each test film in the order of the sorted image ids, whether it was answered rightly.
    ``majority`` is the share of the largest class of each part. ``p_majority`` is the chance that something that is
    right as often as the majority class would be right on at least as many films (nan without test films).
    """

    classes: tuple[str, ...]
    accuracy: dict[str, Measure]
    majority: dict[str, Measure]
    majority_label: str
    balanced_accuracy: Measure
    macro_f1: Measure
    macro_auroc: Measure
    per_class: dict[str, dict[str, Measure]]
    confusion: pd.DataFrame
    right: np.ndarray
    test_films: str
    p_majority: float
    only_answer: str
    unanswered: int

    @property
    def test(self) -> Measure:
        return self.accuracy["test"]

    @property
    def validation(self) -> Measure:
        return self.accuracy["validation"]


def assess(table: pd.DataFrame, films_of: str = "") -> Assessment:
    """Measure one prediction table. ``films_of`` names the films that its ids stand for (a data set's version)."""
    parts = {part: metrics.answers(table, part) for part in PARTS}
    test = parts["test"]
    majority = {part: majority_share(given) for part, given in parts.items()}
    order = np.argsort(test.image_ids)
    return Assessment(
        classes=test.classes,
        accuracy={part: metrics.accuracy(given) for part, given in parts.items()},
        majority=majority,
        majority_label=test.classes[int(np.argmax(test.films))] if test.n else "",
        balanced_accuracy=metrics.balanced_accuracy(test),
        macro_f1=metrics.macro_f1(test),
        macro_auroc=metrics.macro_auroc(test),
        per_class=metrics.per_class(test),
        confusion=metrics.confusion(test),
        right=test.right[order],
        test_films=films_key(table, films_of),
        p_majority=at_least_by_chance(int(test.right.sum()), test.n, majority["test"].value),
        only_answer=_only_answer(test),
        unanswered=int(sum((~given.answered).sum() for given in parts.values())),
    )


def majority_share(given: Answers) -> Measure:
    """Share of the largest class: what always answering it would reach."""
    return metrics.wilson(int(given.films.max(initial=0)), given.n)


def films_key(table: pd.DataFrame, films_of: str = "") -> str:
    """Hash over ``films_of`` and (image_id, label) of the test part: equal keys mean the same test films.

    Ids alone do not say so: COVID-1 of one data set is not COVID-1 of another.
    """
    films = table.loc[(table["part"] == "test").to_numpy(), ["image_id", "label"]].sort_values("image_id")
    rows = "\n".join([films_of, *("\t".join(row) for row in films.itertuples(index=False, name=None))])
    return hashlib.sha256(rows.encode("utf-8", "surrogatepass")).hexdigest()


def at_least_by_chance(hits: int, total: int, chance: float) -> float:
    """P(X >= hits) for X binomial(total, chance): the one-sided exact binomial test. nan where ``total`` is 0.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404-413. ``chance`` is taken as known.
    """
    from scipy.special import bdtrc  # 0.4 s to import, and not every page needs it

    if total == 0 or math.isnan(chance):
        return math.nan
    return 1.0 if hits == 0 else float(bdtrc(hits - 1, total, chance))


def _only_answer(test: Answers) -> str:
    """The class that every test film was called; empty where there are two or more, or no answers."""
    called = np.flatnonzero(test.counts.sum(axis=0))
    return test.classes[called[0]] if len(called) == 1 else ""


def marks(given: Assessment, loss_is_a_number: bool = True) -> list[str]:
    """What a reader must know before believing the run's accuracy."""
    found = [] if loss_is_a_number else [LOSS_NOT_A_NUMBER]
    if given.unanswered:
        found.append(NO_ANSWER)
    if given.only_answer:
        found.append(ONE_CLASS)
    if given.test.is_defined and not beats_majority(given):
        found.append(NOT_BETTER)
    return found


def beats_majority(given: Assessment) -> bool:
    """Whether the run is right on more test films than always answering their largest class explains, at ALPHA."""
    return given.p_majority <= ALPHA


@dataclass(frozen=True)
class Paired:
    """Two runs on the same test films. ``difference`` is accuracy of the first minus that of the second.

    ``only_first`` films were right in the first run alone, ``only_second`` in the second alone; ``low`` and ``high``
    bound the difference (95 %), ``p`` is that of the exact McNemar test.
    """

    n: int
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def could_be_chance(self) -> bool:
        return not self.p <= ALPHA


def paired(first: Assessment, second: Assessment) -> Paired:
    """Compare two runs film by film. Raises ValueError when they were not tested on the same films.

    p of the exact McNemar test: twice the smaller tail of binomial(b + c, 1/2), b and c the films that one run alone
    had right (McNemar, Psychometrika 12 (1947) 153-157, with the binomial instead of its chi-squared approximation).
    """
    if not comparable(first, second):
        raise ValueError("paired() needs two runs with the same test films")
    a, b = first.right, second.right
    cells = tuple(int(np.sum(both)) for both in (a & b, a & ~b, ~a & b, ~a & ~b))
    low, high = paired_interval(*cells)
    p = mcnemar(cells[1], cells[2])
    difference = (cells[1] - cells[2]) / len(a) if len(a) else math.nan
    return Paired(len(a), cells[1], cells[2], difference, low, high, p)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of the exact McNemar test; 1 where the runs never disagree in being right."""
    total = only_first + only_second
    return min(1.0, 2 * at_least_by_chance(max(only_first, only_second), total, 0.5)) if total else 1.0


def paired_interval(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same films; (nan, nan) without films.

    Wilson's intervals of the two, squared and added, less their correlation: method 10 of Newcombe, Statistics in
    Medicine 17 (1998) 2635-2650.
    """
    n = both + only_first + only_second + neither
    if n == 0:
        return math.nan, math.nan
    first, second = metrics.wilson(both + only_first, n), metrics.wilson(both + only_second, n)
    phi = _correlation(both, only_first, only_second, neither)
    down, up = first.value - first.low, first.high - first.value
    other_down, other_up = second.value - second.low, second.high - second.value
    difference = first.value - second.value
    below = math.sqrt(max(0.0, down**2 - 2 * phi * down * other_up + other_up**2))
    above = math.sqrt(max(0.0, up**2 - 2 * phi * up * other_down + other_down**2))
    return difference - below, difference + above


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Newcombe's phi with its continuity correction; 0 where one run is always right or always wrong."""
    product = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if product == 0:
        return 0.0
    excess = both * neither - only_first * only_second
    half = (both + only_first + only_second + neither) / 2
    corrected = excess if excess < 0 else max(0.0, excess - half)
    return corrected / math.sqrt(product)


def comparable(first: Assessment, second: Assessment) -> bool:
    """Whether two runs were tested on the same films with the same labels, and may be ranked together."""
    return first.test_films == second.test_films


@dataclass(frozen=True)
class Candidate:
    """A run in a comparison: its assessment and what only its record knows.

    ``seconds`` is the training time, ``ms_per_film`` that of one prediction (nan where unknown). ``marks`` may hold
    more than ``marks()`` finds, for instance that the run was stopped.
    """

    id: str
    name: str
    assessment: Assessment = field(repr=False)
    marks: tuple[str, ...] = ()
    split_hash: str = ""
    seconds: float = math.nan
    ms_per_film: float = math.nan


def grouped(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates that were tested on the same films, the largest group first, each in the order given."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.assessment.test_films, []).append(candidate)
    return sorted(groups.values(), key=len, reverse=True)


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates of one group by test accuracy, the best first; equal ones by validation accuracy, then by name."""
    return sorted(
        candidates, key=lambda c: (-_or_worst(c.assessment.test), -_or_worst(c.assessment.validation), c.name)
    )


def chosen_by_validation(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate with the highest validation accuracy, which is the one to choose; None where none has any."""
    defined = [c for c in candidates if c.assessment.validation.is_defined]
    return max(defined, key=lambda c: c.assessment.validation.value, default=None)


def _or_worst(measure: Measure) -> float:
    return measure.value if measure.is_defined else -1.0


TABLE_COLUMNS = (
    "id",
    "name",
    "train",
    "validation",
    "test",
    "test_low",
    "test_high",
    "films",
    "balanced_accuracy",
    "macro_f1",
    "macro_auroc",
    "marks",
)


def performance_table(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """The course's first table for one group of candidates, the majority-class row last, columns TABLE_COLUMNS.

    Shares are in [0, 1], nan where undefined; ``films`` is the number of test films; ``marks`` are joined by "; "; the
    majority row has an empty ``id``.
    """
    rows = [_row(candidate) for candidate in candidates]
    if candidates:
        rows.append(majority_row(candidates[0].assessment))
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def _row(candidate: Candidate) -> dict[str, object]:
    given = candidate.assessment
    return {
        "id": candidate.id,
        "name": candidate.name,
        **{part: given.accuracy[part].value for part in PARTS},
        "test_low": given.test.low,
        "test_high": given.test.high,
        "films": given.test.n,
        "balanced_accuracy": given.balanced_accuracy.value,
        "macro_f1": given.macro_f1.value,
        "macro_auroc": given.macro_auroc.value,
        "marks": "; ".join(candidate.marks),
    }


def majority_row(given: Assessment) -> dict[str, object]:
    """What answering the largest class of each part for every film would reach: the row that a run has to beat."""
    films = np.array([given.per_class[label]["sensitivity"].n for label in given.classes])
    constant = Answers(
        given.classes,
        np.arange(films.sum()),
        np.repeat(np.arange(len(films)), films),
        np.tile(np.eye(len(films))[int(np.argmax(films))], (int(films.sum()), 1)),
    )
    test = given.majority["test"]
    return {
        "id": "",
        "name": f"{MAJORITY} ({given.majority_label})" if given.majority_label else MAJORITY,
        **{part: given.majority[part].value for part in PARTS},
        "test_low": test.low,
        "test_high": test.high,
        "films": test.n,
        "balanced_accuracy": metrics.balanced_accuracy(constant).value,
        "macro_f1": metrics.macro_f1(constant).value,
        "macro_auroc": metrics.macro_auroc(constant).value,
        "marks": "",
    }
