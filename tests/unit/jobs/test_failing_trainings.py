"""Trainings that fail, in processes of their own: each says why, and goes on once the reason is gone."""

import os
import subprocess
import sys

import pytest
from made_images import write_images
from system_tools import require
from waiting import LONG

from benchmarks.reliability import crashes
from covid_core.data.dataset import Dataset
from covid_core.data.imports.importing import import_folder
from covid_core.jobs import queue
from covid_core.runs import store
from covid_core.specs import TrainingSpec
from covid_core.workspace import Workspace

SILENT = """
import sys, time
from covid_core.jobs import reporter, worker
reporter.BEAT, reporter.STALLED_AFTER = 0.2, 2.0
worker.train = lambda *_: time.sleep(3600)  # as on a disk of the network that does not answer
sys.exit(worker.main(sys.argv[1:], worker.log_into))
"""
LITTLE_MEMORY = """
import resource, sys
from covid_core.jobs import worker
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
sys.exit(worker.main(sys.argv[1:], worker.log_into))
"""


@pytest.fixture
def dataset(workspace, tmp_path) -> Dataset:
    return import_folder(workspace, write_images(tmp_path / "images", {"a": 8, "b": 8}))


@pytest.fixture
def spec(dataset) -> TrainingSpec:
    return TrainingSpec(
        dataset=dataset.id, classes=dataset.classes, backbone="baseline_cnn", image_size=32, epochs=1, patience=0
    )


def trained(program: str, workspace: Workspace, spec: TrainingSpec) -> store.Status:
    """How a run ends whose process is that program."""
    run = queue.published_run(workspace, spec)
    run.write_launch(os.getpid(), 1)
    command = [sys.executable, "-c", program, str(run.path), "1"]
    assert subprocess.run(command, cwd=crashes.measuring.ROOT, timeout=LONG).returncode == 1
    return run.status()


def test_a_training_that_says_nothing_has_stalled(workspace, spec):
    status = trained(SILENT, workspace, spec)
    assert (status.state, status.fault) == (store.FAILED, "stalled")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux limits the memory of a process")
def test_a_training_that_runs_out_of_memory_says_so(workspace, spec):
    status = trained(LITTLE_MEMORY, workspace, spec)
    assert (status.state, status.fault) == (store.FAILED, "memory"), status.reason


def test_a_training_whose_images_are_gone_names_one_and_goes_on_when_they_are_back(workspace, dataset, spec):
    path = dataset.path_of(0)
    path.rename(path.with_suffix(".away"))
    run = queue.submit_training(workspace, spec)
    status = queue.wait(run)
    assert status.state == store.FAILED
    assert dataset.images["image_id"].iat[0] in status.reason
    path.with_suffix(".away").rename(path)
    queue.resume(run)
    assert queue.wait(run).state == store.COMPLETED, run.log_tail()


@pytest.mark.slow
def test_a_training_on_a_full_disk_says_so_whenever_it_is_full_and_goes_on_when_it_is_not(place):
    require("unshare")
    answer = crashes.full_disk(crashes.trained(place).root)
    assert answer["said_full"] == answer["resumed"] == answer["moments"], answer["reasons"]
