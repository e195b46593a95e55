"""Studies of repeats in plain English, made from their numbers and nothing else."""

import math

from covid_core.evaluation.assessment import ALPHA
from covid_core.evaluation.corrected_tests import Repeated
from covid_core.evaluation.measures import MEASURES
from covid_core.evaluation.repeats import FOLDS, SENSITIVITY, TESTS, Comparison, Pooled, Repeats, Spread, Tested
from covid_core.formatting import plural, points, share
from covid_core.reports.comparison_text import Summary, in_words, p_in_words

FOLDS_SHARE = (
    "Folds share training images, so their spread alone makes differences look surer than they are; the corrected "
    "resampled t-test allows for that."
)
SPLIT_NOT_VARIED = (
    "Seeds share one split: their spread is that of the random start alone. The test counts seeds and test images as "
    "samples, but the split was not varied, so other training images might say otherwise."
)
LEVEL = 5e-4  # a smaller difference is written as 0.0 points
REASONS = 2  # pairs that cannot be compared are listed one by one up to so many


def summary(given: Comparison) -> Summary:
    """The answer, what it rests on, and what cannot be compared."""
    kinds = {study.varied for study in given.studies}
    details = [_study_sentence(given, i) for i in range(len(given.studies))]
    details += [text for kind, text in ((FOLDS, FOLDS_SHARE), ("seeds", SPLIT_NOT_VARIED)) if kind in kinds]
    return Summary(_headline(given), tuple(details), tuple(_warnings(given)))


def measure_in_words(name: str) -> str:
    """A measure as a reader knows it."""
    if name.startswith(SENSITIVITY):
        return f"Sensitivity for {name.removeprefix(SENSITIVITY)}"
    return "Test accuracy" if name == "accuracy" else MEASURES[name].title


def spread_in_words(found: Spread) -> str:
    """``86.5 % on average, spread 3.6 points, 82.7 % to 91.1 %``."""
    if found.count < 2:
        return share(found.mean)
    bounds = f"{share(found.lowest)} to {share(found.highest)}"
    return f"{share(found.mean)} on average, spread {points(found.spread)}, {bounds}"


def pooled_in_words(found: tuple[Pooled, ...]) -> str:
    """All folds of a seed together; of several seeds the lowest and the highest. Empty where no seed has all folds."""
    if not found:
        return ""
    images = plural(found[0].accuracy.n, "image")
    if len(found) == 1:
        return f"all folds together {in_words(found[0].accuracy)} of {images}"
    values = [one.accuracy.value for one in found]
    return f"all folds together {share(min(values))} to {share(max(values))} of {images}, by seed"


def study_line(study: Repeats, accuracy: Spread, found: tuple[Pooled, ...]) -> str:
    """A study in one line: mean, spread and the pooled figure."""
    words = f"test accuracy {spread_in_words(accuracy)} over {study.made_of}"
    return "; ".join([words, *([pooled_in_words(found)] if found else [])])


def verdict(p_holm: float) -> str:
    """Whether the difference of a pair could be chance; nan: it was not tested."""
    if math.isnan(p_holm):
        return "not tested"
    return "more than chance" if p_holm <= ALPHA else "could be chance"


def _headline(given: Comparison) -> str:
    if not any(study.runs for study in given.studies):
        return "None of these studies has a finished run."
    if len(given.studies) == 1:
        return _alone(given)
    at = next((at for at, pair in given.pairs.items() if pair.found is not None), None)
    if at is None:
        return "No two of these studies can be compared: they have no two repeats in common."
    best, second, pair = given.studies[at[0]], given.studies[at[1]], given.pairs[at]
    return f"{_lead(given, best, second, pair)} {_evidence(given, pair)}"


def _lead(given: Comparison, best: Repeats, second: Repeats, pair: Tested) -> str:
    found = pair.found
    over = f"over {plural(found.count, pair.varied[:-1])}"
    among = "" if all(one.found for one in given.pairs.values()) else "Of the studies that can be compared, "
    if abs(found.mean) < LEVEL:
        return f"{among}{best.name} and {second.name} are level {over}:"
    first, other = (best, second) if found.mean > 0 else (second, best)
    by = _of(found if found.mean > 0 else _turned(found))
    return f"{among}{first.name} is ahead of {other.name} by {by} {over}:"


def _of(found: Repeated) -> str:
    return points(found.mean) if math.isnan(found.low) else points(found.mean, found.low, found.high)


def _turned(found: Repeated) -> Repeated:
    return Repeated(-found.mean, found.spread, -found.high, -found.low, found.p, found.count)


def _evidence(given: Comparison, pair: Tested) -> str:
    if math.isnan(pair.found.p):
        return f"{pair.reason}."
    tested = f"{TESTS[pair.varied]}, {p_in_words(pair.found.p)}"
    if given.compared > 1:
        tested += f"; {p_in_words(pair.p_holm)} after Holm's correction for {plural(given.compared, 'pair')}"
    lead = "the difference" if pair.could_be_chance else "that is"
    return f"{lead} {verdict(pair.p_holm)} ({tested})."


def _alone(given: Comparison) -> str:
    study = given.studies[0]
    return f"{study.name}: {study_line(study, given.spreads[0]['accuracy'], given.pooled[0])}. {_above(given, 0)}"


def _study_sentence(given: Comparison, i: int) -> str:
    study = given.studies[i]
    if not study.runs:
        return f"{study.name}: no finished run."
    if len(given.studies) == 1:
        return f"Images: {study.images}."
    line = study_line(study, given.spreads[i]["accuracy"], given.pooled[i])
    return f"{study.name}: {line}. {_above(given, i)}"


def _above(given: Comparison, i: int) -> str:
    """Whether a study beats the majority class."""
    above = given.majority[i]
    if above.found is None:
        return f"Against always answering the largest class nothing can be tested: {above.reason}."
    if math.isnan(above.found.p):
        return f"It is {_of(above.found)} above always answering the largest class; {above.reason}."
    more = f"more than the {above.varied[:-1]}s explain" if above.is_above else "which could be chance"
    side, found = ("above", above.found) if above.found.mean >= 0 else ("below", _turned(above.found))
    evidence = f"one-sided, {TESTS[above.varied]}, {p_in_words(above.found.p_above)}"
    return f"It is {_of(found)} {side} always answering the largest class, {more} ({evidence})."


def _warnings(given: Comparison) -> list[str]:
    found = [f"{study.name}: {'; '.join(study.remarks)}." for study in given.studies if study.remarks]
    unlike = [(at, pair) for at, pair in given.pairs.items() if pair.found is None]
    if len(unlike) > REASONS:
        kinds = ", ".join(dict.fromkeys(pair.reason.partition(":")[0] for _, pair in unlike))
        found.append(f"{plural(len(unlike), 'pair')} of {len(given.pairs)} cannot be compared: {kinds}.")
    else:
        found += [f"Not comparable: {_both(given, at)}: {pair.reason}." for at, pair in unlike]
    for at, pair in given.pairs.items():
        if pair.found is not None and pair.runs < max(len(given.studies[i].runs) for i in at):
            found.append(f"{_both(given, at)} are compared over the {plural(pair.runs, 'run')} that both have.")
    return found


def _both(given: Comparison, at: tuple[int, int]) -> str:
    return " and ".join(given.studies[i].name for i in at)
