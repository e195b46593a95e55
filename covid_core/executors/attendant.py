"""The process beside an engine: ``python -m covid_core.executors.attendant CHOICE FOLDER ATTEMPT ...``.

It stays on the computer that started the jobs, for as long as they take, and holds their locks: the kernel frees them
on any death, so that readers see as always whether a job lives. A task that the engine lost is handed over again, and
goes on from its last checkpoint. Where the attendant ends early, the workers on the nodes end too.
"""

import os
import sys
import time
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
SETTLE = 30.0  # seconds: what a node has written may be seen here as late as that
TRIES = 4  # a job that was lost so often is not handed over again
LOCK_PATIENCE = 5.0  # seconds; a reader's probe holds the lock for an instant
WAITING = "Waiting for a node"
LOST = "Its node was lost. It goes on from its last checkpoint on another one"
LOST_FOR_GOOD = "It was lost {times} times, the last time because: {reason}"
NO_WORD = "its worker ended without a last word"
OUT_OF_QUEUE = "Taken out of the queue by the user."
PASSED_ON = ("KERAS_HOME", "COVID_CORE_CACHE_GB", "TZ")  # of this computer's environment


class Attendance:
    """One job in the hands of an engine. Raises nothing: how it went stands in the job's folder."""

    def __init__(self, folder: JobFolder, attempt: int, choice: Choice):
        self.folder, self.attempt = folder, attempt
        self._choice = choice
        self._first = attempt
        self._task: Task | None = None
        self._is_cancelled = False
        self._ended = 0.0  # by the monotonic clock
        self._write(store.QUEUED, message=WAITING)

    def hand_over(self, engine: EngineClient) -> None:
        """Hand the job over. Raises what the engine does."""
        self._ended = 0.0
        self._task = engine.submit(self.folder, self.attempt, self._environment())

    def is_done(self, engine: EngineClient) -> bool:
        """Whether it has come to its end; a lost one is handed over again."""
        assert self._task is not None
        end = self._task.end()
        if end is None:
            self._unqueue_on_request()
            return False
        if self.folder.is_ended(self.attempt):
            return True
        if not (end.is_lost or end.reason or self._is_cancelled):
            self._ended = self._ended or time.monotonic()
            if time.monotonic() - self._ended < SETTLE:
                return False
            end = End(is_lost=True, reason=NO_WORD)
        if self._is_cancelled or self.folder.stop_requested():
            self._write(store.STOPPED, reason=OUT_OF_QUEUE)
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

    def _unqueue_on_request(self) -> None:
        """A stop of a job that has not begun is no matter of its worker, which stops at its next step."""
        if self.folder.stop_requested() and not self._is_cancelled and self.folder.status().state == store.QUEUED:
            self._is_cancelled = True
            assert self._task is not None
            self._task.cancel()

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
    pairs = dict(zip(map(JobFolder, map(Path, words[1::2])), map(int, words[2::2]), strict=True))
    locks = {folder: folder.lock for folder in pairs}
    held = [folder for folder, lock in locks.items() if lock.acquire(LOCK_PATIENCE)]
    attended = [
        Attendance(folder, attempt, choice)
        for folder, attempt in pairs.items()
        if folder in held and not folder.is_ended(attempt)
    ]
    _log_into(next(iter(pairs)))
    try:
        engine = engines.opened(choice)
        for one in attended:
            one.hand_over(engine)
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
            except CovidCoreError as error:  # it can no longer be handed over, or its folder is damaged
                one.fail(str(error))
                is_done = True
            if is_done:
                left.remove(one)
                locks[one.folder].release()
        time.sleep(POLL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
