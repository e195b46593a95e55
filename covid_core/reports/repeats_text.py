"""Studies of repeats in plain English, made from their numbers and nothing else."""

import math
from collections.abc import Callable, Mapping

from covid_core.evaluation.assessment import ALPHA
from covid_core.evaluation.corrected_tests import Repeated
from covid_core.evaluation.measures import MEASURES
from covid_core.evaluation.repeats import FOLDS, SEEDS, SENSITIVITY, Comparison, Pooled, Remark, Repeats, Spread, Tested
from covid_core.formatting import plural, points, share
from covid_core.reports import run_text
from covid_core.reports.comparison_text import MARKS, Summary, in_words, p_in_words

FOLDS_SHARE = (
    "Folds share training images, so their standard deviation is too small. The corrected resampled t-test accounts "
    "for that."
)
SPLIT_NOT_VARIED = (
    "Seeds share one split: their standard deviation (SD) is that of the random start alone. Other training images can "
    "give another result."
)
TESTS = {FOLDS: "corrected resampled t-test", SEEDS: "t-test over seeds and images"}
DIFFERENCES: Mapping[str, tuple[str, Callable[[Repeats], str]]] = {  # of two studies that cannot be paired
    "classes": ("classes", lambda study: ", ".join(study.classes)),
    "folds": ("folds", lambda study: plural(study.folds, "fold") if study.folds > 1 else "one split for all seeds"),
    "images": ("test images", lambda study: images(study)),
    "seeds": ("seeds of training", lambda study: ", ".join(map(str, study.seeds))),
}
LEVEL = 5e-4  # a smaller difference is written as 0.0 points
REASONS = 2  # pairs that cannot be compared are listed one by one up to so many


def summary(comparison: Comparison) -> Summary:
    """The answer, what it rests on, and what cannot be compared."""
    kinds = {study.varied for study in comparison.studies}
    details = [_study_sentence(comparison, i) for i in range(len(comparison.studies))]
    details += [text for kind, text in ((FOLDS, FOLDS_SHARE), (SEEDS, SPLIT_NOT_VARIED)) if kind in kinds]
    return Summary(_headline(comparison), tuple(details), tuple(_warnings(comparison)))


def measure_in_words(name: str) -> str:
    """A measure as a reader knows it."""
    if name.startswith(SENSITIVITY):
        return f"Sensitivity for {name.removeprefix(SENSITIVITY)}"
    return "Test accuracy" if name == "accuracy" else MEASURES[name].title


def spread_in_words(spread: Spread) -> str:
    """``86.5 % on average, SD 3.6 points, 82.7 % to 91.1 %``."""
    if spread.count < 2:
        return share(spread.mean)
    bounds = f"{share(spread.lowest)} to {share(spread.highest)}"
    return f"{share(spread.mean)} on average, SD {points(spread.spread)}, {bounds}"


def pooled_in_words(pooled: tuple[Pooled, ...]) -> str:
    """All folds of a seed together; of several seeds the lowest and the highest. Empty where no seed has all folds."""
    if not pooled:
        return ""
    images = plural(pooled[0].accuracy.n, "image")
    if len(pooled) == 1:
        return f"pooled over all folds {in_words(pooled[0].accuracy)} of {images}"
    values = [one.accuracy.value for one in pooled]
    return f"pooled over all folds {share(min(values))} to {share(max(values))} of {images}, by seed"


def made_of(study: Repeats) -> str:
    """``5 folds``, ``3 seeds``, ``5 folds x 2 seeds``."""
    folds = [plural(len({run.fold for run in study.runs}), "fold")] if study.folds > 1 else []
    seeds = [plural(len(study.seeds), "seed")] if study.folds == 1 or len(study.seeds) > 1 else []
    return " x ".join(folds + seeds)


def images(study: Repeats) -> str:
    """Which images a study is about; nothing without runs."""
    return run_text.images(study.images) if study.images else ""


def remark(one: Remark) -> str:
    """What is to be known of a study's run."""
    match one.what:
        case "no result":
            return f"{one.run} has no result"
        case "left out":
            return f"{one.run} is left out: {one.error}".rstrip(".")
        case "stopped":
            return f"{one.run}: {MARKS['stopped']}"
        case "missing":
            return f"{plural(one.runs, 'run')} deleted or damaged"


def reason(test: Tested, *studies: Repeats) -> str:
    """Why the test of a study, or of a pair of studies, has no p value; empty where it has one."""
    match test.reason:
        case None:
            return ""
        case "one_repeat":
            repeats, both = "only one" if test.runs else "no", " in both studies" if len(studies) > 1 else ""
            return f"{repeats} {test.varied[:-1]} is finished{both}, and an SD needs two"
        case "no_images":
            return "a run has no images to train or test on"
        case "one_image":
            return "there is one test image only"
        case "alike":
            return f"all {test.varied} differ by exactly the same, so there is no variance to test"
        case "no_run":
            return f"no finished run in {' and '.join(study.name for study in studies if not study.runs)}"
        case "changed":
            return "other test images: images or labels of the data set were changed in between"
        case "no_common_run":
            return "no fold and seed is finished in both studies"
        case different:
            what, of = DIFFERENCES[different]
            return f"other {what}: {' against '.join(f'{of(study)} ({study.name})' for study in studies)}"


