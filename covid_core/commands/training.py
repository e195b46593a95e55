"""Verbs about runs and studies: train, list, show, stop, resume and delete them."""

import argparse
import json
from pathlib import Path
from typing import Any

from covid_core import files, presets
from covid_core.backbones import BACKBONES
from covid_core.commands.verbs import ARGUMENTS, NAME, WAIT, option, verb, waited
from covid_core.data import dataset as data
from covid_core.data import split
from covid_core.errors import CovidCoreError, InvalidChoice, RunError, cause
from covid_core.exchange import predictions
from covid_core.jobs import queue
from covid_core.reports import comparison_text, run_figures, run_text, study_text, tables
from covid_core.reports.encode import encode
from covid_core.runs import backbone_files, candidates, pinned_dataset, store
from covid_core.specs import TrainingSpec, parse
from covid_core.workspace import Workspace

CLASSES = option("--classes", nargs="+", help="classes to train; all of the data set by default")
SETTING = option("--set", action="append", metavar="KEY=VALUE", help="a setting, such as epochs=10")


@verb(
    "train",
    "dataset",
    option("--backbone", help=f"{', '.join(BACKBONES)}, or one of backbones; {presets.DEFAULT_BACKBONE} by default"),
    option("--preset", choices=list(presets.RECIPES), help="a recipe for images from elsewhere, or for those here"),
    NAME,
    option("--spec", help="a file with a TrainingSpec as JSON, as show prints it"),
    CLASSES,
    SETTING,
    WAIT,
)
def do_train(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Start one run, or one per fold and seed where the settings ask for ``folds`` or ``seeds``."""
    overrides = presets.parse_assignments(options.set or [])
    folds, seeds = presets.take_repeats(overrides)
    spec = _training_spec(workspace, options, overrides)
    if folds * seeds > 1:
        study = queue.submit_study(workspace, presets.repeated(spec, folds, seeds))
        return _study_answer(workspace, study, wait=options.wait)
    run = queue.submit_training(workspace, spec)
    return _run_answer(waited(workspace, run) if options.wait else run)


@verb(
    "study",
    option("dataset", nargs="?", help=ARGUMENTS["dataset"]),
    option("--preset", default="course", help="which runs; --list lists the presets"),
    option("--list", action="store_true", help="list the presets"),
    NAME,
    option(
        "--random-where-missing",
        action="store_true",
        help="use random weights where ImageNet weights cannot be downloaded; the runs record it",
    ),
    CLASSES,
    SETTING,
    WAIT,
)
def do_study(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Start several runs that belong together, or list the presets."""
    if options.list:
        rows = {name: preset.description for name, preset in presets.STUDY_PRESETS.items()}
        return {"presets": rows, "text": "\n".join(f"{name:13} {text}" for name, text in rows.items())}
    if not options.dataset:
        raise CovidCoreError("Say which data set: study DATASET.")
    opened = data.open_dataset(workspace, options.dataset)
    overrides = backbone_files.resolved(workspace, presets.parse_assignments(options.set or []))
    classes = tuple(options.classes or opened.classes)
    sources = split.sources_to_hold_out(opened.images, classes)
    spec = presets.study(options.preset, opened.id, classes, opened.counts, options.name, overrides, sources)
    if options.random_where_missing:
        spec = presets.with_random_start(spec, presets.lacking_weights(spec))
    study = queue.submit_study(workspace, spec)
    return _study_answer(workspace, study, wait=options.wait)


@verb("studies")
def do_studies(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List studies."""
    studies = store.list_studies(workspace)
    lines = [f"{study.id}  {len(study.runs)} runs  {study.name}" for study in studies]
    return {"studies": encode(studies), "text": "\n".join(lines) or "No study yet."}


@verb("runs")
def do_runs(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List runs, damaged ones with their reason."""
    runs, broken = store.list_runs(workspace)
    rows, lines = [], []
    for run in runs:
        try:
            row = encode(run)
            rows.append(row)
            if not run.annotation.archived:
                lines.append(f"{run.id}  {row['state']:11} {run_text.accuracy(run)}  {run.name}")
        except RunError as error:
            broken.append(store.BrokenRun(run.id, str(error)))
    if archived := len(rows) - len(lines):
        lines.append(f"{archived} archived: annotate RUN --no-archived brings one back")
    lines += map(run_text.damaged, broken)
    return {"runs": rows, "damaged": broken, "text": "\n".join(lines) or "No run yet."}


@verb("show", "run")
def do_show(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that a run recorded."""
    run = store.open_run(workspace, options.run)
    answer, labels, used = _run_answer(run), candidates.label_check(run), pinned_dataset.used_by(workspace, run)
    marks = comparison_text.marks(candidates.candidate(run)) if run.result else []
    sets = run_figures.prediction_sets_of(run) if run.result else None
    of_subgroups = run_figures.subgroups_of(workspace, run) if run.result else None
    audit = answer["audit"]
    sentences = (
        "; ".join(marks) and f"  {'; '.join(marks)}",
        f"images of {run.dataset.name}: {run_text.version(used)}",
        run_text.labels(labels),
        run_text.model_file(run),
        sets and (sets.get("in_words") or sets["note"]),
        of_subgroups and (of_subgroups.get("in_words") or of_subgroups["note"]),
        audit and f"{audit['verdict'] or 'audit'}: {audit['in_words']}",
        audit and audit.get("masks") and f"lung masks of the audit: {audit['masks']}",
    )
    return {
        **answer,
        "text": "\n".join([answer["text"], *filter(None, sentences)]),
        "test": {**answer["test"], "sensitivity": candidates.sensitivities(run)} if run.result else None,
        "marks": marks,
        "labels": labels,
        "prediction_sets": sets,
        "subgroups": of_subgroups,
        "parts": run_figures.parts_of(workspace, run),
        "dataset_version": {"version": run.dataset.version, **encode(used)},
        "spec": run.spec,
        "result": run.result,
        "history": run.history(),
    }


@verb(
    "annotate",
    "run",
    option("--name", help="the run's new name; an empty one brings back the first"),
    option("--group", help="runs of a group stand together"),
    option("--tags", nargs="*", help="replace those that it has"),
    option("--reference", action=argparse.BooleanOptionalAction, help="compare other runs with this one"),
    option("--archived", action=argparse.BooleanOptionalAction, help="hide it in lists"),
)
def do_annotate(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Write on a run: its name, group, tags, whether it is the reference, and whether lists leave it out."""
    run = store.open_run(workspace, options.run)
    values = {name: getattr(options, name) for name in store.Annotation.model_fields if hasattr(options, name)}
    store.annotate(run, **{name: value for name, value in values.items() if value is not None})
    return _run_answer(store.open_run(workspace, options.run))


@verb(
    "import-predictions",
    option("file", help="CSV, TSV or XLSX: an image and a score of every class per row; label and part may be there"),
    option("--like", metavar="RUN", help="take the data set, the classes and the split of this run"),
    option("--dataset", help="take the images of this data set, in the parts of the file, else as test images"),
    option("--scores", choices=predictions.SCALES, help="what the numbers are; by default columns and numbers say it"),
    option("--preview", action="store_true", help="match the file with the images, and make no run"),
    NAME,
)
def do_import_predictions(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Make a run of predictions of a model trained elsewhere, to be compared on the same images."""
    path = Path(options.file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidChoice(f"The file {path} cannot be read: {cause(error)}.") from error
    places = {"dataset": options.dataset or "", "like": options.like or ""}
    one = predictions.matched(workspace, path.name, content, title=options.name, scale=options.scores, **places)
    answer = {"imported": one.facts, "in_words": one.sentences}
    if options.preview:
        return {**answer, "run": None, "text": "\n".join(one.sentences)}
    made = _run_answer(predictions.publish(workspace, one))
    return {**made, **answer, "text": "\n".join([*one.sentences, made["text"]])}


@verb(
    "split",
    "run",
    option("--to", metavar="FILE", required=True, help="the CSV file to write"),
    option("--scores", action="store_true", help="with what the run predicted, as import-predictions reads it"),
)
def do_split(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Write the split of a run as a table (image, label, part, group), to train elsewhere on the same images."""
    table = predictions.split_table(store.open_run(workspace, options.run), options.scores)
    try:
        files.write_bytes(Path(options.to), tables.to_csv(table))
    except OSError as error:
        raise InvalidChoice(f"The file {options.to} cannot be written: {cause(error)}.") from error
    parts = {part: int(number) for part, number in table["part"].value_counts().items()}
    return {"run": options.run, "file": options.to, "images": parts, "text": f"{options.to}  {len(table)} images"}


@verb("stop", "run")
def do_stop(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Stop a run or another job. A run keeps its best weights; another job keeps nothing."""
    if any(job.id == options.run for job in store.list_jobs(workspace)):
        job = store.open_job(workspace, options.run)
        queue.stop(job)
        return {"job": job.id, "state": queue.wait(job).state}
    run = store.open_run(workspace, options.run)
    queue.stop(run)
    return _run_answer(waited(workspace, run))


PROCESSOR = option("--processor", action="store_true", help="train without the graphics card, now and later")


@verb("resume", "run", PROCESSOR, WAIT)
def do_resume(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Go on with a run, or with all runs of a study, that ended early."""
    if any(study.id == options.run for study in store.list_studies(workspace)):
        study = store.open_study(workspace, options.run)
        queue.resume_study(workspace, study)
        return _study_answer(workspace, study, wait=options.wait)
    run = store.open_run(workspace, options.run)
    queue.resume(run, options.processor)
    return _run_answer(waited(workspace, run) if options.wait else run)


@verb("delete", "run")
def do_delete(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a run with its model, curves and predictions."""
    queue.delete(store.open_run(workspace, options.run))
    return {"run": options.run, "deleted": True}


def runs_of(workspace: Workspace, study: store.Study) -> list[store.Run]:
    """The runs of a study that can be opened, in its order."""
    runs = {run.id: run for run in store.list_runs(workspace)[0]}
    return [runs[name] for name in study.runs if name in runs]


def _run_answer(run: store.Run) -> dict[str, Any]:
    return {**encode(run), "text": run_text.line(run)}


def _study_answer(workspace: Workspace, study: store.Study, wait: bool) -> dict[str, Any]:
    runs = (store.open_run(workspace, identifier) for identifier in study.runs)
    outcome = study_text.outcome(study, [waited(workspace, run) if wait else run for run in runs])
    return {**encode(outcome), "text": "\n".join(study_text.lines(outcome))}


def _training_spec(workspace: Workspace, options: argparse.Namespace, overrides: dict[str, Any]) -> TrainingSpec:
    if options.spec:
        spec = _spec_in(workspace, _text_of(Path(options.spec)))
        overrides = backbone_files.resolved(workspace, {"dataset": options.dataset, **overrides})
    else:
        spec = presets.default_spec(options.dataset, workspace)
        backbone = overrides.pop("backbone", options.backbone) or spec.backbone  # each brings its suggested settings
        kind = backbone_files.named(workspace, backbone)
        spec = presets.suggested_spec(spec.dataset, spec.classes, kind, overrides.pop("mode", "frozen"))
        if options.preset:
            spec = presets.with_recipe(spec, options.preset)
        overrides |= {name: value for name in ("name", "classes") if (value := getattr(options, name))}
    counts = data.open_dataset(workspace, options.dataset).counts
    spec = presets.with_overrides(spec, presets.with_subset(overrides, spec, counts))
    return spec if options.spec else presets.with_few_views(spec)


def _spec_in(workspace: Workspace, text: str) -> TrainingSpec:
    """A spec of JSON text, which may name an added backbone. Raises InvalidChoice."""
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None  # the spec says what is wrong with the text
    return parse(TrainingSpec, backbone_files.resolved(workspace, fields) if isinstance(fields, dict) else text)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidChoice(f"The file {path} cannot be read: {cause(error)}.") from error
