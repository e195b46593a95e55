"""Verbs about trained models: compare runs, test them elsewhere, predict, audit them, and outline lungs."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from covid_core import presets
from covid_core.audit.model import model_audit
from covid_core.backbones import BACKBONES, Backbone
from covid_core.commands.training import runs_of
from covid_core.commands.verbs import ARGUMENTS, SEED, WAIT, option, progress, started, verb
from covid_core.data import dataset as data
from covid_core.errors import CovidCoreError, RunError
from covid_core.evaluation import comparison
from covid_core.evaluation.comparison import Candidate
from covid_core.evaluation.recalibration import FEWEST, MOST, USUAL
from covid_core.exchange.forms.formats import FORMATS
from covid_core.formatting import plural, share
from covid_core.images.codec import content_of
from covid_core.inference import external_test
from covid_core.jobs import kinds, queue
from covid_core.jobs.kinds import BackboneRequest, ExportRequest, ModelAuditRequest, ReferenceRequest, SegmenterRequest
from covid_core.reports import (
    comparison_text,
    evidence_text,
    external_text,
    prediction_text,
    repeats_text,
    run_figures,
    run_text,
    study_text,
)
from covid_core.reports.elsewhere import drift_text
from covid_core.reports.encode import encode
from covid_core.runs import backbone_files, candidates, segmenters, store, test_set_access
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.specs import LayoutSpec
from covid_core.workspace import Workspace


@verb(
    "compare",
    option("runs", nargs="*", metavar="RUN", help=ARGUMENTS["run"]),
    option("--study", action="append", help="all runs of a study; of folds or seeds also the joint result"),
)
def do_compare(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of runs with intervals, a test of every pair, and a result in words; studies of repeats together."""
    studies = [store.open_study(workspace, name) for name in dict.fromkeys(options.study or [])]
    runs = {run.id: run for run in (store.open_run(workspace, name) for name in dict.fromkeys(options.runs))}
    members = {study.id: runs_of(workspace, study) for study in studies}
    runs |= {run.id: run for of_study in members.values() for run in of_study if run.result}
    if not runs:
        lacking = f"No finished run in {' and '.join(study.name for study in studies)}." if studies else ""
        raise CovidCoreError(lacking or "Say which runs: compare RUN..., or compare --study STUDY.")
    runs = {run.id: run for run in candidates.on_common_images(list(runs.values()))}
    names = candidates.unique_names(list(runs.values()))
    loaded = [candidates.candidate(run, name) for run, name in zip(runs.values(), names, strict=True)]
    groups = [_compared(group, runs) for group in comparison.grouped(loaded)]
    by_source = bool(studies) and not options.runs and all(study.is_by_source for study in studies)
    note = study_text.OWN_IMAGES if by_source else "not comparable: different test images"
    text = f"\n\n--- {note} ---\n\n".join(group.pop("text") for group in groups)
    answer = {"groups": groups, "comparable": len(groups) == 1, "text": text}
    repeated = [(study, members[study.id]) for study in studies if study.is_repeats]
    if repeated:
        repeats = candidates.repeats(repeated)
        sentences = repeats_text.summary(repeats).sentences
        answer["repeats"] = {**encode(repeats), "summary": sentences}
        answer["text"] = "\n".join([*sentences, f"\n--- run by run ---\n\n{text}"])
    return answer


def _compared(group: Sequence[Candidate], runs: dict[str, store.Run]) -> dict[str, Any]:
    """One group of runs that were tested on the same images."""
    not_noted = [run.id for run in test_set_access.note([runs[one.id] for one in group], test_set_access.FIGURES)]
    if not_noted:
        print(f"this view of the test set could not be noted: {', '.join(not_noted)}", file=sys.stderr)
    figures = run_figures.of_group(comparison.ranking(group), runs)
    text = "\n".join([*map(comparison_text.line, figures["table"]), "", *figures["summary"]])
    return {**figures, "looks_not_noted": not_noted, "text": text}


