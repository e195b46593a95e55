"""A training of which each stage is killed once: what is lost. That a resumed one ends as if it had not been killed
stands in test_worker and test_training."""

import os
import signal

import pytest
from made_images import write_images
from waiting import until

from covid_core.data.dataset import Dataset
from covid_core.data.imports.importing import import_folder
from covid_core.jobs import queue
from covid_core.nets.fitting import Fit
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.specs import FineTuning, HeadSpec, TrainingSpec
from covid_core.work import silent

pytestmark = pytest.mark.slow

HEAD_EPOCHS, TAIL_EPOCHS = 200, 6  # an epoch of the head takes milliseconds: enough to be caught in the middle


@pytest.fixture(scope="module")
def dataset(place, tmp_path_factory) -> Dataset:
    return import_folder(place, write_images(tmp_path_factory.mktemp("data") / "images", {"a": 16, "b": 14, "c": 10}))


@pytest.fixture(scope="module")
def spec(dataset) -> TrainingSpec:
    return TrainingSpec(
        dataset=dataset.id,
        classes=dataset.classes,
        backbone="mobilenet_v2",
        weights="random",
        image_size=32,
        mode="fine_tune",
        taps="last",
        head=HeadSpec(units=(256,), dropout=0.5),
        fine_tuning=FineTuning(layers=10, learning_rate=1e-3, epochs=TAIL_EPOCHS),
        epochs=HEAD_EPOCHS,
        patience=0,
        batch_size=4,
    )


def killed_after(run: Run, rows: int) -> int:
    """Kill a run's process once so many epochs are done. Returns how many of them are lost."""
    until(lambda: len(run.history()) >= rows or run.status().is_final, f"{rows} epochs")
    os.kill(run.process, signal.SIGKILL)
    until(lambda: not run.lock.is_held(), "a lock that is let go")
    assert run.status().state == store.INTERRUPTED, run.log_tail()
    stored = Fit(run.spec, run.checkpoint_path, print, silent)
    assert stored.load_checkpoint()
    return len(run.history()) - stored.memory.rows


def test_a_run_killed_in_both_stages_loses_an_epoch_at_most_and_goes_on_to_its_end(place, spec):
    run = queue.submit_training(place, spec)
    assert killed_after(run, 3) <= 1
    queue.resume(run)
    assert killed_after(run, HEAD_EPOCHS + 2) <= 1
    queue.resume(run)
    assert queue.wait(run).state == store.COMPLETED, run.log_tail()
    assert run.history()["epoch"].tolist() == [*range(1, HEAD_EPOCHS + 1), *range(1, TAIL_EPOCHS + 1)]
