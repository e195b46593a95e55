"""The process that does one job, or several in turn: ``python -m covid_core.jobs.worker FOLDER ATTEMPT ...``.

It holds a folder's lock while it is at that job, waits for its turn, and only then imports what is heavy. Whatever
happens, its last word is in status.json; a process that could not even say that has let its lock go.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from covid_core import files
from covid_core.errors import CovidCoreError, Stopped
from covid_core.jobs import queue, reuse
from covid_core.runs import segmenters, store
from covid_core.runs.store import JobFolder, Run, Status
from covid_core.work import Progress
from covid_core.workspace import Workspace

LOCK_PATIENCE = 5.0  # seconds; a reader's probe holds the lock for an instant
SLOT_POLL = 0.5  # seconds between looks at the queue
REPORT_EVERY = 0.4  # seconds between writes of status.json while work goes on
TENSORFLOW_OUT_OF_MEMORY = "ResourceExhaustedError"  # by name: the class itself would cost TensorFlow's start
ESTIMATE_FROM = 0.02  # share of the work after which the time left can be told


class Reporter:
    """Writes status.json for one job, and raises Stopped in the work when the user asked for it.

    It raises once: work that keeps what it has can go on and report while it saves.
    """

    def __init__(self, folder: JobFolder, attempt: int):
        self._folder = folder
        self._status = Status(store.QUEUED, message="Waiting for its turn", attempt=attempt)
        self._told_to_stop = False
        self._written = 0.0
        self._begun = 0.0
        self.write()

    def begin(self) -> None:
        """The work starts now."""
        self._begun = time.monotonic()
        self._change(state=store.RUNNING, message="Starting", started=time.time())

    def __call__(self, share: float, message: str) -> None:
        """Progress of the work. Raises Stopped."""
        if not self._told_to_stop and self._folder.stop_requested():
            self._told_to_stop = True
            raise Stopped("Stopped by the user.")
        now = time.monotonic()
        if now - self._written < REPORT_EVERY:
            return
        share = min(max(share, 0.0), 1.0)
        spent = now - self._begun
        left = spent * (1 - share) / share if share > ESTIMATE_FROM else None
        self._change(progress=share, message=message, seconds_left=left)

    def end(self, state: str, reason: str = "") -> None:
        """The last word."""
        progress = 1.0 if state == store.COMPLETED else self._status.progress
        self._change(state=state, reason=reason, progress=progress, ended=time.time(), seconds_left=None, message="")

    def write(self) -> None:
        self._folder.write_status(self._status)
        self._written = time.monotonic()

    def _change(self, **changes: object) -> None:
        self._status = replace(self._status, updated=time.time(), **changes)
        self.write()


def main(words: Sequence[str], enter: Callable[[Path], None] = lambda path: None) -> int:
    """Do the jobs in the folders and attempts of the command line, one after the other.

    ``enter`` is told each folder before its job. Returns the exit code: 1 when one failed.
    """
    queue.lower_priority()
    codes = []
    for path, attempt in zip(map(Path, words[::2]), map(int, words[1::2]), strict=True):
        enter(path)
        codes.append(do(path, attempt))
    return max(codes)


def _log_into(path: Path) -> None:
    """Send what this process prints from now on, TensorFlow's own words included, to the log of that folder."""
    if not path.is_dir():  # deleted while it waited
        return
    with open(JobFolder(path).log_path, "ab") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())


def do(path: Path, attempt: int) -> int:
    """Do the job in ``path``, started for it the ``attempt``-th time.

    Returns the exit code: 0 done, stopped or not ours; 1 failed.
    """
    workspace = Workspace(path.parent.parent)
    try:
        folder = store.open_run(workspace, path.name) if path.parent.name == "runs" else JobFolder(path)
    except CovidCoreError as error:  # deleted, or damaged, while it waited
        print(error, file=sys.stderr)
        return 0
    lock = folder.lock
    if not lock.acquire(LOCK_PATIENCE):
        print(f"{path.name} is being done by another process.", file=sys.stderr)
        return 0
    try:
        if folder.is_ended(attempt):  # taken out of the queue while it waited
            return 0
        folder.sweep()
        return _work(workspace, folder, Reporter(folder, attempt))
    finally:
        lock.release()


