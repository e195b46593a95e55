"""Any result of the core as JSON: a record by its fields, a table by its rows, an undefined number as null.

The keys that the command line promises are a contract. Where they are not the fields of a type, EXCEPTIONS says what
they are.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from covid_core.audit.dataset_audit import DatasetAudit
from covid_core.audit.duplicates.duplicate_pairs import Shared
from covid_core.audit.embedding.embedding_map import Map
from covid_core.audit.shortcuts import probe_ladder
from covid_core.audit.shortcuts.probe_ladder import Ladder, Reason, Rung, Sources
from covid_core.data.dataset import Dataset
from covid_core.data.imports.layouts import Layout
from covid_core.data.imports.merging import Merge
from covid_core.evaluation import image_selection, repeats
from covid_core.evaluation.assessment import Measured
from covid_core.evaluation.image_selection import ImageAnswers
from covid_core.evaluation.label_check import LabelCheck
from covid_core.evaluation.metrics import Gap, Measure, ThresholdCurves
from covid_core.evaluation.repeats import Comparison, ImageChoice, Remark, Repeat, Repeats, Tested
from covid_core.formatting import with_hyphens
from covid_core.reports import audit_text, comparison_text, evidence_text, repeats_text, run_figures, run_text
from covid_core.reports.study_text import Outcome
from covid_core.runs.pinned_dataset import Version
from covid_core.runs.segmenters import Segmenter
from covid_core.runs.store import FAILED, INTERRUPTED, BrokenRun, Run, Study

Fields = Mapping[str, Any]


def encode(value: Any) -> Any:
    """The value as ``json.dumps`` takes it: dict, list, str, int, float, bool and None, whatever it holds.

    Numbers that are nan or infinite become None. Raises TypeError for what has no form in JSON.
    """
    value = EXCEPTIONS.get(type(value), lambda one: one)(value)
    if isinstance(value, str) and not isinstance(value, Enum):
        return with_hyphens(value)
    if value is None or isinstance(value, bool | int) and not isinstance(value, Enum):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): encode(item) for name, item in value.items()}
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, BaseModel):
        return encode(value.model_dump(mode="json"))
    if isinstance(value, pd.DataFrame):
        return encode(value.to_dict("records"))
    if isinstance(value, np.ndarray | np.generic):
        return encode(value.tolist())
    if isinstance(value, Enum):
        return encode(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [encode(item) for item in value]
    raise TypeError(f"No JSON for {type(value).__name__}.")


def _dataset(one: Dataset) -> Fields:
    return {
        "dataset": one.id,
        "name": one.name,
        "images": len(one.images),
        "counts": one.counts,
        "synthetic": one.is_synthetic,
        "version": one.version,
        "left_out": one.left_out,
    }


def _layout(one: Layout) -> Fields:
    return {
        "counts": {label: len(one.listed[label]) for label in one.chosen},
        "classes": one.table(),
        "other_classes": {label: images for label, images in one.counts.items() if label not in one.chosen},
        "patients": {"pattern": one.patients, "anew": one.anew, "in_several_parts": one.crossing},
        "tables": one.tables,
        "encoding": one.encoding,
        "left_out": [{"path": path, "reason": reason} for path, reason in one.left_out],
    }


def _audit(one: DatasetAudit) -> Fields:
    return {
        "summary": one.quality.summary,
        "findings": one.quality.findings.drop(columns="reason"),
        "copies": one.pairs,
        "conflicts": int(one.pairs["conflict"].sum()),
        **{name: getattr(one, name) for name in ("ladder", "ladder_reason", "sources", "made", "seconds")},
        "outdated": audit_text.OUTDATED[one.outdated],
    }


def _labels(one: LabelCheck) -> Fields:
    return {**_but(one, "number", "pairs"), "cause": run_text.label_cause(one), "in_words": run_text.labels(one)}


def _ladder(one: Ladder) -> Fields:
    rungs = [_rung(rung) | ({"kept": one.share_of_gain(rung)} if rung.was_run else {}) for rung in one.rungs]
    verdict = {**vars(probe_ladder.verdict(one)), **vars(audit_text.ladder(one))}
    del verdict["warnings"]
    return {
        **_but(one, "rungs"),
        "note": audit_text.ladder_note(one),
        "folds": probe_ladder.FOLDS,
        "verdict": verdict,
        "rungs": rungs,
    }


def _rung(one: Rung) -> dict[str, Any]:
    figures = _but(one, "probe", "lungs_from") if one.was_run else {"reason": one.reason}
    return {
        "sees": one.probe.input,
        **_but(one.probe, "input"),
        "run": one.was_run,
        **figures,
        "note": audit_text.rung_note(one),
    }


def _sources(one: Sources) -> Fields:
    corrected = {(label, rung.probe.key): p for label, rung, p in one.questions}
    within = {
        label: [{**rung, "p_corrected": corrected.get((label, rung["key"]))} for rung in _ladder(ladder)["rungs"]]
        for label, ladder in one.ladders.items()
    }
    figures = {"known": one.with_source, **_but(one, "with_source", "ladders")}
    return {**figures, "within": within, "in_words": audit_text.sources(one)}


def _map(one: Map) -> Fields:
    tables = {"images": one.images.drop(columns=["row", "given"]), "outliers": one.outliers}
    facts = {**one.facts, "features": audit_text.described_by(one), "reason": one.reason}
    return {**facts, "words": audit_text.neighbours(one), **tables, "suspicious": one.suspicious}


def _image_answers(one: ImageAnswers) -> Fields:
    """The images by id: every answer, and the lists that the Compare page makes of them."""
    answers = pd.DataFrame({"image_id": one.image_ids, "label": one.labels})
    for k, run in enumerate(one.runs):
        for name in ("called", "score", "own"):
            answers[f"{name}_{run}"] = getattr(one, name)[:, k]
    errors, scores = {}, {}
    for k, run in enumerate(one.runs):
        errors[run] = one.image_ids[image_selection.confident_errors(one, k)]
        scores[run] = {label: image_selection.score_counts(one, k, label).to_dict("list") for label in one.classes}
    return {
        "answers": answers,
        "hardest": one.image_ids[image_selection.hardest(one)],
        "confident_errors": errors,
        "doubtful_labels": one.image_ids[image_selection.doubtful_labels(one)],
        "scores": scores,
    }


def _repeats(one: Comparison) -> Fields:
    studies = [
        {**_study(study), "measures": spreads, "pooled": pooled, "above_majority": _tested(above, study)}
        for study, spreads, pooled, above in zip(one.studies, one.spreads, one.pooled, one.majority, strict=True)
    ]
    pairs = [
        {"first": first.id, "second": second.id, "p_holm": pair.p_holm, **_tested(pair, first, second)}
        for (first, second), pair in zip(combinations(one.studies, 2), one.pairs.values(), strict=True)
    ]
    return {"studies": studies, "pairs": pairs}


def _study(one: Repeats) -> Fields:
    runs = [_repeat(one, run) for run in one.runs]
    return {"study": one.id, **_but(one, "id"), "varied": one.varied, "seeds": one.seeds, "runs": runs}


def _repeat(study: Repeats, run: Repeat) -> Fields:
    return {
        "run": run.id,
        **_but(run, "id", "assessment"),
        "trained": repeats.trained_on(run.assessment),
        "tested": run.assessment.test.n,
        "measures": {name: repeats.value(run, name) for name in repeats.measures(study)},
    }


def _tested(one: Tested, *studies: Repeats) -> Fields:
    result = vars(one.result) if one.result else {}
    if one.result and len(studies) == 1:
        result = result | {"p_above": one.result.p_above}
    reason = repeats_text.reason(one, *studies)
    return {"test": repeats_text.TESTS[one.varied], "runs": one.runs, "reason": reason, **result}


def _run(one: Run) -> Fields:
    status, finished = one.status(), bool(one.result)
    return {
        "run": one.id,
        "name": one.name,
        "annotation": one.annotation.model_dump(exclude={"name", "number"}),
        "state": status.state,
        "reason": status.reason,
        "stage": status.message,
        "place": status.place,
        "progress": status.progress,
        "study": one.study,
        "dataset": one.dataset.id,
        "split_hash": one.split_hash,
        "weights": one.result.get("weights", {"origin": one.spec.weights}),
        "test": {"accuracy": one.accuracy("test")} if finished else None,
        "audit": run_figures.model_audit_of(one) if finished else None,
        "verdict": evidence_text.of(one).verdict if finished else None,
    }


def _study_outcome(one: Outcome) -> Fields:
    rows = [_run(run) for run in one.runs]
    answer = {"study": one.study.id, "name": one.study.name, "runs": rows}
    answer["failed"] = any(row["state"] in (FAILED, INTERRUPTED) for row in rows)
    if one.repeats:
        accuracy, figures = one.repeats.spreads[0]["accuracy"], _repeats(one.repeats)["studies"][0]
        answer["test"] = {"accuracy": accuracy.mean, "spread": accuracy.spread, "runs": accuracy.count}
        answer["test"] |= {name: figures[name] for name in ("measures", "pooled", "above_majority")}
    if one.conclusion:
        rows_of = "sources" if one.study.is_by_source else "pairs"
        answer["conclusion"] = {"sentence": one.conclusion.sentence, rows_of: one.conclusion.numbers}
    return answer


def _but(one: Any, *names: str) -> dict[str, Any]:
    """The fields of a record but for some."""
    return {field.name: getattr(one, field.name) for field in fields(one) if field.name not in names}


EXCEPTIONS: dict[type, Callable[[Any], Any]] = {
    BrokenRun: lambda one: {one.kind: one.id, "reason": one.reason},
    Comparison: _repeats,
    Dataset: _dataset,
    DatasetAudit: _audit,
    ImageAnswers: _image_answers,
    LabelCheck: _labels,
    Ladder: _ladder,
    Layout: _layout,
    Merge: lambda one: {"counts": one.counts.sum(axis=1).to_dict(), "members": one.records, "classes": one.table},
    Map: _map,
    Gap: comparison_text.gap,
    ImageChoice: run_text.images,
    Measure: lambda one: {**vars(one), "note": comparison_text.note(one)},
    Measured: lambda one: {**_but(one, "n"), "confusion": one.confusion.to_dict("index")},
    Reason: audit_text.reason,
    Remark: repeats_text.remark,
    Outcome: _study_outcome,
    Run: _run,
    Segmenter: lambda one: {"segmenter": one.id, **one.record.model_dump(mode="json")},
    Study: lambda one: _but(one, "created"),
    Version: lambda one: {"before": one.before, "decisions": one.decided, "in_words": run_text.version(one)},
    Shared: lambda one: {
        "pairs": one.pairs,
        "images": one.images,
        "others": one.others,
        "conflicts": len(one.conflicts),
    },
    Sources: _sources,
    ThresholdCurves: lambda one: {
        **{name: getattr(one, name).to_dict("list") for name in ("roc", "precision_recall")},
        "undefined": comparison_text.gap(one.undefined),
    },
}
