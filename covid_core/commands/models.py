"""Verbs about trained models: compare runs, test them elsewhere, predict, audit them, and outline lungs."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from covid_core import presets
from covid_core.audit.model import model_audit
from covid_core.commands.training import runs_of
from covid_core.commands.verbs import SEED, WAIT, option, progress, started, verb
from covid_core.data import dataset as data
from covid_core.errors import CovidCoreError
from covid_core.evaluation import comparison, image_selection
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.comparison import Candidate
from covid_core.formatting import count, interval, plural, points, share
from covid_core.inference import external_test
from covid_core.jobs import queue
from covid_core.jobs.kinds import ModelAuditRequest, ReferenceRequest, SegmenterRequest
from covid_core.reports import comparison_text, evidence_text, repeats_text, run_figures, run_text
from covid_core.reports.encode import encode
from covid_core.runs import candidates, segmenters, store, test_set_access
from covid_core.workspace import Workspace


@verb(
    "compare",
    option("runs", nargs="*", metavar="RUN"),
    option("--study", action="append", help="all runs of a study; of folds or seeds also what they say together"),
)
def do_compare(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of some runs with their intervals, every pair tested, in words too; studies of repeats together."""
    studies = [store.open_study(workspace, name) for name in dict.fromkeys(options.study or [])]
    runs = {run.id: run for run in (store.open_run(workspace, name) for name in dict.fromkeys(options.runs))}
    members = {study.id: runs_of(workspace, study) for study in studies}
    runs |= {run.id: run for of_study in members.values() for run in of_study if run.result}
    if not runs:
        lacking = f"No finished run in {' and '.join(study.name for study in studies)}." if studies else ""
        raise CovidCoreError(lacking or "Say which runs: compare RUN..., or compare --study STUDY.")
    names = candidates.unique_names(list(runs.values()))
    loaded = [candidates.candidate(run, name) for run, name in zip(runs.values(), names, strict=True)]
    groups = [_compared(group, runs) for group in comparison.grouped(loaded)]
    note = "not comparable: different test images"
    text = f"\n\n--- {note} ---\n\n".join(group.pop("text") for group in groups)
    answer = {"groups": groups, "comparable": len(groups) == 1, "text": text}
    repeated = [(study, members[study.id]) for study in studies if study.is_repeats]
    if repeated:
        given = candidates.repeats(repeated)
        sentences = repeats_text.summary(given).sentences
        answer["repeats"] = {**encode(given), "summary": sentences}
        answer["text"] = "\n".join([*sentences, f"\n--- run by run ---\n\n{text}"])
    return answer


def _compared(group: Sequence[Candidate], runs: dict[str, store.Run]) -> dict[str, Any]:
    """One group of runs that were tested on the same images."""
    ranking = comparison.ranking(group)
    members = [runs[candidate.id] for candidate in ranking.order]
    not_noted = [run.id for run in test_set_access.note(members, test_set_access.FIGURES)]
    if not_noted:
        print(f"this look could not be noted: {', '.join(not_noted)}", file=sys.stderr)
    table = comparison.performance_table(ranking.order).to_dict("records")
    read = {candidate.id: evidence_text.of(runs[candidate.id]) for candidate in ranking.order}
    for row in table:
        row["verdict"] = read[row["id"]].verdict if row["id"] else ""
    names = [candidate.name for candidate in ranking.order]
    summary = comparison_text.summary(ranking)
    details = (*summary.details, evidence_text.sentence(names, list(read.values())))
    sentences = replace(summary, details=details).sentences
    return {
        "images": candidates.images_in_words(members[0]),
        "table": table,
        "pairs": comparison.pair_table(ranking),
        "runs": {candidate.id: run_figures.of_run(runs[candidate.id], candidate) for candidate in ranking.order},
        "test_images": image_selection.image_answers({run.id: run.predictions() for run in members}),
        "looks": test_set_access.of(members),
        "looks_not_noted": not_noted,
        "summary": sentences,
        "text": "\n".join([*map(_compared_row, table), "", *sentences]),
    }


