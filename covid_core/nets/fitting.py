"""Fit a Keras model in stages that can be watched, stopped and taken up again."""

import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import keras
import numpy as np

from covid_core import files
from covid_core.errors import RunDamaged, RunError, Stopped
from covid_core.specs import TrainingSpec
from covid_core.work import Progress

Inputs = Callable[[np.ndarray, int], np.ndarray]
"""Positions of films in the training part, and the epoch (from 0), to what the model takes."""


@dataclass
class Stage:
    """One stage of a fit.

    ``inputs`` gives the model's input for positions in ``labels``; ``order`` gives the positions that an epoch goes
    through. ``validation`` is (inputs, labels). ``sample_weights`` has one number per position.
    """

    name: str
    model: keras.Model
    inputs: Inputs
    labels: np.ndarray
    order: Callable[[int], np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    learning_rate: float
    epochs: int
    sample_weights: np.ndarray | None = None
    workers: int = 1


@dataclass
class Memory:
    """What a fit remembers beside weights, so that it can go on exactly where it was: part of the checkpoint."""

    stage: int = 0
    epoch: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    waited: int = 0
    rows: int = 0
    best: list[np.ndarray] = field(default_factory=list)


class Batches(keras.utils.PyDataset):
    """Batches of one epoch, in an order that depends only on the seed and the epoch, so a resumed fit sees the same."""

    def __init__(self, stage: Stage, batch_size: int, first_epoch: int):
        super().__init__(workers=stage.workers, use_multiprocessing=False)
        self._stage = stage
        self._size = batch_size
        self.begin(first_epoch)

    def begin(self, epoch: int) -> None:
        """Go to the start of an epoch. Keras calls ``on_epoch_end`` before the first one too, so it cannot count."""
        self._epoch = epoch
        self._order = self._stage.order(epoch)

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._size)

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        rows = self._order[number * self._size : (number + 1) * self._size]
        batch = (self._stage.inputs(rows, self._epoch), self._stage.labels[rows])
        weights = self._stage.sample_weights
        return batch if weights is None else (*batch, weights[rows])