def _work(workspace: Workspace, folder: JobFolder, reporter: Reporter) -> int:
    """Wait, work, and say how it ended. Returns the exit code."""
    slot = None
    try:
        slot = _wait_for_slot(workspace, folder)
        reporter.begin()
        finished = _train(workspace, folder, reporter) if isinstance(folder, Run) else _do(workspace, folder, reporter)
        reporter.end(store.COMPLETED if finished else store.STOPPED)
    except Stopped as stop:
        reporter.end(store.STOPPED, str(stop))
    except Exception as error:
        traceback.print_exc()
        reporter.end(store.FAILED, _reason(error))
        return 1
    finally:
        if slot is not None:
            slot.release()
    return 0


def _reason(error: Exception) -> str:
    """Why a job failed, in a sentence for the user."""
    kind = type(error).__name__
    if isinstance(error, CovidCoreError):
        return str(error)
    if isinstance(error, MemoryError) or kind == TENSORFLOW_OUT_OF_MEMORY:
        return "Out of memory. Try a smaller batch size or smaller films."
    if isinstance(error, OSError):
        return f"The disk or a file failed: {error.strerror or error}."
    return f"A bug in Second Look ended the job ({kind}). The log has details."


def _wait_for_slot(workspace: Workspace, folder: JobFolder) -> files.FileLock:
    while (slot := queue.take_slot(workspace, folder)) is None:
        if folder.stop_requested():
            raise Stopped(queue.OUT_OF_QUEUE)
        time.sleep(SLOT_POLL)
    return slot


def _train(workspace: Workspace, run: Run, reporter: Progress) -> bool:
    reporter(0.0, "Reading films")
    twin = None if run.checkpoint_path.exists() else reuse.find(workspace, run)
    if twin is not None:
        reuse.take_over(run, twin)
        return True
    from covid_core.nets import training

    return training.train(workspace, run, reporter)


def _do(workspace: Workspace, job: JobFolder, reporter: Reporter) -> bool:
    """A job that is no training: it publishes its result where it belongs, and says where that is."""
    request = job.request()
    if request["kind"] == "evaluate":
        job.write_result(_evaluate(workspace, request, reporter))
    elif request["kind"] == queue.REFERENCE:
        job.write_result({"run": _reference(workspace, request, reporter)})
    elif request["kind"] == queue.DATA_AUDIT:
        job.write_result(_audit_data(workspace, request, reporter))
    elif request["kind"] == queue.MAP:
        job.write_result({"dataset": _map(workspace, request, reporter)})
    elif request["kind"] == queue.AUDIT:
        job.write_result(_audit(workspace, request, reporter))
    elif request["kind"] == queue.LESSON:
        job.write_result(_lesson(workspace, request, reporter))
    elif request["kind"] == segmenters.KIND:
        job.write_result({"segmenter": _segment(workspace, request, reporter)})
    else:
        job.write_result({"dataset": _import(workspace, request, reporter)})
    return True


def _evaluate(workspace: Workspace, request: Mapping[str, Any], reporter: Reporter) -> dict[str, str]:
    """Test a run on another data set. Returns its id and that of the evaluation."""
    from covid_core.data.dataset import open_dataset
    from covid_core.inference import external_test

    run, films = store.open_run(workspace, request["run"]), open_dataset(workspace, request["dataset"])
    done = external_test.evaluate(workspace, run, films, request["classes"], reporter)
    return {"run": run.id, "evaluation": done.id}


def _reference(workspace: Workspace, request: Mapping[str, Any], reporter: Reporter) -> str:
    """Give a finished run the reference that it lacks. Returns its id."""
    from covid_core.inference import reference_fit

    reference_fit.make(workspace, store.open_run(workspace, request["run"]), reporter)
    return request["run"]


