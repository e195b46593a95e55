"""A run's temperature: what its worker stored or, for a run from before that, what its predictions give.

Where the validation part is halved, only the half that did not choose the epoch has a say in it.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from covid_core.data.split import CALIBRATION, validation_for
from covid_core.errors import RunDamaged
from covid_core.evaluation import calibration, metrics
from covid_core.evaluation.calibration import COLDEST, HOTTEST, Bin, Calibration
from covid_core.runs.store import Run

SCORES, PROBABILITIES = "scores", "probabilities"  # the two scales of a run


def of(run: Run) -> Calibration:
    """The run's calibration; undefined, with the reason, where it has none. Validation images decide it; what it makes
    of the test part is of the test images that ``run.predictions`` has.

    Raises RunDamaged where the stored one cannot be believed.
    """
    stored = run.result.get("calibration")
    if stored is not None:
        calibrated = _read(run, stored)
        if not (run.apart and calibrated.is_defined):
            return calibrated
        return calibration.reported(run.predictions(), calibrated.temperature, calibrated.images)
    try:
        return calibration.calibrate(table(run))
    except RunDamaged as error:  # the run may still answer; what it says is then a score
        return Calibration(note=str(error))


def table(run: Run) -> pd.DataFrame:
    """The run's predictions; of its validation images only those that calibrate. Raises RunDamaged."""
    predictions = run.predictions()
    return serving(predictions, run.split(), CALIBRATION) if run.is_halved else predictions


def diagrams(run: Run) -> dict[str, list[Bin]]:
    """The reliability of the run's scores and of its probabilities on the test part; none without a temperature.

    Raises RunDamaged.
    """
    calibrated = of(run)
    if not calibrated.is_defined:
        return {}
    scores = run.predictions()
    tables = {SCORES: scores, PROBABILITIES: calibration.tempered(scores, calibrated.temperature)}
    return {name: calibration.reliability(metrics.answers(one, "test")) for name, one in tables.items()}


def serving(predictions: pd.DataFrame, split: pd.DataFrame, half: str) -> pd.DataFrame:
    """A prediction table without the validation images that do not serve for that half (see ``data.split.halves``)."""
    names = split.loc[validation_for(split, half), "image_id"]
    return predictions[((predictions["part"] != "validation") | predictions["image_id"].isin(names)).to_numpy()]


def fitted(predictions: pd.DataFrame, split: pd.DataFrame) -> Calibration:
    """The calibration of a run that is just being published."""
    return calibration.calibrate(serving(predictions, split, CALIBRATION))


def as_record(calibration: Calibration) -> dict[str, Any]:
    """A calibration for JSON, which has no nan: undefined numbers are None."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in vars(calibration).items()
    }


def _read(run: Run, stored: Mapping[str, Any]) -> Calibration:
    damaged = RunDamaged(f"{run.name}: the calibration in its result is damaged.")
    try:
        entries: dict[str, Any] = {name: math.nan if value is None else value for name, value in stored.items()}
        calibration = Calibration(**entries)
    except (AttributeError, TypeError) as error:
        raise damaged from error
    numbers = [value for name, value in vars(calibration).items() if name != "note"]
    if not all(isinstance(value, int | float) for value in numbers):
        raise damaged
    if calibration.is_defined and not COLDEST < calibration.temperature < HOTTEST:
        raise damaged
    return calibration
