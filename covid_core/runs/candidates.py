"""From run folders to a comparison: what a run's record adds to what its prediction table says."""

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from covid_core.data.split import SELECTION, TEST
from covid_core.data.summary import OF_SUBGROUPS, fact_values
from covid_core.errors import CovidCoreError
from covid_core.evaluation import assessment, metrics
from covid_core.evaluation import label_check as labelling
from covid_core.evaluation import repeats as repeated
from covid_core.evaluation import subgroups as subgrouping
from covid_core.evaluation.assessment import Assessment, Measured
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.label_check import LabelCheck
from covid_core.evaluation.repeats import ImageChoice, Remark, Repeat, Repeats
from covid_core.evaluation.subgroups import Subgroups
from covid_core.runs import temperature_scaling
from covid_core.runs.store import Run, Study

FEATURES, FIT = "features", "fit"  # the stages of a run that are its training; the rest is much the same for all runs
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


def image_choice(run: Run, of_study: bool = False) -> ImageChoice:
    """Which images a run was tested on, as far as its record says: what differs where runs cannot be compared.

    ``of_study``: which images all folds of its study were tested on.
    """
    split = run.spec.split
    by_source = split.method == "by_source"
    return ImageChoice(
        dataset=run.dataset.name,
        per_class=split.images_per_class or 0,
        held_out=split.held_out if by_source else (),
        folds=1 if by_source else split.folds,
        fold=None if of_study else split.fold,
        share=split.test,
        grouped=split.method not in ("stratified", "given"),
        by_authors=split.method == "given",
        seed=split.seed,
        shifted=run.spec.labels == "shifted",
    )


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
            *(("wrong labels",) if labels.wrong else ()),
            *marks,
            *(("stopped",) if run.result.get("stopped") else ()),
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
    earlier = 0.0
    if FEATURES in reused:
        earlier = _number(reused[FEATURES] if isinstance(reused, dict) else None)  # earlier versions listed names
    return float(seconds.get(FEATURES, 0.0) + earlier + seconds.get(FIT, 0.0))


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
    """Studies of repeats side by side, each with those of its runs that can be opened; what is left out of them stands
    in the remarks. ``read`` measures one run, or remembers what it measured."""
    names = unique_names([study for study, _ in studies])
    named = zip(studies, names, strict=True)
    return repeated.compare([_repeats(study, name, runs, read) for (study, runs), name in named])


def _repeats(study: Study, name: str, runs: Sequence[Run], read: Callable[[Run], Repeat]) -> Repeats:
    repeats, remarks = [], []
    for run in runs:
        if not run.result:
            remarks.append(Remark("no result", run.name))
            continue
        try:
            repeats.append(read(run))
        except CovidCoreError as error:
            remarks.append(Remark("left out", run.name, str(error)))
            continue
        if run.result.get("stopped"):
            remarks.append(Remark("stopped", run.name))
    if len(runs) < len(study.runs):
        remarks.append(Remark("missing", runs=len(study.runs) - len(runs)))
    folds = max((run.spec.split.folds for run in runs), default=1)
    images = image_choice(runs[0], of_study=True) if runs else None
    return Repeats(study.id, name, folds, images, tuple(repeats), len(study.runs), tuple(remarks))


def subgroups(run: Run, images: pd.DataFrame) -> Subgroups:
    """The test images of a run by what is on record of them. Raises RunDamaged or DataError.

    ``images`` are those of its data set. Where the split kept no groups together, images of one patient are one.
    """
    answers = metrics.answers(run.predictions().sort_values("image_id", kind="stable"), "test")
    of_test = images.set_index("image_id").reindex(answers.image_ids).fillna("").reset_index()
    facts = {name: values.to_numpy(dtype=str) for name, values in fact_values(of_test, OF_SUBGROUPS).items()}
    patients, groups = of_test["patient_id"], run.groups()
    if groups is None:
        groups = patients.where(patients != "", of_test["image_id"]).set_axis(of_test["image_id"])
    return subgrouping.subgroups(
        answers, facts, assessment.groups_of(answers.image_ids, groups), patients.to_numpy(dtype=str)
    )


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


def on_common_images(runs: Sequence[Run]) -> list[Run]:
    """The runs, each without the test images of its split that the predictions from a file of another one lack."""
    lacking: dict[tuple[str, str], frozenset[str]] = {}
    for run in runs:
        with contextlib.suppress(CovidCoreError):  # a damaged one says so where it is measured
            if sum((run.result.get("imported") or {}).get("lacking", {}).values()):
                split = run.split()
                without = split[(split["part"] == TEST) & ~split["image_id"].isin(run.predictions()["image_id"])]
                key = run.split_hash, run.dataset.version
                lacking[key] = lacking.get(key, frozenset()).union(without["image_id"])
    of_runs = [lacking.get((run.split_hash, run.dataset.version), frozenset()) for run in runs]
    return [replace(run, apart=apart) if apart else run for run, apart in zip(runs, of_runs, strict=True)]


def unique_names(runs: Sequence[Run | Study]) -> list[str]:
    """The names of runs or studies, with the id added where several share one."""
    names = [run.name for run in runs]
    return [f"{run.name} ({run.id})" if names.count(run.name) > 1 else run.name for run in runs]
