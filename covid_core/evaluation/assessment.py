"""What one run is worth: every measure of a part with its interval, and what a reader must know before believing it.

Shares of images have Wilson intervals (``metrics``), all other measures bootstrap intervals (``measures``,
``resampling``); all are 95 %. Images that belong together (copies, one patient) are no independent evidence: in shares
and tests they count for fewer (``metrics.design_effect``), in the bootstrap they are drawn together.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from covid_core.evaluation import measures, metrics, resampling
from covid_core.evaluation.measures import CLASS_MEASURES, MEASURES
from covid_core.evaluation.metrics import Answers, Gap, Measure
from covid_core.hashing import hash_of

PARTS = ("train", "validation", "test")
ALPHA = 0.05  # level of every test in the app

Mark = Literal["wrong labels", "loss not a number", "no answer", "one class", "not better", "parts disagree", "stopped"]


@dataclass(frozen=True)
class Measured:
    """All figures of one part: images of each class, ``overall`` by MEASURES, ``per_class`` by class and
    CLASS_MEASURES, and the confusion matrix (rows: labels, columns: answers)."""

    n: int
    images: dict[str, int]
    overall: dict[str, Measure]
    per_class: dict[str, dict[str, Measure]]
    confusion: pd.DataFrame


def measured(predictions: Answers, groups: np.ndarray | None = None, intervals: bool = True) -> Measured:
    """Measure one part. ``groups`` of shape (images,) says which images belong together; None: none do.

    Without ``intervals`` nothing is drawn, and only shares have theirs.
    """
    of = measures.on_draws(predictions)
    values = {name: drawn_values[..., 0] for name, drawn_values in of(resampling.once(predictions.y_true)).items()}
    bounds: measures.Values = {}
    if predictions.n and intervals:
        drawn = resampling.replicates(of, predictions.y_true, groups)
        bounds = {name: resampling.interval(drawn_values) for name, drawn_values in drawn.items()}
    per_class = {
        label: {
            name: measures.share_of_class(name, predictions, label, groups)
            if row.is_share
            else _measure(
                values[name][k], bounds[name][:, k] if bounds else None, predictions.n, row.reason(predictions, label)
            )
            for name, row in CLASS_MEASURES.items()
        }
        for k, label in enumerate(predictions.classes)
    }
    overall = {}
    for name, row in MEASURES.items():
        if row.is_share and row.per_image:
            overall[name] = metrics.wilson_of_groups(row.per_image(predictions), groups)[0]
        else:
            gaps: tuple[Gap, ...] = (metrics.NOT_NUMBERS if predictions.n else metrics.NO_IMAGES,)
            if row.mean_of:
                gaps = _gaps_of_mean(row.mean_of, per_class) or (metrics.NO_IMAGES,)
            overall[name] = _measure(values[name], bounds.get(name) if row.has_interval else None, predictions.n, *gaps)
    images = dict(zip(predictions.classes, map(int, predictions.images), strict=True))
    return Measured(predictions.n, images, overall, per_class, metrics.confusion(predictions))


def _measure(value: float | np.ndarray, bounds: np.ndarray | None, images: int, *gaps: Gap | None) -> Measure:
    """``gaps``: the first says why it is undefined where it is; where it is defined, a mean goes without some."""
    if math.isnan(value):
        return metrics.undefined(gaps[0] and replace(gaps[0], left_out=False), images)
    low, high = (math.nan, math.nan) if bounds is None else map(float, bounds)
    return Measure(float(value), low, high, images, tuple(gap for gap in gaps if gap and gap.left_out) or "")


def _gaps_of_mean(name: str, per_class: dict[str, dict[str, Measure]]) -> tuple[Gap, ...]:
    """The classes that a mean over classes leaves out, and why."""
    gaps = ((label, gap) for label, measures in per_class.items() for gap in measures[name].note)
    return tuple(replace(gap, label=label, left_out=True) for label, gap in gaps if isinstance(gap, Gap))


@dataclass(frozen=True)
class Assessment:
    """What one run's prediction table says.

    ``selection`` is the accuracy on the validation images that may choose between runs, ``tested`` holds the figures of
    the test part. ``right`` and ``strata`` hold for each of its images, in the order of
    the image ids, whether it was answered rightly and which class it is of; ``groups`` which images belong together
    (None: none do). ``majority`` is the share of the largest class of each part. ``p_majority`` is the chance that
    something that is right as often as the majority class would be right on at least as many images, ``p_parts`` that
    of accuracies on validation and test at least as unlike as these if both were the same (nan without images); in
    both, images that belong together count for fewer. ``test_images`` is a hash over their data set, ids and labels:
    COVID-1 of one data set is not COVID-1 of another.
    """

    classes: tuple[str, ...]
    accuracy: dict[str, Measure]
    selection: Measure
    majority: dict[str, Measure]
    majority_label: str
    tested: Measured
    right: np.ndarray
    strata: np.ndarray
    groups: np.ndarray | None
    test_images: str
    p_majority: float
    p_parts: float
    only_answer: str
    unanswered: int

    @property
    def test(self) -> Measure:
        return self.accuracy["test"]

    @property
    def validation(self) -> Measure:
        return self.accuracy["validation"]


def assess(
    table: pd.DataFrame,
    images_of: str = "",
    groups: pd.Series | None = None,
    intervals: bool = True,
    choosing: pd.DataFrame | None = None,
) -> Assessment:
    """Measure one prediction table.

    Args:
        table: see ``covid_core.evaluation``.
        images_of: names the images that its ids stand for (a data set's version).
        groups: which images belong together, by image id; None: none do.
        intervals: without them nothing is drawn, and of the measures in ``tested`` only shares have theirs.
        choosing: the table with those validation images alone that may choose between runs; None: all may.
    """
    may_choose = metrics.answers(table if choosing is None else choosing, "validation")
    table = table.sort_values("image_id", kind="stable")
    parts = {part: metrics.answers(table, part) for part in PARTS}
    test, validation = parts["test"], parts["validation"]
    together = {part: groups_of(predictions.image_ids, groups) for part, predictions in parts.items()}
    reached = {part: metrics.wilson_of_groups(predictions.right, together[part]) for part, predictions in parts.items()}
    effect = reached["test"][1]
    predicted = np.flatnonzero(test.counts.sum(axis=0))
    right = np.concatenate([validation.right, test.right])
    of_both = groups_of(np.concatenate([validation.image_ids, test.image_ids]), groups)
    majority = {part: majority_share(predictions, together[part]) for part, predictions in parts.items()}
    return Assessment(
        classes=test.classes,
        accuracy={part: measure for part, (measure, _) in reached.items()},
        selection=metrics.accuracy(may_choose, groups_of(may_choose.image_ids, groups)),
        majority=majority,
        majority_label=test.classes[int(np.argmax(test.images))] if test.n else "",
        tested=measured(test, together["test"], intervals),
        right=test.right,
        strata=test.y_true,
        groups=together["test"],
        test_images=hash_of(table.loc[(table["part"] == "test").to_numpy(), ["image_id", "label"]], images_of),
        p_majority=at_least_by_chance(int(test.right.sum()) / effect, test.n / effect, majority["test"].value),
        p_parts=unlike_by_chance(*whole_counts(right, np.arange(len(right)) < validation.n, of_both)),
        only_answer=test.classes[predicted[0]] if len(predicted) == 1 else "",
        unanswered=int(sum((~predictions.answered).sum() for predictions in parts.values())),
    )


def groups_of(image_ids: np.ndarray, groups: pd.Series | None) -> np.ndarray | None:
    """The group of each image as a number; None where no two images share one, or ``groups`` (by id) is None."""
    if groups is None:
        return None
    codes = pd.factorize(groups.reindex(image_ids).fillna(pd.Series(image_ids, image_ids)))[0]
    return None if len(np.unique(codes)) == len(codes) else codes


def majority_share(predictions: Answers, groups: np.ndarray | None = None) -> Measure:
    """Share of the largest class: what always answering it would reach. ``groups`` as of ``metrics.accuracy``."""
    largest = int(np.argmax(predictions.images)) if predictions.n else 0
    return metrics.wilson_of_groups(predictions.y_true == largest, groups)[0]


def whole_counts(right: np.ndarray, inside: np.ndarray, groups: np.ndarray | None) -> tuple[int, int, int, int]:
    """Right images and images of one side, then of the other, as an exact test of their difference counts them.

    As they are where each image is by itself. Where images belong together, as many as they count for, rounded down, so
    that no evidence is added (``metrics.design_effect_of_difference``, with its arguments).
    """
    sides = right[inside], right[~inside]
    if groups is None or not all(map(len, sides)):
        return int(sides[0].sum()), len(sides[0]), int(sides[1].sum()), len(sides[1])
    effect = metrics.design_effect_of_difference(right, inside, groups)
    images = [int(len(side) / effect) for side in sides]
    return round(sides[0].mean() * images[0]), images[0], round(sides[1].mean() * images[1]), images[1]


def at_least_by_chance(hits: float, total: float, chance: float) -> float:
    """P(X >= hits) for X binomial(total, chance): the one-sided exact binomial test. nan where ``total`` is 0.

    Counts need not be whole: images that belong together count for fewer (``metrics.design_effect``).

    Source: Clopper and Pearson, Biometrika 26 (1934) 404-413. ``chance`` is taken as known.
    """
    from scipy.special import betainc  # 0.4 s to import, and not every page needs it

    if total == 0 or math.isnan(chance):
        return math.nan
    return 1.0 if hits == 0 else float(betainc(hits, total - hits + 1, chance))


def unlike_by_chance(hits: int, total: int, other_hits: int, other_total: int) -> float:
    """Two-sided p of Fisher's exact test that two shares of different images are the same; nan without images.

    All tables with the same margins that are at most as probable as this one are summed (Fisher, "Statistical Methods
    for Research Workers", 5th edition 1934, section 21.02).
    """
    from scipy.special import gammaln

    if not (total and other_total):
        return math.nan
    right = hits + other_hits
    possible = np.arange(max(0, right - other_total), min(right, total) + 1)

    def ways(n: int, k: np.ndarray) -> np.ndarray:
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    log = ways(total, possible) + ways(other_total, right - possible) - ways(total + other_total, np.array(right))
    mine = log[hits - possible[0]]
    return min(1.0, float(np.exp(log[log <= mine + 1e-7]).sum()))  # rounding must not part equal tables


def marks(run: Assessment, loss_is_a_number: bool = True) -> list[Mark]:
    """What a reader must know before believing the run's accuracy."""
    reasons: list[Mark] = [] if loss_is_a_number else ["loss not a number"]
    if run.unanswered:
        reasons.append("no answer")
    if run.only_answer:
        reasons.append("one class")
    if run.test.is_defined and not beats_majority(run):
        reasons.append("not better")
    if run.p_parts <= ALPHA:
        reasons.append("parts disagree")
    return reasons


def beats_majority(run: Assessment) -> bool:
    """Whether the run is right on more test images than always answering their largest class explains, at ALPHA."""
    return run.p_majority <= ALPHA
