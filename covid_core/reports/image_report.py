"""An image, what runs say of it, and why: a self-contained HTML page, and plain values for the command line.

The page holds the picture, heat maps, answers, checks and limits; no file name, no tag, no image of another patient,
nothing that names a patient. The values are all that the Predict page shows.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from covid_core import files
from covid_core.audit.model import heatmap_sanity
from covid_core.audit.model.randomisation_test import MapCheck
from covid_core.errors import CovidCoreError, ImageError, InvalidChoice, cause
from covid_core.evaluation import metrics
from covid_core.evaluation.assessment import groups_of
from covid_core.figures.theme import class_colours
from covid_core.formatting import count, decimals, plural, probability, share
from covid_core.images import sandbox
from covid_core.images.codec import GreyImage, data_url, fitted, jpeg_bytes, png_bytes
from covid_core.inference import lungs
from covid_core.inference.assessment import Assessment, assess, examined, place, warnings_of
from covid_core.inference.gate import Check
from covid_core.inference.heatmap import overlaid, share_inside
from covid_core.inference.lungs import LungOutline
from covid_core.inference.predictor import Predictor
from covid_core.reports import evidence_text, prediction_text, run_figures
from covid_core.reports.comparison_text import in_words
from covid_core.reports.evidence_text import EvidenceCheck
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

PAGES = Path(__file__).parent  # with page.html, the head and the style of pages that are handed on
LONGEST = 900  # pixels of a picture in the report
OPACITY = 0.6  # of the heat map
MARK_DIGITS = 8  # of the image's hash: tells images apart, names nobody
LIMITS = (
    "This is no diagnosis. It is the prediction of a model that was trained on one data set.",
    "Probabilities and prediction sets hold for images like the validation images, in that mix of classes.",
    "They do not hold for images of another hospital.",
    "A heat map shows what raised a number. The reason need not be a medical one.",
)


def to_html(
    answers: Sequence[tuple[Run, Assessment]],
    lungs: Callable[[Run], LungOutline],
    check: Callable[[Run], MapCheck],
) -> str:
    """The report as HTML that needs no other file and loads nothing.

    Args:
        answers: runs with what each makes of the image, which holds the image and its heat maps.
        lungs: gives the lungs of the image, for runs with an answer.
        check: gives whether a run's heat maps mean anything, likewise.
    """
    assessments = [one for _, one in answers]
    image = assessments[0].image
    shown = fitted(image.pixels, LONGEST)
    report = {
        "mark": mark_of(image),
        "made": f"{datetime.now():%d %B %Y, %H:%M}",
        "answer": " ".join(filter(None, prediction_text.verdict(assessments))),
        "notes": [
            vars(note)
            for note in prediction_text.notes(
                assessments, [evidence_text.of(run) for run, _ in answers], with_names=False
            )
        ],
        "warnings": [*filter(None, [prediction_text.although(assessments)]), *warnings_of(assessments)],
        "pictures": [
            _picture(png_bytes(shown), "The image as it was read", "Image"),
            *(_drawn(shown, run, one, lungs(run).mask, check(run)) for run, one in answers if one.has_answer),
        ],
        "done": "; ".join(assessments[0].done) or "nothing",
        "runs": [_run(run, one, len(answers) > 1) for run, one in answers],
        "limits": LIMITS,
    }
    return template(PAGES / "image_report.html").render(report=report)


def file_name(image: GreyImage) -> str:
    """What the report of an image is called."""
    return f"second-look-{mark_of(image)}.html"


def mark_of(image: GreyImage) -> str:
    """First digits of a hash of the image's pixels: tells images apart, and names nobody."""
    return hashlib.sha256(np.ascontiguousarray(image.pixels)).hexdigest()[:MARK_DIGITS]


@lru_cache
def template(path: Path) -> Template:
    """A page of HTML that fills page.html. It escapes what it is given, and refuses to leave anything out."""
    loader, options = FileSystemLoader([path.parent, PAGES]), {"trim_blocks": True, "lstrip_blocks": True}
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, **options).get_template(path.name)


def _picture(content: bytes, caption: str, alt: str) -> dict[str, str]:
    return {"url": data_url(content), "caption": caption, "alt": alt}


def _drawn(shown: np.ndarray, run: Run, one: Assessment, lungs: np.ndarray | None, check: MapCheck) -> dict[str, str]:
    """The heat map, with its share inside the lungs where these are known, and whether it means anything."""
    heat = one.heat(one.label, shown.shape)
    inside = prediction_text.lung_share(share_inside(heat, lungs)) if lungs is not None else ""
    kind = "Grad-CAM" if run.spec.has_maps else "Occlusion"
    caption = f"{one.run}: {kind} for {one.label}. {inside} {evidence_text.map_check(check)}"
    alt = f"Heat map over the image: what raises the score of {one.label}"
    return _picture(jpeg_bytes(overlaid(shown, heat, OPACITY), quality=90), " ".join(caption.split()), alt)


def _run(run: Run, one: Assessment, several: bool) -> dict[str, Any]:
    return {
        "name": one.run,
        "says": " ".join(filter(None, prediction_text.verdict([one]))) if several else "",
        "scale": one.scale,
        "scores": one.calibration.is_defined,
        "rows": _rows(one) if one.has_answer else [],
        "checks": [
            {"outcome": prediction_text.outcome(check), "text": prediction_text.check(check)} for check in one.checks
        ],
        "similar": ", ".join(f"{near.label} (distance {decimals(near.distance, 2)})" for near in one.neighbours),
        "card": card_line(run),
    }


