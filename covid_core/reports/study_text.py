"""What a study found, as a table and in one sentence: its first run against each of the others, or a source left out
by each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from covid_core.data.split import TEST, VALIDATION
from covid_core.evaluation import assessment, comparison, metrics
from covid_core.evaluation.assessment import ALPHA
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.repeats import Comparison
from covid_core.formatting import count, interval, p_in_words, p_value, plural, points, share
from covid_core.inference import external_test
from covid_core.reports import repeats_text, run_text
from covid_core.runs import candidates, temperature_scaling
from covid_core.runs.store import Run, Study

REFERENCE = "reference"
ENDS = {"": "value", "_low": "low", "_high": "high"}  # of a column: the field of a measure
METHOD = (
    "Difference: test accuracy minus that of the reference, with 95 % interval (paired bootstrap). p: exact McNemar "
    "test on the same test images, Holm's correction for all comparisons with the reference."
)


LEFT_OUT = (
    "Outside: images of the source that the run was trained without. Inside: validation images of the other sources, "
    "of the same classes; they calibrate, and chose the epoch only where they are few. Drop: inside minus outside, by "
    "Newcombe's method from both 95 % intervals."
)


@dataclass(frozen=True)
class Conclusion:
    """The ``sentence``, the ``table`` that it rests on (texts, a row per run), the same ``numbers``, and the
    ``method``."""

    sentence: str
    table: pd.DataFrame
    numbers: pd.DataFrame
    method: str = METHOD


def conclusion(order: Sequence[Candidate]) -> Conclusion | None:
    """What the runs of a study show, in the study's order: the first is the reference.

    None where fewer than two have a result, or where they were not tested on the same images.
    """
    if len(comparison.grouped(order)) != 1 or len(order) < 2 or not order[0].assessment.test.is_defined:
        return None
    numbers = comparison.against_first(order)
    return Conclusion(_sentence(order, numbers), _table(order, numbers), numbers)


OWN_IMAGES = (
    "Each run is tested on the source that it was trained without, so runs are not tested against each other. "
    "Mean, worst and drop compare them."
)


def of_sources(runs: Sequence[Run]) -> Conclusion | None:
    """What is left of balanced accuracy on each source that its run was trained without; None for fewer than two.

    Raises RunDamaged or DataError.
    """
    rows = [row for run in runs if (row := _left_out(run)) is not None]
    if len(rows) < 2:
        return None
    numbers = pd.DataFrame(rows)
    mean, worst = numbers[["outside", "inside", "drop"]].mean(), numbers.loc[numbers["outside"].idxmin()]
    lost = f"{points(abs(mean['drop']))} {'below' if mean['drop'] >= 0 else 'above'}"
    sentence = (
        f"On sources left out of training, balanced accuracy is {share(mean['outside'])} on average, {lost} that on "
        f"other images. The worst is {worst['source']}: {share(worst['outside'])}."
    )
    table = pd.DataFrame(
        [
            {
                "Left out": row["source"],
                "Images": count(row["images"]),
                "Outside": interval(row["outside"], row["outside_low"], row["outside_high"]),
                "Inside": interval(row["inside"], row["inside_low"], row["inside_high"]),
                "Drop": points(row["drop"], row["drop_low"], row["drop_high"]),
                "Lowest sensitivity": f"{share(row['lowest'])} ({row['lowest_class']})",
            }
            for row in rows
        ]
        + [{"Left out": "Mean", **{name.title(): share(mean[name]) for name in ("outside", "inside")}}]
    ).fillna("")
    table.iloc[-1, table.columns.get_loc("Drop")] = points(mean["drop"])
    return Conclusion(sentence, table, numbers, LEFT_OUT)


def _left_out(run: Run) -> dict[str, Any] | None:
    """Balanced accuracy of a run on the source that it was trained without and inside; None where it has no image."""
    split, predictions = run.split(), run.predictions()
    away = split.loc[split["source"].isin(run.spec.split.held_out), "image_id"]
    outside = predictions[predictions["image_id"].isin(away)]
    own = temperature_scaling.table(run)
    inside = own[own["label"].isin(outside["label"])]
    figures = []
    for table, part in ((outside, TEST), (inside, VALIDATION)):
        answers = metrics.answers(table, part)
        figures.append(assessment.measured(answers, assessment.groups_of(answers.image_ids, run.groups())))
    beyond, within = (one.overall["balanced_accuracy"] for one in figures)
    if not (beyond.is_defined and within.is_defined):
        return None
    sensitivity = {label: of["sensitivity"].value for label, of in figures[0].per_class.items()}
    lowest = min((label for label in sensitivity if sensitivity[label] >= 0), key=sensitivity.__getitem__)
    sides = {"outside": beyond, "inside": within, "drop": external_test.difference(within, beyond)}
    return {
        "run": run.id,
        "source": ", ".join(run.spec.split.held_out),
        "images": figures[0].n,
        **{side + end: getattr(one, field) for side, one in sides.items() for end, field in ENDS.items()},
        "lowest": sensitivity[lowest],
        "lowest_class": lowest,
    }


@dataclass(frozen=True)
class Outcome:
    """What the runs of a study show together: repeats as such, sources left out as such, others against the first; None
    while too few have a result."""

    study: Study
    runs: Sequence[Run]
    repeats: Comparison | None = None
    conclusion: Conclusion | None = None


def outcome(study: Study, runs: Sequence[Run]) -> Outcome:
    """What a study shows by now; ``runs`` in its order. Raises RunDamaged or DataError."""
    if study.is_repeats:
        compared = candidates.repeats([(study, runs)])
        return Outcome(study, runs, repeats=compared if compared.spreads[0]["accuracy"].count > 1 else None)
    if study.is_by_source:
        return Outcome(study, runs, None, of_sources([run for run in runs if run.result]))
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
