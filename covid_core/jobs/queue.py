"""Start, stop, resume and delete long work. The queue is the folders themselves; no server has to live for it."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import covid_core
from covid_core import files, weights
from covid_core.backbones import backbone_named
from covid_core.data import duplicates
from covid_core.data.dataset import open_dataset
from covid_core.data.split import make_split
from covid_core.errors import CovidCoreError, DataError, JobRefused, NotFound
from covid_core.runs import store
from covid_core.runs.pinned_dataset import dataset_of
from covid_core.runs.store import JobFolder, Run, Study
from covid_core.specs import StudySpec, TrainingSpec
from covid_core.workspace import Workspace, new_id

Item = TypeVar("Item")

MOST_WAITING = 30  # processes in the queue, each of about 120 MB; a study of the course has five
TRAINING_SLOTS = 1  # a training uses every core that it gets
DATA_SLOTS = 2  # imports wait for the disk more than for the processor
REFERENCE = "reference"  # kind of the job that makes a finished run's reference
DATA_AUDIT = "audit"  # kind of the job that audits a data set
MAP = "map"  # kind of the job that makes the map of a data set
AUDIT = "audit-run"  # kind of the job that audits a finished run's model
LESSON = "lesson"  # kind of the job that prepares a lesson
SUBMIT_PATIENCE = 10.0  # seconds; starting a job takes less than one
OUT_OF_QUEUE = "Taken out of the queue by the user."
NICENESS = 10  # the pages stay quick while a worker trains

# For glibc's malloc (others do not read it): take big arrays from the heap and keep them there. By default each
# training step gets its activations from the system and gives them back, and zeroing those pages took a quarter of it.
KEEP_MEMORY = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592:glibc.malloc.hugetlb=1"


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
    _check_queue(workspace, len(_in_turn(spec.runs)))
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
    for group in _in_turn(runs, lambda run: run.spec):
        launch(*group)
    return study


def _in_turn(items: Sequence[Item], spec_of: Callable[[Item], TrainingSpec] = lambda spec: spec) -> list[list[Item]]:
    """Groups of neighbours that one process does in turn.

    Heads on frozen networks take little, and what one has started the next can use. Every other training has a
    process of its own, so that one which runs out of memory takes no other along.
    """
    groups: list[list[Item]] = []
    for item in items:
        light = spec_of(item).mode == "frozen"
        if light and groups and spec_of(groups[-1][0]).mode == "frozen":
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def check_training(workspace: Workspace, spec: TrainingSpec) -> None:
    """Whatever can be known to fail before a process is started, as an error."""
    dataset = open_dataset(workspace, spec.dataset)
    unknown = [label for label in spec.classes if label not in dataset.classes]
    if unknown:
        raise DataError(f"{dataset.name} has no class {unknown[0]!r}; it has {', '.join(dataset.classes)}.")
    weights.check(spec, backbone_named(spec.backbone))


def _check_queue(workspace: Workspace, more: int) -> None:
    queue = training_queue(workspace)
    if len({run.process for run, _ in queue}) + more > MOST_WAITING:
        raise JobRefused(f"{len(queue)} runs are waiting already; no more fit into the queue. Stop some of them first.")


def _prepared(workspace: Workspace, spec: TrainingSpec, study: str = "") -> Run:
    """The published folder of a run, without a process."""
    dataset = open_dataset(workspace, spec.dataset)
    grouped = spec.split.method != "stratified"
    images = duplicates.with_groups(workspace, dataset) if grouped else dataset.images
    return store.create_run(workspace, spec, dataset, make_split(images, spec.classes, spec.split, spec.labels), study)


def submit_job(workspace: Workspace, kind: str, request: Mapping[str, Any]) -> JobFolder:
    """Start an import or another job that is not a training: ``kind`` is one that the worker knows."""
    job = store.create_job(workspace, kind, request)
    launch(job)
    return job


@contextlib.contextmanager
def no_other_submits(workspace: Workspace) -> Iterator[None]:
    """Two sessions that ask for the same work at once: the second finds the first's. Raises JobRefused."""
    lock = files.FileLock(workspace.slots / "submitting.lock")
    if not lock.acquire(SUBMIT_PATIENCE):
        raise JobRefused("Another job is just being started. Try again in a moment.")
    try:
        yield
    finally:
        lock.release()


