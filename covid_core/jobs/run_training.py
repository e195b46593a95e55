"""The training of a run by a worker: alone, or as a part of another job.

Networks lie below jobs but cost TensorFlow's start, and lessons lie above them: both are reached by the name of a
function, imported when its job begins.
"""

import os

from covid_core import weights
from covid_core.errors import CovidCoreError, Stopped
from covid_core.jobs import kinds, reuse
from covid_core.jobs.failures import Failure, failure_of
from covid_core.jobs.reporter import Reporter
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.work import Progress
from covid_core.workspace import Workspace

LOCK_PATIENCE = 5.0  # seconds; a reader's probe holds the lock for an instant


def train(workspace: Workspace, run: Run, reporter: Progress) -> bool:
    """Train a run, or take over a finished one that is equal. Returns whether it went to its end."""
    reporter(0.0, "Reading images")
    equal = None if run.checkpoint_path.exists() else reuse.equal_run(workspace, run)
    if equal is not None:
        reuse.take_over(run, equal)
        return True
    weights.check_content(run.spec, run.spec.network)  # before TensorFlow starts
    return bool(kinds.of(run.spec).work(workspace, run, reporter))


def train_within(workspace: Workspace, run: Run, progress: Progress) -> None:
    """Train a run as a part of the job at hand, in this process. Its own status tells how it went, as always.

    Raises Stopped, also where the run has kept what it had.
    """
    with run.lock.held(LOCK_PATIENCE, CovidCoreError(f"{run.name} is being trained by another process.")):
        run.write_launch(os.getpid(), 1)
        own = Reporter(run, 1)

        def both(share: float, message: str) -> None:
            own(share, message)
            progress(share, message)

        try:
            own.begin()
            finished = train(workspace, run, both)
            own.end(store.COMPLETED if finished else store.STOPPED)
        except Exception as error:
            if isinstance(error, Stopped):
                own.end(store.STOPPED, Failure(str(error)))
            else:
                own.end(store.FAILED, failure_of(error))
            raise
    if not finished:
        raise Stopped("Stopped by the user.")
