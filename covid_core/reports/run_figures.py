"""Everything that is known of a finished run, as it stands on the Compare page: its figures, or why one is missing."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from covid_core.audit.model import model_audit
from covid_core.data import summary
from covid_core.errors import DataError, RunDamaged
from covid_core.evaluation import calibration, comparison, image_selection, metrics
from covid_core.evaluation.calibration import AIMS, USUAL_AIM
from covid_core.evaluation.comparison import Candidate, Ranking
from covid_core.evaluation.recalibration import SEED, USUAL
from covid_core.inference import external_test
from covid_core.inference.external_test import Outside
from covid_core.reports import comparison_text, evidence_text, external_text, run_text
from covid_core.runs import candidates, pinned_dataset, prediction_sets, temperature_scaling, test_set_access
from covid_core.runs.store import Evaluation, Run
from covid_core.workspace import Workspace

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


def of_group(ranking: Ranking[Candidate], runs: Mapping[str, Run]) -> Figures:
    """Every figure of runs that were tested on the same images, as the Compare page has them. Raises RunDamaged.

    Args:
        ranking: of their candidates.
        runs: by id; more may be in it.
    """
    order = ranking.order
    members = [runs[one.id] for one in order]
    checks = {run.id: evidence_text.of(run) for run in members}
    table = comparison_text.performance_table(order).to_dict("records")
    for row in table:
        row["verdict"] = checks[row["id"]].verdict if row["id"] else ""
    outcome = comparison_text.summary(ranking)
    evidence = evidence_text.sentence([one.name for one in order], list(checks.values()))
    further = filter(None, (run_text.left_out(members[0]), evidence))
    return {
        "images": candidates.image_choice(members[0]),
        "table": table,
        "pairs": comparison.pair_table(ranking),
        "runs": {one.id: of_run(runs[one.id], one) for one in order},
        "test_images": image_selection.image_answers({run.id: run.predictions() for run in members}),
        "looks": test_set_access.of(members),
        "summary": replace(outcome, details=(*outcome.details, *further)).sentences,
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
    report, sets = prediction_sets.report(run), prediction_sets.of(run)
    return {
        **vars(report),
        "calibration_images": sets.images,
        "within_each_class": sets.is_by_class(report.coverage),
        "too_few": sets.too_few(report.coverage),
        "in_words": run_text.prediction_sets(report),
    }


def model_audit_of(run: Run) -> Figures | None:
    """The verdict of the audit of the run's model, None where none was made; of a damaged one the reason."""
    try:
        audit = model_audit.stored(run)
    except RunDamaged as error:
        return {"verdict": None, "in_words": str(error)}
    return audit and {
        "verdict": audit["verdict"],
        "in_words": evidence_text.conclusion(audit),
        "masks": evidence_text.lungs_in_short(audit),
    }


def external_test_of(run: Run, evaluation: Evaluation, sample: int = USUAL, seed: int = SEED) -> Figures:
    """A test on images from elsewhere beside the run's own figures; ``sample`` and ``seed`` are those of the labelled
    images that recalibrate. Raises RunDamaged, InvalidChoice."""
    report = external_test.report(run, evaluation)
    return {
        "run": run.id,
        "evaluation": evaluation.id,
        **evaluation.record.as_written,
        "images": report.figures.n,
        "outside": report.figures,
        "inside": report.inside,
        "drop": report.drops,
        "called": report.called.to_dict("index"),
        "shared_images": report.shared[list(external_test.SHARED_COLUMNS)],
        "sources": {**vars(report.origin), "in_words": external_text.origin(report.origin)},
        "reliability": report.reliability,
        "recalibration": _recalibration_of(report, sample, seed),
    }


@_or_note
def _recalibration_of(report: Outside, sample: int, seed: int) -> Figures:
    """What a labelled sample brings, or why that is not known."""
    fitted = external_test.recalibrated(report, sample, seed)
    return {**vars(fitted), "in_words": external_text.recalibration(fitted)}


@_or_note
def subgroups_of(workspace: Workspace, run: Run) -> Figures:
    """The run's test images by what is on record of them, or why that is not known."""
    measured = candidates.subgroups(run, pinned_dataset.dataset_of(workspace, run).images)
    worst = next(({"fact": row.fact, "value": row.value} for row in measured.worse), None)
    return {**vars(measured), "worst": worst, "in_words": " ".join(run_text.subgroups(measured))}


@_or_note
def parts_of(workspace: Workspace, run: Run) -> Figures:
    """What each part of the run's split holds (``summary.part_balance``), or why that is not known."""
    return {"balance": summary.part_balance(run.split(), pinned_dataset.dataset_of(workspace, run).images)}


def _operating_points(run: Run) -> list[Figures]:
    """Of every class for either aim, as the page has them at first; with the reason where there is none."""
    table = temperature_scaling.table(run)
    reached = _or_note(lambda *choice: vars(calibration.operating_point(*choice)))
    return [
        {"label": label, "aim": aim, "at_least": USUAL_AIM, "threshold": None, **reached(table, label, aim, USUAL_AIM)}
        for label in run.classes
        for aim in AIMS
    ]