def _audit(workspace: Workspace, request: Mapping[str, Any], reporter: Reporter) -> dict[str, str]:
    """Audit a finished run's model. Returns its id and the verdict."""
    from covid_core.audit.model import model_audit

    run = store.open_run(workspace, request["run"])
    return {"run": run.id, "verdict": model_audit.make(workspace, run, reporter)["verdict"]}


def _lesson(workspace: Workspace, request: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Prepare a lesson. Returns its data set, its runs, and what was measured beside their predictions."""
    from covid_core.lessons import preparation

    def train(run: Run, progress: Progress) -> None:
        _train_within(workspace, run, progress)

    return preparation.make(workspace, request["lesson"], request["seed"], train, reporter)


def _train_within(workspace: Workspace, run: Run, progress: Progress) -> None:
    """Train a run as a part of the job at hand, in this process. Its own status tells how it went, as always.

    Raises Stopped, also where the run has kept what it had.
    """
    lock = run.lock
    if not lock.acquire(LOCK_PATIENCE):
        raise CovidCoreError(f"{run.name} is being trained by another process.")
    run.write_launch(os.getpid(), 1)
    own = Reporter(run, 1)

    def both(share: float, message: str) -> None:
        own(share, message)
        progress(share, message)

    try:
        own.begin()
        finished = _train(workspace, run, both)
        own.end(store.COMPLETED if finished else store.STOPPED)
    except Exception as error:
        stopped = isinstance(error, Stopped)
        own.end(store.STOPPED if stopped else store.FAILED, str(error) if stopped else _reason(error))
        raise
    finally:
        lock.release()
    if not finished:
        raise Stopped("Stopped by the user.")


def _audit_data(workspace: Workspace, request: Mapping[str, Any], reporter: Reporter) -> dict[str, str | None]:
    """Audit a data set. Returns its id and that of the one that it was compared with."""
    from covid_core.audit import dataset_audit
    from covid_core.data.dataset import open_dataset

    dataset, against = open_dataset(workspace, request["dataset"]), request["against"]
    dataset_audit.make(workspace, dataset, against and open_dataset(workspace, against), reporter)
    return {"dataset": dataset.id, "against": against}


def _map(workspace: Workspace, request: Mapping[str, Any], reporter: Reporter) -> str:
    """Make the map of a data set. Returns its id."""
    from covid_core.audit.embedding import embedding_map
    from covid_core.data.dataset import open_dataset
    from covid_core.runs import frozen_features

    dataset = open_dataset(workspace, request["dataset"])
    embedding_map.make(workspace, dataset, reporter, frozen=frozen_features.best(workspace, dataset))
    return request["dataset"]


def _segment(workspace: Workspace, request: Mapping[str, Any], reporter: Reporter) -> str:
    """Train a lung segmenter on a data set's masks. Returns its id."""
    reporter(0.0, "Reading films")
    from covid_core.nets.segmentation import training

    return training.train(workspace, request["dataset"], request["seed"], reporter)


def _import(workspace: Workspace, request: Mapping[str, Any], reporter: Reporter) -> str:
    """Publish a data set. Returns its id."""
    from covid_core.data import importing

    importing.sweep(workspace)
    name, classes = request.get("name", ""), request.get("classes")
    match request["kind"]:
        case "phantom":
            images, seed, plant = request["images"], request["seed"], tuple(request["plant"])
            return importing.import_phantom(workspace, images, seed, plant, name, progress=reporter).id
        case "kaggle":
            return importing.import_kaggle(workspace, name, classes, reporter).id
        case "import":
            source = Path(request["source"])
            try:
                return importing.import_path(workspace, source, name, classes, reporter).id
            finally:
                if request.get("remove_source") and source.parent == workspace.uploads:
                    source.unlink(missing_ok=True)
        case unknown:
            raise CovidCoreError(f"This version does not know the job {unknown!r}.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], _log_into))
