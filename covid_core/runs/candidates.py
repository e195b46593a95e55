"""From run folders to a comparison: what a run's record adds to what its prediction table says."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from covid_core.data.split import SELECTION
from covid_core.errors import CovidCoreError
from covid_core.evaluation import assessment, metrics
from covid_core.evaluation import label_check as labelling
from covid_core.evaluation import repeats as repeated
from covid_core.evaluation.assessment import Assessment, Measured
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.label_check import LabelCheck
from covid_core.evaluation.repeats import Repeat, Repeats
from covid_core.formatting import count, plural, share
from covid_core.runs import temperature_scaling
from covid_core.runs.store import Run, Study

FEATURES, FIT = "features", "fit"  # the stages of a run that are its training; the rest is much the same for all runs
STOPPED_EARLY = "stopped before its end"
COST_COLUMNS = (
    *("name", "training_seconds", "waited_seconds", "fit_seconds", "epochs_done", "parameters", "parameters_trained"),
    *("model_bytes", "milliseconds_per_image", "device"),
)
RECORDED = COST_COLUMNS[4:-1]  # numbers that a result holds under the same name


def assess(run: Run, intervals: bool = True) -> Assessment:
    """Measure the run's prediction table; ``intervals`` as of ``assessment.assess``. Raises RunDamaged or DataError."""
    table = run.predictions()
    choosing = temperature_scaling.serving(table, run.split(), SELECTION) if run.is_halved else None
    return assessment.assess(table, run.dataset.version, run.groups(), intervals, choosing)


def measured(run: Run, part: str) -> Measured:
    """All figures of one part, as ``assess`` has them of the test part. Raises RunDamaged or DataError."""
    answers = metrics.answers(run.predictions().sort_values("image_id", kind="stable"), part)
    return assessment.measured(answers, assessment.groups_of(answers.image_ids, run.groups()))


def images_in_words(run: Run, of_study: bool = False) -> str:
    """Which images a run was tested on, as far as its record tells: what differs where runs cannot be compared.

    ``of_study``: which images all folds of its study were tested on.
    """
    split = run.spec.split
    drawn = f", {count(split.images_per_class)} per class" if split.images_per_class else ""
    if split.method == "by_source":
        how = f"held-out {plural(len(split.held_out), 'source')} {', '.join(split.held_out)}"
    elif split.method == "given":
        how = "the authors' test images"
    elif split.folds > 1 and of_study:
        how = f"{split.folds} folds"
    elif split.folds > 1:
        how = f"fold {split.fold + 1} of {split.folds}"
    else:
        how = f"{share(split.test, 0)} of the images"
    together = "" if split.method in ("stratified", "given") else ", groups kept together"
    labels = ", with labels of other images" if run.spec.labels == "shifted" else ""
    return f"{run.dataset.name}{drawn}: {how}{together}, seed {split.seed}{labels}"


def label_check(run: Run) -> LabelCheck:
    """Whether the labels that the run learned are those of its images. Raises RunDamaged."""
    return labelling.check(run.split(), run.classes, run.dataset.counts)


def candidate(run: Run, name: str = "", intervals: bool = True) -> Candidate:
    """A finished run as it enters a comparison, with all its marks. ``name`` replaces its own where names repeat;
    ``intervals`` as of ``assess``."""
    figures, labels = assess(run, intervals), label_check(run)
    marks = assessment.marks(figures, loss_is_a_number(run.history()))
    return Candidate(
        id=run.id,
        name=name or run.name,
        assessment=figures,
        marks=(
            *([labelling.WRONG_LABELS] if labels.wrong else []),
            *marks,
            *([STOPPED_EARLY] if run.result.get("stopped") else []),
        ),
        labels=labels,
        split_hash=run.split_hash,
        seconds=training_seconds(run),
        ms_per_image=_number(run.result.get("milliseconds_per_image")),
        number=run.number,
        image_size=run.spec.image_size,
    )


def loss_is_a_number(history: pd.DataFrame) -> bool:
    """Whether training and validation loss of every epoch are finite."""
    return bool(np.isfinite(history[["loss", "val_loss"]].to_numpy(dtype=float)).all())


