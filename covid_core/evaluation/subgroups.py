"""Is a run worse on some images than their classes explain: those of one sex, age band, view, source or device?

Accuracy differs between subgroups because their classes do. So each subgroup is held against all other images of the
same fact class by class. With n, N and p, P the images and accuracies of subgroup and others in one class, the
difference is sum(w (p - P)) / sum(w), w = n N / (n + N): the risk difference of Mantel and Haenszel (Greenland and
Robins, Biometrics 41 (1985) 55-68).

Its test is a permutation test within classes: if the fact means nothing, its values could as well lie otherwise over
images of a class (Fisher, "The Design of Experiments", 1935, section 21). Images that belong together (duplicates, one
patient) move as one. Clusters may be larger in the subgroup than elsewhere, so what is compared is the difference over
its standard error (Chung and Romano, Annals of Statistics 41 (2013) 484-507). p is twice the smaller tail, the observed
order included (Phipson and Smyth, SAGMB 9 (2010) 39), corrected by Holm for all tests of all facts.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from covid_core.evaluation import metrics, resampling
from covid_core.evaluation.assessment import ALPHA
from covid_core.evaluation.comparison import holm
from covid_core.evaluation.metrics import Answers, Gap, Measure

FEWEST = metrics.FEWEST_OF_SHARE  # independent images of a subgroup, and of the others, that are tested
PERMUTATIONS = 9_999  # the smallest p is 0.0002: 250 tests can still be corrected for
SEED = 0
ROUNDING = 1e-9  # must not part equal orders


@dataclass(frozen=True)
class Subgroup:
    """The test images of one ``value`` of a ``fact``.

    ``patients`` is None where none is known; ``clusters`` counts images that belong together once. ``difference`` is
    the accuracy minus that of the other images of the fact at equal classes; ``p`` and ``p_holm`` are nan, like it,
    where the others are too few or share no class.
    """

    fact: str
    value: str
    images: int
    patients: int | None
    clusters: int
    accuracy: Measure
    balanced_accuracy: Measure
    difference: float
    p: float = math.nan
    p_holm: float = math.nan

    @property
    def differs(self) -> bool:
        """Whether it differs from the others by more than chance allows, at ALPHA."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class Subgroups:
    """All subgroups of FEWEST independent images or more.

    ``unknown`` holds the test images without the fact, ``too_few`` the values with fewer images, for each fact that any
    test image has; ``tests`` is their number in Holm's correction.
    """

    rows: tuple[Subgroup, ...]
    unknown: dict[str, int]
    too_few: dict[str, int]
    tests: int

    @property
    def worse(self) -> list[Subgroup]:
        """Those that are worse than chance allows, the worst first."""
        return sorted((row for row in self.rows if row.differs and row.difference < 0), key=lambda row: row.difference)


def subgroups(
    predictions: Answers, facts: Mapping[str, np.ndarray], groups: np.ndarray | None, patients: np.ndarray
) -> Subgroups:
    """Measure and test every subgroup.

    Args:
        predictions: of the test images.
        facts: by name, of shape (images,): the value of each image, empty where it is unknown.
        groups: of shape (images,): images with equal values belong together; None: none do.
        patients: of shape (images,): ids, empty where they are unknown.
    """
    together = np.arange(predictions.n) if groups is None else groups
    rows: list[tuple[tuple[str, ...], Subgroup]] = []
    unknown, too_few = {}, {}
    p_of: dict[tuple[str, ...], float] = {}
    for fact, values in facts.items():
        present = np.unique(values[values != ""]).tolist()
        if not present:
            continue
        listed = [value for value in present if len(np.unique(together[values == value])) >= FEWEST]
        unknown[fact], too_few[fact] = int((values == "").sum()), len(present) - len(listed)
        for value in listed:
            test = (fact,) if len(present) == 2 else (fact, value)  # of two values, both are one test
            row = _measured(fact, value, predictions, values, together, patients)
            if not math.isnan(row.difference):
                p_of.setdefault(test, _p(predictions, values, value, together))
            rows.append((test, row))
    corrected = dict(zip(p_of, holm(np.array(list(p_of.values()))).tolist(), strict=True))
    tested = (
        replace(row, p=p_of[test], p_holm=corrected[test]) if not math.isnan(row.difference) else row
        for test, row in rows
    )
    return Subgroups(tuple(tested), unknown, too_few, len(p_of))


def _measured(
    fact: str, value: str, predictions: Answers, values: np.ndarray, together: np.ndarray, patients: np.ndarray
) -> Subgroup:
    """A subgroup before its test."""
    inside, others = values == value, (values != "") & (values != value)
    named = np.unique(patients[inside & (patients != "")])
    is_comparable = len(np.unique(together[others])) >= FEWEST
    return Subgroup(
        fact,
        value,
        images=int(inside.sum()),
        patients=len(named) if (patients != "").any() else None,
        clusters=len(np.unique(together[inside])),
        accuracy=metrics.wilson_of_groups(predictions.right[inside], together[inside])[0],
        balanced_accuracy=_balanced_accuracy(predictions, inside, together),
        difference=_difference(predictions, inside, others) if is_comparable else math.nan,
    )


