"""A copy of the workspace without its cache is a backup: what it held opens and predicts from the copy alone."""

import contextlib
import itertools
import shutil
import subprocess
import threading
from collections.abc import Iterator

import numpy as np
from pandas.testing import assert_frame_equal

from covid_core import files
from covid_core.data.dataset import list_datasets, open_dataset
from covid_core.data.imports.importing import import_folder
from covid_core.inference.predictor import Predictor
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.runs.store import HISTORY_TYPES, Run, Status
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace


def test_a_copy_without_the_cache_holds_all_that_counts(workspace, copy_of_trained, tmp_path, monkeypatch):
    run = copy_of_trained(workspace)
    scores = run.predictions()
    copy = tmp_path / "backup"
    shutil.copytree(
        workspace.root, copy, ignore=lambda folder, names: {"cache"} if folder == str(workspace.root) else ()
    )
    shutil.rmtree(workspace.root)
    monkeypatch.setenv("COVID_CORE_HOME", str(copy))
    restored = Workspace.default()
    opened = store.open_run(restored, run.id)
    assert opened.status().state == store.COMPLETED
    assert_frame_equal(opened.predictions(), scores)
    assert not [info for info in list_datasets(restored) if info.get("damaged")]
    images = open_dataset(restored, run.dataset.id)
    assert len(images.images) == len(opened.split())
    pixels = np.zeros((1, run.spec.image_size, run.spec.image_size), np.uint8)
    assert Predictor.open(restored, opened).logits(pixels).shape == (1, len(run.classes))


def test_an_archive_that_is_made_while_a_run_trains_opens_elsewhere_with_the_run_to_be_resumed(
    workspace, image_folder, jobs_wait, tmp_path, monkeypatch, answer
):
    dataset = import_folder(workspace, image_folder({"a": 8, "b": 8}))
    spec = TrainingSpec(dataset=dataset.id, classes=dataset.classes, backbone="baseline_cnn", image_size=32)
    run = queue.submit_training(workspace, spec)
    packed, copy = tmp_path / "backup.tar", tmp_path / "restored"
    copy.mkdir()
    with run.lock.held(0, AssertionError()), _trains(run):
        made = subprocess.run(["tar", "-C", workspace.root, "-cf", packed, "--exclude=./cache", "."], check=False)
        assert made.returncode in (0, 1)  # 1: a file has grown meanwhile
    subprocess.run(["tar", "-C", copy, "-xf", packed], check=True)
    monkeypatch.setenv("COVID_CORE_HOME", str(copy))
    _, listed = answer("runs")
    assert [(one["run"], one["state"]) for one in listed["runs"]] == [(run.id, store.INTERRUPTED)]
    assert not listed["damaged"]
    restored = store.open_run(Workspace.default(), run.id)
    assert np.load(restored.checkpoint_path)["epoch"] >= 1
    assert list(restored.history()["epoch"]) == list(range(1, len(restored.history()) + 1))
    assert [info["id"] for info in answer("datasets")[1]["datasets"]] == [dataset.id]


@contextlib.contextmanager
def _trains(run: Run) -> Iterator[None]:
    """A thread that writes what a worker writes, an epoch each few milliseconds; it has begun when the block does."""
    has_begun, ends = threading.Event(), threading.Event()

    def work() -> None:
        for epoch in itertools.count(1):
            with files.published(run.checkpoint_path) as temporary, temporary.open("wb") as file:
                np.savez(file, epoch=epoch, weights=np.zeros(50_000))
            run.append_history({name: "" if kind is str else epoch for name, kind in HISTORY_TYPES.items()})
            run.write_status(Status(store.RUNNING, epoch=epoch, progress=0.5))
            has_begun.set()
            if ends.wait(0.002):
                return

    thread = threading.Thread(target=work)
    thread.start()
    assert has_begun.wait(20)
    try:
        yield
    finally:
        ends.set()
        thread.join()