@verb(
    "evaluate",
    "run",
    "images",
    option("--name", default="", help="of the data set that is made of a folder"),
    option("--classes", nargs="+", help="class folders to use"),
    option("--map", action="append", metavar="OUTSIDE=CLASS", help="which of the run's classes an outside class is"),
)
def do_evaluate(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """A finished run on images from elsewhere: a folder with one folder per class, or a data set's id."""
    from covid_core.data import importing

    run = store.open_run(workspace, options.run)
    mapping = presets.parse_assignments(options.map or [])
    known = {info["id"] for info in data.list_datasets(workspace)}
    if options.images in known:
        images = data.open_dataset(workspace, options.images)
    else:
        images = importing.import_path(workspace, Path(options.images), options.name, options.classes, progress())
    evaluation = external_test.evaluate(workspace, run, images, mapping, progress())
    answer = encode(run_figures.external_test_of(run, evaluation))
    return {**answer, "text": "\n".join(_outside_lines(answer))}


def _outside_lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"{answer['run']} on {answer['dataset']['name']}: {plural(answer['images'], 'image')}"]
    if answer["shared"]:
        images, conflicts = plural(answer["shared"], "image"), count(answer["conflicts"])
        lines.append(
            f"left out: {images} that the run's own data set has as well, {conflicts} with another class there"
        )
    for label, unknown in answer["unknown"].items():
        lines.append(f"left out: {plural(unknown, 'image')} of {label}, which the run does not know")
    for name, drop in answer["drop"].items():
        inside, beyond = (
            part["overall"]["accuracy"] if name == "accuracy" else part["per_class"][name]["sensitivity"]
            for part in (answer["inside"], answer["outside"])
        )
        figures = (interval(one["value"], one["low"], one["high"]) for one in (inside, beyond))
        what = "accuracy" if name == "accuracy" else f"sensitivity for {name}"
        difference = points(drop["value"], drop["low"], drop["high"])
        lines.append(f"{what}: inside {next(figures)}, outside {next(figures)}, drop {difference}")
    return lines


