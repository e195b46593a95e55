"""The lessons as one self-contained HTML page, to print: predictions, outcomes, figures, what to remember."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from covid_core.images.codec import data_url, jpeg_bytes
from covid_core.jobs import queue
from covid_core.jobs.kinds import HandoutRequest
from covid_core.lessons import outcomes, pictures, preparation
from covid_core.lessons.catalogue import LESSONS, Lesson, named, number_of
from covid_core.lessons.outcomes import Outcome
from covid_core.lessons.pictures import Picture
from covid_core.reports.image_report import template
from covid_core.work import Progress
from covid_core.workspace import Workspace

COUNTED = ("One way", "Two ways", "Three ways", "Four ways")
TEMPLATE = Path(__file__).with_name("summary.html")


@dataclass(frozen=True, eq=False)
class Entry:
    """A lesson that was held: what was predicted, in per cent (None: nothing), what came out, and its pictures."""

    lesson: Lesson
    outcome: Outcome
    prediction: float | None
    pictures: Sequence[Picture] = ()


def make(workspace: Workspace, request: HandoutRequest, progress: Progress) -> dict[str, Any]:
    """The job: each lesson as it is prepared, with the request's predictions. Handouts of other preparations go."""
    entries = []
    for place, (key, prediction) in enumerate(request.lessons.items()):
        progress(place / len(request.lessons), named(key).title)
        prepared = preparation.state_of(workspace, key)
        outcome = outcomes.of(named(key), prepared)
        shown = pictures.of_outcome(named(key), prepared, outcome)
        entries.append(Entry(named(key), outcome, prediction, shown))
    last = [preparation.state_of(workspace, lesson.key).job for lesson in LESSONS]
    current = {job.id for job in last if job is not None}
    for earlier in queue.jobs(workspace, HandoutRequest):
        if not earlier.is_active and not current.issuperset(earlier.request.prepared):
            queue.dismiss(earlier)
    return {"page": to_html(entries)}


def to_html(entries: Sequence[Entry]) -> str:
    """The page; it needs no other file and loads nothing."""
    made = f"{datetime.now():%d %B %Y, %H:%M}"
    title = f"{COUNTED[len(entries) - 1]} a model fools you"
    page = template(TEMPLATE).render(made=made, title=title, lessons=[_lesson(one) for one in entries])
    return page.replace(" %", "\u00a0%")  # a number and its sign stay on one line


def _lesson(entry: Entry) -> dict[str, Any]:
    table = outcomes.table(entry.outcome)
    return {
        "number": number_of(entry.lesson),
        "title": entry.lesson.title,
        "question": entry.lesson.question,
        "prediction_question": entry.lesson.prediction_question,
        "prediction": "Nothing was predicted." if entry.prediction is None else entry.outcome.against(entry.prediction),
        "headline": entry.outcome.headline,
        "details": entry.outcome.details,
        "columns": list(table.columns),
        "rows": table.to_numpy().tolist(),
        "pictures": [{"url": data_url(jpeg_bytes(one.pixels)), "caption": one.caption} for one in entry.pictures],
        "why": entry.lesson.why,
        "guards": [words for _, words in entry.lesson.guards],
    }
