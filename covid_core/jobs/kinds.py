"""Every kind of job that is no training of a run: a row of KINDS, and the function that does it.

A function is given the workspace, what was asked (request.json) and whom to tell how far it is. It publishes its result
where that belongs, and returns where that is: the job's result.json. It imports what it needs when it starts, so that a
worker waits in the queue with as little as possible.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from covid_core.data.dataset import open_dataset
from covid_core.errors import CovidCoreError
from covid_core.jobs import queue, segmentation
from covid_core.jobs.run_training import entry_point, train_within
from covid_core.runs import store
from covid_core.work import Progress
from covid_core.workspace import Workspace

LESSON = "covid_core.lessons.preparation:make"
SEGMENTATION = "covid_core.nets.segmentation.training:train"

Request = Mapping[str, Any]
Result = dict[str, Any]


def work(workspace: Workspace, request: Request, progress: Progress) -> Result:
    """Do a job. Returns its result. Raises CovidCoreError where this version does not know its kind."""
    kind = request["kind"]
    if kind not in KINDS:
        raise CovidCoreError(f"This version does not know the job {kind!r}.")
    return KINDS[kind](workspace, request, progress)


def _evaluate(workspace: Workspace, request: Request, progress: Progress) -> Result:
    """Test a run on another data set."""
    from covid_core.inference import external_test

    run, images = store.open_run(workspace, request["run"]), open_dataset(workspace, request["dataset"])
    done = external_test.evaluate(workspace, run, images, request["classes"], progress)
    return {"run": run.id, "evaluation": done.id}


def _reference(workspace: Workspace, request: Request, progress: Progress) -> Result:
    """Give a finished run the reference that it lacks."""
    from covid_core.inference import reference_fit

    reference_fit.make(workspace, store.open_run(workspace, request["run"]), progress)
    return {"run": request["run"]}


def _audit_of_model(workspace: Workspace, request: Request, progress: Progress) -> Result:
    from covid_core.audit.model import model_audit

    run = store.open_run(workspace, request["run"])
    return {"run": run.id, "verdict": model_audit.make(workspace, run, progress)["verdict"]}


def _audit_of_data(workspace: Workspace, request: Request, progress: Progress) -> Result:
    """Audit a data set, compared with another where one is named."""
    from covid_core.audit import dataset_audit

    dataset, against = open_dataset(workspace, request["dataset"]), request["against"]
    dataset_audit.make(workspace, dataset, against and open_dataset(workspace, against), progress)
    return {"dataset": dataset.id, "against": against}


def _map(workspace: Workspace, request: Request, progress: Progress) -> Result:
    from covid_core.audit.embedding import embedding_map
    from covid_core.runs import frozen_features

    dataset = open_dataset(workspace, request["dataset"])
    embedding_map.make(workspace, dataset, progress, frozen=frozen_features.best(workspace, dataset))
    return {"dataset": request["dataset"]}


def _lesson(workspace: Workspace, request: Request, progress: Progress) -> Result:
    """Prepare a lesson: its data set, its runs, and what was measured beside their predictions."""
    train = partial(train_within, workspace)
    return entry_point(LESSON)(workspace, request["lesson"], request["seed"], train, progress)


def _segmenter(workspace: Workspace, request: Request, progress: Progress) -> Result:
    """Train a lung segmenter on a data set's masks."""
    progress(0.0, "Reading images")
    return {"segmenter": entry_point(SEGMENTATION)(workspace, request["dataset"], request["seed"], progress)}


def _phantom(workspace: Workspace, request: Request, progress: Progress) -> Result:
    from covid_core.data import importing

    importing.sweep(workspace)
    images, seed, plant = request["images"], request["seed"], tuple(request["plant"])
    made = importing.import_phantom(workspace, images, seed, plant, request.get("name", ""), progress=progress)
    return {"dataset": made.id}


def _kaggle(workspace: Workspace, request: Request, progress: Progress) -> Result:
    from covid_core.data import importing

    importing.sweep(workspace)
    made = importing.import_kaggle(workspace, request.get("name", ""), request.get("classes"), progress)
    return {"dataset": made.id}


def _import(workspace: Workspace, request: Request, progress: Progress) -> Result:
    """Import a folder or an archive; an archive that was uploaded is removed afterwards, whatever came of it."""
    from covid_core.data import importing

    importing.sweep(workspace)
    source = Path(request["source"])
    try:
        made = importing.import_path(workspace, source, request.get("name", ""), request.get("classes"), progress)
    finally:
        if request.get("remove_source") and source.parent == workspace.uploads:
            source.unlink(missing_ok=True)
    return {"dataset": made.id}


KINDS: dict[str, Callable[[Workspace, Request, Progress], Result]] = {
    "import": _import,
    "kaggle": _kaggle,
    "phantom": _phantom,
    "evaluate": _evaluate,
    queue.REFERENCE: _reference,
    queue.DATA_AUDIT: _audit_of_data,
    queue.MAP: _map,
    queue.AUDIT: _audit_of_model,
    queue.LESSON: _lesson,
    segmentation.KIND: _segmenter,
}
