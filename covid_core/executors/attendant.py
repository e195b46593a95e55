"""The process beside an engine: ``python -m covid_core.executors.attendant CHOICE FOLDER ATTEMPT ...``, and perhaps
``then FOLDER ATTEMPT ...`` of jobs that wait for the ones before.

It stays on the computer that started the jobs, for as long as they take, and holds their locks: the kernel frees them
on any death, so that readers see as always whether a job lives. A task that the engine lost is handed over again, and
goes on from its last checkpoint. Where the attendant ends early, the workers on the nodes end too.
"""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from covid_core.errors import CovidCoreError
from covid_core.executors import engines, local
from covid_core.executors.choice import Choice
from covid_core.executors.engines import End, EngineClient, Task
from covid_core.files import FileLock
from covid_core.runs import store
from covid_core.runs.store import Fault, JobFolder, Status
from covid_core.specs import parse
from covid_core.work import CORES

POLL = 0.5  # seconds between two questions to the engine
THEN = "then"  # between jobs and those that begin when they have all ended, however
SETTLE = 30.0  # seconds: what a node has written may be seen here as late as that
TRIES = 4  # a job that was lost so often is not handed over again
LOCK_PATIENCE = 5.0  # seconds; a reader's probe holds the lock for an instant
WAITING = "Waiting for a node"
WAITING_FOR_OTHERS = "Waiting for features that other jobs compute"
LOST = "Its node was lost. It goes on from its last checkpoint on another node"
LOST_FOR_GOOD = "The job was lost {times} times. Resume it, or start it again. Last reason: {reason}"
NOT_FOLLOWED = "The engine no longer reports on this job. The log has details. Resume goes on from the last checkpoint."
NO_WORD = "its worker ended without a message"
STOPPED = "Stopped by the user."
OUT_OF_QUEUE = "Taken out of the queue by the user."
PASSED_ON = ("KERAS_HOME", "COVID_CORE_CACHE_GB", "TZ")  # of this computer's environment


class Attendance:
    """One job in the hands of an engine. Raises nothing: how it went stands in the job's folder."""

    def __init__(self, folder: JobFolder, attempt: int, choice: Choice, before: Sequence["Attendance"] = ()):
        self.folder, self.attempt = folder, attempt
        self.is_over = False
        self._before = before
        self._choice = choice
        self._first = attempt
        self._task: Task | None = None
        self._is_cancelled = False
        self._ended = 0.0  # by the monotonic clock
        self._write(store.QUEUED, message=WAITING_FOR_OTHERS if before else WAITING)

    def hand_over(self, engine: EngineClient) -> None:
        """Hand the job over. Raises what the engine does."""
        self._ended = 0.0
        self._task = engine.submit(self.folder, self.attempt, self._environment())

    def is_done(self, engine: EngineClient) -> bool:
        """Whether it has come to its end. One that waits for others is handed over after them, a lost one again."""
        self.is_over = self.is_over or self._progressed(engine)
        return self.is_over

    def _progressed(self, engine: EngineClient) -> bool:
        if not self.folder.path.is_dir():  # deleted meanwhile
            return True
        if self._task is None:
            if self.folder.stop_requested():
                self._write(store.STOPPED, reason=OUT_OF_QUEUE)
                return True
            if all(one.is_over for one in self._before):
                self.hand_over(engine)
            return False
        end = self._task.end()
        if end is None:
            self._unqueue_on_request(self._task)
            return False
        if self.folder.is_ended(self.attempt):
            return True
        if not (end.is_lost or end.reason or self._is_cancelled):
            self._ended = self._ended or time.monotonic()
            if time.monotonic() - self._ended < SETTLE:
                return False
            end = End(is_lost=True, reason=NO_WORD)
        if self._is_cancelled or self.folder.stop_requested():
            self._write(store.STOPPED, reason=OUT_OF_QUEUE if self._is_cancelled else STOPPED)
        elif not end.is_lost:
            self.fail(end.reason, end.fault)
        elif self.attempt - self._first + 1 >= TRIES:
            self.fail(LOST_FOR_GOOD.format(times=TRIES, reason=end.reason))
        else:
            print(f"Attempt {self.attempt} was lost: {end.reason}", file=sys.stderr)
            self.attempt += 1
            self.folder.write_launch(os.getpid(), self.attempt, self.folder.log_bytes, self._choice.engine)
            self._write(store.QUEUED, message=LOST)
            self.hand_over(engine)
            return False
        return True

    def fail(self, reason: str, fault: Fault = "") -> None:
        """Its last word, where no worker has had one."""
        self._write(store.FAILED, reason=reason, fault=fault)
        self.is_over = True

    def _unqueue_on_request(self, task: Task) -> None:
        """A stop of a job that has not begun is no matter of its worker, which stops at its next step."""
        if self.folder.stop_requested() and not self._is_cancelled and self.folder.status().state == store.QUEUED:
            self._is_cancelled = True
            task.cancel()

    def _write(self, state: store.State, **words: Any) -> None:
        """How it is, from where the last worker had come to."""
        now, progress = time.time(), self.folder.progress_written
        ended = now if state in store.FINAL else None
        place, attempt = self._choice.label, self.attempt
        status = Status(state, **words, progress=progress, attempt=attempt, updated=now, ended=ended, place=place)
        self.folder.write_status(status)

    def _environment(self) -> dict[str, str]:
        """Of its worker: never that of this computer, but for what the project itself reads."""
        own = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
        cores = str(self._choice.cores)
        threads = {name: cores for name in (CORES, "TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")}
        graphics = {} if self._choice.gpus else local.NO_GRAPHICS_CARD
        return {**own, **threads, **graphics, **local.settings(self.folder)}


def main(words: Sequence[str]) -> int:
    """Attend to the folders and attempts of the command line. Returns the exit code: 1 where no engine was reached."""
    choice = parse(Choice, words[0])
    cut = words.index(THEN) if THEN in words else len(words)
    locks: dict[JobFolder, FileLock] = {}
    attended: list[Attendance] = []
    for some in (words[1:cut], words[cut + 1 :]):
        before = tuple(attended)
        for path, attempt in zip(map(Path, some[::2]), map(int, some[1::2]), strict=True):
            folder = JobFolder(path)
            locks[folder] = folder.lock
            if not locks[folder].acquire(LOCK_PATIENCE):
                continue
            if folder.is_ended(attempt):
                locks[folder].release()
            else:
                attended.append(Attendance(folder, attempt, choice, before))
    _log_into(next(iter(locks)))
    try:
        engine = engines.opened(choice)
    except CovidCoreError as error:
        for one in attended:
            one.fail(str(error))
        return 1
    attend(engine, attended, locks)
    return 0


def _log_into(folder: JobFolder) -> None:
    """Send what the engine's client prints from now on to a log of its own, beside that of the worker."""
    with open(folder.attendant_path, "ab") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())


def attend(engine: EngineClient, attended: Sequence[Attendance], locks: Mapping[JobFolder, FileLock]) -> None:
    """Stay until all have ended; the lock of each is let go with its end."""
    left = list(attended)
    while left:
        for one in list(left):
            try:
                is_done = one.is_done(engine)
            except Exception as error:  # whatever it is, the other jobs go on: with this process all would end
                traceback.print_exc()
                with contextlib.suppress(OSError):
                    one.fail(str(error) if isinstance(error, CovidCoreError) else NOT_FOLLOWED)
                is_done = True
            if is_done:
                left.remove(one)
                locks[one.folder].release()
        time.sleep(POLL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
