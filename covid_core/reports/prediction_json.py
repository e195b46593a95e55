"""What a run makes of files, as plain values for the command line: all that the Predict page shows of them."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from covid_core import files
from covid_core.audit.model import heatmap_sanity
from covid_core.errors import ImageError, InvalidChoice
from covid_core.images import sandbox
from covid_core.images.codec import content_of
from covid_core.inference import lungs
from covid_core.inference.assessment import Assessment, assess, place
from covid_core.inference.gate import Check
from covid_core.inference.predictor import Predictor
from covid_core.reports import image_report, prediction_text
from covid_core.runs.store import Run
from covid_core.workspace import Workspace


def of_files(
    workspace: Workspace,
    run: Run,
    predictor: Predictor,
    paths: Iterable[str],
    *,
    coverage: float,
    window: int = 0,
    anyway: bool = False,
    reports: Path | None = None,
) -> list[dict[str, Any]]:
    """One answer per file, what needs a look first on top.

    Args:
        workspace: of the run.
        run: the run.
        predictor: the same, opened.
        paths: of the files.
        coverage: how often the prediction set has to hold the true class.
        window: which of the windows of an image it is read through.
        anyway: whether numbers are shown of an image that failed a check.
        reports: folder into which a report of each image is written.

    Raises InvalidChoice for a coverage that cannot be had and a folder that cannot be written into.
    """
    rows = []
    for path in paths:
        about = {"name": path, "run": run.name, "coverage": coverage, "anyway": anyway}
        try:
            one = assess(predictor, sandbox.read_image(content_of(path), window), **about)
        except ImageError as error:
            one = Assessment(error=str(error), **about)
        report = {"report": str(_report(workspace, run, one, reports))} if reports and one.image else {}
        rows.append((place([one]), {**of(one), **report}))
    return [answer for _, answer in sorted(rows, key=lambda row: row[0])]


def of(assessment: Assessment) -> dict[str, Any]:
    """A run's answer, its checks, and its numbers, which are None where a check failed."""
    if assessment.error:
        return {"file": assessment.name, "error": assessment.error}
    answer, figures = prediction_text.verdict([assessment])
    shown, by_class = assessment.has_answer, assessment.by_class
    calibrated = assessment.probabilities if shown else None
    return {
        "file": assessment.name,
        "answer": answer,
        "figures": figures,
        "although": prediction_text.although([assessment]) or None,
        "refused_by": assessment.refused_by.name if assessment.refused_by else None,
        "checks": [_check(check) for check in assessment.checks],
        "predicted": assessment.predicted if shown else None,
        "possible": list(assessment.possible) if shown and assessment.prediction_set else None,
        "probabilities": None if calibrated is None else by_class(calibrated),
        "scores": by_class(assessment.scores) if shown else None,
        "logits": by_class(assessment.logits) if shown else None,
        "similar": [vars(one) for one in assessment.neighbours],
        "warnings": assessment.warnings,
        "done": assessment.done,
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "passed": check.passed,
        "figure": check.figure,
        "limit": check.limit.value,
        "in_words": prediction_text.check(check),
        "outcome": prediction_text.outcome(check),
    }


def _report(workspace: Workspace, run: Run, assessment: Assessment, folder: Path) -> Path:
    """Write the image's report; it is called after the image's hash."""
    outline = partial(lungs.outline_of, workspace, assessment.image, run.dataset.id)
    page = image_report.to_html([(run, assessment)], lambda _run: outline(), partial(heatmap_sanity.of, workspace))
    path = folder / image_report.file_name(assessment.image)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, page.encode())
    except OSError as error:
        raise InvalidChoice(f"No report can be written into {folder}: {error.strerror or error}.") from error
    return path
