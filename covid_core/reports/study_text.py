"""What a study found: its first run against each of the others, as a table and in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from covid_core.evaluation import comparison
from covid_core.evaluation.assessment import ALPHA
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.repeats import Comparison
from covid_core.formatting import count, interval, p_in_words, p_value, plural, points, share
from covid_core.reports import repeats_text, run_text
from covid_core.runs import candidates
from covid_core.runs.store import Run, Study

REFERENCE = "reference"
METHOD = (
    "Difference: test accuracy minus that of the reference, with 95 % interval (paired bootstrap). p: exact McNemar "
    "test on the same test images, Holm's correction for all comparisons with the reference."
)


@dataclass(frozen=True)
class Conclusion:
    """The ``sentence``, the ``table`` that it rests on (texts, a row per run), and the same ``numbers``."""

    sentence: str
    table: pd.DataFrame
    numbers: pd.DataFrame


def conclusion(order: Sequence[Candidate]) -> Conclusion | None:
    """What the runs of a study show, in the study's order: the first is the reference.

    None where fewer than two have a result, or where they were not tested on the same images.
    """
    if len(comparison.grouped(order)) != 1 or len(order) < 2 or not order[0].assessment.test.is_defined:
        return None
    numbers = comparison.against_first(order)
    return Conclusion(_sentence(order, numbers), _table(order, numbers), numbers)


@dataclass(frozen=True)
class Outcome:
    """What the runs of a study show together: repeats as such, others against the first; None while too few have a
    result."""

    study: Study
    runs: Sequence[Run]
    repeats: Comparison | None = None
    conclusion: Conclusion | None = None


def outcome(study: Study, runs: Sequence[Run]) -> Outcome:
    """What a study shows by now; ``runs`` in its order. Raises RunDamaged or DataError."""
    if study.is_repeats:
        compared = candidates.repeats([(study, runs)])
        return Outcome(study, runs, repeats=compared if compared.spreads[0]["accuracy"].count > 1 else None)
    if not all(run.result for run in runs):
        return Outcome(study, runs)
    named = zip(runs, candidates.unique_names(runs), strict=True)
    return Outcome(study, runs, None, conclusion([candidates.candidate(*pair, intervals=False) for pair in named]))


def lines(one: Outcome) -> list[str]:
    """A study line by line: what its repeats show, its runs, its conclusion."""
    lines = [f"{one.study.id}  {one.study.name}"]
    if one.repeats:
        accuracy = one.repeats.spreads[0]["accuracy"]
        lines.append(f"  {repeats_text.study_line(one.repeats.studies[0], accuracy, one.repeats.pooled[0])}")
    lines += [f"  {run_text.line(run)}" for run in one.runs]
    return lines + (
        ["", one.conclusion.table.to_string(index=False), one.conclusion.sentence] if one.conclusion else []
    )


def _sentence(order: Sequence[Candidate], numbers: pd.DataFrame) -> str:
    """Of the runs that differ significantly from the reference, the one that differs most; else of all."""
    significant = numbers[numbers["p_holm"] <= ALPHA]
    rows = numbers if significant.empty else significant
    row, reference = rows.loc[rows["difference"].abs().idxmax()], order[0].name
    accuracy = {one.name: share(one.assessment.test.value) for one in order}
    of_images = f"of {count(row['images'])} test images"
    against = f"{accuracy[row['name']]} against {accuracy[reference]} {of_images}"
    test = f"({p_in_words(row['p_holm'])}, McNemar and Holm for {plural(len(numbers), 'pair')})"
    if significant.empty and len(numbers) == 1:
        return f"{row['name']} does not differ significantly from {reference}: {against} {test}."
    if significant.empty:
        return (
            f"None of {len(numbers)} runs differs significantly from {reference} ({accuracy[reference]} {of_images}); "
            f"the largest difference is that of {row['name']}: {accuracy[row['name']]} {test}."
        )
    how = "better" if row["difference"] > 0 else "worse"
    further = f"; {len(significant)} of {len(numbers)} runs differ significantly" if len(numbers) > 1 else ""
    by = points(abs(row["difference"]))
    return f"{row['name']} is significantly {how} than {reference} by {by}: {against} {test}{further}."


def _table(order: Sequence[Candidate], numbers: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for candidate in order:
        test, tested = candidate.assessment.test, candidate.assessment.tested
        sensitivity = {label: measures["sensitivity"].value for label, measures in tested.per_class.items()}
        lowest = min(sensitivity, key=lambda label: sensitivity[label] if sensitivity[label] >= 0 else 2.0)
        rows.append(
            {
                "Run": candidate.name,
                "Test accuracy": interval(test.value, test.low, test.high),
                "Balanced accuracy": share(tested.overall["balanced_accuracy"].value),
                "Lowest sensitivity": f"{share(sensitivity[lowest])} ({lowest})",
            }
        )
    tested = [
        (points(row.difference, row.low, row.high), f"{row.only_this} : {row.only_reference}", *map(p_value, row[-2:]))
        for row in numbers.itertuples()
    ]
    columns = ["Difference", "Only this : only reference right", "p (McNemar)", "p (Holm)"]
    paired = pd.DataFrame([(REFERENCE, "–", "–", "–"), *tested], columns=columns)
    return pd.concat([pd.DataFrame(rows), paired], axis="columns")