@verb(
    "evaluate",
    "run",
    "images",
    option("--name", default="", help="of the data set that is made of a folder"),
    option("--classes", nargs="+", help="class folders to use"),
    option("--map", action="append", metavar="OUTSIDE=CLASS", help="which of the run's classes an outside class is"),
    option("--sample", type=int, default=USUAL, help=f"labelled images to recalibrate on: {FEWEST} to {MOST}"),
    SEED,
)
def do_evaluate(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """A finished run on images from elsewhere: a folder with one folder per class, or a data set's id."""
    from covid_core.audit.shortcuts import source_match
    from covid_core.data.imports import importing

    run = store.open_run(workspace, options.run)
    run.check_network()  # before the images are imported
    if run.bundle:
        dataset_of(workspace, run)  # raises where it came without its images
    mapping = presets.parse_assignments(options.map or [])
    identifiers = {info["id"] for info in data.list_datasets(workspace)}
    if options.images in identifiers:
        images = data.open_dataset(workspace, options.images)
    else:
        layout = LayoutSpec(classes=options.classes)
        made = importing.import_path(workspace, Path(options.images), options.name, layout, progress())
        images = importing.reused(workspace, made)
    match = source_match.of(workspace, run, images)
    evaluation = external_test.evaluate(workspace, run, images, mapping, progress(), match)
    answer = encode(run_figures.external_test_of(run, evaluation, options.sample, options.seed))
    return {**answer, "text": "\n".join(external_text.lines(answer))}


@verb(
    "predict",
    "run",
    option("files", nargs="+", metavar="FILE", help="images: PNG, JPEG, TIFF, DICOM"),
    option("--coverage", type=float, default=0.9, help="how often the prediction set has the true class: 0.7 to 0.99"),
    option("--window", type=int, default=0, help="number of the window to read an image through"),
    option("--anyway", action="store_true", help="give numbers also for an image that failed a check"),
    option("--report", metavar="FOLDER", help="write a page per image there, with nothing personal in it"),
)
def do_predict(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """What a run predicts for images, the most urgent first: checks, prediction set, calibrated probabilities if there
    are some, and scores. A file that cannot be read faithfully, or fails a check, gets the reason and no numbers."""
    from covid_core.inference.predictor import Predictor
    from covid_core.reports import image_report

    run = store.open_run(workspace, options.run)
    predictor = Predictor.open(workspace, run)
    reports = Path(options.report) if options.report else None
    about = {"coverage": options.coverage, "window": options.window, "anyway": options.anyway, "reports": reports}
    contents = [(path, partial(content_of, path)) for path in options.files]
    answer = image_report.of_files(workspace, run, predictor, contents, **about)
    lines = [*map(prediction_text.line, answer["images"]), run_text.scale(run, predictor.calibration)]
    if answer["trained_on_synthetic"]:
        lines.append("Trained on synthetic images: a prediction for a real image means nothing.")
    return {**answer, "text": "\n".join(lines)}


@verb(
    "export",
    "run",
    option("--format", required=True, metavar="FORMAT", help=f"one of {', '.join(FORMATS)}"),
    option("--to", required=True, metavar="FOLDER", help="a folder that is new or empty"),
)
def do_export(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Export a finished run's model: grey images in, calibrated probabilities out (scores where the run is not
    calibrated). With a README, an example that runs without this app, and a check on 32 images."""
    from covid_core.exchange.forms import exported

    run, folder = store.open_run(workspace, options.run), Path(options.to)
    exported.check_target(folder)
    request = ExportRequest(run=run.id, format=options.format)
    kinds.of(request).check(workspace, request)
    if exported.stored(workspace, run, options.format) is None:
        _, answer = started(workspace, request, wait=True)
        if answer["state"] != store.COMPLETED:
            raise RunError(answer["reason"] or "The export was stopped.")
    facts = exported.unpacked(exported.path_of(workspace, run, options.format), folder)
    return {**facts, "folder": str(folder), "text": "\n".join([str(folder), *exported.in_words(facts)])}


@verb("reference", "run", WAIT)
def do_reference(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Make the reference that a run of an earlier version lacks. It checks new images. Nothing is trained."""
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


@verb("robustness", option("runs", nargs="+", metavar="RUN", help=ARGUMENTS["run"]))
def do_robustness(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """How finished runs hold under noise, blur, JPEG, exposure and framing. What is not measured yet is measured."""
    from covid_core.inference import robustness

    answers, lines = [], []
    for run in [store.open_run(workspace, name) for name in dict.fromkeys(options.runs)]:
        curve, check = robustness.stored(run), evidence_text.of(run)
        if curve is None:
            curve = robustness.make(workspace, run, progress())
        limits = {key: curve.limit(key) for key in robustness.CHANGES}
        words = [*run_text.robustness(curve), check.in_full]
        answers.append(
            {"run": run.id, **encode(curve), "worse_from": limits, "audit": encode(check), "in_words": words}
        )
        lines += [run.id, *words, *run_text.robustness_lines(curve)]
    return {"runs": answers, "text": "\n".join(lines)}


@verb("drift", "run", option("folder", help="images without labels, in it or in folders below"))
def do_drift(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Compare a batch of images without labels with the training images of a run: does it differ, in what, and what to
    do. The limit comes from batches without drift."""
    from covid_core.inference.drift import batch, folder
    from covid_core.inference.predictor import Predictor

    run = store.open_run(workspace, options.run)
    predictor = Predictor.open(workspace, run)
    batch.profile_of(run, predictor)  # before the images are predicted, which can take minutes
    assessments = folder.assessed(predictor, Path(options.folder), progress())
    answer = drift_text.to_json(batch.of_assessments(run, predictor, assessments), assessments)
    return {"run": run.id, **answer, "text": "\n".join(drift_text.lines(answer))}


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
    return {**answer, **encode(made), "text": f"{made.id}  {evidence_text.outline_by(made.origin)}"}


@verb("segmenters")
def do_segmenters(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List the segmenters that outline lungs, damaged ones with their reason, and those that learn now."""
    listed, broken = segmenters.list_segmenters(workspace)
    learning = [job for job in queue.jobs(workspace, SegmenterRequest) if job.is_active]
    lines = [
        f"{one.id}  Dice {evidence_text.dice(one.origin)} on {plural(one.record.dice.n, 'test image')}  "
        f"{one.dataset.name}"
        for one in listed
    ]
    lines += map(run_text.damaged, broken)
    lines += [f"{job.id}  {job.status.state} {share(job.status.progress, 0)}" for job in learning]
    return {
        "segmenters": listed,
        "damaged": broken,
        "jobs": [{"job": job.id, "dataset": job.request.dataset, **encode(job.status)} for job in learning],
        "text": "\n".join(lines) or "Only the built-in one outlines lungs: segment DATASET trains another.",
    }


@verb(
    "add-backbone",
    option("file", help="an ONNX, LiteRT (.tflite) or Keras (.keras) file on this computer"),
    option("--describe", metavar="FILE", help="its description as JSON; by default beside it, with the ending .json"),
)
def do_add_backbone(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Check a file that maps an image to features, copy it into the workspace, and offer it as a backbone."""
    source = Path(options.file).expanduser().absolute()
    file = backbone_files.described(Path(options.describe) if options.describe else source.with_suffix(".json"))
    request = BackboneRequest(source=str(source), description=file)
    made = kinds.of(request).work(workspace, request, progress())
    return _backbone_answer(backbone_files.named(workspace, made["backbone"]))


@verb("backbones")
def do_backbones(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List the backbones that a run can build on, those that come with the app and those that were added."""
    listed = [*BACKBONES.values(), *(file.backbone for file in backbone_files.listed(workspace))]
    rows = [_backbone_answer(one) for one in listed]
    return {"text": "\n".join(row.pop("text") for row in rows), "backbones": rows}


@verb("delete-backbone", option("name", help="of an added backbone, as backbones lists it"))
def do_delete_backbone(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove an added backbone that no run needs."""
    backbone_files.remove(workspace, options.name)
    return {"backbone": options.name, "deleted": True}


def _backbone_answer(one: Backbone) -> dict[str, Any]:
    origin = f"added, {one.file.kind}, {' or '.join(map(str, one.file.sizes))} px" if one.file else "built in"
    about = {"backbone": one.name, "label": one.label, "licence": one.licence, "added": one.file}
    return {**about, "text": f"{one.name:26} {one.label}  ({origin})"}


@verb("delete-segmenter", "segmenter")
def do_delete_segmenter(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a segmenter."""
    segmenters.delete_segmenter(workspace, options.segmenter)
    return {"segmenter": options.segmenter, "deleted": True}
