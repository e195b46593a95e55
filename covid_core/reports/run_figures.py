"""Everything that is known of a finished run, as it stands on the Compare page: its figures, or why one is missing."""

import functools
from collections.abc import Callable
from typing import Any

from covid_core.audit.model import model_audit
from covid_core.errors import DataError, RunDamaged
from covid_core.evaluation import calibration, metrics
from covid_core.evaluation.calibration import AIMS, USUAL_AIM
from covid_core.evaluation.comparison import Candidate
from covid_core.inference import external_test
from covid_core.reports import evidence_text, run_text
from covid_core.runs import candidates, prediction_sets, temperature_scaling
from covid_core.runs.store import Evaluation, Run

Figures = dict[str, Any]


def of_run(run: Run, candidate: Candidate) -> Figures:
    """Every figure of one run, its curves, thresholds, settings, cost and outside tests. Raises RunDamaged."""
    (cost,) = candidates.costs([run], [candidate.name]).to_dict("records")
    return {
        "validation": candidates.measured(run, "validation"),
        "test": candidate.assessment.tested,
        "labels": candidates.label_check(run),
        "calibration": calibration_of(run),
        "reliability": temperature_scaling.diagrams(run),
        "prediction_sets": prediction_sets_of(run),
        "audit": model_audit_of(run),
        "operating_points": _operating_points(run),
        "curves": metrics.threshold_curves(metrics.answers(run.predictions(), "test")),
        "outside": [
            {"run": run.id, "evaluation": one.id, **_or_note(external_test_of)(run, one)} for one in run.evaluations()
        ],
        "openings": run.openings(),
        "settings": run.spec,
        "cost": cost,
        "history": run.history(),
    }


def calibration_of(run: Run) -> Figures:
    """The run's temperature, and whether the images that it was fitted on chose nothing else. Raises RunDamaged."""
    return {**vars(temperature_scaling.of(run)), "chose_nothing_else": run.is_halved}


def _or_note(of: Callable[..., Figures]) -> Callable[..., Figures]:
    """The same figures, or a note why there are none: the run's others stand all the same."""

    @functools.wraps(of)
    def figures(*args: Any) -> Figures:
        try:
            return of(*args)
        except (DataError, RunDamaged) as error:
            return {"note": str(error)}

    return figures


@_or_note
def prediction_sets_of(run: Run) -> Figures:
    """The run's prediction sets at the usual coverage, or why it has none."""
    found, sets = prediction_sets.report(run), prediction_sets.of(run)
    return {
        **vars(found),
        "calibration_images": sets.images,
        "within_each_class": sets.is_by_class(found.coverage),
        "too_few": sets.too_few(found.coverage),
        "in_words": run_text.prediction_sets(found),
    }


def model_audit_of(run: Run) -> Figures | None:
    """The verdict of the audit of the run's model, None where none was made; of a damaged one the reason."""
    try:
        found = model_audit.stored(run)
    except RunDamaged as error:
        return {"verdict": None, "in_words": str(error)}
    return found and {
        "verdict": found["verdict"],
        "in_words": evidence_text.conclusion(found),
        "masks": evidence_text.lungs_in_short(found),
    }


def external_test_of(run: Run, evaluation: Evaluation) -> Figures:
    """A test on images from elsewhere beside the run's own figures. Raises RunDamaged."""
    found = external_test.report(run, evaluation)
    return {
        "run": run.id,
        "evaluation": evaluation.id,
        **evaluation.information,
        "images": found.figures.n,
        "outside": found.figures,
        "inside": found.inside,
        "drop": found.drops,
        "called": found.called.to_dict("index"),
        "shared_images": found.shared[list(external_test.SHARED_COLUMNS)],
    }


def _operating_points(run: Run) -> list[Figures]:
    """Of every class for either aim, as the page has them at first; with the reason where there is none."""
    table = temperature_scaling.table(run)
    reached = _or_note(lambda *choice: vars(calibration.operating_point(*choice)))
    return [
        {"label": label, "aim": aim, "at_least": USUAL_AIM, "threshold": None, **reached(table, label, aim, USUAL_AIM)}
        for label in run.classes
        for aim in AIMS
    ]
