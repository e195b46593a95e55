"""The job that trains a lung segmenter: started, listed, and how long it takes."""

from typing import Any, NamedTuple

from covid_core.data import masks
from covid_core.data.dataset import open_dataset
from covid_core.errors import JobRefused
from covid_core.jobs import queue
from covid_core.runs import segmenters
from covid_core.runs.store import JobFolder, Status
from covid_core.work import cores
from covid_core.workspace import Workspace

KIND = "segment"
START_SECONDS, FIT_SECONDS = 15.0, 75.0  # TensorFlow's start and figures; the fit on two cores, 115 s of processor


class SegmentJob(NamedTuple):
    """A training of a segmenter as it was found: its folder, what it was asked to do, and how far it is."""

    folder: JobFolder
    request: dict[str, Any]
    status: Status


def submit(workspace: Workspace, dataset: str, seed: int = 0) -> JobFolder:
    """Start the training of a segmenter on a data set's masks; it does not wait for trainings of runs.

    Raises NotFound, DataError where there are too few masks, JobRefused where that data set's is being trained.
    """
    opened = open_dataset(workspace, dataset)
    segmenters.check(opened.name, int(masks.has_mask(opened).sum()))
    with queue.no_other_submits(workspace):
        if any(job.request["dataset"] == dataset and not job.status.is_final for job in segment_jobs(workspace)):
            raise JobRefused(f"A segmenter is being trained on {opened.name} already. Wait for it, or stop it.")
        return queue.submit_job(workspace, KIND, {"dataset": dataset, "seed": seed, "name": opened.name})


def segment_jobs(workspace: Workspace) -> list[SegmentJob]:
    """Trainings of segmenters in the order of their start; folders that cannot be read are left out."""
    return [SegmentJob(job, request, job.status()) for job, request in queue.jobs_of_kind(workspace, KIND)]


def expected_seconds() -> float:
    """About how long a training takes here. It sees about as many images whatever their number."""
    return START_SECONDS + FIT_SECONDS * 2 / cores()