class Fit:
    """Runs the stages of one training and keeps its history, its best weights and its checkpoint."""

    def __init__(
        self,
        spec: TrainingSpec,
        checkpoint: Path,
        write_row: Callable[[dict[str, float | int | str]], None],
        progress: Progress,
    ):
        self._spec = spec
        self._checkpoint = checkpoint
        self._write_row = write_row
        self.progress = progress
        self.memory = Memory()
        self.was_stopped = False

    def load_checkpoint(self) -> bool:
        """Take up what an interrupted fit left. Returns whether there was something."""
        self._stored = _load_checkpoint(self._checkpoint)
        if self._stored is None:
            return False
        self.memory = self._stored.memory
        return True

    def run(self, number: int, stage: Stage) -> None:
        """Fit one stage, or skip it when the checkpoint is past it. Afterwards the model has its best weights.

        A stop is remembered in ``was_stopped``; later stages are then skipped. Raises RunError when the loss is not a
        number.
        """
        if self.was_stopped or number < self.memory.stage:
            return
        stage.model.compile(
            optimizer=optimizer_of(self._spec, stage.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        before = stage.model.get_weights()
        first = self._begin(number, stage)
        if first >= stage.epochs or self._is_out_of_patience():
            stage.model.set_weights(self.memory.best)
            return
        batches = Batches(stage, self._spec.batch_size, first)
        watch = _Watch(self, stage, batches, self._spec, self._checkpoint, self._write_row)
        try:
            stage.model.fit(
                batches,
                initial_epoch=first,
                epochs=stage.epochs,
                validation_data=stage.validation,
                validation_batch_size=max(self._spec.batch_size, 64),
                callbacks=[watch],
                shuffle=False,
                verbose=0,
            )
        except Stopped:
            self.was_stopped = True
        stage.model.set_weights(self.memory.best or before)  # stopped in its first epoch, a stage changes nothing

    def _begin(self, number: int, stage: Stage) -> int:
        """The first epoch to run. A new stage starts its own search for the best."""
        if number > self.memory.stage or self._stored is None:
            self.memory = Memory(stage=number, rows=self.memory.rows)
            return 0
        for variable, value in zip(_state_of(stage.model), self._stored.weights, strict=True):
            variable.assign(value)
        stage.model.optimizer.build(stage.model.trainable_variables)
        for variable, value in zip(stage.model.optimizer.variables, self._stored.optimizer, strict=True):
            variable.assign(value)
        self._stored = None
        return self.memory.epoch

    def _is_out_of_patience(self) -> bool:
        return 0 < self._spec.patience <= self.memory.waited

    _stored: "_Stored | None" = None


class _Watch(keras.callbacks.Callback):
    """Tells every step, notices a stop and a loss that is not a number, and closes each epoch."""

    def __init__(
        self,
        fit: Fit,
        stage: Stage,
        batches: Batches,
        spec: TrainingSpec,
        checkpoint: Path,
        write_row: Callable[[dict[str, float | int | str]], None],
    ):
        super().__init__()
        self._fit = fit
        self._stage = stage
        self._batches = batches
        self._spec = spec
        self._checkpoint = checkpoint
        self._write_row = write_row
        self._epoch = 0
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        self._batches.begin(epoch)
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"The loss is not a number at epoch {self._epoch + 1}, batch {batch + 1}. Try a lower learning rate."
            )
        steps = self.params["steps"] or 1
        before = self._spec.epochs if self._fit.memory.stage else 0
        share = (before + self._epoch + (batch + 1) / steps) / self._spec.total_epochs
        self._fit.progress(share, f"{self._stage.name}: epoch {self._epoch + 1} of {self._stage.epochs}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        memory = self._fit.memory
        if not math.isfinite(logs["val_loss"]):
            raise RunError(f"The validation loss is not a number at epoch {epoch + 1}. Try a lower learning rate.")
        memory.epoch, memory.rows = epoch + 1, memory.rows + 1
        if logs["val_loss"] < memory.best_loss:
            memory.best_loss, memory.best_epoch, memory.waited = logs["val_loss"], epoch + 1, 0
            memory.best = self.model.get_weights()
        else:
            memory.waited += 1
        self._write_row(self._row(epoch, logs))
        _save_checkpoint(self._checkpoint, memory, self.model)
        if 0 < self._spec.patience <= memory.waited:
            self.model.stop_training = True

    def _row(self, epoch: int, logs: dict) -> dict[str, float | int | str]:
        return {
            "stage": self._stage.name,
            "epoch": epoch + 1,
            **{name: round(float(logs[name]), 6) for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
            "learning_rate": float(self.model.optimizer.learning_rate.numpy()),
            "seconds": round(time.monotonic() - self._started, 3),
        }


def optimizer_of(spec: TrainingSpec, learning_rate: float) -> keras.optimizers.Optimizer:
    """The spec's optimizer with Keras's own defaults for everything but the learning rate."""
    kinds = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "rmsprop": keras.optimizers.RMSprop,
        "adagrad": keras.optimizers.Adagrad,
        "adadelta": keras.optimizers.Adadelta,
    }
    return kinds[spec.optimizer](learning_rate=learning_rate)


@dataclass(frozen=True)
class _Stored:
    memory: Memory
    weights: list[np.ndarray]
    optimizer: list[np.ndarray]


def _state_of(model: keras.Model) -> list[keras.Variable]:
    """All that a model remembers: weights, and the state of its random generators, which ``get_weights`` leaves out."""
    return [variable for layer in model.layers for variable in layer.variables]


def _save_checkpoint(path: Path, memory: Memory, model: keras.Model) -> None:
    """One file with weights, optimizer, best weights and counters, published whole."""
    counters = {name: value for name, value in vars(memory).items() if name != "best"}
    arrays = {"memory": np.array(json.dumps(counters))}
    groups = {
        "weights": [np.asarray(variable) for variable in _state_of(model)],
        "optimizer": [np.asarray(variable) for variable in model.optimizer.variables],
        "best": memory.best,
    }
    for group, values in groups.items():
        arrays |= {f"{group}_{i}": value for i, value in enumerate(values)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    files.write_bytes(path, buffer.getvalue())


def _load_checkpoint(path: Path) -> _Stored | None:
    if not path.exists():
        return None
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
            counters = json.loads(str(stored["memory"]))
            groups = {
                group: [stored[f"{group}_{i}"] for i in range(sum(n.startswith(f"{group}_") for n in stored.files))]
                for group in ("weights", "optimizer", "best")
            }
            return _Stored(Memory(**counters, best=groups["best"]), groups["weights"], groups["optimizer"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise RunDamaged("The checkpoint is damaged, so the run cannot go on. Start it anew.") from error
