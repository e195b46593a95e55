"""An image, what runs say of it, and why: one self-contained HTML page, without anything that names a patient.

It holds the picture, heat maps, answers, checks and limits; no file name, no tag, no image of another patient.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from covid_core.audit.model.randomisation_test import MapCheck
from covid_core.backbones import BACKBONES
from covid_core.errors import CovidCoreError
from covid_core.evaluation import metrics
from covid_core.evaluation.assessment import groups_of
from covid_core.figures.theme import class_colours
from covid_core.formatting import count, plural, probability, share
from covid_core.images.codec import GreyImage, data_url, fitted, jpeg_bytes, png_bytes
from covid_core.inference.heatmap import overlaid
from covid_core.inference.lung_share import share_inside
from covid_core.inference.prediction import Check
from covid_core.inference.worklist import Opinion
from covid_core.reports import evidence_text, prediction_text
from covid_core.reports.comparison_text import in_words
from covid_core.runs.store import Run

TEMPLATE = Path(__file__).with_name("image_report.html")
LONGEST = 900  # pixels of a picture in the report
OPACITY = 0.6  # of the heat map
MARK_DIGITS = 8  # of the image's hash: tells images apart, names nobody
LIMITS = (
    "It is a statistical answer of a program that has seen the images of one data set. It is no diagnosis.",
    "Probabilities and the set of possible classes hold for images like those validation images, in that mix of "
    "classes; not for another hospital's.",
    "The program knows the classes of its data set and no other: whatever else the image shows, it will not say so.",
    "A heat map shows what raised a number. It does not show that the reason is a medical one.",
)


@dataclass(frozen=True)
class Map:
    """A heat map in [0, 1] of shape (height, width), whose it is, for which class, and what is known of it."""

    run: str
    label: str
    heat: np.ndarray
    note: str = ""


def to_html(
    image: GreyImage,
    runs: Sequence[Run],
    opinions: Sequence[Opinion],
    maps: Sequence[Map],
    anyway: bool,
) -> str:
    """The report as HTML that needs no other file and loads nothing.

    Args:
        image: as it was read.
        runs: those that were asked.
        opinions: what each of them says, in their order.
        maps: heat maps to show.
        anyway: show the numbers of an image that failed a check, too.
    """
    told = prediction_text.said(opinions, anyway)
    shown = fitted(image.pixels, LONGEST)
    done = opinions[0].look.prediction.done if opinions else image.notes
    report = {
        "mark": mark_of(image),
        "made": f"{datetime.now():%d %B %Y, %H:%M}",
        "answer": " ".join(text for text in (told.answer, told.figures) if text),
        "warnings": [*filter(None, [prediction_text.although(opinions) if anyway else ""]), *image.warnings],
        "pictures": [
            _picture(png_bytes(shown), "The image as it was read", "Image"),
            *(_drawn(shown, m) for m in maps),
        ],
        "done": "; ".join(done) or "nothing",
        "runs": [_run(run, opinion, anyway, len(runs) > 1) for run, opinion in zip(runs, opinions, strict=True)],
        "limits": LIMITS,
    }
    return _template().render(report=report)


def note_of(heat: np.ndarray, lungs: np.ndarray | None, check: MapCheck) -> str:
    """What is to be known of a heat map: its share inside the lungs where they are known, and if it means anything.

    ``heat`` and ``lungs`` as ``share_inside`` takes them.
    """
    inside = share_inside(heat, lungs).in_words if lungs is not None else ""
    return " ".join(filter(None, [inside, check.in_words]))


def mark_of(image: GreyImage) -> str:
    """What an image is called in its report: first digits of a hash of its pixels. It tells images apart, and no
    more."""
    return hashlib.sha256(np.ascontiguousarray(image.pixels)).hexdigest()[:MARK_DIGITS]


def shape_of(image: GreyImage) -> tuple[int, int]:
    """Height and width of the image's picture in the report."""
    return fitted(image.pixels, LONGEST).shape


@lru_cache
def _template() -> Any:
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE.read_text(encoding="utf-8"))


def _picture(content: bytes, caption: str, alt: str) -> dict[str, str]:
    return {"url": data_url(content), "caption": caption, "alt": alt}


def _drawn(shown: np.ndarray, one: Map) -> dict[str, str]:
    heat = overlaid(shown, one.heat, OPACITY)
    caption = f"{one.run}: Grad-CAM, what speaks for {one.label}. {one.note}".strip()
    return _picture(jpeg_bytes(heat, quality=90), caption, f"Heat map over the image: what speaks for {one.label}")


def _run(run: Run, opinion: Opinion, anyway: bool, several: bool) -> dict[str, Any]:
    look, prediction = opinion.look, opinion.look.prediction
    told = prediction_text.said([opinion], anyway)
    hidden = look.refused_by is not None and not anyway
    return {
        "name": opinion.run,
        "says": " ".join(text for text in (told.answer, told.figures) if text) if several else "",
        "scale": prediction_text.scale_of(prediction),
        "scores": prediction.is_calibrated,
        "rows": [] if hidden else _rows(opinion),
        "checks": [{"outcome": outcome(check), "text": check.text} for check in look.checks],
        "similar": ", ".join(f"{one.label} (distance {one.distance:.2f})" for one in look.neighbours),
        "card": card_line(run),
    }


def _rows(opinion: Opinion) -> list[dict[str, Any]]:
    prediction = opinion.look.prediction
    known, colours = prediction.by_class(prediction.best_known), class_colours(prediction.classes)
    return [
        {
            "label": label,
            "value": probability(known[label]),
            "score": probability(score),
            "width": round(100 * known[label], 1),
            "colour": colours[label],
        }
        for label, score in prediction.by_class(prediction.scores).items()
    ]


def outcome(check: Check) -> str:
    """How a check ended, in a word."""
    return {True: "Passed", False: "Failed", None: "Not checked"}[check.passed]


def card_line(run: Run) -> str:
    """What a run is and how good it is known to be, in a few sentences. Says so where its predictions are damaged."""
    kind = BACKBONES[run.spec.backbone].label
    synthetic = "synthetic " if run.dataset.synthetic else ""
    try:
        table = run.predictions()
        test = metrics.answers(table, "test")
        learned = count(int((table["part"] == "train").sum()))
        reached = metrics.accuracy(test, groups_of(test, run.groups()))
        largest = share(float(test.images.max() / test.n)) if test.n else "–"
        words = (
            f"it answers {in_words(reached)} of its {plural(test.n, 'test image')} rightly "
            f"(always answering the largest class: {largest})"
        )
    except CovidCoreError as error:
        return f"{kind}, run {run.id}. What it reaches cannot be told: {error}"
    return (
        f"{kind}, trained on {learned} {synthetic}images of the data set {run.dataset.name}; {words}. "
        f"{evidence_text.of(run).in_full} Run {run.id}."
    )