def _balanced_accuracy(predictions: Answers, inside: np.ndarray, together: np.ndarray) -> Measure:
    """Mean sensitivity over the classes that the images have."""
    labels, right = predictions.y_true[inside], predictions.right[inside]
    classes, codes = np.unique(labels, return_inverse=True)
    of_class = (codes == np.arange(len(classes))[:, None]).astype(np.float32)
    counted = np.concatenate([of_class * right, of_class])

    def on_draws(times: np.ndarray) -> dict[str, np.ndarray]:
        hits, images = np.split(counted @ times.astype(np.float32), 2)
        return {"mean": (hits / np.maximum(images, 1)).mean(axis=0)}

    reached = resampling.estimates(on_draws, codes, together[inside])["mean"]
    absent = (label for k, label in enumerate(predictions.classes) if k not in classes)
    if reached.low == reached.high:  # no draw of images without an error has one: that is no interval
        reached = replace(reached, low=math.nan, high=math.nan)
    value = float(np.mean([right[codes == k].mean() for k in range(len(classes))]))  # draws have fewer digits
    return replace(reached, value=value, note=tuple(Gap("none of class", label, left_out=True) for label in absent))


def _difference(predictions: Answers, inside: np.ndarray, others: np.ndarray) -> float:
    """Risk difference of Mantel and Haenszel over the classes; nan where the two sides share none."""
    n, of_others = (
        np.bincount(predictions.y_true[side], minlength=len(predictions.classes)) for side in (inside, others)
    )
    hits, hits_of_others = (
        np.bincount(predictions.y_true[side], predictions.right[side], len(predictions.classes))
        for side in (inside, others)
    )
    shared = (n > 0) & (of_others > 0)
    if not shared.any():
        return math.nan
    n, of_others, hits, hits_of_others = (counts[shared] for counts in (n, of_others, hits, hits_of_others))
    return float(
        ((hits * of_others - hits_of_others * n) / (n + of_others)).sum() / (n * of_others / (n + of_others)).sum()
    )


@dataclass(frozen=True)
class _Stratum:
    """The units of one class: the images of a cluster with one value of the fact. ``all`` and ``inside`` count them by
    kind, all and those of the subgroup; ``residuals`` of each kind are its right images less those expected."""

    all: np.ndarray
    inside: np.ndarray
    residuals: np.ndarray

    def drawn(self, rng: np.random.Generator) -> np.ndarray:
        """Units by kind if the values lay otherwise, of shape (PERMUTATIONS, kinds)."""
        return rng.multivariate_hypergeometric(self.all, self.inside.sum(), PERMUTATIONS, method="marginals")

    def moments(self, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residual of the subgroup and its variance, of each row of units by kind."""
        part, squares = self.inside.sum() / self.all.sum(), self.residuals**2
        of_inside = inside @ squares
        return inside @ self.residuals, (1 - part) ** 2 * of_inside + part**2 * (self.all @ squares - of_inside)


def _p(predictions: Answers, values: np.ndarray, value: str, together: np.ndarray) -> float:
    """Two-sided p of a subgroup against all other images of its fact."""
    strata = list(_strata(predictions, values, value, together))
    rng = np.random.default_rng(SEED)
    observed, drawn = (
        np.sum([stratum.moments(units) for stratum, units in zip(strata, of_strata, strict=True)], axis=0)
        for of_strata in ([one.inside[None] for one in strata], [one.drawn(rng) for one in strata])
    )
    (mine,), others = (
        np.divide(total, np.sqrt(variance), out=np.zeros_like(total), where=variance > ROUNDING)
        for total, variance in (observed, drawn)
    )
    tail = min((others <= mine + ROUNDING).sum(), (others >= mine - ROUNDING).sum())
    return min(1.0, 2 * float(tail + 1) / (PERMUTATIONS + 1))


def _strata(predictions: Answers, values: np.ndarray, value: str, together: np.ndarray) -> Iterator[_Stratum]:
    for label in np.unique(predictions.y_true):
        rows = np.flatnonzero((values != "") & (predictions.y_true == label))
        inside, right = values[rows] == value, predictions.right[rows]
        if not 0 < inside.sum() < len(rows):
            continue
        _, first, unit = np.unique(
            np.stack([together[rows], np.unique(values[rows], return_inverse=True)[1]]),
            axis=1,
            return_index=True,
            return_inverse=True,
        )
        sizes, hits = np.bincount(unit), np.bincount(unit, right)
        kinds, kind = np.unique(np.stack([sizes, hits]), axis=1, return_inverse=True)
        counts, of_inside = np.bincount(kind), np.bincount(kind[inside[first]], minlength=kinds.shape[1])
        yield _Stratum(counts, of_inside, kinds[1] - kinds[0] * right.mean())
