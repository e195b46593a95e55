"""What every fit keeps, whoever does the arithmetic: history, best epoch, patience, stop, kill, resume."""

import numpy as np
import pytest
from made_fits import HeadTraining, KerasTraining, Kill, same_weights

from covid_core.errors import Diverged, RunDamaged, RunError, Stopped

KERAS = [
    pytest.mark.slow,
    # TensorFlow 2.21's variables do not know the copy keyword of NumPy 2 yet; Keras reads them when it saves
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]
ROUNDING = {HeadTraining: 0.0, KerasTraining: 1e-6}


@pytest.fixture(params=[pytest.param(HeadTraining, id="numpy"), pytest.param(KerasTraining, id="keras", marks=KERAS)])
def training(request) -> type[HeadTraining]:
    """Both ways of fitting."""
    return request.param


def test_the_history_has_a_row_for_each_epoch_which_sees_its_own_number(training, tmp_path):
    done = training(tmp_path, learning_rate=0.0125).run()
    columns = {"stage", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}
    assert all(set(row) == columns for row in done.rows)
    assert [row["epoch"] for row in done.rows] == [1, 2, 3, 4]
    assert done.rows[0]["learning_rate"] == pytest.approx(0.0125)
    assert done.rows[-1]["loss"] < done.rows[0]["loss"]
    assert list(dict.fromkeys(done.seen)) == [0, 1, 2, 3]
    assert done.seen == sorted(done.seen)


def test_the_weights_of_the_best_epoch_are_kept(training, tmp_path):
    done = training(tmp_path, learning_rate=1.0, optimizer="sgd", epochs=8).run()
    losses = [row["val_loss"] for row in done.rows]
    assert done.fit.memory.best_epoch == 1 + int(np.argmin(losses)) < 8
    assert done.val_loss() == pytest.approx(min(losses), abs=1e-5)


def test_the_weights_of_the_last_epoch_are_kept_where_the_spec_says_so(training, tmp_path):
    done = training(tmp_path, learning_rate=1.0, optimizer="sgd", epochs=8, keep="last").run()
    losses = [row["val_loss"] for row in done.rows]
    assert done.fit.memory.best_epoch == 8
    assert done.val_loss() == pytest.approx(losses[-1], abs=1e-5) != pytest.approx(min(losses), abs=1e-5)


def test_patience_ends_a_fit_that_gets_no_better(training, tmp_path):
    done = training(tmp_path, learning_rate=10, optimizer="adam", epochs=50, patience=3).run()
    assert len(done.rows) == done.fit.memory.best_epoch + 3 < 50


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_an_interrupted_fit_goes_on_as_if_nothing_had_happened(training, tmp_path, optimizer):
    choices = {"optimizer": optimizer, "learning_rate": 0.05, "head": {"units": (8,), "dropout": 0.5}}
    (tmp_path / "whole").mkdir()
    whole = training(tmp_path / "whole", **choices).run()
    killed = training(tmp_path, **choices).raising_at(Kill(), 0.6)
    with pytest.raises(Kill):
        killed.run()
    resumed = training(tmp_path, **choices).run()
    assert [row["epoch"] for row in killed.rows + resumed.rows] == [1, 2, 3, 4]
    assert same_weights(resumed, whole, ROUNDING[training])


def test_an_interrupted_second_stage_goes_on_without_the_first(training, tmp_path):
    (tmp_path / "whole").mkdir()
    whole = training(tmp_path / "whole").run(stages=2)
    killed = training(tmp_path)
    killed.run_stage(0)
    killed.raising_at(Kill(), 1.6)
    with pytest.raises(Kill):
        killed.run_stage(1)
    resumed = training(tmp_path).run(stages=2)
    assert len(killed.rows + resumed.rows) == 8
    assert same_weights(resumed, whole, ROUNDING[training])


def test_a_fit_whose_end_was_not_published_is_not_done_again(training, tmp_path):
    done = training(tmp_path).run()
    again = training(tmp_path).run()
    assert again.rows == []
    assert same_weights(again, done, ROUNDING[training])


def test_a_stop_keeps_the_best_weights_so_far_and_skips_later_stages(training, tmp_path):
    stopped = training(tmp_path, learning_rate=0.05).raising_at(Stopped(), 0.6)
    stopped.run_stage(0)
    kept = stopped.val_loss()
    seen = len(stopped.rows)
    stopped.run_stage(1)
    assert stopped.fit.was_stopped
    assert 0 < seen == len(stopped.rows) < 4
    assert kept == pytest.approx(min(row["val_loss"] for row in stopped.rows), abs=1e-5)


def test_a_stop_in_the_first_epoch_changes_nothing(training, tmp_path):
    stopped = training(tmp_path).raising_at(Stopped(), -1.0).run()
    untouched = training(tmp_path)
    untouched.fit.was_stopped = True
    untouched.run_stage(0)
    assert stopped.fit.was_stopped
    assert stopped.rows == []
    assert same_weights(stopped, untouched)


def test_a_loss_that_is_not_a_number_names_epoch_and_batch(training, tmp_path):
    diverged = training(tmp_path, poison=2).run().fit.diverged
    assert str(diverged) == "The loss is not a number at epoch 3, batch 1. Try a lower learning rate."


def test_a_loss_that_is_not_a_number_leaves_the_best_epoch_before_it(training, tmp_path):
    assert same_weights(training(tmp_path, poison=2).run(), training(tmp_path, epochs=2).run())


def test_in_the_first_epoch_there_is_nothing_to_go_back_to(training, tmp_path):
    with pytest.raises(Diverged, match="at epoch 1, batch 1"):
        training(tmp_path, poison=0).run()


def test_a_validation_loss_that_is_not_a_number_names_the_epoch(training, tmp_path):
    poisoned = training(tmp_path)
    poisoned.validation = poisoned.features * np.float32(np.nan)
    with pytest.raises(RunError, match="^The validation loss is not a number at epoch 1."):
        poisoned.run()


def test_images_of_weight_zero_teach_nothing(training, tmp_path):
    one, other = training(tmp_path, learning_rate=0.1, keep="last"), training(tmp_path, learning_rate=0.1, keep="last")
    other.features = np.where(other.labels[:, None] == 2, np.float32(7), other.features)
    for fit in (one, other):
        fit.sample_weights = (fit.labels != 2).astype(np.float32)
        fit.run_stage(0)
    assert same_weights(one, other, 1e-6)


@pytest.mark.parametrize("damage", [b"", b"image"], ids=["empty", "text"])
def test_a_damaged_checkpoint_is_told(tmp_path, damage):
    (tmp_path / "checkpoint.npz").write_bytes(damage)
    with pytest.raises(RunDamaged, match="The checkpoint is damaged"):
        HeadTraining(tmp_path).fit.load_checkpoint()


def test_a_torn_checkpoint_is_told(tmp_path):
    HeadTraining(tmp_path).run()
    content = (tmp_path / "checkpoint.npz").read_bytes()
    (tmp_path / "checkpoint.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(RunDamaged, match="The checkpoint is damaged"):
        HeadTraining(tmp_path).fit.load_checkpoint()
