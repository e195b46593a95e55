"""A run's prediction sets, from its stored predictions: runs of every version have them, and no model is needed."""

from covid_core.errors import DataError, RunDamaged
from covid_core.evaluation import conformal
from covid_core.evaluation.conformal import Evaluated, Sets
from covid_core.formatting import interval, share
from covid_core.runs import temperature_scaling
from covid_core.runs.store import Run


def of(run: Run) -> Sets:
    """From the validation images that calibrate (see ``data.split.halves``). Where the part is not halved these also
    chose the epoch, so that sets may be a little too small; ``temperature_scaling.images_in_words`` says it.

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


def in_words(found: Evaluated) -> str:
    """A sentence for a report: ``Sets at 90 % hold the right class of 89.6 % [87.0, 91.7] of 643 test images; ...``."""
    covered = interval(found.covered.value, found.covered.low, found.covered.high)
    return (
        f"Sets at {share(found.coverage, 0)} hold the right class of {covered} of the {found.covered.n:,} test images, "
        f"{found.mean_size:.2f} classes each on average: one class for {share(found.single.value)}, none for "
        f"{share(found.empty.value)}."
    )
