"""A run that is really trained, as small as can be, for tests that need a network's files.

Where any such run serves, the fixture ``copy_of_trained`` gives a copy of one that is trained once for all.
"""

import shutil
from pathlib import Path
from typing import Any

from local_jobs import completed
from waiting import LONG

from covid_core import files
from covid_core.data import dataset as data
from covid_core.data.dataset import Dataset
from covid_core.data.imports import importing
from covid_core.files import FileLock
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.specs import HeadSpec, TrainingSpec
from covid_core.workspace import Workspace, new_id

IMAGES = 240  # so that its validation part tells images from other pictures


def tiny_run(workspace: Workspace, dataset: Dataset, **settings: Any) -> Run:
    """A baseline CNN on images of 32 pixels, after one epoch on all classes of the data set, or with other settings."""
    small = dict(
        dataset=dataset.id,
        classes=dataset.classes,
        name="Tiny",
        backbone="baseline_cnn",
        head=HeadSpec(units=(8,)),
        image_size=32,
        epochs=1,
    )
    run = completed(workspace, TrainingSpec(**(small | settings)))
    return store.open_run(workspace, run.id)


def copy_of_trained(shared: Path, workspace: Workspace) -> Run:
    """Copy a finished run and its data set, IMAGES with clear lesions and lung masks, into an empty workspace.

    Args:
        shared: a folder of all processes that run tests; whoever comes first trains in it.
        workspace: where the copy goes.
    """
    lock, trained = FileLock(shared / "trained.lock"), Workspace(shared / "trained")
    assert lock.acquire(LONG)
    try:
        if not trained.root.exists():
            made = Workspace(shared / "training")
            shutil.rmtree(made.root, ignore_errors=True)  # of one that was ended in the middle
            tiny_run(made, importing.import_phantom(made, IMAGES, seed=3, plant=("clear-lesions",)))
            made.root.rename(trained.root)
    finally:
        lock.release()
    shutil.copytree(trained.root, workspace.root, dirs_exist_ok=True)
    (run,), _ = store.list_runs(workspace)
    return run


def sibling(workspace: Workspace, run: Run, name: str) -> Run:
    """Another run of the same network, as if it had been trained again under another name."""
    folder = shutil.copytree(run.path, workspace.runs / new_id(name))
    content = files.read_json(folder / "spec.json")
    content["spec"]["name"] = name
    files.write_json(folder / "spec.json", content)
    return store.open_run(workspace, folder.name)


def dataset_of(workspace: Workspace, run: Run) -> Dataset:
    return data.open_dataset(workspace, run.spec.dataset)
