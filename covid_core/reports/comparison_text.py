"""A comparison in plain English, made from its numbers and nothing else."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from covid_core.evaluation.assessment import ALPHA, beats_majority
from covid_core.evaluation.comparison import Candidate, Paired, Pairs, Ranking, chosen_by_validation, to_choose_by
from covid_core.evaluation.metrics import Measure
from covid_core.formatting import count, duration, interval, milliseconds, p_in_words, plural, points, share
from covid_core.reports import run_text


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
        return Summary("None of these runs has answered a test image.")
    details = [_majority_sentence(order), _validation_sentence(order), _cost_sentence(order)]
    return Summary(_headline(ranking), tuple(text for text in details if text), tuple(_warnings(order)))


def in_words(measure: Measure) -> str:
    """A share with its interval where it has one: ``90.4 % [87.8, 92.5]``."""
    return interval(measure.value, measure.low, measure.high)


def _headline(ranking: Ranking) -> str:
    order, best = ranking.order, ranking.order[0].assessment
    reached = f"{in_words(best.test)} of {plural(best.test.n, 'test image')}"
    if not beats_majority(best):
        who = "This run does not beat" if len(order) == 1 else f"None of these {len(order)} runs beats"
        name = f"{order[0].name} reaches" if len(order) == 1 else f"the highest, {order[0].name}, reaches"
        return f"{who} always answering {best.majority_label}: {name} {reached}."
    if len(order) == 1:
        return f"{order[0].name} answers {reached} rightly."
    lead = _lead_in_words(order, ranking.pairs)
    if best.test.value == order[1].assessment.test.value:
        return f"{order[0].name} and {order[1].name} are level at the top: {reached}. {lead}"
    return f"{order[0].name} is the best of {len(order)} runs: {reached}. {lead}"


def _lead_in_words(order: Sequence[Candidate], pairs: Pairs) -> str:
    """By how much the first leads the second, and whether that could be chance."""
    lead = pairs.of(0, 1)
    tested = f"exact McNemar {p_in_words(lead.p)}"
    if pairs.compared > 1:
        tested += f"; {p_in_words(lead.p_holm)} after Holm's correction for {count(pairs.compared)} pairs"
    evidence = (
        f"{plural(lead.only_first, 'image')} that only {order[0].name} has right against {count(lead.only_second)} "
        f"that only {order[1].name} has ({tested})"
    )
    if lead.only_first == lead.only_second:
        return f"They differ by {evidence}." if lead.only_first else "They are right on the same images."
    verdict = "the difference could be chance" if lead.could_be_chance else "that is more than chance"
    by = points(lead.difference, lead.low, lead.high)
    return f"It leads {order[1].name} by {by}; {verdict}: {evidence}.{_at_odds(lead, pairs.compared)}"


def _at_odds(lead: Paired, compared: int) -> str:
    """Why interval and test may say different things, where they do; the test decides."""
    if lead.could_be_chance == lead.interval_holds_zero:
        return ""
    if lead.interval_holds_zero:
        return " The interval reaches 0 all the same: near the border the two can part, and the test decides."
    if lead.p <= ALPHA:
        return (
            f" The interval leaves 0 out, but it is for this pair alone; the test allows for {count(compared)} pairs."
        )
    return " The interval leaves 0 out all the same: the exact test is the stricter of the two, and it decides."


def _majority_sentence(order: Sequence[Candidate]) -> str:
    best = order[0].assessment
    base = f"Always answering {best.majority_label} would reach {share(best.majority['test'].value)}"
    losers = [c for c in order if not beats_majority(c.assessment)]
    if len(losers) == len(order):
        fewer = "" if best.groups is None else ", in which images that belong together count for fewer"
        test = f"one-sided exact test at 5 %{fewer}"
        return f"{base}; to beat that, a run needs more images right than chance explains ({test})."
    above = best.test.value - best.majority["test"].value
    sentence = f"{base}; {order[0].name} is {points(above)} above it ({p_in_words(best.p_majority)})"
    return f"{sentence}, {len(losers)} of {len(order)} runs do not beat it." if losers else f"{sentence}."


def _validation_sentence(order: Sequence[Candidate]) -> str:
    """Validation chooses, test reports: whoever picks the best test result reports luck as well."""
    chosen = chosen_by_validation(order)
    if chosen is None or len(order) == 1 or not beats_majority(order[0].assessment):
        return ""
    found, accuracies = chosen.assessment, to_choose_by(order)
    of_chosen = accuracies[order.index(chosen)]
    by = f" on the {count(of_chosen.n)} images that choose" if of_chosen.n < found.validation.n else ""
    if chosen.id == order[0].id:
        return f"Validation, which should do the choosing, picks {chosen.name} too ({in_words(of_chosen)}{by})."
    against = f"{share(of_chosen.value)} against {share(accuracies[0].value)}{by}"
    return (
        f"Choose by validation, not by test: it picks {chosen.name} ({against}), "
        f"and the test part then reports {in_words(found.test)}."
    )


def _cost_sentence(order: Sequence[Candidate]) -> str:
    costs = [_cost(candidate) for candidate in order[:2]]
    if not costs[0]:
        return ""
    second = f"; {order[1].name} {costs[1]}" if len(costs) > 1 and costs[1] else ""
    return f"What it costs: {order[0].name} {costs[0]}{second}."


def _cost(candidate: Candidate) -> str:
    words = []
    if not math.isnan(candidate.seconds):
        words.append(f"trained for {duration(candidate.seconds)}")
    if not math.isnan(candidate.ms_per_image):
        words.append(f"takes {milliseconds(candidate.ms_per_image)} per image")
    return " and ".join(words)


def _warnings(candidates: Sequence[Candidate]) -> list[str]:
    warnings = [f"{c.name}: {', '.join(c.marks)}." for c in candidates if c.marks]
    wrong: dict[str, list[str]] = {}  # what is wrong with labels, once, with the runs that it is about
    for candidate in candidates:
        wrong.setdefault(run_text.labels(candidate.labels), []).append(candidate.name)
    warnings += [
        text if len(names) == len(candidates) else f"{', '.join(names)}: {text}"
        for text, names in wrong.items()
        if text
    ]
    if len({c.split_hash for c in candidates}) > 1:
        warnings.append("The test images are the same, but some of these runs were trained on different images.")
    return warnings


def line(row: Mapping[str, Any]) -> str:
    """A row of the performance table, with the run's verdict, in one line."""
    test = interval(row["test"], row["test_low"], row["test_high"])
    verdict = f"  {row['verdict']}" if row["verdict"] else ""
    marks = f"  ({row['marks']})" if row["marks"] else ""
    figures = f"train {share(row['train']):>7}  val {share(row['validation']):>7}  test {test}"
    return f"{row['name'][:34]:34} {figures}{verdict}{marks}"