@verb(
    "predict",
    "run",
    option("files", nargs="+", metavar="FILE"),
    option("--coverage", type=float, default=0.9, help="how often the possible classes hold the true one: 0.7 to 0.99"),
    option("--window", type=int, default=0, help="which of the windows of an image to read it through"),
    option("--anyway", action="store_true", help="numbers of an image that failed a check, too"),
    option("--report", metavar="FOLDER", help="write a page per image there, with nothing personal in it"),
)
def do_predict(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """What a run says of images, what needs a look first on top: the checks, the classes that stay possible, calibrated
    probabilities where it has them, and scores. A file that cannot be read faithfully, or fails a check, gets its
    reason, and no numbers."""
    from covid_core.inference.predictor import Predictor
    from covid_core.reports import image_report

    run = store.open_run(workspace, options.run)
    predictor = Predictor.open(workspace, run)
    reports = Path(options.report) if options.report else None
    about = {"coverage": options.coverage, "window": options.window, "anyway": options.anyway, "reports": reports}
    rows = image_report.of_files(workspace, run, predictor, options.files, **about)
    synthetic = run.dataset.synthetic
    lines = [*map(_predicted_row, rows), _scale_in_words(run, predictor.calibration)]
    if synthetic:
        lines.append("Trained on synthetic images: a prediction for a real image means nothing.")
    return {
        "run": run.id,
        "trained_on_synthetic": synthetic,
        "coverage": options.coverage,
        "calibration": run_figures.calibration_of(run),
        "images": rows,
        "failed": any("error" in row for row in rows),
        "text": "\n".join(lines),
    }


@verb("reference", "run", WAIT)
def do_reference(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Make what a run needs to judge new images by, where an earlier version trained it; no training."""
    _, answer = started(workspace, ReferenceRequest(run=options.run), options.wait)
    return {"run": options.run, **answer}


@verb("audit-run", "run", WAIT)
def do_audit_run(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Evidence check of a finished run: do its predictions follow the lungs, or the frame around them?"""
    run = store.open_run(workspace, options.run)
    answer = {"run": run.id, **started(workspace, ModelAuditRequest(run=run.id), options.wait)[1]}
    audited = model_audit.stored(run) if answer["state"] == store.COMPLETED else None
    if audited is None:
        return answer
    text = "\n".join([run.id, *evidence_text.lines(audited)])
    return {**answer, "audit": evidence_text.with_words(audited), "text": text}


def _compared_row(row: dict[str, Any]) -> str:
    test = interval(row["test"], row["test_low"], row["test_high"])
    verdict = f"  {row['verdict']}" if row["verdict"] else ""
    marks = f"  ({row['marks']})" if row["marks"] else ""
    figures = f"train {share(row['train']):>7}  val {share(row['validation']):>7}  test {test}"
    return f"{row['name'][:34]:34} {figures}{verdict}{marks}"


def _predicted_row(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['file']}: {row['error']}"
    told = [f"{row['file']}: {row['answer']} {row['figures']}".rstrip()]
    told += [*row["notes"], *filter(None, [row["although"]]), *row["warnings"], *_not_checked(row)]
    for scale in ("probabilities", "scores"):
        if row[scale]:
            told.append(f"{scale}: {', '.join(f'{label} {value:.3f}' for label, value in row[scale].items())}")
    return "\n    ".join(told)


def _not_checked(row: dict[str, Any]) -> list[str]:
    """What could not be asked before the answer, a sentence for each reason."""
    reasons: dict[str, list[str]] = {}
    for check in row["checks"]:
        if check["passed"] is None:
            reasons.setdefault(check["in_words"], []).append(check["name"])
    return [f"{' and '.join(names).capitalize()}? {reason}" for reason, names in reasons.items()]


def _scale_in_words(run: store.Run, calibration: Calibration) -> str:
    if not calibration.is_defined:
        return f"Scores are not probabilities: this run is not calibrated. {calibration.note}"
    images = run_text.calibration_images(run, calibration)
    return f"Probabilities: scores at temperature {calibration.temperature:.2f}, calibrated on {images}."


@verb("segment", "dataset", SEED, WAIT)
def do_segment(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Learn to outline lungs from a data set's masks."""
    name = data.open_dataset(workspace, options.dataset).name
    request = SegmenterRequest(dataset=options.dataset, seed=options.seed, name=name)
    job, answer = started(workspace, request, options.wait)
    answer["dataset"] = options.dataset
    if answer["state"] != store.COMPLETED:
        return answer
    made = segmenters.open_segmenter(workspace, job.result["segmenter"])
    return {**answer, **encode(made), "text": f"{made.id}  {made.in_words}"}


@verb("segmenters")
def do_segmenters(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List the segmenters that outline lungs, damaged ones with their reason, and those that learn now."""
    listed, broken = segmenters.list_segmenters(workspace)
    learning = [job for job in queue.jobs(workspace, SegmenterRequest) if job.is_active]
    lines = [
        f"{one.id}  Dice {one.dice_in_words} on {plural(one.record.dice.n, 'test image')}  {one.dataset.name}"
        for one in listed
    ]
    lines += [f"{entry.id}  damaged: {entry.reason}" for entry in broken]
    lines += [f"{job.id}  {job.status.state} {share(job.status.progress, 0)}" for job in learning]
    return {
        "segmenters": listed,
        "damaged": [{"segmenter": entry.id, "reason": entry.reason} for entry in broken],
        "jobs": [{"job": job.id, "dataset": job.request.dataset, **encode(job.status)} for job in learning],
        "text": "\n".join(lines) or "No segmenter yet: try segment DATASET, on a data set with lung masks.",
    }


@verb("delete-segmenter", "segmenter")
def do_delete_segmenter(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a segmenter."""
    segmenters.delete_segmenter(workspace, options.segmenter)
    return {"segmenter": options.segmenter, "deleted": True}
