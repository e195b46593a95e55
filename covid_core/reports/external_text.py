"""An outside test in plain English: what is left of a run's figures on images from elsewhere."""

from collections.abc import Mapping
from typing import Any

from covid_core.data.imports import merging
from covid_core.formatting import count, interval, plural, points
from covid_core.inference.external_test import Outside
from covid_core.reports.comparison_text import in_words
from covid_core.runs.store import Evaluation, Run


def conclusion(run: Run, evaluation: Evaluation, report: Outside) -> str:
    """Accuracy outside against inside, and the drop between them."""
    inside, beyond = report.inside.overall["accuracy"], report.figures.overall["accuracy"]
    drop = report.drops["accuracy"]
    if drop.value < 0:
        change = f"a gain of {points(-drop.value, -drop.high, -drop.low)}"
    else:
        change = f"a drop of {points(drop.value, drop.low, drop.high)}"
    return (
        f"{run.name} predicts {in_words(beyond)} of {plural(beyond.n, 'image')} of {evaluation.record.dataset.name} "
        f"correctly: {change}. Inside it is {in_words(inside)} of "
        f"{plural(inside.n, 'test image')}."
    )


def broader(classes: Mapping[str, str]) -> list[str]:
    """What to check of outside classes (keys) that are taken for a narrower one of the run."""
    return [
        f"{outside} may have other causes than {inside}: these labels may be wrong."
        for outside, inside in classes.items()
        if merging.is_broader(outside, inside)
    ]


def lines(answer: Mapping[str, Any]) -> list[str]:
    """An outside test for the command line, of its JSON: what was left out, then every drop."""
    rows = [f"{answer['run']} on {answer['dataset']['name']}: {plural(answer['images'], 'image')}"]
    if answer["shared"]:
        images, conflicts = plural(answer["shared"], "image"), count(answer["conflicts"])
        rows.append(f"left out: {images} that the run's own data set has as well, {conflicts} with another class there")
    for label, unknown in answer["unknown"].items():
        rows.append(f"left out: {plural(unknown, 'image')} of {label}, which the run does not know")
    for name, drop in answer["drop"].items():
        inside, beyond = (
            part["overall"]["accuracy"] if name == "accuracy" else part["per_class"][name]["sensitivity"]
            for part in (answer["inside"], answer["outside"])
        )
        figures = (interval(one["value"], one["low"], one["high"]) for one in (inside, beyond))
        what = "accuracy" if name == "accuracy" else f"sensitivity for {name}"
        difference = points(drop["value"], drop["low"], drop["high"])
        rows.append(f"{what}: inside {next(figures)}, outside {next(figures)}, drop {difference}")
    return rows