def study_line(study: Repeats, accuracy: Spread, pooled: tuple[Pooled, ...]) -> str:
    """A study in one line: mean, spread and the pooled figure."""
    words = f"test accuracy {spread_in_words(accuracy)} over {made_of(study)}"
    return "; ".join([words, *([pooled_in_words(pooled)] if pooled else [])])


def verdict(p_holm: float) -> str:
    """Whether the difference of a pair is significant; nan: it was not tested."""
    if math.isnan(p_holm):
        return "not tested"
    return "significant" if p_holm <= ALPHA else "not significant"


def _headline(comparison: Comparison) -> str:
    if not any(study.runs for study in comparison.studies):
        return "None of these studies has a finished run."
    if len(comparison.studies) == 1:
        return _study_figures(comparison, 0)
    at = next((at for at, pair in comparison.pairs.items() if pair.result is not None), None)
    if at is None:
        return "No two of these studies can be compared: they have no two runs in common."
    return f"{_lead(comparison, at)} {_evidence(comparison, at)}"


def _lead(comparison: Comparison, at: tuple[int, int]) -> str:
    best, second, pair = comparison.studies[at[0]], comparison.studies[at[1]], comparison.pairs[at]
    over = f"over {plural(pair.result.count, pair.varied[:-1])}"
    among = "" if all(one.result for one in comparison.pairs.values()) else "Of the studies that can be compared, "
    if abs(pair.result.mean) < LEVEL:
        return f"{among}{best.name} and {second.name} are level {over}:"
    first, other = (best, second) if pair.result.mean > 0 else (second, best)
    return f"{among}{first.name} is ahead of {other.name} by {_size(pair.result)} {over}:"


def _size(of: Repeated) -> str:
    """How large a difference is, whichever side is ahead."""
    return points(of.mean, of.low, of.high) if of.mean >= 0 else points(-of.mean, -of.high, -of.low)


def _evidence(comparison: Comparison, at: tuple[int, int]) -> str:
    pair = comparison.pairs[at]
    if math.isnan(pair.result.p):
        return f"{_reason(comparison, at)}."
    tested = f"{TESTS[pair.varied]}, {p_in_words(pair.result.p)}"
    if comparison.compared > 1:
        tested += f"; {p_in_words(pair.p_holm)} after Holm's correction for {plural(comparison.compared, 'pair')}"
    return f"{verdict(pair.p_holm)} ({tested})."


def _reason(comparison: Comparison, at: tuple[int, int]) -> str:
    return reason(comparison.pairs[at], *(comparison.studies[i] for i in at))


def _study_figures(comparison: Comparison, i: int) -> str:
    study = comparison.studies[i]
    line = study_line(study, comparison.spreads[i]["accuracy"], comparison.pooled[i])
    return f"{study.name}: {line}. {_above(comparison, i)}"


def _study_sentence(comparison: Comparison, i: int) -> str:
    study = comparison.studies[i]
    if not study.runs:
        return f"{study.name}: no finished run."
    if len(comparison.studies) == 1:
        return f"Images: {images(study)}."
    return _study_figures(comparison, i)


def _above(comparison: Comparison, i: int) -> str:
    """Whether a study beats the majority baseline."""
    above, why = comparison.majority[i], reason(comparison.majority[i], comparison.studies[i])
    if above.result is None:
        return f"A test against the majority baseline is not possible: {why}."
    if math.isnan(above.result.p):
        return f"It is {points(above.result.mean)} above the majority baseline; {why}."
    more = "significant" if above.is_above else "not significant"
    side = "above" if above.result.mean >= 0 else "below"
    evidence = f"one-sided, {TESTS[above.varied]}, {p_in_words(above.result.p_above)}"
    return f"It is {_size(above.result)} {side} the majority baseline: {more} ({evidence})."


def _warnings(comparison: Comparison) -> list[str]:
    warnings = [
        f"{study.name}: {'; '.join(map(remark, study.remarks))}." for study in comparison.studies if study.remarks
    ]
    unlike = {at: _reason(comparison, at) for at, pair in comparison.pairs.items() if pair.result is None}
    if len(unlike) > REASONS:
        kinds = ", ".join(dict.fromkeys(why.partition(":")[0] for why in unlike.values()))
        warnings.append(f"{plural(len(unlike), 'pair')} of {len(comparison.pairs)} cannot be compared: {kinds}.")
    else:
        warnings += [f"Not comparable: {_both(comparison, at)}: {why}." for at, why in unlike.items()]
    for at, pair in comparison.pairs.items():
        if pair.result is not None and pair.runs < max(len(comparison.studies[i].runs) for i in at):
            warnings.append(f"{_both(comparison, at)} are compared over the {plural(pair.runs, 'run')} that both have.")
    return warnings


def _both(comparison: Comparison, at: tuple[int, int]) -> str:
    return " and ".join(comparison.studies[i].name for i in at)
