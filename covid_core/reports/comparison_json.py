"""What a comparison says of runs, as plain values for the command line: everything that the Compare page shows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from covid_core.audit.model import model_audit
from covid_core.errors import DataError, RunDamaged
from covid_core.evaluation import assessment, calibration, image_selection, metrics
from covid_core.evaluation.calibration import AIMS, USUAL_AIM, Bin
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.image_selection import ImageAnswers
from covid_core.evaluation.label_check import LabelCheck
from covid_core.inference import external_test
from covid_core.runs import candidates, pinned_dataset, prediction_sets, temperature_scaling
from covid_core.runs.store import Evaluation, Run
from covid_core.workspace import Workspace


def of_run(run: Run, candidate: Candidate) -> dict[str, Any]:
    """Every figure of one run, its curves, thresholds, settings, cost and outside tests. Raises RunDamaged."""
    (cost,) = candidates.costs([run], [candidate.name]).to_dict("records")
    return {
        "validation": assessment.as_answer(candidates.measured(run, "validation")),
        "test": assessment.as_answer(candidate.assessment.tested),
        "labels": of_labels(candidates.label_check(run)),
        "calibration": temperature_scaling.as_answer(run),
        "reliability": {name: [_bin(one) for one in bins] for name, bins in temperature_scaling.diagrams(run).items()},
        "prediction_sets": of_sets(run),
        "audit": of_audit(run),
        "operating_points": _operating_points(run),
        "curves": _curves(run),
        "outside": [_outside(run, one) for one in run.evaluations()],
        "openings": [vars(one) for one in run.openings()],
        "settings": run.spec.model_dump(mode="json"),
        "cost": cost,
        "history": run.history().to_dict("records"),
    }


def _outside(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    """An outside test, or why it cannot be told: the run's own figures stand all the same."""
    try:
        return external_test.as_answer(run, evaluation)
    except RunDamaged as error:
        return {"run": run.id, "evaluation": evaluation.id, "note": str(error)}


def of_labels(labels: LabelCheck) -> dict[str, Any]:
    """What the check of a run's labels found."""
    return {**vars(labels), "in_words": labels.in_words}


def of_sets(run: Run) -> dict[str, Any]:
    """What the run's prediction sets come to at the usual coverage, or why it has none: its other figures stand."""
    try:
        return prediction_sets.as_answer(run)
    except RunDamaged as error:
        return {"note": str(error)}


def of_audit(run: Run) -> dict[str, Any] | None:
    """What the audit of the run's model says, where one was made; of a damaged one why not: other figures stand."""
    try:
        return model_audit.as_answer(run)
    except RunDamaged as error:
        return {"verdict": None, "in_words": str(error)}


def of_version(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Which version of its data set the run used: decisions on its images by then, of all that there are now."""
    used = pinned_dataset.used_by(workspace, run)
    version = run.dataset.version
    return {"version": version, "before": used.before, "decisions": used.decided, "in_words": used.in_words}


def _bin(one: Bin) -> dict[str, Any]:
    return {"low": one.low, "high": one.high, "mean_score": one.mean_score, "right": vars(one.right)}


def _operating_points(run: Run) -> list[dict[str, Any]]:
    """Of every class for either aim, as the page has them at first; with the reason where there is none."""
    table = temperature_scaling.table(run)
    points = []
    for label in run.classes:
        for aim in AIMS:
            about = {"label": label, "aim": aim, "at_least": USUAL_AIM}
            try:
                found = calibration.operating_point(table, label, aim, USUAL_AIM)
            except DataError as error:
                points.append({**about, "threshold": None, "note": str(error)})
                continue
            parts = {
                part: {name: vars(one) for name, one in getattr(found, part).items()} for part in ("validation", "test")
            }
            points.append({**about, "threshold": found.threshold, **parts})
    return points


def _curves(run: Run) -> dict[str, Any]:
    """ROC and precision-recall points of every class on the test part, as many as are drawn."""
    given = metrics.answers(run.predictions(), "test")
    return {
        label: {
            "roc": metrics.thinned(metrics.roc_points(given, label)).to_dict("list"),
            "precision_recall": metrics.thinned(metrics.precision_recall_points(given, label)).to_dict("list"),
            "undefined": metrics.no_curve_because(given, label),
        }
        for label in run.classes
    }


def of_images(runs: Sequence[Run]) -> dict[str, Any]:
    """The images behind the figures of runs with the same test images: every answer, and the lists that the page makes
    of them, by image id. Raises RunDamaged."""
    found = image_selection.image_answers({run.id: run.predictions() for run in runs})
    return {
        "answers": _table(found).to_dict("records"),
        "hardest": _ids(found, image_selection.hardest(found)),
        "confident_errors": {
            run: _ids(found, image_selection.confident_errors(found, k)) for k, run in enumerate(found.runs)
        },
        "doubtful_labels": _ids(found, image_selection.doubtful_labels(found)),
        "scores": {
            run: {label: image_selection.score_counts(found, k, label).to_dict("list") for label in found.classes}
            for k, run in enumerate(found.runs)
        },
    }


def _ids(found: ImageAnswers, rows: np.ndarray) -> list[str]:
    return found.image_ids[rows].tolist()


def _table(found: ImageAnswers) -> pd.DataFrame:
    """One row per image: image_id, label, and by run what it was called and the scores of that and of the label."""
    table = pd.DataFrame({"image_id": found.image_ids, "label": found.labels})
    for k, run in enumerate(found.runs):
        for name in ("called", "score", "own"):
            table[f"{name}_{run}"] = getattr(found, name)[:, k]
    return table
