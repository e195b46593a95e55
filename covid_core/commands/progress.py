"""Long work followed on stderr, for verbs that wait."""

import sys
import time
from collections.abc import Callable

from covid_core.formatting import duration, share
from covid_core.runs import store
from covid_core.workspace import Workspace

REDRAW = 0.5  # seconds between progress lines


def waited(workspace: Workspace, run: store.Run) -> store.Run:
    """Follow a run on stderr until it ends, then read it anew."""
    followed(run, run.name)
    return store.open_run(workspace, run.id)


def followed(job: store.JobFolder, name: str) -> store.Status:
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


def progress() -> Callable[[float, str], None]:
    """Progress on stderr, a line at most twice a second."""
    last = 0.0

    def report(done: float, message: str) -> None:
        nonlocal last
        if time.monotonic() - last >= REDRAW:
            last = time.monotonic()
            print(f"{share(done, 0):>6}  {message}", file=sys.stderr)

    return report
