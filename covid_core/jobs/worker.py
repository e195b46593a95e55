"""The process that does one job, or several in turn: ``python -m covid_core.jobs.worker FOLDER ATTEMPT ...``.

It holds a folder's lock while it is at that job, waits for its turn, and only then imports what is heavy. Whatever
happens, its last word is in status.json; a process that could not even say that has let its lock go. On a node of an
engine, which has given it its turn, another computer holds that lock: see ``executors.attendant``.
"""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from covid_core import files
from covid_core.errors import CovidCoreError, Stopped
from covid_core.executors import node
from covid_core.jobs import kinds, queue
from covid_core.jobs.failures import Failure, failure_of
from covid_core.jobs.reporter import Reporter
from covid_core.jobs.run_training import LOCK_PATIENCE, train
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Run
from covid_core.workspace import Workspace

SLOT_POLL = 0.5  # seconds between looks at the queue


def main(words: Sequence[str], enter: Callable[[Path], None] = lambda path: None) -> int:
    """Do the jobs in the folders and attempts of the command line, one after the other.

    ``enter`` is told each folder before its job. Returns the exit code: 1 when one failed.
    """
    codes = []
    for path, attempt in zip(map(Path, words[::2]), map(int, words[1::2]), strict=True):
        enter(path)
        codes.append(do(path, attempt))
    return max(codes)


def log_into(path: Path) -> None:
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
    place = os.environ.get(node.PLACE, "")
    lock = folder.node_lock if place else folder.lock
    if not lock.acquire(LOCK_PATIENCE):
        print(f"{path.name} is being done by another process.", file=sys.stderr)
        return 0
    try:
        if folder.is_ended(attempt):  # taken out of the queue while it waited
            return 0
        folder.sweep()
        return _work(workspace, folder, Reporter(folder, attempt, place))
    finally:
        lock.release()


def _work(workspace: Workspace, folder: JobFolder, reporter: Reporter) -> int:
    """Wait, work, and say how it ended. Returns the exit code."""
    slot = None
    try:
        with contextlib.ExitStack() as before_its_end:
            if isinstance(folder, Run):
                slot = None if reporter.place else _wait_for_slot(workspace, folder)
                reporter.begin()
                finished = train(workspace, folder, reporter)
            else:  # it publishes its result where that belongs, and says where that is
                request = kinds.request_in(folder.request())
                before_its_end.callback(kinds.discard_upload, workspace, request)
                slot = None if reporter.place else _wait_for_slot(workspace, folder)
                reporter.begin(kinds.of(request).seconds(workspace, request) or None)
                folder.write_result(kinds.of(request).work(workspace, request, reporter))
                finished = True
        reporter.end(store.COMPLETED if finished else store.STOPPED)
    except Stopped as stop:
        reporter.end(store.STOPPED, Failure(str(stop)))
    except Exception as error:
        with contextlib.suppress(OSError):  # the log has no room for it either
            traceback.print_exc()
        reporter.end(store.FAILED, failure_of(error))
        return 1
    finally:
        if slot is not None:
            slot.release()
    return 0


def _wait_for_slot(workspace: Workspace, folder: JobFolder) -> files.FileLock:
    while (slot := queue.take_slot(workspace, folder)) is None:
        if folder.stop_requested():
            raise Stopped(queue.OUT_OF_QUEUE)
        time.sleep(SLOT_POLL)
    return slot


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], log_into))
