"""Jobs that are done in this process, which loads TensorFlow once. Workers of their own: test_worker, test_queue."""

import os
import warnings

import pytest

from covid_core.jobs import queue, worker
from covid_core.jobs.kinds import Request
from covid_core.runs import store
from covid_core.runs.store import JobFolder
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace


def completed(workspace: Workspace, request: Request | TrainingSpec) -> JobFolder:
    """The folder of a job that was queued as always and has come to its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "launch", lambda job: job.write_launch(os.getpid(), 1))
        training = isinstance(request, TrainingSpec)
        job = (queue.submit_training if training else queue.submit)(workspace, request)
    work(job)
    return job


def work(job: JobFolder) -> None:
    """Do a queued job."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow
        worker.do(job.path, job.next_attempt())
    assert job.status().state == store.COMPLETED, job.status().reason