def _rows(one: Assessment) -> list[dict[str, Any]]:
    numbers, colours = one.by_class(one.numbers), class_colours(one.classes)
    return [
        {
            "label": label,
            "value": probability(numbers[label]),
            "score": probability(score),
            "width": round(100 * numbers[label], 1),
            "colour": colours[label],
        }
        for label, score in one.by_class(one.scores).items()
    ]


def card_line(run: Run) -> str:
    """What a run is and how good it is known to be, in a few sentences. Says so where its predictions are damaged."""
    kind = run.spec.network.label
    synthetic = "synthetic " if run.dataset.synthetic else ""
    try:
        table = run.predictions()
        test = metrics.answers(table, "test")
        learned = count(int((table["part"] == "train").sum()))
        reached = metrics.accuracy(test, groups_of(test.image_ids, run.groups()))
        largest = share(float(test.images.max() / test.n)) if test.n else "–"
        words = f"Its accuracy is {in_words(reached)} on {plural(test.n, 'test image')} (majority baseline {largest})"
    except CovidCoreError as error:
        return f"{kind}, run {run.id}. Its accuracy is not known: {error}"
    return (
        f"{kind}, trained on {learned} {synthetic}images of the data set {run.dataset.name}. {words}. "
        f"{evidence_text.of(run).in_full} Run {run.id}."
    )


def of_files(
    workspace: Workspace,
    run: Run,
    predictor: Predictor,
    contents: Iterable[tuple[str, Callable[[], bytes]]],
    *,
    coverage: float,
    window: int = 0,
    anyway: bool = False,
    reports: Path | None = None,
) -> dict[str, Any]:
    """What a run makes of image files of strangers, what needs a look first on top, and what the run is.

    Args:
        workspace: of the run.
        run: the run.
        predictor: the same, opened.
        contents: what each is called, and what reads its bytes, or raises ImageError.
        coverage: how often the prediction set has to hold the true class.
        window: which of the windows of an image it is read through.
        anyway: whether numbers are shown of an image that failed a check.
        reports: folder into which a report of each image is written.

    Raises InvalidChoice for a coverage that cannot be had and a folder that cannot be written into.
    """
    rows, evidence = [], evidence_text.of(run)
    for name, content in contents:
        about = {"name": name, "run": run.name, "coverage": coverage, "anyway": anyway}
        try:
            image = sandbox.read_image(content(), window)
            one = examined(workspace, run, assess(predictor, image, **about), image)
        except ImageError as error:
            one = Assessment(error=str(error), **about)
        report = {"report": str(_written(workspace, run, one, reports))} if reports and one.image else {}
        rows.append((place([one]), {**to_json(one, evidence), **report}))
    images = [answer for _, answer in sorted(rows, key=lambda row: row[0])]
    return {
        "run": run.id,
        "trained_on_synthetic": run.dataset.synthetic,
        "coverage": coverage,
        "calibration": run_figures.calibration_of(run),
        "images": images,
        "failed": any("error" in one for one in images),
    }


def to_json(assessment: Assessment, evidence: EvidenceCheck) -> dict[str, Any]:
    """A run's answer, its checks, and its numbers, which are None where a check failed."""
    if assessment.error:
        return {"file": assessment.name, "error": assessment.error}
    answer, figures = prediction_text.verdict([assessment])
    shown, by_class = assessment.has_answer, assessment.by_class
    training, hottest = assessment.training, assessment.hottest
    calibrated = assessment.probabilities if shown else None
    return {
        "file": assessment.name,
        "answer": answer,
        "figures": figures,
        "although": prediction_text.although([assessment]) or None,
        "refused_by": assessment.refused_by.name if assessment.refused_by else None,
        "checks": [_check_json(check) for check in assessment.checks],
        "notes": [note.text for note in prediction_text.notes([assessment], [evidence])],
        "evidence_check": evidence.verdict,
        "in_training_part": training.is_in_training if training else None,
        "training_image": (training.image_id or None) if training else None,
        "hottest_place": vars(hottest) if hottest else None,
        "box": None if assessment.box.is_whole else vars(assessment.box),
        "predicted": assessment.predicted if shown else None,
        "possible": list(assessment.possible) if shown and assessment.prediction_set else None,
        "probabilities": None if calibrated is None else by_class(calibrated),
        "scores": by_class(assessment.scores) if shown else None,
        "typicality": assessment.typicality if shown else None,
        "logits": by_class(assessment.logits) if shown else None,
        "similar": [vars(one) for one in assessment.neighbours],
        "warnings": assessment.warnings,
        "done": assessment.done,
    }


def _check_json(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "passed": check.passed,
        "figure": check.figure,
        "limit": check.limit.value,
        "in_words": prediction_text.check(check),
        "outcome": prediction_text.outcome(check),
    }


def _written(workspace: Workspace, run: Run, assessment: Assessment, folder: Path) -> Path:
    """Write the image's report; it is called after the image's hash."""
    outline = partial(lungs.outline_of, workspace, assessment.image, run.dataset.id)
    page = to_html([(run, assessment)], lambda _run: outline(), partial(heatmap_sanity.of, workspace))
    path = folder / file_name(assessment.image)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, page.encode())
    except OSError as error:
        raise InvalidChoice(f"No report can be written into {folder}: {cause(error)}.") from error
    return path
