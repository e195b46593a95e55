"""A run that a worker really trains, as small as can be, for tests that need a network's files."""

from typing import Any

from covid_core.data.dataset import Dataset
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.specs import HeadSpec, TrainingSpec
from covid_core.workspace import Workspace


def tiny_run(workspace: Workspace, dataset: Dataset, **settings: Any) -> Run:
    """A baseline CNN on films of 32 pixels, after one epoch on all classes of the data set, or with other settings."""
    small = dict(
        dataset=dataset.id,
        classes=dataset.classes,
        name="Tiny",
        backbone="baseline_cnn",
        head=HeadSpec(units=(8,)),
        image_size=32,
        epochs=1,
    )
    run = queue.submit_training(workspace, TrainingSpec(**(small | settings)))
    assert queue.wait(run).state == store.COMPLETED, run.log_tail()
    return store.open_run(workspace, run.id)