def submit_reference(workspace: Workspace, run: Run) -> JobFolder:
    """Start making the reference of a run that has none, or making it again. Raises JobRefused, NotFound, DataError."""
    if not run.result or run.status().state not in store.USABLE:
        raise JobRefused(f"{run.name} is not finished; its reference is made when it is.")
    dataset_of(workspace, run)
    return submit_job(workspace, REFERENCE, {"run": run.id})


def submit_audit(workspace: Workspace, run: Run) -> JobFolder:
    """Start the audit of a finished run's model, or make it again. Raises JobRefused, NotFound, DataError."""
    return submit_audits(workspace, [run])[0]


def submit_audits(workspace: Workspace, runs: Sequence[Run]) -> list[JobFolder]:
    """Queue the audits of several runs for one process, which makes them in turn: each uses every core that it gets.

    All are checked before the first is queued. Raises JobRefused, NotFound, DataError.
    """
    with no_other_submits(workspace):
        at_work = {of for job, of in audit_jobs(workspace) if not job.status().is_final}
        for run in runs:
            if not run.result or run.status().state not in store.USABLE:
                raise JobRefused(f"{run.name} is not finished; its model can be audited when it is.")
            if run.id in at_work:
                raise JobRefused(f"{run.name} is being audited already. Wait for it, or stop it.")
            dataset_of(workspace, run)
        queued = [store.create_job(workspace, AUDIT, {"run": run.id}) for run in {run.id: run for run in runs}.values()]
        if queued:
            launch(*queued)
        return queued


def submit_data_audit(workspace: Workspace, dataset: str, against: str | None = None) -> JobFolder:
    """Start the audit of a data set, or make it again; ``against`` names another one to look for shared images in.

    Raises JobRefused, NotFound, DataError.
    """
    opened = open_dataset(workspace, dataset)
    if against is not None:
        if against == dataset:
            raise JobRefused(f"{opened.name} cannot be compared with itself. Choose another data set.")
        open_dataset(workspace, against)
    with no_other_submits(workspace):
        if any(of["dataset"] == dataset and not job.status().is_final for job, of in data_audit_jobs(workspace)):
            raise JobRefused(f"{opened.name} is being audited already. Wait for it, or stop it.")
        return submit_job(workspace, DATA_AUDIT, {"dataset": dataset, "against": against})


def looks_at(workspace: Workspace, dataset: str) -> bool:
    """Whether an audit or a map of a data set, or a comparison with it, waits or is at work."""
    return any(
        dataset in (request["dataset"], request.get("against")) and not job.status().is_final
        for kind in (DATA_AUDIT, MAP)
        for job, request in jobs_of_kind(workspace, kind)
    )


def data_audit_jobs(workspace: Workspace) -> list[tuple[JobFolder, dict[str, Any]]]:
    """Jobs that audit, or have audited, a data set, with what was asked (dataset, against: ids), oldest first."""
    return jobs_of_kind(workspace, DATA_AUDIT)


def submit_map(workspace: Workspace, dataset: str) -> JobFolder:
    """Start making the map of a data set, or making it again. Raises JobRefused, NotFound, DataError."""
    opened = open_dataset(workspace, dataset)
    with no_other_submits(workspace):
        if any(of == dataset and not job.status().is_final for job, of in map_jobs(workspace)):
            raise JobRefused(f"The map of {opened.name} is being made already. Wait for it, or stop it.")
        return submit_job(workspace, MAP, {"dataset": dataset})


def map_jobs(workspace: Workspace) -> list[tuple[JobFolder, str]]:
    """Jobs that make, or have made, the map of a data set, with its id, oldest first."""
    return [(job, str(request["dataset"])) for job, request in jobs_of_kind(workspace, MAP)]


def reference_jobs(workspace: Workspace) -> list[tuple[JobFolder, str]]:
    """Jobs that make, or have made, a run's reference, with the run's id, oldest first."""
    return _jobs_of_runs(workspace, REFERENCE)


