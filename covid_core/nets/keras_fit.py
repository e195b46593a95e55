"""A stage of a fit by Keras: for everything whose gradient needs more than the head."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from covid_core.nets.fitting import Fit, Row, Stage, State, check_loss
from covid_core.specs import OPTIMIZER_LABELS, TrainingSpec

VALIDATION_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class NetworkStage(Stage):
    """A stage that fits a Keras model, whose input ``inputs`` and ``validation`` give, in ``workers`` threads."""

    model: keras.Model
    workers: int = 1


class Batches(keras.utils.PyDataset):
    """Batches of one epoch after another.

    ``order`` gives the positions that an epoch goes through, by the epoch alone, so that a resumed fit takes the same;
    ``batch`` what Keras takes of some positions in an epoch: inputs, targets and, where there are any, weights.
    """

    def __init__(
        self,
        order: Callable[[int], np.ndarray],
        batch: Callable[[np.ndarray, int], tuple[np.ndarray, ...]],
        size: int,
        first_epoch: int = 0,
        workers: int = 1,
    ):
        super().__init__(workers=workers, use_multiprocessing=False)
        self._order_of = order
        self._batch = batch
        self._size = size
        self.begin(first_epoch)

    def begin(self, epoch: int) -> None:
        """Go to the start of an epoch. Keras calls ``on_epoch_end`` before the first one too, so it cannot count."""
        self._epoch = epoch
        self._order = self._order_of(epoch)

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        return self._batch(self._order[number * self._size : (number + 1) * self._size], self._epoch)


def training_batches(stage: NetworkStage, size: int, first_epoch: int) -> Batches:
    """What a stage learns from."""

    def batch(rows: np.ndarray, epoch: int) -> tuple[np.ndarray, ...]:
        weights = () if stage.sample_weights is None else (stage.sample_weights[rows],)
        return stage.inputs(rows, epoch), stage.labels[rows], *weights

    return Batches(stage.order, batch, size, first_epoch, stage.workers)


def validation_batches(stage: NetworkStage, size: int) -> Batches:
    """Validation images in their order, a batch at a time, so that they need not fit into memory."""
    order = np.arange(len(stage.validation_labels))
    return Batches(lambda _: order, lambda rows, _: (stage.validation(rows), stage.validation_labels[rows]), size)


def run(fit: Fit, number: int, stage: NetworkStage) -> None:
    """Fit one stage, or skip it when the checkpoint is past it. Afterwards the model has its best weights.

    A stop, or a loss that is no number after a finished epoch, is remembered in ``fit``; later stages are then skipped.
    Raises Diverged in the first epoch of all.
    """
    if fit.skips(number):
        return
    stage.model.compile(
        optimizer=optimizer_of(fit.spec, stage.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    before = stage.model.get_weights()
    stored = fit.begin(number)
    if stored is not None:
        _restore(stage.model, stored)
    if not fit.is_over(stage.epochs):
        batches = training_batches(stage, fit.spec.batch_size, fit.memory.epoch)
        with fit.ending_early():
            stage.model.fit(
                batches,
                initial_epoch=fit.memory.epoch,
                epochs=stage.epochs,
                validation_data=validation_batches(stage, max(fit.spec.batch_size, VALIDATION_BATCH)),
                callbacks=[_Watch(fit, stage, batches)],
                shuffle=False,
                verbose=0,
            )
    stage.model.set_weights(fit.memory.best or before)  # ended in its first epoch, a stage changes nothing


class _Watch(keras.callbacks.Callback):
    """Reports every step, notices a stop and a loss that is not a number, and closes each epoch."""

    def __init__(self, fit: Fit, stage: NetworkStage, batches: Batches):
        super().__init__()
        self._fit = fit
        self._stage = stage
        self._batches = batches
        self._epoch = 0
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        self._batches.begin(epoch)
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        check_loss(logs["loss"], "loss", self._epoch + 1, batch + 1)
        self._fit.report(self._stage.name, self._epoch, self._stage.epochs, (batch + 1) / (self.params["steps"] or 1))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        row: Row = {
            "stage": self._stage.name,
            "epoch": epoch + 1,
            **{name: round(float(logs[name]), 6) for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
            "learning_rate": float(self.model.optimizer.learning_rate.numpy()),
            "seconds": round(time.monotonic() - self._started, 3),
        }
        self._fit.close_epoch(row, self.model.get_weights)
        self._fit.save_checkpoint(
            [np.asarray(variable) for variable in _state_of(self.model)],
            [np.asarray(variable) for variable in self.model.optimizer.variables],
        )
        if self._fit.is_over(self._stage.epochs):
            self.model.stop_training = True


def optimizer_of(spec: TrainingSpec, learning_rate: float) -> keras.optimizers.Optimizer:
    """The spec's optimizer, shown by its name in Keras, with Keras's defaults for all but the learning rate."""
    return getattr(keras.optimizers, OPTIMIZER_LABELS[spec.optimizer])(learning_rate=learning_rate)


def _restore(model: keras.Model, stored: State) -> None:
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(_state_of(model), stored[0], strict=True):
        variable.assign(value)
    pairs = zip(reversed(model.optimizer.variables), reversed(stored[1]), strict=False)
    for variable, value in pairs:  # from the end: half precision puts the scale of its loss before the rest
        variable.assign(value)


def _state_of(model: keras.Model) -> list[keras.Variable]:
    """All that a model remembers: weights, and the state of its random generators, which ``get_weights`` leaves out."""
    return [variable for layer in model.layers for variable in layer.variables]
