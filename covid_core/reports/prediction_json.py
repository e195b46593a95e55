"""What a run says of files, as plain values for the command line: everything that the Predict page says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covid_core import files
from covid_core.audit.model import heatmap_sanity
from covid_core.errors import ImageError, InvalidChoice, RunDamaged
from covid_core.evaluation.conformal import Sets
from covid_core.images import sandbox
from covid_core.images.codec import GreyImage, content_of
from covid_core.inference import lungs
from covid_core.inference.prediction import Check
from covid_core.inference.predictor import Predictor
from covid_core.inference.worklist import Entry, Opinion, ordered
from covid_core.reports import image_report, prediction_text
from covid_core.runs import prediction_sets
from covid_core.runs.store import Run
from covid_core.workspace import Workspace


@dataclass(frozen=True)
class Asked:
    """How images are to be answered: at which ``coverage``, read through which of their windows, and whether numbers
    are told of an image that failed a check, too. Reports are written into ``reports``, where that is given."""

    coverage: float
    window: int = 0
    anyway: bool = False
    reports: Path | None = None


def of_files(
    workspace: Workspace, run: Run, predictor: Predictor, paths: Sequence[str], asked: Asked
) -> list[dict[str, Any]]:
    """One answer per file, what needs a look first on top. Raises InvalidChoice for a coverage that cannot be had."""
    sets = _sets(run)
    found = [_entry(workspace, run, predictor, sets, path, asked) for path in paths]
    places = {id(entry): answer for entry, answer in found}
    return [places[id(entry)] for entry in ordered(entry for entry, _ in found)]


def _sets(run: Run) -> Sets | None:
    """What prediction sets are made from; None for a run whose predictions do not tell it."""
    try:
        return prediction_sets.of(run)
    except RunDamaged:
        return None


def _entry(
    workspace: Workspace, run: Run, predictor: Predictor, sets: Sets | None, path: str, asked: Asked
) -> tuple[Entry, dict[str, Any]]:
    try:
        image = sandbox.read_image(content_of(path), asked.window)
    except ImageError as error:
        return Entry(path, reason=str(error)), {"file": path, "error": str(error)}
    (look,) = predictor.look([image])
    opinion = Opinion(run.name, look, sets.set_of(look.prediction.logits, asked.coverage) if sets else None)
    answer = {
        "file": path,
        **of_opinion(opinion, asked.anyway),
        "warnings": image.warnings,
        "done": look.prediction.done,
    }
    if asked.reports is not None:
        answer["report"] = str(_report(workspace, run, predictor, image, opinion, asked))
    return Entry(path, "", image.warnings, (opinion,)), answer


def of_opinion(opinion: Opinion, anyway: bool = False) -> dict[str, Any]:
    """A run's answer, its checks, and its numbers, which are None where a check failed."""
    look, prediction = opinion.look, opinion.look.prediction
    told = prediction_text.said([opinion], anyway)
    hidden = look.refused_by is not None and not anyway
    calibrated = prediction.is_calibrated and not hidden
    return {
        "answer": told.answer,
        "figures": told.figures,
        "although": (prediction_text.although([opinion]) if anyway else "") or None,
        "refused_by": look.refused_by.name if look.refused_by else None,
        "checks": [_check(check) for check in look.checks],
        "predicted": None if hidden else prediction.predicted,
        "possible": None if hidden or opinion.answer is None else list(opinion.answer.classes),
        "probabilities": prediction.by_class(prediction.probabilities) if calibrated else None,
        "scores": None if hidden else prediction.by_class(prediction.scores),
        "logits": None if hidden else prediction.by_class(prediction.logits),
        "similar": [vars(one) for one in look.neighbours],
    }


def _check(check: Check) -> dict[str, Any]:
    told = {"in_words" if name == "text" else name: value for name, value in vars(check).items()}
    return {**told, "outcome": image_report.outcome(check)}


def _report(
    workspace: Workspace, run: Run, predictor: Predictor, image: GreyImage, opinion: Opinion, asked: Asked
) -> Path:
    """Write the image's report; it is called after the image's hash."""
    maps, shown = [], asked.anyway or opinion.look.refused_by is None
    if shown:
        label = opinion.called
        heat = predictor.heat_map(image, label, image_report.shape_of(image))
        outline = lungs.known(workspace, image, run.dataset.id)
        note = image_report.note_of(heat, outline.mask, heatmap_sanity.of(workspace, run))
        maps.append(image_report.Map(run.name, label, heat, note))
    page = image_report.to_html(image, [run], [opinion], maps, asked.anyway)
    path = asked.reports / f"second-look-{image_report.mark_of(image)}.html"
    try:
        asked.reports.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, page.encode())
    except OSError as error:
        raise InvalidChoice(f"No report can be written into {asked.reports}: {error.strerror or error}.") from error
    return path
