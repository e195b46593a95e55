"""What a worker says of its job while it is at it: status.json."""

import contextlib
import os
import threading
import time
from dataclasses import replace
from typing import Any

from covid_core.errors import Stopped
from covid_core.jobs.failures import NO_FAILURE, STALLED, Failure
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status

REPORT_EVERY = 0.4  # seconds between writes of status.json while work goes on
BEAT = 10.0  # seconds between two signs of life while the work says nothing
STALLED_AFTER = 30 * 60.0  # seconds; no step takes so long: the longest are an export, and a pass of a large network
RESERVE_BYTES = 32_768  # for the last word: status.json and its copy, each a block or two
ESTIMATE_FROM = 0.02  # share of the work after which the time left can be told


class Reporter:
    """Writes status.json for one job, and raises Stopped in the work when the user asked for it.

    It raises once: work that keeps what it has can go on and report while it saves. From ``begin`` to ``end`` a thread
    gives signs of life; where the work says nothing for STALLED_AFTER, it gives the last word and ends the process.
    On a node of an engine (``place``, in words) a process that the others have lost ends too, without a word.
    """

    def __init__(self, folder: JobFolder, attempt: int, place: str = ""):
        self.place = place
        self._folder = folder
        self._status = Status(store.QUEUED, message="Waiting for its turn", attempt=attempt, place=place)
        self._stopping = False
        self._written = 0.0
        self._reports = 0
        self._ended = threading.Event()
        self._writing = threading.RLock()
        self._begun = 0.0
        self._expected: float | None = None
        self._reserve = folder.path / ".reserve"
        self.write()
        self._reserve.write_bytes(os.urandom(RESERVE_BYTES))  # chance, as some disks store equal bytes in less room

    def begin(self, expected: float | None = None) -> None:
        """The work starts now, and takes so many seconds as far as that is known before."""
        self._expected = expected
        self._begun = time.monotonic()
        self._change(state=store.RUNNING, message="Starting", started=time.time())
        threading.Thread(target=self._live, daemon=True).start()

    def __call__(self, share: float, message: str) -> None:
        """Progress of the work. Raises Stopped."""
        self._reports += 1
        if not self._stopping and self._folder.stop_requested():
            self._stopping = True
            raise Stopped("Stopped by the user.")
        now = time.monotonic()
        if now - self._written < REPORT_EVERY:
            return
        share = min(max(share, 0.0), 1.0)
        spent = now - self._begun
        self._change(progress=share, message=message, seconds_left=self._left(share, spent))

    def _left(self, share: float, spent: float) -> float | None:
        """The time left at the pace so far; the less is done, the more by what was expected: no part is typical."""
        if self._expected is not None:
            return (1 - share) * ((1 - share) * self._expected + spent)
        return spent * (1 - share) / share if share > ESTIMATE_FROM else None

    def _live(self) -> None:
        reports, silent = 0, 0.0  # counted in beats: a computer that sleeps, or a process that is halted, does not work
        while silent < STALLED_AFTER:
            if self._ended.wait(BEAT):
                return
            reports, silent = self._reports, silent + BEAT if reports == self._reports else 0.0
            with self._writing, contextlib.suppress(OSError):  # of a disk that is full, the work will tell
                if not self._ended.is_set():
                    self._change()
        try:
            self.end(store.FAILED, Failure(STALLED.format(minutes=round(silent / 60)), "stalled"))
        finally:
            os._exit(1)

    def end(self, state: str, failure: Failure = NO_FAILURE) -> None:
        """The last word, for which there is room on a full disk too."""
        self._ended.set()
        self._reserve.unlink(missing_ok=True)
        progress = 1.0 if state == store.COMPLETED else self._status.progress
        last = {"reason": failure.reason, "fault": failure.fault, "progress": progress, "ended": time.time()}
        self._change(state=state, **last, seconds_left=None, message="")

    def write(self) -> None:
        if self.place and self._folder.is_superseded(self._status.attempt):
            os._exit(1)  # the job goes on elsewhere, or its attendant has gone: nothing here is its business any more
        self._folder.write_status(self._status)
        self._written = time.monotonic()

    def _change(self, **changes: Any) -> None:
        with self._writing:
            clock = time.monotonic()
            seconds = clock - self._begun if self._begun else None
            self._status = replace(self._status, updated=time.time(), seconds=seconds, clock=clock, **changes)
            self.write()
