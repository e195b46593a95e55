"""A comparison in plain English, made from its numbers and nothing else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from covid_core.evaluation import comparison
from covid_core.evaluation.assessment import ALPHA, Mark, beats_majority
from covid_core.evaluation.comparison import Candidate, Paired, Pairs, Ranking, chosen_by_validation, to_choose_by
from covid_core.evaluation.metrics import Cause, Gap, Measure
from covid_core.formatting import count, duration, interval, milliseconds, p_in_words, plural, points, share
from covid_core.reports import run_text

MOST_NAMED = 3  # runs in one clause
GAPS: dict[Cause, str] = {
    "no images": "there are no images in this part",
    "not numbers": "some scores are not numbers",
    "none of class": "no image of this part is {label}",
    "all of class": "every image of this part is {label}",
    "none predicted": "no image was called {label}",
    "all predicted": "every image was called {label}",
    "neither": "no image is {label} and none was called so",
}
MARKS: dict[Mark, str] = {
    "wrong labels": "labels are not those of the images' folders",
    "loss not a number": "loss is not a number",
    "no answer": "has no prediction for some images",
    "one class": "predicts one class only",
    "not better": "does not beat the majority baseline",
    "parts disagree": "validation and test disagree beyond chance",
    "stopped": "stopped before its end",
}


@dataclass(frozen=True)
class Summary:
    """The comparison in words. ``headline`` answers, ``details`` say why, ``warnings`` what to beware of."""

    headline: str
    details: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """All of it, in this order."""
        return [self.headline, *self.details, *self.warnings]


def summary(ranking: Ranking) -> Summary:
    """The comparison of one group of candidates in plain English, from the numbers alone."""
    order = ranking.order
    if not order[0].assessment.test.is_defined:
        return Summary("None of these runs has predicted a test image.")
    details = [*_lead_in_words(order, ranking.pairs), *_majority_sentences(order), *_validation_sentences(order)]
    return Summary(_headline(ranking), (*details, *_cost_sentences(order)), tuple(_warnings(order)))


def in_words(measure: Measure) -> str:
    """A share with its interval where it has one: ``90.4 % [87.8, 92.5]``."""
    return interval(measure.value, measure.low, measure.high)


def gap(one: Gap | None) -> str:
    """Why a figure is undefined, or a mean leaves a class out; nothing where there is no gap."""
    if one is None:
        return ""
    reason = GAPS[one.cause].format(label=one.label)
    return f"{one.label} is left out: {reason}" if one.left_out else reason


def note(measure: Measure) -> str:
    """Why a measure is undefined, or what it leaves out."""
    return measure.note if isinstance(measure.note, str) else "; ".join(map(gap, measure.note))


def marks(candidate: Candidate) -> list[str]:
    """What a reader must know before believing a run's accuracy."""
    return [MARKS[mark] for mark in candidate.marks]


def performance_table(candidates: Sequence[Candidate]) -> pd.DataFrame:
    """``comparison.performance_table`` with the marks in words, joined by "; "."""
    table = comparison.performance_table(candidates)
    return table.assign(marks=["; ".join(MARKS[mark] for mark in of_run) for of_run in table.get("marks", [])])


def _headline(ranking: Ranking) -> str:
    order, best = ranking.order, ranking.order[0].assessment
    reached = f"{in_words(best.test)} of {plural(best.test.n, 'test image')}"
    if not beats_majority(best):
        which = f"{order[0].name} does not beat"
        if len(order) > 1:
            which = f"None of these {len(order)} runs beats"
            reached = f"{order[0].name}, the highest, predicts {reached}"
        else:
            reached = f"it predicts {reached}"
        return f"{which} the majority baseline (always {best.majority_label}): {reached} correctly."
    if len(order) == 1:
        return f"{order[0].name} predicts {reached} correctly."
    second = order[1]
    if best.test.value == second.assessment.test.value:
        return f"{order[0].name} and {second.name} are level at the top: {reached}."
    lead = ranking.pairs.of(0, 1)
    verdict = "not significantly" if lead.could_be_chance else "significantly"
    return f"{order[0].name} is the best of {len(order)} runs: {reached}, {verdict} more than {second.name}."


def _lead_in_words(order: Sequence[Candidate], pairs: Pairs) -> list[str]:
    """By how much the first leads the second, and the test of it."""
    if len(order) < 2 or not beats_majority(order[0].assessment):
        return []
    lead, first, second = pairs.of(0, 1), order[0].name, order[1].name
    if not lead.only_first and not lead.only_second:
        return [f"{first} and {second} are correct on the same images."]
    tested = f"exact McNemar test, {p_in_words(lead.p)}"
    if pairs.compared > 1:
        tested += f"; {p_in_words(lead.p_holm)} after Holm's correction for {count(pairs.compared)} pairs"
    alone = (
        f"{plural(lead.only_first, 'image')} {'is' if lead.only_first == 1 else 'are'} predicted correctly by {first}"
    )
    sentences = [f"{alone} alone, {count(lead.only_second)} by {second} alone ({tested})."]
    if lead.only_first != lead.only_second:
        by = points(lead.difference, lead.low, lead.high)
        verdict = "not significant" if lead.could_be_chance else "significant"
        sentences.insert(0, f"{first} leads {second} by {by}: {verdict}.{_at_odds(lead, pairs.compared)}")
    return sentences


