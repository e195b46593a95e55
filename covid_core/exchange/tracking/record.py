"""What of a finished run is written elsewhere: settings, figures with intervals, curves, charts, documents, the model.

No pixel of an image is among it, no name of a file and no prediction of a single image.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from covid_core import __version__
from covid_core.errors import InvalidChoice, RunError
from covid_core.evaluation import calibration, metrics
from covid_core.evaluation.assessment import Measured
from covid_core.evaluation.metrics import Measure
from covid_core.figures import evaluation, training
from covid_core.reports import evidence_text, run_text
from covid_core.reports.course.document import Chart
from covid_core.reports.course.pictures import PNG, pictures
from covid_core.runs import candidates, test_set_access
from covid_core.runs.store import Run

OTHER = re.compile(r"[^\w.\- ]")  # what a name of a figure may not hold anywhere
QUANTITIES = ("accuracy", "loss")
OF_IMPORTED = {"name", "dataset", "classes", "backbone", "split", "labels"}  # settings of predictions from elsewhere
NO_FIGURES = "The charts are left out: they need Chrome or Chromium, and none starts here."


@dataclass(frozen=True, eq=False)
class Record:
    """What of a run leaves.

    ``settings`` are those of its spec by dotted name, ``figures`` numbers by PART/MEASURE or PART/CLASS/MEASURE, each
    with its ``low`` and ``high`` where it has an interval; ``undefined`` are the names of those that are none.
    ``curves`` are numbers by epoch, counted from 1 over all stages. ``charts`` are PNG files, ``documents`` others, by
    name. ``model`` is a Keras file. ``lacks`` are sentences on what is not there.
    """

    run: str
    name: str
    tags: dict[str, str]
    settings: dict[str, str]
    figures: dict[str, float]
    undefined: tuple[str, ...]
    curves: pd.DataFrame
    charts: Mapping[str, bytes] = field(repr=False)
    documents: Mapping[str, bytes] = field(repr=False)
    model: Path | None
    lacks: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Changes with what the record holds, but for charts and documents: its numbers drawn, and put in words. A card
        also counts the views of the test part, of which each record is one."""
        names = sorted([*self.charts, *self.documents])
        facts = [self.name, self.tags, self.settings, self.figures, self.curves.to_dict("list"), names]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def of(run: Run, documents: Mapping[str, bytes] | None = None) -> Record:
    """The record of a finished run, with documents on it by file name. The view of its test part is noted.

    Raises RunError without a result, RunDamaged.
    """
    if not run.result:
        raise RunError(f"{run.name} has no result yet.")
    candidate = candidates.candidate(run)
    tested = candidate.assessment.tested
    parts = {"test": tested, "validation": candidates.measured(run, "validation")}
    measures = {"test/majority_baseline": candidate.assessment.majority["test"]}
    for part, measured in parts.items():
        measures |= {f"{part}/{name}": measure for name, measure in _measures(measured)}
    figures = {name: value for name, measure in measures.items() for name, value in _with_interval(name, measure)}
    figures |= {f"{part}/images": float(measured.n) for part, measured in parts.items()}
    history = run.history()
    try:
        charts, lacks = _drawn(run, tested, history), ()
    except InvalidChoice:
        charts, lacks = {}, (NO_FIGURES,)
    stated = None if run.has_network else OF_IMPORTED
    test_set_access.note([run], test_set_access.FIGURES)
    curves = history.select_dtypes("number").drop(columns="epoch", errors="ignore").set_axis(range(1, len(history) + 1))
    return Record(
        run=run.id,
        name=run.name,
        tags=_tags(run),
        settings=dict(_flat(run.spec.without_folders().model_dump(mode="json", include=stated))),
        figures=figures,
        undefined=tuple(name for name, measure in measures.items() if not measure.is_defined),
        curves=curves,
        charts=charts,
        documents=documents or {},
        model=run.model_path if run.has_model else None,
        lacks=lacks,
    )


def _tags(run: Run) -> dict[str, str]:
    weights = run.result.get("weights", {})
    return {
        "second_look.run": run.id,
        "second_look.version": __version__,
        "second_look.dataset": run.dataset.name,
        "second_look.dataset_version": run.dataset.version,
        "second_look.synthetic": str(run.dataset.synthetic).lower(),
        "second_look.split": run.split_hash,
        "second_look.study": run.study,
        "second_look.tags": ", ".join(run.annotation.tags),
        "second_look.weights": str(weights.get("origin", run.spec.without_folders().weights)),
        "second_look.evidence_check": evidence_text.of(run).in_full,
        "second_look.labels": run_text.labels(candidates.label_check(run)),
        "second_look.model_sha256": str(run.result.get("model_sha256", "")),
        "second_look.use": "For research and teaching. Not a medical device.",
    }


def _measures(measured: Measured) -> Iterator[tuple[str, Measure]]:
    yield from measured.overall.items()
    for number, (label, of_class) in enumerate(measured.per_class.items()):
        plain = OTHER.sub("_", label)
        others = [OTHER.sub("_", one) for one in list(measured.per_class)[:number]]
        unique = f"{plain} {number + 1}" if plain in others else plain
        yield from ((f"{unique}/{name}", measure) for name, measure in of_class.items())


def _with_interval(name: str, measure: Measure) -> Iterator[tuple[str, float]]:
    bounds = {name: measure.value, f"{name}/low": measure.low, f"{name}/high": measure.high}
    yield from ((key, float(value)) for key, value in bounds.items() if value == value)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Texts by dotted names: objects by their keys, all else as JSON; what is null is left out."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield OTHER.sub("_", name), value if isinstance(value, str) else json.dumps(value)


def _drawn(run: Run, tested: Measured, history: pd.DataFrame) -> dict[str, bytes]:
    """The charts as PNG files by their name. Raises InvalidChoice without a browser."""
    answers = metrics.answers(run.predictions(), "test")
    curves, lines = metrics.threshold_curves(answers), evaluation.run_lines(range(len(run.classes)))
    roc = [(label, of.roc) for label, of in curves.items()]
    precision_recall = [(label, of.precision_recall) for label, of in curves.items()]
    drawn = {
        f"{quantity}_by_epoch": (quantity.capitalize(), training.run_curves(history, quantity, run.spec.keep))
        for quantity in QUANTITIES
        if len(history)
    }
    drawn |= {
        "confusion_matrix": ("Confusion matrix", evaluation.confusion_matrix(tested.confusion)),
        "roc": ("ROC curves, each class against the others", evaluation.roc_curves(roc, lines)),
        "precision_recall": ("Precision-recall curves", evaluation.precision_recall_curves(precision_recall, lines)),
    }
    if bins := calibration.reliability(answers):
        drawn["reliability"] = ("Calibration", evaluation.reliability([(run.name, bins)], evaluation.run_lines([0])))
    charts = [Chart(key, f"{title}: {run.name}", "", title, figure) for key, (title, figure) in drawn.items()]
    return {f"{key}.{kind}": content for (key, kind), content in pictures(charts, [PNG], titled=True).items()}
