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

1. "cannot say" where no probe without lungs could be run, or where the full picture does not beat the largest class
   either: what this classifier cannot learn at all, it cannot learn from a shortcut.
2. "much is not the lungs" where one of them beats the largest class (one-sided exact binomial test at ALPHA, Holm's
   correction over the probes without lungs) and keeps at least MUCH of the full picture's gain.
3. "some is not the lungs" where one beats it and keeps at least SOME.
4. "nothing found" otherwise. That is no proof: a mark inside the lungs, or one too fine for 64 pixels, is not seen.

Probes of greys without shape (six numbers, a histogram, bytes after compression) and of a thumbnail are told beside,
but decide nothing: their pixels hold the lungs, and a dense lung is a bright one.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from covid_core.evaluation import metrics
from covid_core.evaluation.assessment import ALPHA, at_least_by_chance, majority_share
from covid_core.evaluation.comparison import holm
from covid_core.evaluation.metrics import Answers, Measure
from covid_core.formatting import count, interval, number, p_in_words, plural, share

Told = Callable[[float], None]
"""Called with the share done in [0, 1]."""

RIDGE = (
    1.0  # 0.1 to 1 differ by 2 points at most on two real data sets; less than 1 answers noise worse than not at all
)
FOLDS = 5
MUCH, SOME = 0.5, 0.1  # of the full picture's gain over the largest class
NO_LUNGS, GREYS, OUTLINE, COARSE, LUNGS, EVERYTHING = "no lungs", "greys", "outline", "coarse", "lungs", "everything"
CANNOT_SAY, MUCH_IS_NOT, SOME_IS_NOT, NOTHING_FOUND = (
    "cannot say",
    "much is not the lungs",
    "some is not the lungs",
    "nothing found",
)


@dataclass(frozen=True)
class Probe:
    """What a classifier is given: ``key`` for addresses, ``name`` (a plural) and ``sees`` in words.

    ``holds`` says how much of the lungs that is: NO_LUNGS, GREYS (their pixels without their places), OUTLINE (their
    shape without their pixels), COARSE, LUNGS or EVERYTHING.
    """

    key: str
    name: str
    sees: str
    holds: str


@dataclass(frozen=True, eq=False)
class Rung:
    """What a probe reached.

    ``accuracy`` with its Wilson interval and ``majority``, the share of the largest class, are of the same ``images``.
    ``p`` is the chance that answering the largest class always would be right as often. In both, images that belong
    together count for fewer (``metrics.design_effect``). ``sensitivity`` is by class.
    ``reason`` says why the probe could not be run; all else is then undefined. ``note`` says on which images it was run
    where they are not all.
    """

    probe: Probe
    images: int = 0
    accuracy: Measure = Measure(math.nan)
    majority: float = math.nan
    p: float = math.nan
    sensitivity: dict[str, Measure] = field(default_factory=dict)
    reason: str = ""
    note: str = ""

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
    note: str = ""

    @property
    def full(self) -> Rung | None:
        """What can be reached with the whole image, where it was asked: the best of the rungs that hold EVERYTHING."""
        whole = [rung for rung in self.rungs if rung.probe.holds == EVERYTHING and rung.was_run]
        return max(whole, key=lambda rung: rung.accuracy.value, default=None)

    def kept(self, rung: Rung) -> float:
        """Which share of the full picture's gain a rung keeps; nan where the full picture gains nothing."""
        full = self.full
        return rung.gain / full.gain if full is not None and full.gain > 0 else math.nan


@dataclass(frozen=True)
class Verdict:
    """``level``: CANNOT_SAY, MUCH_IS_NOT, SOME_IS_NOT or NOTHING_FOUND. ``headline`` says it in a sentence with its
    figures, ``details`` what else the ladder shows. ``by``: key of the probe that decided, empty where none did."""

    level: str
    headline: str
    details: tuple[str, ...] = ()
    by: str = ""


# Probes


def answered(
    features: np.ndarray, codes: np.ndarray, folds: np.ndarray, threads: int = 1, told: Told = lambda share: None
) -> np.ndarray:
    """Score of every class for every image, each from a classifier that was trained on the other folds.

    Args:
        features: numbers of shape (images, d), all finite. Those that are the same for all training images are left
        out. codes: class of each image, of shape (images,), from 0; a fold's training images should hold all. folds:
        fold of each image, of shape (images,); images that belong together in one. threads: folds at a time; each takes
        some 250 MB for 4,000 images of 4,096 features. told: called with the share done after each fold; what it raises
        ends the work.

    Returns:
        float32 (images, classes); the highest of a row is the answer. Scores are no probabilities.
    """
    features = np.asarray(features, np.float32)
    wanted = np.eye(codes.max() + 1, dtype=np.float32)[codes]
    scores = np.empty_like(wanted)

    def fill(fold: int) -> None:
        tested = folds == fold
        scores[tested] = _fitted(features[~tested], wanted[~tested], features[tested])

    all_folds = np.unique(folds)
    with ThreadPoolExecutor(threads) as pool:
        waiting = [pool.submit(fill, fold) for fold in all_folds]
        try:
            for done, fold in enumerate(waiting, start=1):
                fold.result()
                told(done / len(all_folds))
        finally:
            for fold in waiting:
                fold.cancel()
    return scores


