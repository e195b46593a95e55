"""The same verbs without a browser: ``python -m covid_core VERB ...``.

Every verb takes ``--json``: one JSON object on stdout, everything else on stderr. Exit code: 0 done, 1 refused or
failed, 2 wrong use. Ids are printed, so verbs chain.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from covid_core import cache, presets
from covid_core.cache import Entry
from covid_core.data import dataset as data
from covid_core.data.phantom import PLANTS
from covid_core.errors import CovidCoreError, InvalidChoice, RunError
from covid_core.evaluation import comparison, repeats_tables, repeats_wording, wording
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.comparison import Candidate
from covid_core.formatting import count, duration, file_size, interval, number, plural, points, share
from covid_core.runs import (
    answers,
    calibrated,
    candidates,
    data_audits,
    jobs,
    looks,
    model_audits,
    outside,
    segmenters,
    storage,
    store,
)
from covid_core.specs import TrainingSpec, parse
from covid_core.verbs import decisions
from covid_core.workspace import Workspace

REDRAW = 0.5  # seconds between progress lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        answer = options.verb(Workspace.default(), options)
    except CovidCoreError as error:
        return _refuse(str(error), options.json)
    print(json.dumps(_plain(answer), ensure_ascii=False) if options.json else answer.pop("text", _lines(answer)))
    failed = answer.get("failed") or answer.get("state") in (store.FAILED, store.INTERRUPTED)
    return 1 if failed else 0


def _refuse(reason: str, as_json: bool) -> int:
    print(f"error: {reason}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": reason}, ensure_ascii=False))
    return 1


# Data


def do_import(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Make a data set of a folder or a zip archive."""
    from covid_core.data import importing

    opened = importing.import_path(workspace, Path(options.path), options.name, options.classes, _progress())
    return _dataset_answer(opened)


