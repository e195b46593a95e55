"""From run folders to a comparison: what a run's record adds to what its prediction table says."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from covid_core.errors import DataError
from covid_core.evaluation import assessment, metrics
from covid_core.evaluation import calibration as calibrating
from covid_core.evaluation.assessment import Assessment, Measured
from covid_core.evaluation.comparison import Candidate
from covid_core.formatting import count, plural, share
from covid_core.runs.store import Run

FEATURES, FIT = "features", "fit"  # the stages of a run that are its training; the rest is much the same for all runs
STOPPED_EARLY = "stopped before its end"
COST_COLUMNS = (
    "name",
    "training_seconds",
    "waited_seconds",
    "fit_seconds",
    "epochs_done",
    "parameters",
    "parameters_trained",
    "model_bytes",
    "milliseconds_per_film",
    "device",
)


def assess(run: Run, intervals: bool = True) -> Assessment:
    """Measure the run's prediction table; ``intervals`` as of ``assessment.assess``. Raises RunDamaged or DataError."""
    return assessment.assess(run.predictions(), run.record["dataset"]["version"], run.groups(), intervals)


def measured(run: Run, part: str) -> Measured:
    """All figures of one part, as ``assess`` has them of the test part. Raises RunDamaged or DataError."""
    given = metrics.answers(run.predictions().sort_values("image_id", kind="stable"), part)
    return assessment.measured(given, assessment.groups_of(given, run.groups()))


def calibration(run: Run) -> dict[str, float] | None:
    """The run's temperature, fitted on validation, and what it makes of the scores on test; None where none can be
    fitted. See ``calibration.Calibration``."""
    try:
        return vars(calibrating.calibrate(run.predictions()))
    except DataError:
        return None


def films_in_words(run: Run) -> str:
    """Which films a run was tested on, as far as its record tells: what differs where runs cannot be compared."""
    split = run.spec.split
    drawn = f", {count(split.films_per_class)} per class" if split.films_per_class else ""
    if split.method == "by_source":
        how = f"held-out {plural(len(split.held_out), 'source')} {', '.join(split.held_out)}"
    elif split.folds > 1:
        how = f"fold {split.fold + 1} of {split.folds}"
    else:
        how = f"{share(split.test, 0)} of the films"
    together = "" if split.method == "stratified" else ", groups kept together"
    return f"{run.record['dataset']['name']}{drawn}: {how}{together}, seed {split.seed}"


def candidate(run: Run, name: str = "", intervals: bool = True) -> Candidate:
    """A finished run as it enters a comparison, with all its marks. ``name`` replaces its own where names repeat;
    ``intervals`` as of ``assess``."""
    found = assess(run, intervals)
    marks = assessment.marks(found, loss_is_a_number(run.history()))
    return Candidate(
        id=run.id,
        name=name or run.name,
        assessment=found,
        marks=(*marks, *([STOPPED_EARLY] if run.result.get("stopped") else [])),
        split_hash=run.split_hash,
        seconds=training_seconds(run),
        ms_per_film=_number(run.result.get("milliseconds_per_film")),
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
    return seconds.get(FEATURES, 0.0) + found + seconds.get(FIT, 0.0)


def waited_seconds(run: Run) -> float:
    """Seconds of all stages of the run as it went, of its last attempt where it was interrupted.

    nan where the outcome was taken over from another run, whose seconds stand in the result.
    """
    seconds = run.result.get("seconds") or {}
    return math.nan if run.result.get("taken_over_from") or not seconds else float(sum(seconds.values()))


@dataclass(frozen=True)
class Repeats:
    """Test accuracy of one training repeated: mean and standard deviation (n - 1) over ``count`` finished runs.

    Folds share training films, so the deviation is a description, not an error of the mean.
    """

    mean: float
    spread: float
    count: int

    def __str__(self) -> str:
        return f"test accuracy {share(self.mean)}, spread {share(self.spread)} over {plural(self.count, 'run')}"


def repeats(runs: Iterable[Run]) -> Repeats | None:
    """Mean and spread of the runs that have a result; None with fewer than two."""
    values = [run.accuracy("test") for run in runs if run.result]
    if len(values) < 2:
        return None
    return Repeats(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


def sensitivities(run: Run) -> dict[str, float]:
    """Share of each class's test films that the run answers rightly."""
    table = run.predictions()
    test = table[table["part"] == "test"]
    scores = test[[f"score_{label}" for label in run.classes]].to_numpy()
    right = np.asarray(run.classes)[scores.argmax(axis=1)] == test["label"].to_numpy()
    return {label: float(right[(test["label"] == label).to_numpy()].mean()) for label in run.classes}


def costs(runs: Iterable[Run], names: Sequence[str]) -> pd.DataFrame:
    """What each run took and takes, columns COST_COLUMNS; nan where its record does not say."""
    rows = [{"name": name, **_costs(run)} for run, name in zip(runs, names, strict=True)]
    return pd.DataFrame(rows, columns=list(COST_COLUMNS))


def _costs(run: Run) -> dict[str, Any]:
    result = run.result
    numbers = ("epochs_done", "parameters", "parameters_trained", "model_bytes", "milliseconds_per_film")
    return {
        "training_seconds": training_seconds(run),
        "waited_seconds": waited_seconds(run),
        "fit_seconds": _number((result.get("seconds") or {}).get("fit")),
        **{name: _number(result.get(name)) for name in numbers},
        "device": result.get("device", ""),
    }


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def unique_names(runs: Sequence[Run]) -> list[str]:
    """The runs' names, with the id added where several share one."""
    names = [run.name for run in runs]
    return [f"{run.name} ({run.id})" if names.count(run.name) > 1 else run.name for run in runs]
