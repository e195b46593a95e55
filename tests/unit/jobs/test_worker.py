"""Real workers on tiny trainings: complete, killed, resumed, stopped. Each starts TensorFlow, so they are shared."""

import os
import signal

import numpy as np
import pandas as pd
import psutil
import pytest
from made_images import write_images
from trained_runs import sibling
from waiting import until

from covid_core.data.dataset import Dataset
from covid_core.data.imports.importing import import_folder
from covid_core.data.pixels import decode_rows, open_pixels
from covid_core.errors import RunDamaged
from covid_core.inference.predictor import Predictor
from covid_core.jobs import queue, worker
from covid_core.runs import store
from covid_core.runs.store import Run
from covid_core.specs import AugmentationSpec, HeadSpec, TrainingSpec
from covid_core.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    # TensorFlow 2.21's variables do not know the copy keyword of NumPy 2 yet; Keras reads them when it loads
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]

EPOCHS = 20  # enough that a process can be caught in the middle
RUN_FILES = {"spec.json", "split.parquet", "status.json", "history.csv", "predictions.parquet", "model.keras"}
RUN_FILES |= {"head.npz", "reference.npz", "trunk.tflite", "result.json", "worker.log", "launch.json", "lock"}


@pytest.fixture(scope="module")
def dataset(place, tmp_path_factory) -> Dataset:
    return import_folder(place, write_images(tmp_path_factory.mktemp("data") / "images", {"a": 16, "b": 14, "c": 10}))


@pytest.fixture(scope="module")
def baseline(dataset) -> TrainingSpec:
    """A training that uses all that chance can touch: dropout, augmentation, an order of its own for each epoch."""
    return TrainingSpec(
        dataset=dataset.id,
        classes=dataset.classes,
        name="Baseline",
        backbone="baseline_cnn",
        image_size=32,
        head=HeadSpec(units=(8,)),
        augmentation=AugmentationSpec(rotation=10, flip=True),
        batch_size=4,
        epochs=EPOCHS,
        patience=0,
        seed=3,
    )


def with_patience(spec: TrainingSpec, epochs: int) -> TrainingSpec:
    """A patience longer than the training changes no number, but makes a run that no other's outcome stands for."""
    assert epochs > EPOCHS
    return spec.model_copy(update={"patience": epochs})


@pytest.fixture(scope="module")
def queued(place, baseline) -> tuple[Run, Run]:
    """Two runs that were started together."""
    return queue.submit_training(place, baseline), queue.submit_training(place, with_patience(baseline, 998))


@pytest.fixture(scope="module")
def complete(place, queued) -> Run:
    return ended(place, queued[0])


@pytest.fixture(scope="module")
def interrupted(place, queued) -> Run:
    """A run whose process was killed in the middle, and that was stopped when it had gone on for a while."""
    first, run = queued
    wait_for_epochs(run, 3)
    assert run.status().started >= first.status().ended  # the queue is taken in order and one at a time
    kill(run)
    assert run.status().state == store.INTERRUPTED
    before = len(run.history())
    assert 3 <= before < EPOCHS
    queue.resume(run)
    wait_for_epochs(run, before + 2)
    queue.stop(run)
    return ended(place, run)


@pytest.fixture(scope="module")
def stopped(place, interrupted) -> Run:
    """The run as it was when it had stopped."""
    return sibling(place, interrupted, "Stopped")


@pytest.fixture(scope="module")
def resumed(place, interrupted, stopped) -> Run:
    """The same run, which then went on to its end."""
    queue.resume(interrupted)
    return ended(place, interrupted)


def ended(place: Workspace, run: Run) -> Run:
    """The run, read anew when its process is gone."""
    queue.wait(run, 0.1)
    return store.open_run(place, run.id)


def wait_for_epochs(run: Run, epochs: int) -> None:
    until(lambda: len(run.history()) >= epochs or run.status().is_final, f"{epochs} epochs")
    assert len(run.history()) >= epochs, run.log_tail()


def kill(run: Run) -> None:
    (process,) = [p for p in psutil.process_iter() if str(run.path) in cmdline(p)]
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: not run.lock.is_held(), "a lock that is let go")


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def scores_of(predictions: pd.DataFrame, run: Run) -> np.ndarray:
    return predictions[[f"score_{label}" for label in run.classes]].to_numpy()


def saved_model(run: Run):
    import keras

    return keras.models.load_model(run.model_path, compile=False, safe_mode=True)