def audit_jobs(workspace: Workspace) -> list[tuple[JobFolder, str]]:
    """Jobs that audit, or have audited, a run's model, with the run's id, oldest first."""
    return _jobs_of_runs(workspace, AUDIT)


def _jobs_of_runs(workspace: Workspace, kind: str) -> list[tuple[JobFolder, str]]:
    return [(job, str(request["run"])) for job, request in jobs_of_kind(workspace, kind)]


def jobs_of_kind(workspace: Workspace, kind: str) -> list[tuple[JobFolder, dict[str, Any]]]:
    """Jobs of a kind with what was asked, oldest first; folders that cannot be read are left out."""
    found = []
    for job in store.list_jobs(workspace):
        try:
            request = job.request()
        except CovidCoreError:  # damaged, or removed at this moment
            continue
        if request.get("kind") == kind:
            found.append((job, request))
    return sorted(found, key=lambda one: float(one[1]["created"]))


def dismiss(job: JobFolder) -> None:
    """Remove what is left of a job that has ended, unless somebody else has done so."""
    with contextlib.suppress(FileNotFoundError):
        files.remove_folder(job.path)


def launch(*folders: JobFolder) -> None:
    """Start one process for published folders, done in turn, in a session of its own so that it outlives this one."""
    attempts = [folder.next_attempt() for folder in folders]
    words = [word for folder, attempt in zip(folders, attempts, strict=True) for word in (folder.path, attempt)]
    with open(folders[0].log_path, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "covid_core.jobs.worker", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_worker_environment(folders[0]),
            **_detached(),
        )
    for folder, attempt in zip(folders, attempts, strict=True):
        folder.write_launch(process.pid, attempt)
    threading.Thread(target=process.wait, daemon=True).start()  # an end that nobody notes leaves a zombie


def stop(folder: JobFolder) -> None:
    """Ask a job to end at its next step. A training keeps its best weights. Raises JobRefused when it has ended.

    A run that another one's process has not come to yet is taken out of the queue at once.
    """
    status = folder.status()
    if status.is_final:
        raise JobRefused(f"{folder.id} is not running.")
    folder.request_stop()
    lock = folder.lock
    if status.state == store.QUEUED and lock.try_acquire():
        try:
            now = time.time()
            folder.write_status(replace(status, state=store.STOPPED, reason=OUT_OF_QUEUE, updated=now, ended=now))
        finally:
            lock.release()


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


def take_slot(workspace: Workspace, folder: JobFolder) -> files.FileLock | None:
    """A free slot for this job, if it is its turn. The caller holds it as long as it works."""
    is_run = isinstance(folder, Run)
    kind, count = ("training", TRAINING_SLOTS) if is_run else ("data", DATA_SLOTS)
    slots = [files.FileLock(workspace.slots / f"{kind}-{number}.lock") for number in range(count)]
    free = [slot for slot in slots if not slot.is_held()]
    if not free or (is_run and _others_go_first(workspace, folder)):
        return None
    return next((slot for slot in free if slot.try_acquire()), None)


def _others_go_first(workspace: Workspace, run: Run) -> bool:
    """Whether an older run waits. Reads every run: it is asked only when there is a slot to have."""
    return any(
        status.state == store.QUEUED and _order(other) < _order(run)
        for other, status in training_queue(workspace)
        if other.id != run.id
    )


def _order(run: Run) -> tuple[float, str]:
    return run.created, run.id


def _worker_environment(folder: JobFolder) -> dict[str, str]:
    """What a worker is started with. glibc takes the last of two settings, so the user's own one counts."""
    package_parent = str(Path(covid_core.__file__).resolve().parent.parent)
    paths = [package_parent, os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "COVID_CORE_HOME": str(folder.path.parent.parent),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "OPENBLAS_NUM_THREADS": "1",  # a head's matrices are small: a second thread costs more than it brings
        "GLIBC_TUNABLES": ":".join(filter(None, (KEEP_MEMORY, os.environ.get("GLIBC_TUNABLES", "")))),
    }


def _detached() -> dict[str, Any]:
    """Popen's arguments for a process that no Ctrl-C, logout or closing server takes along."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}


def lower_priority() -> None:
    """Let pages go first. Where the platform has no niceness, nothing changes."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
