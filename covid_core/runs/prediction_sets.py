"""A run's prediction sets, from its stored predictions: runs of every version have them, and no model is needed."""

from covid_core.errors import DataError, RunDamaged
from covid_core.evaluation import conformal
from covid_core.evaluation.conformal import Evaluated, Sets
from covid_core.runs import temperature_scaling
from covid_core.runs.store import Run


def of(run: Run) -> Sets:
    """From the validation images that calibrate (see ``data.split.halves``). Where the part is not halved these also
    chose the epoch, so that sets may be a little too small; ``reports.run_text.calibration_images`` says it.

    Raises RunDamaged.
    """
    try:
        return Sets.of(temperature_scaling.table(run))
    except DataError as error:
        raise RunDamaged(f"{run.name}: {error}") from error


def report(run: Run, coverage: float = conformal.USUAL_COVERAGE) -> Evaluated:
    """What the run's sets come to on its test part. Raises RunDamaged, InvalidChoice."""
    try:
        return conformal.evaluated(of(run), run.predictions(), coverage)
    except DataError as error:
        raise RunDamaged(f"{run.name}: {error}") from error
