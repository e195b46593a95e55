"""An outside test in plain English: what is left of a run's figures on images from elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from covid_core.data.imports import merging
from covid_core.evaluation.metrics import Measure
from covid_core.evaluation.recalibration import Recalibrated
from covid_core.formatting import count, interval, number, plural, points, share
from covid_core.inference.external_test import EXTERNAL, SAME, UNNAMED, Origin, Outside
from covid_core.reports.comparison_text import in_words
from covid_core.runs.store import Evaluation, Run

HEADINGS = {
    SAME: "Same sources: not an external test",
    EXTERNAL: "External test",
    UNNAMED: "Sources not on record: perhaps not external",
}
MEASURES = {"accuracy": "Accuracy", "macro_auroc": "AUROC"}  # that inside and outside are drawn by
NOT_MEASURED = "not measured"


MOST = 0.5  # of the outside images: from there on the test looks like the training sources


def origin(one: Origin) -> str:
    """Whether the test is external, and what it shares with the run's training."""
    return f"{_shared(one)} {match(one)}".rstrip()


def match(one: Origin) -> str:
    """Whether the images look like those of a training source by their borders; nothing where that was not measured."""
    if one.match is None or not one.match["images"]:
        return ""
    matching = one.match["matching"] / one.match["images"]
    verdict = "look like" if matching >= MOST else "do not look like"
    return (
        f"By a classifier of border pixels, the images {verdict} the training sources: it places {share(matching)} as "
        "surely as 95 % of training images."
    )


def _shared(one: Origin) -> str:
    if one.kind == SAME:
        names = ", ".join(f"{name} ({plural(images, 'image')})" for name, images in one.named.items())
        sentences = [
            f"Training has the same {'source' if len(one.named) == 1 else 'sources'} by name: {names}."
            if names
            else "",
            f"{plural(one.images, 'of these images is', 'of these images are')} in the run's own data set too."
            if one.images
            else "",
            "These figures do not stand for another hospital.",
        ]
        return " ".join(filter(None, sentences))
    if one.kind == EXTERNAL:
        return "No source of these images takes part in training, by its name or by an image."
    without = [
        f"{plural(images, whose)} without a source"
        for images, whose in ((one.unnamed, "outside image"), (one.unnamed_inside, "training image"))
        if images
    ]
    return f"It cannot be known whether the sources differ: {' and '.join(without)}. No image is in both."


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


def beside(names: Sequence[str], reports: Sequence[Outside]) -> pd.DataFrame:
    """What is promised with an answer, as texts: for each run a row inside and a row outside."""
    return pd.DataFrame(
        {
            "Model": name,
            "Images": "inside" if side == "inside" else f"outside, {report.origin.kind}",
            "Calibration error": _or_not(figures["expected_calibration_error"]),
            "Coverage": _or_not(figures["coverage"]),
            "Refused": _or_not(figures["refused"]) if "refused" in figures else NOT_MEASURED,
        }
        for name, report in zip(names, reports, strict=True)
        for side, figures in report.reliability.items()
    )


def choice(names: Sequence[str], reports: Sequence[Outside], measure: str) -> str:
    """Whether the run that is best inside is best outside too, and whether to choose by it; nothing for one run."""
    defined = [
        (report.inside.overall[measure], report.figures.overall[measure], name)
        for name, report in zip(names, reports, strict=True)
        if report.inside.overall[measure].is_defined and report.figures.overall[measure].is_defined
    ]
    if len(defined) < 2:
        return ""
    inside, outside = (max(defined, key=lambda row: row[place].value) for place in (0, 1))
    figure = MEASURES[measure] if measure == "macro_auroc" else MEASURES[measure].lower()
    shared = " The outside images share sources with training: do not choose a model by them."
    warning = shared * any(report.origin.kind == SAME for report in reports)
    best = measured(outside[1], measure)
    if inside[2] == outside[2]:
        return f"{outside[2]} has the highest {figure} inside and outside: {best} outside.{warning}"
    return (
        f"{outside[2]} has the highest {figure} outside, {best}; {inside[2]}, the highest "
        f"inside, has {measured(inside[1], measure)} there.{warning}"
    )


def measured(one: Measure, measure: str) -> str:
    """The measure with its interval, as a share or as a number."""
    return number(one.value, one.low, one.high) if measure == "macro_auroc" else in_words(one)


def recalibration(one: Recalibrated) -> str:
    """What a labelled sample of the outside images brings on the others, and what a new head would bring."""
    moved = (
        f"With {len(one.sample)} labelled images, balanced accuracy on the other {count(one.rest)} goes from "
        f"{in_words(one.before)} to {in_words(one.after)}: {_gain(one.gain)}."
    )
    if one.refitted is None or one.refitted_gain is None:
        return moved
    refitted = f"{in_words(one.refitted)}, a gain of {_gain(one.refitted_gain)}"
    return f"{moved} A new head that learns from them alone has {refitted}."


def _gain(gain: Measure) -> str:
    significant = "" if gain.low > 0 or gain.high < 0 else ", not significant"
    return f"{points(gain.value, gain.low, gain.high)}{significant}"


def _or_not(one: Measure) -> str:
    return in_words(one) if one.is_defined else NOT_MEASURED


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
    rows.append(f"{HEADINGS[answer['sources']['kind']]}. {answer['sources']['in_words']}")
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
    recalibrated = answer["recalibration"]
    rows.append(recalibrated["in_words"] if "in_words" in recalibrated else recalibrated["note"])
    return rows
