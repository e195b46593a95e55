"""What a verb of the command line is, the options that several verbs have, and long work followed on stderr."""

import sys
import time
from collections.abc import Callable
from typing import Any

from covid_core.formatting import duration, share
from covid_core.jobs import queue
from covid_core.jobs.kinds import Request
from covid_core.runs import store
from covid_core.workspace import Workspace

REDRAW = 0.5  # seconds between progress lines

Work = Callable[..., dict[str, Any]]  # of the workspace and the options; "text" of its answer is for people
Option = tuple[str, dict[str, Any]]
VERBS: dict[str, tuple[Work, list[Option]]] = {}  # filled by the modules that hold verbs, when they are imported


def option(name: str, **settings: Any) -> Option:
    """An option or argument, with the settings that ``argparse`` takes."""
    return name, settings


ARGUMENTS = {
    "path": "a folder or a zip archive",
    "dataset": "id of a data set, as datasets lists it",
    "run": "id of a run, as runs lists it",
    "segmenter": "id of a lung segmenter, as segmenters lists it",
    "images": "a folder with a folder per class, or the id of a data set",
}
NAME = option("--name", default="", help="how lists and pages call it; made from its content by default")
SEED = option("--seed", type=int, default=0, help="what chance starts from: the same seed, the same result")
WAIT = option("--wait", action="store_true", help="follow until it ends")


def verb(name: str, *options: str | Option) -> Callable[[Work], Work]:
    """Enter the decorated function as a verb; its docstring is the help. Those of ARGUMENTS may stand by their name."""

    def enter(work: Work) -> Work:
        VERBS[name] = work, [option(one, help=ARGUMENTS[one]) if isinstance(one, str) else one for one in options]
        return work

    return enter


def started(workspace: Workspace, request: Request, wait: bool) -> tuple[store.JobFolder, dict[str, Any]]:
    """A job that was queued, followed to its end where ``wait``, and the answer about it."""
    job = queue.submit(workspace, request)
    status = followed(job, job.id) if wait else job.status()
    text = f"{job.id}  {status.state} {status.reason}".rstrip()
    return job, {"job": job.id, "state": status.state, "reason": status.reason, "text": text}


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
    """Progress on stderr, a line at most twice a second, and the last one."""
    last = 0.0

    def report(done: float, message: str) -> None:
        nonlocal last
        if done >= 1 or time.monotonic() - last >= REDRAW:
            last = time.monotonic()
            print(f"{share(done, 0):>6}  {message}", file=sys.stderr)

    return report
