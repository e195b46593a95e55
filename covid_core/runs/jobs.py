"""Start, stop, resume and delete long work. The queue is the folders themselves; no server has to live for it."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import covid_core
from covid_core import files, weights
from covid_core.backbones import backbone_named
from covid_core.data.dataset import open_dataset
from covid_core.data.split import make_split
from covid_core.errors import CovidCoreError, DataError, JobRefused, NotFound
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Run, Study
from covid_core.specs import StudySpec, TrainingSpec
from covid_core.workspace import Workspace, new_id

MOST_WAITING = 30  # runs in the queue, each a process of about 120 MB; a study of the course has seven
TRAINING_SLOTS = 1  # a training uses every core that it gets
DATA_SLOTS = 2  # imports wait for the disk more than for the processor
NICENESS = 10  # the pages stay quick while a worker trains


def submit_training(workspace: Workspace, spec: TrainingSpec) -> Run:
    """Check a run, publish its folder and start its process.

    Raises InvalidChoice, DataError, WeightsUnavailable or JobRefused; nothing is left behind then.
    """
    check_training(workspace, spec)
    _check_queue(workspace, 1)
    run = _prepared(workspace, spec)
    launch(run)
    return run


def submit_study(workspace: Workspace, spec: StudySpec) -> Study:
    """Queue all runs of a study. All are checked before the first is made: a study starts whole or not at all."""
    for run_spec in spec.runs:
        check_training(workspace, run_spec)
    _check_queue(workspace, len(spec.runs))
    identifier = new_id(spec.name)
    runs: list[Run] = []
    try:
        runs.extend(_prepared(workspace, run_spec, identifier) for run_spec in spec.runs)
        study = Study(identifier, spec.name, spec.preset, time.time(), tuple(run.id for run in runs))
        store.write_study(workspace, study)
    except BaseException:
        for run in runs:
            files.remove_folder(run.path)
        raise
    for run in runs:
        launch(run)
    return study


def check_training(workspace: Workspace, spec: TrainingSpec) -> None:
    """Whatever can be known to fail before a process is started, as an error."""
    dataset = open_dataset(workspace, spec.dataset)
    unknown = [label for label in spec.classes if label not in dataset.classes]
    if unknown:
        raise DataError(f"{dataset.name} has no class {unknown[0]!r}; it has {', '.join(dataset.classes)}.")
    weights.check(spec, backbone_named(spec.backbone))


def _check_queue(workspace: Workspace, more: int) -> None:
    waiting = len(training_queue(workspace))
    if waiting + more > MOST_WAITING:
        raise JobRefused(f"{waiting} runs are waiting already, at most {MOST_WAITING} can. Stop some of them first.")


def _prepared(workspace: Workspace, spec: TrainingSpec, study: str = "") -> Run:
    """The published folder of a run, without a process."""
    dataset = open_dataset(workspace, spec.dataset)
    return store.create_run(workspace, spec, dataset, make_split(dataset.films, spec.classes, spec.split), study)


def submit_job(workspace: Workspace, kind: str, request: Mapping[str, Any]) -> JobFolder:
    """Start an import or another job that is not a training: ``kind`` is one that the worker knows."""
    job = store.create_job(workspace, kind, request)
    launch(job)
    return job


def launch(folder: JobFolder) -> None:
    """Start the process of a published folder, in a session of its own so that it outlives this one."""
    attempt = folder.next_attempt()
    with open(folder.log_path, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "covid_core.runs.worker", str(folder.path), str(attempt)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_worker_environment(folder),
            **_detached(),
        )
    folder.write_launch(process.pid, attempt)
    threading.Thread(target=process.wait, daemon=True).start()  # an end that nobody notes leaves a zombie


def stop(folder: JobFolder) -> None:
    """Ask a job to end at its next step. A training keeps its best weights. Raises JobRefused when it has ended."""
    if folder.status().is_final:
        raise JobRefused(f"{folder.id} is not running.")
    folder.request_stop()


def resume(run: Run) -> None:
    """Go on from the last checkpoint. Raises JobRefused for a run that is running or complete."""
    lock = run.launch_lock
    if not lock.try_acquire():
        raise JobRefused(f"{run.name} is being resumed already.")
    try:
        state = run.status().state
        if state not in (store.INTERRUPTED, store.STOPPED, store.FAILED):
            raise JobRefused(f"{run.name} is {state}; only stopped, interrupted and failed runs can be resumed.")
        run.clear_stop()
        launch(run)
    finally:
        lock.release()


def resume_study(workspace: Workspace, study: Study) -> list[str]:
    """Resume every run of a study that ended early. Returns their ids."""
    resumed = []
    for identifier in study.runs:
        with contextlib.suppress(NotFound):  # a run that was deleted since
            run = store.open_run(workspace, identifier)
            if run.status().state in (store.INTERRUPTED, store.STOPPED, store.FAILED):
                resume(run)
                resumed.append(identifier)
    return resumed


def delete(run: Run) -> None:
    """Remove a run that has ended. Raises JobRefused while it runs."""
    if not run.status().is_final:
        raise JobRefused(f"{run.name} is not finished. Stop it first.")
    files.remove_folder(run.path)


def wait(folder: JobFolder, poll: float = 0.3) -> store.Status:
    """Block until the job has ended, and return how."""
    while not (status := folder.status()).is_final:
        time.sleep(poll)
    return status


def training_queue(workspace: Workspace) -> list[tuple[Run, store.Status]]:
    """Runs that have not ended, in the order in which they are taken."""
    runs, _ = store.list_runs(workspace)
    waiting = []
    for run in sorted(runs, key=_order):
        with contextlib.suppress(CovidCoreError):  # a damaged run waits for nothing
            status = run.status()
            if not status.is_final:
                waiting.append((run, status))
    return sorted(waiting, key=lambda pair: pair[1].state != store.RUNNING)


def place_in_queue(workspace: Workspace, run: Run) -> int:
    """How many runs are taken before this one."""
    return next((place for place, (other, _) in enumerate(training_queue(workspace)) if other.id == run.id), 0)


def take_slot(workspace: Workspace, folder: JobFolder) -> files.FileLock | None:
    """A free slot for this job, if it is its turn. The caller holds it as long as it works."""
    is_run = isinstance(folder, Run)
    if is_run and any(
        status.state == store.QUEUED and _order(other) < _order(folder)
        for other, status in training_queue(workspace)
        if other.id != folder.id
    ):
        return None
    kind, slots = ("training", TRAINING_SLOTS) if is_run else ("data", DATA_SLOTS)
    for number in range(slots):
        slot = files.FileLock(workspace.slots / f"{kind}-{number}.lock")
        if slot.try_acquire():
            return slot
    return None


def _order(run: Run) -> tuple[float, str]:
    return run.created, run.id


def _worker_environment(folder: JobFolder) -> dict[str, str]:
    package_parent = str(Path(covid_core.__file__).resolve().parent.parent)
    paths = [package_parent, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "COVID_CORE_HOME": str(folder.path.parent.parent),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def _detached() -> dict[str, Any]:
    """Popen's arguments for a process that no Ctrl-C, logout or closing server takes along."""
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}


def lower_priority() -> None:
    """Let pages go first. Where the platform has no niceness, nothing changes."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
