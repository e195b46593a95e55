"""What a worker says of its job while it is at it: status.json, and why a job failed in a sentence for the user."""

import time
from dataclasses import replace
from typing import Any

from covid_core.errors import CovidCoreError, Stopped
from covid_core.runs import store
from covid_core.runs.store import JobFolder, Status

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
        self._stopping = False
        self._written = 0.0
        self._begun = 0.0
        self._expected: float | None = None
        self.write()

    def begin(self, expected: float | None = None) -> None:
        """The work starts now, and takes so many seconds as far as that is known before."""
        self._expected = expected
        self._begun = time.monotonic()
        self._change(state=store.RUNNING, message="Starting", started=time.time())

    def __call__(self, share: float, message: str) -> None:
        """Progress of the work. Raises Stopped."""
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

    def end(self, state: str, reason: str = "") -> None:
        """The last word."""
        progress = 1.0 if state == store.COMPLETED else self._status.progress
        self._change(state=state, reason=reason, progress=progress, ended=time.time(), seconds_left=None, message="")

    def write(self) -> None:
        self._folder.write_status(self._status)
        self._written = time.monotonic()

    def _change(self, **changes: Any) -> None:
        clock = time.monotonic()
        seconds = clock - self._begun if self._begun else None
        self._status = replace(self._status, updated=time.time(), seconds=seconds, clock=clock, **changes)
        self.write()


def reason_of(error: Exception) -> str:
    """Why a job failed, in a sentence for the user."""
    kind = type(error).__name__
    if isinstance(error, CovidCoreError):
        return str(error)
    if isinstance(error, MemoryError) or kind == TENSORFLOW_OUT_OF_MEMORY:
        return "Out of memory. Try a smaller batch size or smaller images."
    if isinstance(error, OSError):
        return f"The disk or a file failed: {error.strerror or error}."
    return f"A bug in Second Look ended the job ({kind}). The log has details."