def _fitted(trained: np.ndarray, wanted: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Scores of the tested images, float32 (tested, classes).

    In single precision throughout: ``sklearn.kernel_ridge.KernelRidge`` gives the same accuracies and, to 1e-4, the
    same scores, but takes four times the processor time for 4,000 images of 4,096 features (46 s against 12 s).
    """
    from scipy.linalg import cho_factor, cho_solve  # 0.2 s to import, and no page needs it before a ladder is asked for

    shares = wanted.mean(axis=0)
    mean, deviation = trained.mean(axis=0), trained.std(axis=0)
    telling = deviation > 1e-6 * np.maximum(1, np.abs(mean))  # below it, rounding
    if not telling.any():
        return np.tile(shares, (len(tested), 1))
    trained, tested = (((images - mean) / np.where(telling, deviation, 1))[:, telling] for images in (trained, tested))
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
    codes: np.ndarray,
    classes: Sequence[str],
    folds: np.ndarray,
    note: str = "",
    threads: int = 1,
    told: Told = lambda share: None,
    groups: np.ndarray | None = None,
) -> Rung:
    """Run a probe: features (images, d), class and fold of each image as in ``answered``, names of the classes.

    ``groups`` of shape (images,): images that belong together are answered alike, so they count for fewer in intervals
    and in p; None: each is by itself.
    """
    scores = answered(features, codes, folds, threads, told)
    given = Answers(tuple(classes), np.arange(len(codes)), codes, scores)
    majority = majority_share(given).value
    accuracy, effect = metrics.wilson_of_groups(given.right, groups)
    sensitivity = {}
    for code, label in enumerate(given.classes):
        of_class = codes == code
        some = None if groups is None else groups[of_class]
        sensitivity[label] = metrics.wilson_of_groups(given.right[of_class], some)[0]
    return Rung(
        probe,
        given.n,
        accuracy,
        majority,
        at_least_by_chance(int(given.right.sum()) / effect, given.n / effect, majority),
        sensitivity,
        note=note,
    )


# The verdict


def verdict(ladder: Ladder) -> Verdict:
    """What the ladder says, by the rule at the head of this module."""
    blind = [rung for rung in ladder.rungs if rung.probe.holds == NO_LUNGS and rung.was_run]
    full = ladder.full
    details = (*_beside(ladder), *_not_run(ladder))
    if not blind or full is None:
        what = "the full picture" if full is None else "no probe without lungs"
        return Verdict(CANNOT_SAY, f"It cannot be said whether the lungs decide: {what} could not be run.", details)
    if full.p > ALPHA:
        return Verdict(CANNOT_SAY, _nothing_learned(full), details)
    corrected = holm(np.array([rung.p for rung in blind]))
    found = [rung for rung, p in zip(blind, corrected, strict=True) if p <= ALPHA and ladder.kept(rung) >= SOME]
    if not found:
        return Verdict(NOTHING_FOUND, _nothing_found(blind, full), details)
    strongest = max(found, key=ladder.kept)
    kept = ladder.kept(strongest)
    level = MUCH_IS_NOT if kept >= MUCH else SOME_IS_NOT
    how_much = "Much" if level == MUCH_IS_NOT else "Some"
    headline = (
        f"{strongest.probe.name} alone tell the class in {_with_lines(strongest, full)}. {how_much} of what can "
        f"be learned here is not the lungs: {share(min(kept, 1), 0)} of the full picture's gain over the largest class."
    )
    return Verdict(level, headline, details, strongest.probe.key)


def _figure(rung: Rung) -> str:
    return interval(rung.accuracy.value, rung.accuracy.low, rung.accuracy.high)


def _nothing_learned(full: Rung) -> str:
    return (
        f"It cannot be said whether the lungs decide: from the full picture this classifier tells the class in "
        f"{_figure(full)} of {plural(full.images, 'image')}, and always answering the largest class is right in "
        f"{share(full.majority)}."
    )


def _nothing_found(blind: Sequence[Rung], full: Rung) -> str:
    best = max(blind, key=lambda rung: rung.gain)
    return (
        "Nothing outside of the lungs was found that gives the class away: of the probes that are shown no lung, "
        f"the best ({_lower(best.probe.name)}) tells it in {_with_lines(best, full)}."
    )


def _with_lines(rung: Rung, full: Rung) -> str:
    """A figure with the two that it is judged by."""
    whole = f"the full picture reaches {share(full.accuracy.value)} ({_lower(full.probe.name)})"
    return f"{_figure(rung)} of images, where the largest class has {share(rung.majority)} and {whole}"


def _beside(ladder: Ladder) -> list[str]:
    """Greys and the thumbnail, which may hold disease, and the two halves that masks make, in words."""
    by = {rung.probe.holds: rung for rung in sorted(ladder.rungs, key=_reached) if rung.was_run}
    told = []
    if GREYS in by and by[GREYS].p <= ALPHA:
        told.append(
            f"{by[GREYS].probe.name}, without any shape, reaches {_figure(by[GREYS])}. That may be exposure, and it "
            "may be disease: a dense lung is a bright one."
        )
    if COARSE in by and by[COARSE].p <= ALPHA:
        told.append(f"{by[COARSE].probe.name}, in which no doctor reads a lung, reaches {_figure(by[COARSE])}.")
    if LUNGS in by:
        outline = f"; their outline alone, {_figure(by[OUTLINE])}" if OUTLINE in by else ""
        told.append(f"{by[LUNGS].probe.name} reach {_figure(by[LUNGS])}{outline}.")
    return told


def _reached(rung: Rung) -> float:
    return rung.accuracy.value if rung.was_run else -1.0


def _not_run(ladder: Ladder) -> list[str]:
    """Why some probes could not be run, each reason once."""
    reasons = dict.fromkeys(rung.reason for rung in ladder.rungs if not rung.was_run)
    names = {reason: [rung.probe.name for rung in ladder.rungs if rung.reason == reason] for reason in reasons}
    return [f"Not run: {', '.join(_lower(name) for name in of)}. {reason}" for reason, of in names.items()]


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


def as_answer(ladder: Ladder) -> dict[str, Any]:
    """The ladder and its verdict as plain dictionaries, for the command line."""
    said = verdict(ladder)
    return {
        "images": ladder.images,
        "classes": list(ladder.classes),
        "folds": FOLDS,
        "note": ladder.note,
        "verdict": {**vars(said)},
        "rungs": [_rung_answer(ladder, rung) for rung in ladder.rungs],
    }


def _rung_answer(ladder: Ladder, rung: Rung) -> dict[str, Any]:
    told = {**vars(rung.probe), "run": rung.was_run, "reason": rung.reason, "note": rung.note}
    if not rung.was_run:
        return told
    return told | {
        "images": rung.images,
        "accuracy": vars(rung.accuracy),
        "majority": rung.majority,
        "p": rung.p,
        "kept": ladder.kept(rung),
        "sensitivity": {label: vars(measure) for label, measure in rung.sensitivity.items()},
    }


# Sources


@dataclass(frozen=True, eq=False)
class Sources:
    """How source and class go together.

    ``known`` images have a source, ``names`` is how many sources they have; ``association`` is Cramér's V of source and
    class over them (nan where one of the two has a single value). ``ladders``: by class, whether its sources can be
    told apart within it; ``reason`` says why there are none.
    """

    known: int
    unknown: int
    names: int
    association: float
    ladders: dict[str, Ladder] = field(default_factory=dict)
    reason: str = ""

    @property
    def in_words(self) -> tuple[str, ...]:
        """Each sentence with the figures that it rests on."""
        if not self.known:
            return ("No image has a known source, so it cannot be said whether the source gives the class away.",)
        told = [_association_in_words(self)]
        told += [f"Within {label}, {_told_apart(rung, p)}" for label, rung, p in self.asked]
        if len(self.asked) > 1:
            told.append(f"(p is corrected for {len(self.asked)} questions.)")
        return (*told, *filter(None, [self.reason]))

    @property
    def asked(self) -> tuple[tuple[str, Rung, float], ...]:
        """Each question that was asked: the class, the rung, and its p by Holm's correction over all of them."""
        of = [(label, rung) for label, ladder in self.ladders.items() for rung in ladder.rungs if rung.was_run]
        corrected = holm(np.array([rung.p for _, rung in of]))
        return tuple((label, rung, float(p)) for (label, rung), p in zip(of, corrected, strict=True))


def _association_in_words(given: Sources) -> str:
    images = f"{plural(given.known, 'image')} of {plural(given.names, 'source')}"
    unknown = f"; {count(given.unknown)} have none that is known" if given.unknown else ""
    if math.isnan(given.association):
        return f"Source and class cannot be compared over {images}: one of them has a single value{unknown}."
    figure = f"Cramér's V {number(given.association)} (0 not at all, 1 fully)"
    return f"Source and class go together with {figure} over {images}{unknown}."


def _told_apart(rung: Rung, p: float) -> str:
    """What a probe of sources reached, in words; ``p`` is corrected."""
    reached = f"{_figure(rung)} of {plural(rung.images, 'image')}, where the largest source has {share(rung.majority)}"
    how = "more" if p <= ALPHA else "no more"
    return (
        f"from {_lower(rung.probe.name)} the source is told in {reached}: {how} than chance explains ({p_in_words(p)})."
    )


def sources_as_answer(given: Sources) -> dict[str, Any]:
    """Sources as plain dictionaries, for the command line."""
    told = {name: getattr(given, name) for name in ("known", "unknown", "names", "association", "reason")}
    corrected = {(label, rung.probe.key): p for label, rung, p in given.asked}
    within = {
        label: [{**rung, "p_corrected": corrected.get((label, rung["key"]))} for rung in as_answer(ladder)["rungs"]]
        for label, ladder in given.ladders.items()
    }
    return {**told, "within": within, "in_words": given.in_words}