def _at_odds(lead: Paired, compared: int) -> str:
    """Why interval and test may disagree, where they do; the test decides."""
    if lead.could_be_chance == lead.interval_holds_zero:
        return ""
    if lead.interval_holds_zero:
        return " The interval includes 0 all the same: near the limit the two can differ, and the test decides."
    if lead.p <= ALPHA:
        return (
            f" The interval excludes 0, but it is for this pair alone; the test corrects for {count(compared)} pairs."
        )
    return " The interval excludes 0 all the same: the exact test is the stricter of the two, and it decides."


def _majority_sentences(order: Sequence[Candidate]) -> list[str]:
    best = order[0].assessment
    base = f"The majority baseline (always {best.majority_label}) reaches {share(best.majority['test'].value)}"
    losers = [c for c in order if not beats_majority(c.assessment)]
    if len(losers) == len(order):
        adjusted = "" if best.groups is None else ", cluster-adjusted"
        return [f"{base}.", f"A run beats it if it is significantly better (one-sided exact test at 5 %{adjusted})."]
    above = best.test.value - best.majority["test"].value
    sentences = [f"{base}; {order[0].name} is {points(above)} above it ({p_in_words(best.p_majority)})."]
    if losers:
        do = "does" if len(losers) == 1 else "do"
        sentences.append(f"{len(losers)} of {len(order)} runs {do} not beat it.")
    return sentences


def _validation_sentences(order: Sequence[Candidate]) -> list[str]:
    """Validation chooses, test reports: whoever picks the best test result reports luck as well."""
    chosen = chosen_by_validation(order)
    if chosen is None or len(order) == 1 or not beats_majority(order[0].assessment):
        return []
    reached, accuracies = chosen.assessment, to_choose_by(order)
    of_chosen = accuracies[order.index(chosen)]
    by = f" on the {count(of_chosen.n)} validation images that choose" if of_chosen.n < reached.validation.n else ""
    if chosen.id == order[0].id:
        return [f"Choose by validation, not by test: it picks {chosen.name} too ({in_words(of_chosen)}{by})."]
    against = f"{share(of_chosen.value)} against {share(accuracies[0].value)}{by}"
    return [
        f"Choose by validation, not by test: it picks {chosen.name} ({against}).",
        f"The test accuracy to report is then {in_words(reached.test)}.",
    ]


def _cost_sentences(order: Sequence[Candidate]) -> list[str]:
    costs = [(one.name, cost) for one in order[:2] if (cost := _cost(one))]
    return [f"{name} {cost}." for name, cost in costs]


def _cost(candidate: Candidate) -> str:
    words = []
    if not math.isnan(candidate.seconds):
        words.append(f"took {duration(candidate.seconds)} to train")
    if not math.isnan(candidate.ms_per_image):
        words.append(f"takes {milliseconds(candidate.ms_per_image)} per image")
    return " and ".join(words)


def _sizes(candidates: Sequence[Candidate]) -> str:
    """That runs read images of unlike sizes, where they do: more pixels alone can make the difference."""
    names: dict[int, list[str]] = {}
    for one in candidates:
        names.setdefault(one.image_size, []).append(one.name)
    if len(names) < 2:
        return ""
    of = "; ".join(f"{size} px: {named(names[size])}" for size in sorted(names, reverse=True))
    return f"Image sizes differ, which alone can change accuracy. {of}."


def named(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    further = f" and {count(len(names) - MOST_NAMED)} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{further}"


def _warnings(candidates: Sequence[Candidate]) -> list[str]:
    marked: dict[str, list[str]] = {}
    for candidate in candidates:
        marked.setdefault(", ".join(marks(candidate)), []).append(candidate.name)
    warnings = [f"{named(names)}: {words}." for words, names in marked.items() if words]
    wrong: dict[str, list[str]] = {}  # what is wrong with labels, once, with the runs that it is about
    for candidate in candidates:
        wrong.setdefault(run_text.labels(candidate.labels), []).append(candidate.name)
    warnings += [
        text if len(names) == len(candidates) else f"{named(names)}: {text}" for text, names in wrong.items() if text
    ]
    if len({c.split_hash for c in candidates}) > 1:
        warnings.append("The test images are the same, but the training images differ between runs.")
    if sizes := _sizes(candidates):
        warnings.append(sizes)
    return warnings


def line(row: Mapping[str, Any]) -> str:
    """A row of the performance table, with the run's verdict, in one line."""
    test = interval(row["test"], row["test_low"], row["test_high"])
    verdict = f"  {row['verdict']}" if row["verdict"] else ""
    marks = f"  ({row['marks']})" if row["marks"] else ""
    figures = f"train {share(row['train']):>7}  val {share(row['validation']):>7}  test {test}"
    return f"{row['name'][:34]:34} {figures}{verdict}{marks}"