def training_seconds(run: Run) -> float:
    """Seconds of computing features and fitting, as if no features had been there already.

    Features that the run found count with the seconds that they once took; nan where these were not noted. Starting
    TensorFlow, exporting, saving and checking are left out: they depend on what ran before, not on what is trained.
    """
    seconds, reused = run.result.get("seconds"), run.result.get("reused") or {}
    if not seconds:
        return math.nan
    found = 0.0
    if FEATURES in reused:
        found = _number(reused[FEATURES] if isinstance(reused, dict) else None)  # earlier versions listed names alone
    return float(seconds.get(FEATURES, 0.0) + found + seconds.get(FIT, 0.0))


def feature_seconds(run: Run) -> float:
    """Of ``training_seconds`` those of computing features; nan where they were not noted."""
    seconds = run.result.get("seconds") or {}
    return training_seconds(run) - float(seconds.get(FIT, 0.0)) if seconds else math.nan


def waited_seconds(run: Run) -> float:
    """Seconds of all stages of the run as it went, of its last attempt where it was interrupted.

    nan where the outcome was taken over from another run, whose seconds stand in the result.
    """
    seconds = run.result.get("seconds") or {}
    return math.nan if run.result.get("taken_over_from") or not seconds else float(sum(seconds.values()))


def repeat(run: Run) -> Repeat:
    """A finished run of a study of repeats, measured without intervals. Raises RunDamaged or DataError."""
    figures = assessment.assess(run.predictions(), run.dataset.version, run.groups(), intervals=False)
    return Repeat(run.id, run.name, run.spec.split.fold, run.spec.seed, figures)


def repeats(
    studies: Sequence[tuple[Study, Sequence[Run]]], read: Callable[[Run], Repeat] = repeat
) -> repeated.Comparison:
    """Studies of repeats side by side.

    Args:
        studies: each with those of its runs that can be opened; what is left out of them stands in the remarks.
        read: measures one run, or remembers what it measured.
    """
    names = unique_names([study for study, _ in studies])
    named = zip(studies, names, strict=True)
    return repeated.compare([_repeats(study, name, runs, read) for (study, runs), name in named])


def _repeats(study: Study, name: str, runs: Sequence[Run], read: Callable[[Run], Repeat]) -> Repeats:
    repeats, remarks = [], []
    for run in runs:
        if not run.result:
            remarks.append(f"{run.name} has no result")
            continue
        try:
            repeats.append(read(run))
        except CovidCoreError as error:
            remarks.append(f"{run.name} is left out: {error}".rstrip("."))
            continue
        if run.result.get("stopped"):
            remarks.append(f"{run.name}: {STOPPED_EARLY}")
    if len(runs) < len(study.runs):
        remarks.append(f"{plural(len(study.runs) - len(runs), 'run')} deleted or damaged")
    folds = max((run.spec.split.folds for run in runs), default=1)
    images = images_in_words(runs[0], of_study=True) if runs else ""
    return Repeats(study.id, name, folds, images, tuple(repeats), len(study.runs), tuple(remarks))


def sensitivities(run: Run) -> dict[str, float]:
    """Share of each class's test images that the run answers rightly; nan for a class that has none."""
    table = run.predictions()
    test = table[table["part"] == "test"]
    scores = test[[f"score_{label}" for label in run.classes]].to_numpy()
    right = np.asarray(run.classes)[scores.argmax(axis=1)] == test["label"].to_numpy()
    of_class = {label: right[(test["label"] == label).to_numpy()] for label in run.classes}
    return {label: float(hits.mean()) if len(hits) else math.nan for label, hits in of_class.items()}


def costs(runs: Iterable[Run], names: Sequence[str]) -> pd.DataFrame:
    """What each run took and takes, columns COST_COLUMNS; nan where its record does not say."""
    rows = [
        {
            "name": name,
            "training_seconds": training_seconds(run),
            "waited_seconds": waited_seconds(run),
            "fit_seconds": _number((run.result.get("seconds") or {}).get(FIT)),
            **{column: _number(run.result.get(column)) for column in RECORDED},
            "device": run.result.get("device", ""),
        }
        for run, name in zip(runs, names, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def unique_names(runs: Sequence[Run | Study]) -> list[str]:
    """The names of runs or studies, with the id added where several share one."""
    names = [run.name for run in runs]
    return [f"{run.name} ({run.id})" if names.count(run.name) > 1 else run.name for run in runs]