def images_of(place: Workspace, dataset: Dataset, run: Run) -> np.ndarray:
    """The run's images as the saved model takes them, in the order of its predictions."""
    rows = [dataset.row_of(image_id) for image_id in run.predictions()["image_id"]]
    return np.asarray(open_pixels(place, dataset, run.spec.image_size)[rows])[..., None]


def test_a_completed_run_has_all_its_files_and_nothing_else(complete):
    assert complete.status().state == store.COMPLETED, complete.log_tail()
    assert {path.name for path in complete.path.iterdir()} == RUN_FILES


def test_a_completed_run_tells_its_last_word(complete):
    status = complete.status()
    assert (status.progress, status.reason) == (1.0, "")
    assert status.ended >= status.started
    assert not complete.lock.is_held()


def test_the_record_says_how_it_went(complete):
    history, result = complete.history(), complete.result
    assert history["epoch"].tolist() == list(range(1, EPOCHS + 1))
    assert result["epochs_done"] == EPOCHS
    assert result["best_epoch"] == 1 + history["val_loss"].idxmin()
    assert not result["stopped"]
    assert result["weights"] == {"origin": "random"}
    assert set(result["accuracy"]) == {"train", "validation", "test"}
    assert result["parity"]["largest_difference"] < 1e-4


def test_predictions_cover_the_split_image_by_image(complete):
    predictions, split = complete.predictions(), complete.split()
    assert predictions[["image_id", "part", "label"]].equals(split[["image_id", "part", "label"]])
    assert np.allclose(scores_of(predictions, complete).sum(axis=1), 1)


def test_the_training_learned_what_can_be_seen(complete):
    assert complete.result["accuracy"]["train"] > 0.9


def test_plain_keras_gives_the_predictions_of_the_table(place, dataset, complete):
    scores = saved_model(complete).predict(images_of(place, dataset, complete), verbose=0)
    assert np.abs(scores - scores_of(complete.predictions(), complete)).max() < 1e-5


def test_the_app_gives_the_predictions_of_the_table(place, dataset, complete):
    predictor = Predictor.open(place, complete)
    predictions = complete.predictions()
    rows = [dataset.row_of(image_id) for image_id in predictions["image_id"][:5]]
    logits = predictor.logits(decode_rows(dataset, rows, 32))
    assert np.abs(logits - predictions[[f"logit_{c}" for c in complete.classes]].to_numpy()[:5]).max() < 1e-4


def test_a_model_file_that_was_changed_is_not_used(place, complete):
    content = complete.head_path.read_bytes()
    complete.head_path.write_bytes(content[:-1] + b"?")
    try:
        with pytest.raises(RunDamaged, match="head.npz is missing or was changed after training"):
            Predictor.open(place, complete)
    finally:
        complete.head_path.write_bytes(content)


def test_a_run_that_was_killed_and_stopped_goes_on_to_its_end_in_its_turn(resumed):
    assert resumed.status().state == store.COMPLETED, resumed.log_tail()
    assert {path.name for path in resumed.path.iterdir()} == RUN_FILES | {"launch.lock"}


def test_what_a_killed_process_had_half_written_is_removed(tmp_path):
    workspace = Workspace(tmp_path)
    job = store.create_job(workspace, "no such kind", {})
    for name in (".status.json.x1", ".checkpoint.npz.x2", ".launch.json.x3"):
        (job.path / name).write_bytes(b"half")
    worker.do(job.path, 1)
    assert [path.name for path in job.path.glob(".*")] == [".launch.json.x3"]


def test_a_resumed_history_has_every_epoch_once(resumed):
    assert resumed.history()["epoch"].tolist() == list(range(1, EPOCHS + 1))


def test_interrupted_and_resumed_is_the_same_as_uninterrupted(complete, resumed):
    whole, mended = saved_model(complete).get_weights(), saved_model(resumed).get_weights()
    assert max(np.abs(a - b).max() for a, b in zip(whole, mended, strict=True)) < 1e-6
    told = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    assert complete.history()[told].equals(resumed.history()[told])


def test_a_stopped_run_keeps_its_best_weights_and_can_be_used(place, stopped):
    assert stopped.status().state == store.STOPPED, stopped.log_tail()
    assert stopped.result["stopped"]
    history = stopped.history()
    assert 3 <= len(history) < EPOCHS
    assert stopped.result["best_epoch"] == 1 + history["val_loss"].idxmin()
    assert Predictor.open(place, stopped).classes == stopped.classes


def test_a_stopped_run_goes_on_from_its_last_epoch(stopped, resumed):
    before = stopped.history()
    assert resumed.history().head(len(before)).equals(before)
    assert not resumed.result["stopped"]