def do_demo(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Draw synthetic films."""
    from covid_core.data import importing

    plant = tuple(options.plant or ())
    return _dataset_answer(
        importing.import_phantom(workspace, options.images, options.seed, plant, options.name, _progress())
    )


def do_kaggle(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Download the COVID-19 Radiography Database from Kaggle."""
    from covid_core.data import importing

    return _dataset_answer(importing.import_kaggle(workspace, options.name, options.classes, _progress()))


def do_datasets(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List data sets."""
    listed = data.list_datasets(workspace)
    lines = [f"{info['id']}  {count(sum(info['counts'].values()))} films  {info['name']}" for info in listed]
    kept = ("id", "name", "counts", "created", "damaged")
    rows = [{key: info[key] for key in kept if key in info} for info in listed]
    return {"datasets": rows, "text": "\n".join(lines) or "No data set yet: try demo or import."}


def do_summary(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """What is in a data set."""
    from covid_core.data import summary

    opened = data.open_dataset(workspace, options.dataset)
    ways = summary.resampling_table(opened.counts)
    sizes = summary.size_table(opened.films)
    sources = summary.source_table(opened.films, opened.classes)
    return {
        **_dataset_answer(opened),
        "imbalance_ratio": summary.imbalance_ratio(opened.counts),
        "class_weights": summary.class_weights(opened.counts),
        "ways_out": ways.to_dict("records"),
        "sizes": sizes.to_dict("records"),
        "sources": {str(name): row for name, row in sources.to_dict("index").items()},
    }


def do_audit(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """What is wrong with a data set: faults, copies, what but the lungs tells the class, films shared with another."""
    opened = data.open_dataset(workspace, options.dataset)
    other = data.open_dataset(workspace, options.against) if options.against else None
    found = data_audits.make(workspace, opened, other, _progress())
    answer = data_audits.as_answer(opened, found)
    lines = [f"{opened.name}: {plural(len(opened.films), 'film')}", *data_audits.in_lines(found)]
    if other is not None:
        shared = data_audits.shared(workspace, opened, other)
        answer["against"] = data_audits.shared_as_answer(other, shared)
        lines.append(data_audits.shared_in_words(other, shared))
    return {**answer, "text": "\n".join(lines)}


def do_delete_dataset(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a data set; films that were only referred to stay."""
    data.delete_dataset(workspace, options.dataset)
    return {"dataset": options.dataset, "deleted": True}


# Training


def do_train(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Start one run, or one per fold and seed where the settings ask for ``folds`` or ``seeds``."""
    overrides = presets.parse_assignments(options.set or [])
    folds, seeds = presets.take_repeats(overrides)
    spec = _training_spec(workspace, options, overrides)
    if folds * seeds > 1:
        study = jobs.submit_study(workspace, presets.repeated(spec, folds, seeds))
        return _study_answer(workspace, study, wait=options.wait)
    run = jobs.submit_training(workspace, spec)
    return _run_answer(_waited(workspace, run) if options.wait else run)


def do_study(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Start several runs that belong together, or list the presets."""
    if options.list:
        rows = {name: preset.description for name, preset in presets.STUDY_PRESETS.items()}
        return {"presets": rows, "text": "\n".join(f"{name:10} {text}" for name, text in rows.items())}
    if not options.dataset:
        raise CovidCoreError("Say which data set: study DATASET.")
    opened = data.open_dataset(workspace, options.dataset)
    overrides = presets.parse_assignments(options.set or [])
    classes = tuple(options.classes or opened.classes)
    spec = presets.study(options.preset, opened.id, classes, opened.counts, options.name, overrides)
    if options.random_where_missing:
        spec = presets.with_random_start(spec, presets.lacking_weights(spec))
    study = jobs.submit_study(workspace, spec)
    return _study_answer(workspace, study, wait=options.wait)


def do_studies(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List studies."""
    studies = store.list_studies(workspace)
    rows = [{"id": study.id, "name": study.name, "preset": study.preset, "runs": study.runs} for study in studies]
    lines = [f"{study.id}  {len(study.runs)} runs  {study.name}" for study in studies]
    return {"studies": rows, "text": "\n".join(lines) or "No study yet."}


def do_runs(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List runs, damaged ones with their reason."""
    runs, broken = store.list_runs(workspace)
    rows = []
    for run in runs:
        try:
            rows.append(_run_answer(run))
        except RunError as error:
            broken.append(store.BrokenRun(run.id, str(error)))
    lines = [f"{row['run']}  {row['state']:11} {_accuracy_text(row)}  {row['name']}" for row in rows]
    lines += [f"{entry.id}  damaged: {entry.reason}" for entry in broken]
    damaged = [{"run": entry.id, "reason": entry.reason} for entry in broken]
    return {"runs": rows, "damaged": damaged, "text": "\n".join(lines) or "No run yet."}


def do_show(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that a run recorded."""
    run = store.open_run(workspace, options.run)
    history = run.history().to_dict("records")
    test = {**_test_of(run), "sensitivity": candidates.sensitivities(run)} if run.result else None
    told, labels = _run_answer(run), candidates.label_check(run)
    marks = candidates.candidate(run).marks if run.result else ()
    sets = answers.of_sets(run) if run.result else None
    audit = answers.of_audit(run) if run.result else None
    said = (
        labels.in_words,
        sets and (sets.get("in_words") or sets["note"]),
        audit and f"{audit['verdict'] or 'audit'}: {audit['in_words']}",
    )
    lines = [told["text"], *([f"  {'; '.join(marks)}"] if marks else []), *filter(None, said)]
    return {
        **told,
        "text": "\n".join(lines),
        "test": test,
        "marks": marks,
        "labels": answers.of_labels(labels),
        "prediction_sets": sets,
        "audit": audit,
        "spec": run.spec.model_dump(mode="json"),
        "result": run.result,
        "history": history,
    }


def do_stop(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Ask a run to stop, which keeps its best weights, or another job, which keeps nothing."""
    if any(job.id == options.run for job in store.list_jobs(workspace)):
        job = store.open_job(workspace, options.run)
        jobs.stop(job)
        return {"job": job.id, "state": jobs.wait(job).state}
    run = store.open_run(workspace, options.run)
    jobs.stop(run)
    return _run_answer(_waited(workspace, run))


def do_resume(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Go on with a run, or with all runs of a study, that ended early."""
    if any(study.id == options.run for study in store.list_studies(workspace)):
        study = store.open_study(workspace, options.run)
        jobs.resume_study(workspace, study)
        return _study_answer(workspace, study, wait=options.wait)
    run = store.open_run(workspace, options.run)
    jobs.resume(run)
    return _run_answer(_waited(workspace, run) if options.wait else run)


def do_delete(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a run with its model, curves and predictions."""
    jobs.delete(store.open_run(workspace, options.run))
    return {"run": options.run, "deleted": True}


# Using runs


def do_compare(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of some runs with their intervals, every pair tested, in words too; studies of repeats together."""
    studies = [store.open_study(workspace, name) for name in dict.fromkeys(options.study or [])]
    runs = {run.id: run for run in (store.open_run(workspace, name) for name in dict.fromkeys(options.runs))}
    members = {study.id: _runs_of(workspace, study) for study in studies}
    runs |= {run.id: run for of_study in members.values() for run in of_study if run.result}
    if not runs:
        lacking = f"No finished run in {' and '.join(study.name for study in studies)}." if studies else ""
        raise CovidCoreError(lacking or "Say which runs: compare RUN..., or compare --study STUDY.")
    names = candidates.unique_names(list(runs.values()))
    loaded = [candidates.candidate(run, name) for run, name in zip(runs.values(), names, strict=True)]
    groups = [_compared(group, runs) for group in comparison.grouped(loaded)]
    note = "not comparable: different test films"
    text = f"\n\n--- {note} ---\n\n".join(group["text"] for group in groups)
    answer = {"groups": groups, "comparable": len(groups) == 1, "text": text}
    repeated = [(study, members[study.id]) for study in studies if study.is_repeats]
    if repeated:
        answer["repeats"] = _repeats_answer(repeated)
        answer["text"] = f"{answer['repeats']['text']}\n\n--- run by run ---\n\n{text}"
    return answer


def _runs_of(workspace: Workspace, study: store.Study) -> list[store.Run]:
    """The runs of a study that can be opened, in its order."""
    found = {run.id: run for run in store.list_runs(workspace)[0]}
    return [found[name] for name in study.runs if name in found]


def _repeats_answer(studies: Sequence[tuple[store.Study, Sequence[store.Run]]]) -> dict[str, Any]:
    """Studies of repeats side by side: mean, spread, pooled figure, and every pair tested."""
    given = candidates.repeats(studies)
    told = repeats_wording.summary(given)
    sentences = [told.headline, *told.details, *told.warnings]
    return {**repeats_tables.as_answer(given), "summary": sentences, "text": "\n".join(sentences)}


def _compared(group: Sequence[Candidate], runs: dict[str, store.Run]) -> dict[str, Any]:
    """One group of runs that were tested on the same films."""
    ranking = comparison.ranking(group)
    told = wording.summary(ranking)
    not_noted = [run.id for run in looks.note([runs[candidate.id] for candidate in group], looks.FIGURES)]
    if not_noted:
        print(f"this look could not be noted: {', '.join(not_noted)}", file=sys.stderr)
    table = comparison.performance_table(ranking.order).to_dict("records")
    sentences = [told.headline, *told.details, *told.warnings]
    return {
        "films": candidates.films_in_words(runs[ranking.order[0].id]),
        "table": table,
        "pairs": comparison.pair_table(ranking).to_dict("records"),
        "runs": {candidate.id: answers.of_run(runs[candidate.id], candidate) for candidate in ranking.order},
        "test_films": answers.of_films([runs[candidate.id] for candidate in ranking.order]),
        "looks": looks.of(runs[candidate.id] for candidate in group).to_dict("records"),
        "looks_not_noted": not_noted,
        "summary": sentences,
        "text": "\n".join([*map(_compared_row, table), "", *sentences]),
    }


def do_evaluate(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """A finished run on films from elsewhere: a folder with one folder per class, or a data set's id."""
    from covid_core.data import importing

    run = store.open_run(workspace, options.run)
    mapping = presets.parse_assignments(options.map or [])
    known = {info["id"] for info in data.list_datasets(workspace)}
    if options.films in known:
        films = data.open_dataset(workspace, options.films)
    else:
        films = importing.import_path(workspace, Path(options.films), options.name, options.classes, _progress())
    answer = outside.as_answer(run, outside.evaluate(workspace, run, films, mapping, _progress()))
    return {**answer, "text": "\n".join(_outside_lines(answer))}


def _outside_lines(answer: dict[str, Any]) -> list[str]:
    """The drop, class by class."""
    lines = [f"{answer['run']} on {answer['dataset']['name']}: {plural(answer['films'], 'film')}"]
    if answer["shared"]:
        films, conflicts = plural(answer["shared"], "film"), count(answer["conflicts"])
        lines.append(f"left out: {films} that the run's own data set has as well, {conflicts} with another class there")
    for label, unknown in answer["unknown"].items():
        lines.append(f"left out: {plural(unknown, 'film')} of {label}, which the run does not know")
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


def do_predict(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """What a run says of films, what needs a look first on top: the checks, the classes that stay possible, calibrated
    probabilities where it has them, and scores. A file that cannot be read faithfully, or fails a check, gets its
    reason, and no numbers."""
    from covid_core.inference import answers
    from covid_core.inference.predictor import Predictor

    run = store.open_run(workspace, options.run)
    predictor = Predictor.open(workspace, run)
    reports = Path(options.report) if options.report else None
    asked = answers.Asked(options.coverage, options.window, options.anyway, reports)
    rows = answers.of_files(workspace, run, predictor, options.files, asked)
    synthetic = run.record["dataset"]["synthetic"]
    lines = [*map(_predicted_row, rows), _scale_in_words(run, predictor.calibration)]
    if synthetic:
        lines.append("Trained on synthetic films: this says nothing about a real one.")
    return {
        "run": run.id,
        "trained_on_synthetic": synthetic,
        "coverage": options.coverage,
        "calibration": calibrated.as_answer(run),
        "films": rows,
        "failed": any("error" in row for row in rows),
        "text": "\n".join(lines),
    }


def do_reference(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Make what a run needs to judge new films by, where an earlier version trained it; no training."""
    run = store.open_run(workspace, options.run)
    job = jobs.submit_reference(workspace, run)
    status = jobs.wait(job) if options.wait else job.status()
    text = f"{run.id}  {job.id}  {status.state} {status.reason}".rstrip()
    return {"run": run.id, "job": job.id, "state": status.state, "reason": status.reason, "text": text}


def do_audit_run(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """What a finished run's model reads, in one verdict: its test films with parts covered, and with others' lungs."""
    run = store.open_run(workspace, options.run)
    job = jobs.submit_audit(workspace, run)
    status = _followed(job, "audit") if options.wait else job.status()
    answer = {"run": run.id, "job": job.id, "state": status.state, "reason": status.reason}
    found = model_audits.known(run) if status.state == store.COMPLETED else None
    if found is None:
        return {**answer, "text": f"{run.id}  {job.id}  {status.state} {status.reason}".rstrip()}
    return {**answer, "audit": found, "text": "\n".join([run.id, *model_audits.in_lines(found)])}


# Lungs


def do_segment(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Learn to outline lungs from a data set's masks."""
    job = segmenters.submit(workspace, options.dataset, options.seed)
    status = _followed(job, "segmenter") if options.wait else job.status()
    answer = {"job": job.id, "dataset": options.dataset, "state": status.state, "reason": status.reason}
    if status.state != store.COMPLETED:
        return {**answer, "text": f"{job.id}  {status.state} {status.reason}".rstrip()}
    made = segmenters.open_segmenter(workspace, job.result["segmenter"])
    return {**answer, **_segmenter_answer(made), "text": f"{made.id}  {made.in_words}"}


def do_segmenters(workspace: Workspace, _options: argparse.Namespace) -> dict[str, Any]:
    """List the segmenters that outline lungs, damaged ones with their reason, and those that learn now."""
    found, broken = segmenters.list_segmenters(workspace)
    learning = [job for job in segmenters.segment_jobs(workspace) if not job.status.is_final]
    lines = [f"{one.id}  {_dice_text(one)}  {one.dataset['name']}" for one in found]
    lines += [f"{entry.id}  damaged: {entry.reason}" for entry in broken]
    lines += [f"{job.folder.id}  {job.status.state} {share(job.status.progress, 0)}" for job in learning]
    return {
        "segmenters": [_segmenter_answer(one) for one in found],
        "damaged": [{"segmenter": entry.id, "reason": entry.reason} for entry in broken],
        "jobs": [{"job": job.folder.id, "dataset": job.request["dataset"], **vars(job.status)} for job in learning],
        "text": "\n".join(lines) or "No segmenter yet: try segment DATASET, on a data set with lung masks.",
    }


def do_delete_segmenter(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """Remove a segmenter."""
    segmenters.delete_segmenter(workspace, options.segmenter)
    return {"segmenter": options.segmenter, "deleted": True}


def _segmenter_answer(one: segmenters.Segmenter) -> dict[str, Any]:
    return {"segmenter": one.id, **one.record}


def _dice_text(one: segmenters.Segmenter) -> str:
    return f"Dice {number(one.dice.value, one.dice.low, one.dice.high)} on {plural(one.dice.n, 'test film')}"


# Storage


def do_cache(workspace: Workspace, options: argparse.Namespace) -> dict[str, Any]:
    """How much is kept to save time, of which limit; --clear empties it."""
    if options.kind and not options.clear:
        raise InvalidChoice("--kind says what --clear removes: give both, or neither.")
    limit = cache.limit()
    cleared = storage.clear(workspace, options.kind or cache.KINDS) if options.clear else None
    kept, unused = cache.entries(workspace), storage.unused_trunks(workspace)
    kinds = {kind: _kept_answer([entry for entry in kept if entry.kind == kind]) for kind in cache.KINDS}
    answer = {"limit": limit, "bytes": cache.total(kept), "kinds": kinds, "unused_trunks": _kept_answer(unused)}
    if cleared is not None:
        answer |= {"freed": cleared.freed, "in_use": [str(path) for path in cleared.in_use]}
    return {**answer, "text": "\n".join(_cache_lines(answer))}


# Answers


def _dataset_answer(opened: data.Dataset) -> dict[str, Any]:
    left_out = opened.left_out.to_dict("records")
    parts = ", ".join(f"{label} {count(n)}" for label, n in opened.counts.items())
    lines = [f"{opened.id}  {parts}", *(f"left out: {row['path']}: {row['reason']}" for row in left_out)]
    return {
        "dataset": opened.id,
        "name": opened.name,
        "films": len(opened.films),
        "counts": opened.counts,
        "synthetic": opened.is_synthetic,
        "version": opened.version,
        "left_out": left_out,
        "text": "\n".join(lines),
    }


def _run_answer(run: store.Run) -> dict[str, Any]:
    status = run.status()
    answer = {
        "run": run.id,
        "name": run.name,
        "state": status.state,
        "reason": status.reason,
        "stage": status.message,
        "progress": status.progress,
        "study": run.study,
        "dataset": run.record["dataset"]["id"],
        "split_hash": run.split_hash,
        "weights": run.result.get("weights", {"origin": run.spec.weights}),
        "test": _test_of(run),
    }
    return {**answer, "text": f"{run.id}  {status.state} {status.reason}  {_accuracy_text(answer)}".rstrip()}


def _test_of(run: store.Run) -> dict[str, float] | None:
    return {"accuracy": run.accuracy("test")} if run.result else None


def _study_answer(workspace: Workspace, study: store.Study, wait: bool) -> dict[str, Any]:
    runs = [store.open_run(workspace, identifier) for identifier in study.runs]
    rows = [_run_answer(_waited(workspace, run) if wait else run) for run in runs]
    lines = [f"{study.id}  {study.name}", *(f"  {row['text']}" for row in rows)]
    failed = any(row["state"] in (store.FAILED, store.INTERRUPTED) for row in rows)
    answer = {"study": study.id, "name": study.name, "runs": rows, "failed": failed}
    if study.is_repeats:
        given = candidates.repeats([(study, _runs_of(workspace, study))])
        accuracy, together = given.spreads[0]["accuracy"], given.pooled[0]
        if accuracy.count > 1:
            told = repeats_tables.as_answer(given)["studies"][0]
            answer["test"] = {"accuracy": accuracy.mean, "spread": accuracy.spread, "runs": accuracy.count}
            answer["test"] |= {name: told[name] for name in ("measures", "pooled", "above_majority")}
            lines.insert(1, f"  {repeats_wording.study_line(given.studies[0], accuracy, together)}")
    return {**answer, "text": "\n".join(lines)}


def _waited(workspace: Workspace, run: store.Run) -> store.Run:
    """Follow a run on stderr until it ends, then read it anew."""
    _followed(run, run.name)
    return store.open_run(workspace, run.id)


def _followed(job: store.JobFolder, name: str) -> store.Status:
    """Follow a job on stderr until it ends. Returns how."""
    shown = ""
    while not (status := job.status()).is_final:
        line = f"{name}: {status.state} {share(status.progress, 0)}, {status.message}"
        left = f", {duration(status.seconds_left)} left" if status.seconds_left else ""
        if line != shown:
            print(line + left, file=sys.stderr)
            shown = line
        time.sleep(REDRAW)
    return status


def _training_spec(workspace: Workspace, options: argparse.Namespace, overrides: dict[str, str]) -> TrainingSpec:
    if options.spec:
        spec = parse(TrainingSpec, _text_of(Path(options.spec)))
        return _with_settings(workspace, options, spec, {"dataset": options.dataset, **overrides})
    spec = presets.default_spec(options.dataset, workspace)
    if options.backbone:
        given = {"dataset": spec.dataset, "classes": spec.classes}
        spec = (
            presets.baseline_spec(**given)
            if options.backbone.lower() in ("baseline_cnn", "baseline cnn")
            else presets.pretrained_spec(**given, backbone=options.backbone)
        )
    if options.name:
        overrides["name"] = options.name
    if options.classes:
        overrides["classes"] = list(options.classes)
    return _with_settings(workspace, options, spec, overrides)


def _with_settings(
    workspace: Workspace, options: argparse.Namespace, spec: TrainingSpec, overrides: dict[str, Any]
) -> TrainingSpec:
    counts = data.open_dataset(workspace, options.dataset).counts
    return presets.with_overrides(spec, presets.with_subset(overrides, spec, counts))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidChoice(f"The file {path} cannot be read: {error}.") from error


def _accuracy_text(row: dict[str, Any]) -> str:
    return f"test accuracy {share(row['test']['accuracy'])}" if row.get("test") else ""


def _kept_answer(kept: list[Entry]) -> dict[str, Any]:
    used = max((entry.used for entry in kept), default=None)
    return {"bytes": cache.total(kept), "files": len(kept), "used": used}


def _cache_lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"{file_size(answer['freed'])} freed"] if "freed" in answer else []
    lines += [f"in use, stays: {path}" for path in answer.get("in_use", ())]
    for kind, kept in answer["kinds"].items():
        used = f"  last used {time.strftime('%Y-%m-%d %H:%M', time.localtime(kept['used']))}" if kept["files"] else ""
        lines.append(f"{kind:8} {file_size(kept['bytes']):>9}  {plural(kept['files'], 'file')}{used}")
    lines.append(f"{file_size(answer['bytes'])} of {file_size(answer['limit'])}")
    unused = answer["unused_trunks"]["bytes"]
    if unused:
        lines.append(f"{file_size(unused)} of networks that no run refers to: cache --clear --kind trunks")
    return lines


def _compared_row(row: dict[str, Any]) -> str:
    test = interval(row["test"], row["test_low"], row["test_high"])
    marks = f"  ({row['marks']})" if row["marks"] else ""
    return (
        f"{row['name'][:34]:34} train {share(row['train']):>7}  val {share(row['validation']):>7}  test {test}{marks}"
    )


def _predicted_row(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['file']}: {row['error']}"
    told = [f"{row['file']}: {row['answer']} {row['figures']}".rstrip()]
    told += [*filter(None, [row["although"]]), *row["warnings"], *_not_checked(row)]
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


def _scale_in_words(run: store.Run, found: Calibration) -> str:
    """What the numbers of a prediction are."""
    if not found.is_defined:
        return f"Scores are not probabilities: this run is not calibrated. {found.note}"
    films = calibrated.films_in_words(run, found)
    return f"Probabilities: scores at temperature {found.temperature:.2f}, calibrated on {films}."


def _lines(answer: dict[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in answer.items())


def _plain(value: Any) -> Any:
    """The answer without its text, and with undefined numbers as null: JSON has no nan."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if key != "text"}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _progress() -> Callable[[float, str], None]:
    """Progress on stderr, a line at most twice a second."""
    last = 0.0

    def report(done: float, message: str) -> None:
        nonlocal last
        if time.monotonic() - last >= REDRAW:
            last = time.monotonic()
            print(f"{share(done, 0):>6}  {message}", file=sys.stderr)

    return report


# The command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m covid_core", description="Second Look without a browser.")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    def verb(name: str, work: Callable[..., dict[str, Any]], *arguments: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=work.__doc__, description=work.__doc__)
        for argument in arguments:
            added.add_argument(argument)
        added.add_argument("--json", action="store_true", help="answer with one JSON object")
        added.set_defaults(verb=work)
        return added

    _add_data_verbs(verb)
    _add_training_verbs(verb)
    segment = verb("segment", do_segment, "dataset")
    segment.add_argument("--seed", type=int, default=0)
    segment.add_argument("--wait", action="store_true", help="follow until it ends")
    verb("segmenters", do_segmenters)
    verb("delete-segmenter", do_delete_segmenter, "segmenter")
    compare = verb("compare", do_compare)
    compare.add_argument("runs", nargs="*", metavar="RUN")
    compare.add_argument(
        "--study", action="append", help="all runs of a study; of folds or seeds also what they say together"
    )
    kept = verb("cache", do_cache)
    kept.add_argument("--clear", action="store_true", help="remove what can be computed again; runs and data sets stay")
    kept.add_argument(
        "--kind",
        action="append",
        choices=(*cache.KINDS, storage.TRUNKS),
        help="what to clear; all but trunks (exported networks that no run refers to) by default",
    )
    evaluate = verb("evaluate", do_evaluate, "run", "films")
    evaluate.add_argument("--name", default="", help="of the data set that is made of a folder")
    evaluate.add_argument("--classes", nargs="+", help="class folders to use")
    evaluate.add_argument(
        "--map", action="append", metavar="OUTSIDE=CLASS", help="which of the run's classes an outside class is"
    )
    predict = verb("predict", do_predict, "run")
    predict.add_argument("files", nargs="+", metavar="FILE")
    predict.add_argument(
        "--coverage", type=float, default=0.9, help="how often the possible classes hold the true one: 0.7 to 0.99"
    )
    predict.add_argument("--window", type=int, default=0, help="which of the windows of a film to read it through")
    predict.add_argument("--anyway", action="store_true", help="numbers of a film that failed a check, too")
    predict.add_argument("--report", metavar="FOLDER", help="write a page per film there, with nothing personal in it")
    return parser


def _add_data_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    for name, work, arguments in (("import", do_import, ("path",)), ("kaggle", do_kaggle, ())):
        added = verb(name, work, *arguments)
        added.add_argument("--name", default="")
        added.add_argument("--classes", nargs="+", help="class folders to keep; all but Lung_Opacity by default")
    demo = verb("demo", do_demo)
    demo.add_argument("--images", type=int, default=600)
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument(
        "--plant", action="append", metavar="NAME", choices=PLANTS, help=f"{', '.join(PLANTS)}; may be repeated"
    )
    demo.add_argument("--name", default="")
    verb("datasets", do_datasets)
    verb("summary", do_summary, "dataset")
    audited = verb("audit", do_audit, "dataset")
    audited.add_argument("--against", metavar="OTHER", help="another data set: shared films, and classes that disagree")
    decisions.add(verb)
    verb("delete-dataset", do_delete_dataset, "dataset")


def _add_training_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    train = verb("train", do_train, "dataset")
    train.add_argument("--backbone")
    train.add_argument("--name", default="")
    train.add_argument("--spec", help="a file with a TrainingSpec as JSON, as show prints it")
    study = verb("study", do_study)
    study.add_argument("dataset", nargs="?")
    study.add_argument("--preset", default="course")
    study.add_argument("--list", action="store_true", help="list the presets")
    study.add_argument("--name", default="")
    study.add_argument(
        "--random-where-missing",
        action="store_true",
        help="start backbones from random weights where ImageNet weights are not to be had; the runs record it",
    )
    for added in (train, study):
        added.add_argument("--classes", nargs="+")
        added.add_argument("--set", action="append", metavar="KEY=VALUE", help="a setting, such as epochs=10")
        added.add_argument("--wait", action="store_true", help="follow until it ends")
    verb("studies", do_studies)
    verb("runs", do_runs)
    for name, work in (("show", do_show), ("stop", do_stop), ("delete", do_delete)):
        verb(name, work, "run")
    verb("reference", do_reference, "run").add_argument("--wait", action="store_true", help="until it ends")
    verb("audit-run", do_audit_run, "run").add_argument("--wait", action="store_true", help="follow until it ends")
    verb("resume", do_resume, "run").add_argument("--wait", action="store_true")
