"""Does anything but the lungs give the answer away? Probes, the ladder that they make, and its verdict.

A *probe* is a classifier that is given only some of an image: its border, its thumbnail, the size of its file. What it
reaches is cross-validated: every image is answered once, by a classifier that has seen neither it nor an image that
belongs with it. A *ladder* holds probes in order, from what shows no lung to the full picture, all with the same folds.

**The classifier** is the same for every probe: features standardised on the training images, the Gaussian kernel
exp(-|a - b|² / d) of d features, and least squares with a ridge against one column per class (kernel ridge regression;
"least squares support vector machine": Suykens and Vandewalle, Neural Processing Letters 9 (1999) 293-300). It costs
one factorisation whatever the number of features and classes. On five probes of each of two real data sets it is within
1.4 points of the support vector machine with the same kernel (scikit-learn, C 10 or 1), and at 1,000 features and more
several times as fast. RIDGE is the same for every data set and probe.

**The verdict** (``verdict``) rests on the probes that show no lung (``NO_LUNGS``: size and kind of file, border pixels,
pixels outside of the lungs), and on nothing else. A probe's *gain* is its accuracy less the share of the largest class;
what it *keeps* is its gain over the full picture's, the best that was reached with the whole image (``Ladder.full``).
In this order:

1. "inconclusive" where no probe without lungs could be run, or where the full picture does not beat the largest class
   either: what this classifier cannot learn at all, it cannot learn from a shortcut.
2. "much is not the lungs" where one of them beats the largest class (one-sided exact binomial test at ALPHA, Holm's
   correction over the probes without lungs) and keeps at least MUCH of the full picture's gain.
3. "some is not the lungs" where one beats it and keeps at least SOME.
4. "nothing found" otherwise. That is no proof: a mark inside the lungs, or one too fine for 64 pixels, is not seen.

Probes of greys without shape (six numbers, a histogram, bytes after compression) and of a thumbnail are told beside,
but decide nothing: their pixels hold the lungs, and a dense lung is a bright one.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from covid_core.data.masks import NoLungs, Origin
from covid_core.evaluation import metrics
from covid_core.evaluation.assessment import ALPHA, at_least_by_chance, majority_share
from covid_core.evaluation.comparison import holm
from covid_core.evaluation.metrics import Answers, Measure

RIDGE = 1.0  # 0.1 to 1 differ by 2 points at most on two real data sets; less answers noise worse than not at all
FOLDS = 5
MUCH, SOME = 0.5, 0.1  # of the full picture's gain over the largest class
NO_LUNGS, GREYS, OUTLINE, COARSE, LUNGS, EVERYTHING = "no lungs", "greys", "outline", "coarse", "lungs", "everything"
INCONCLUSIVE, NO_SHORTCUT = "inconclusive", "nothing found"
MUCH_IS_NOT, SOME_IS_NOT = "much is not the lungs", "some is not the lungs"


Why = Literal[
    "not frozen",
    "few outlined",
    "one group outlined",
    "some outlined",
    "small class",
    "single group",
    "sample",
    "no two sources",
    "no two classes",
    "not checked",
]


@dataclass(frozen=True)
class Reason:
    """Why something was not measured, or on which images it was: ``images`` of ``of``, or so many of each of some
    ``labels``; ``least`` is how many it takes. ``error``: what is damaged."""

    why: Why | NoLungs
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    images: int = 0
    of: int = 0
    least: int = 0
    error: str = ""


@dataclass(frozen=True)
class Probe:
    """What a classifier is given: ``key`` for addresses, ``name`` (a plural), and ``input`` in words (in files:
    ``sees``).

    ``holds`` says how much of the lungs that is: NO_LUNGS, GREYS (their pixels without their places), OUTLINE (their
    shape without their pixels), COARSE, LUNGS or EVERYTHING.
    """

    key: str
    name: str
    input: Annotated[str, Field(alias="sees")]
    holds: str


@dataclass(frozen=True, eq=False)
class Rung:
    """What a probe reached.

    ``accuracy`` with its Wilson interval and ``majority``, the share of the largest class, are of the same ``images``.
    ``p`` is the chance that answering the largest class always would be right as often. In both, images that belong
    together count for fewer (``metrics.design_effect``). ``sensitivity`` is by class.
    ``reason`` says why the probe could not be run; all else is then undefined. ``note`` says on which images it was run
    where they are not all. Here and below a text is an error's, or what an earlier version stored. ``lungs_from`` is
    what the lungs of a probe that needs them rest on.
    """

    probe: Probe
    images: int = 0
    accuracy: Measure = Measure(math.nan)
    majority: float = math.nan
    p: float = math.nan
    sensitivity: dict[str, Measure] = field(default_factory=dict)
    reason: Reason | str = ""
    note: Reason | str = ""
    lungs_from: Origin | None = None

    @property
    def was_run(self) -> bool:
        return not self.reason

    @property
    def gain(self) -> float:
        """Accuracy above the share of the largest class; nan where the probe was not run."""
        return self.accuracy.value - self.majority


@dataclass(frozen=True, eq=False)
class Ladder:
    """Rungs in order, all of the same images and folds as far as they could be run. ``note`` says which images were
    drawn where they are not all of the data set."""

    classes: tuple[str, ...]
    images: int
    rungs: tuple[Rung, ...]
    note: tuple[Reason, ...] | str = ""

    @property
    def without_lungs(self) -> list[Rung]:
        """The rungs that could be run and show no lung: the verdict rests on them."""
        return [rung for rung in self.rungs if rung.probe.holds == NO_LUNGS and rung.was_run]

    @property
    def full(self) -> Rung | None:
        """What can be reached with the whole image, where it was asked: the best of the rungs that hold EVERYTHING."""
        whole = [rung for rung in self.rungs if rung.probe.holds == EVERYTHING and rung.was_run]
        return max(whole, key=lambda rung: rung.accuracy.value, default=None)

    def share_of_gain(self, rung: Rung) -> float:
        """Which share of the full picture's gain a rung keeps; nan where the full picture gains nothing."""
        full = self.full
        return rung.gain / full.gain if full is not None and full.gain > 0 else math.nan


@dataclass(frozen=True)
class Verdict:
    """``level``: INCONCLUSIVE, MUCH_IS_NOT, SOME_IS_NOT or NO_SHORTCUT. ``by``: key of the probe that decided, empty
    where none did."""

    level: str
    by: str = ""


# Probes


@dataclass(frozen=True, eq=False)
class Question:
    """What probes have to answer: names of the classes, and of each image its class (a position, ``codes``), its fold,
    and its group; images of one group are in one fold. All arrays are of shape (images,)."""

    classes: tuple[str, ...]
    codes: np.ndarray
    folds: np.ndarray
    groups: np.ndarray

    def of(self, chosen: np.ndarray) -> "Question":
        """The same of some images, by a bool (images,)."""
        return Question(self.classes, self.codes[chosen], self.folds[chosen], self.groups[chosen])


def answered(
    features: np.ndarray,
    codes: np.ndarray,
    folds: np.ndarray,
    threads: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Score of every class for every image, each from a classifier that was trained on the other folds.

    Args:
        features: numbers of shape (images, d), all finite. Those that are the same for all training images are left
            out.
        codes: class of each image, of shape (images,), from 0; a fold's training images should hold all.
        folds: fold of each image, of shape (images,); images that belong together in one.
        threads: folds at a time; each takes some 250 MB for 4,000 images of 4,096 features.
        progress: receives the share done in [0, 1] after each fold; what it raises ends the work.

    Returns:
        float32 (images, classes); the highest of a row is the answer. Scores are no probabilities.
    """
    features = np.asarray(features, np.float32)
    wanted = np.eye(codes.max() + 1, dtype=np.float32)[codes]
    scores = np.empty_like(wanted)

    def fill(fold: int) -> None:
        tested = folds == fold
        scores[tested] = fitted(features[~tested], wanted[~tested], features[tested])

    all_folds = np.unique(folds)
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(fill, fold) for fold in all_folds]
        try:
            for done, fold in enumerate(waiting, start=1):
                fold.result()
                progress(done / len(all_folds))
        finally:
            for fold in waiting:
                fold.cancel()
    return scores


def fitted(trained: np.ndarray, wanted: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Scores of the tested images, float32 (tested, classes).

    In single precision throughout: ``sklearn.kernel_ridge.KernelRidge`` gives the same accuracies and, to 1e-4, the
    same scores, but takes four times the processor time for 4,000 images of 4,096 features (46 s against 12 s).
    """
    from scipy.linalg import cho_factor, cho_solve  # 0.2 s to import, and no page needs it before a ladder is asked for

    shares = wanted.mean(axis=0)
    mean, deviation = trained.mean(axis=0), trained.std(axis=0)
    varying = deviation > 1e-6 * np.maximum(1, np.abs(mean))  # below it, rounding
    if not varying.any():
        return np.tile(shares, (len(tested), 1))
    trained, tested = (((images - mean) / np.where(varying, deviation, 1))[:, varying] for images in (trained, tested))
    kernel = _kernel(trained, trained)
    kernel[np.diag_indices_from(kernel)] += RIDGE
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    weights = cho_solve(factor, wanted - shares, check_finite=False)
    return _kernel(tested, trained) @ weights + shares


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """exp(-|a - b|² / d) of all rows with all, float32 (first, second)."""
    distance = first @ second.T
    distance *= -2
    distance += np.square(first).sum(axis=1)[:, None]
    distance += np.square(second).sum(axis=1)
    np.maximum(distance, 0, out=distance)  # rounding
    distance /= -first.shape[1]
    return np.exp(distance, out=distance)


def climb(
    probe: Probe,
    features: np.ndarray,
    question: Question,
    note: Reason | str = "",
    threads: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> Rung:
    """Run a probe on features (images, d); see ``answered``. Images of one group are answered alike, so they count for
    fewer in intervals and in p."""
    scores = answered(features, question.codes, question.folds, threads, progress)
    answers = Answers(question.classes, np.arange(len(question.codes)), question.codes, scores)
    majority = majority_share(answers).value
    accuracy, effect = metrics.wilson_of_groups(answers.right, question.groups)
    p = at_least_by_chance(int(answers.right.sum()) / effect, answers.n / effect, majority)
    sensitivity = {}
    for code, label in enumerate(question.classes):
        of_class = question.codes == code
        sensitivity[label] = metrics.wilson_of_groups(answers.right[of_class], question.groups[of_class])[0]
    return Rung(probe, answers.n, accuracy, majority, p, sensitivity, note=note)


# The verdict


def verdict(ladder: Ladder) -> Verdict:
    """What the ladder says, by the rule at the head of this module."""
    blind, full = ladder.without_lungs, ladder.full
    if not blind or full is None or full.p > ALPHA:
        return Verdict(INCONCLUSIVE)
    tested = zip(blind, holm(np.array([rung.p for rung in blind])), strict=True)
    sufficient = [rung for rung, p in tested if p <= ALPHA and ladder.share_of_gain(rung) >= SOME]
    if not sufficient:
        return Verdict(NO_SHORTCUT)
    strongest = max(sufficient, key=ladder.share_of_gain)
    return Verdict(MUCH_IS_NOT if ladder.share_of_gain(strongest) >= MUCH else SOME_IS_NOT, strongest.probe.key)


# Sources


@dataclass(frozen=True, eq=False)
class Sources:
    """How source and class go together.

    ``with_source`` images have a source (in files: ``known``), ``names`` is how many sources they have;
    ``association`` is Cramér's V of source and class over them (nan where one of the two has a single value).
    ``ladders``: by class, whether its sources can be told apart within it; ``reason`` says why there are none.
    """

    with_source: Annotated[int, Field(alias="known")]
    unknown: int
    names: int
    association: float
    ladders: dict[str, Ladder] = field(default_factory=dict)
    reason: Reason | str = ""

    @property
    def questions(self) -> tuple[tuple[str, Rung, float], ...]:
        """Each question that was asked: the class, the rung, and its p by Holm's correction over all of them."""
        of = [(label, rung) for label, ladder in self.ladders.items() for rung in ladder.rungs if rung.was_run]
        corrected = holm(np.array([rung.p for _, rung in of]))
        return tuple((label, rung, float(p)) for (label, rung), p in zip(of, corrected, strict=True))
