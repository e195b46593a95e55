"""What every fit keeps, whatever computes it: history, the best weights, and a checkpoint to go on from."""

import contextlib
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from covid_core import files
from covid_core.errors import Diverged, RunDamaged, Stopped
from covid_core.specs import TrainingSpec
from covid_core.work import Progress

Row = dict[str, float | int | str]
"""One finished epoch, as it stands in the history."""

State = tuple[list[np.ndarray], list[np.ndarray]]
"""The arrays of a model and of its optimizer after an epoch."""

Inputs = Callable[[np.ndarray, int], np.ndarray]
"""Positions of images in the training part, and the epoch (from 0), to what is learned from."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a fit.

    ``inputs`` gives what positions in ``labels`` are learned from; ``order`` gives the positions that an epoch goes
    through. ``validation`` gives the same for positions in ``validation_labels``. ``sample_weights`` has one number
    per position in ``labels``.
    """

    name: str
    inputs: Inputs
    labels: np.ndarray
    order: Callable[[int], np.ndarray]
    validation: Callable[[np.ndarray], np.ndarray]
    validation_labels: np.ndarray
    learning_rate: float
    epochs: int
    sample_weights: np.ndarray | None = None


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


class Fit:
    """The stages of one training: what is done of them, and what an interrupted attempt left.

    ``head_fit.run`` and ``keras_fit.run`` do the work of a stage and report it here.
    """

    def __init__(self, spec: TrainingSpec, checkpoint: Path, write_row: Callable[[Row], None], progress: Progress):
        self.spec = spec
        self.progress = progress
        self.memory = Memory()
        self.was_stopped = False  # by the user, or because its loss is no number
        self.diverged: Diverged | None = None
        self._checkpoint = checkpoint
        self._write_row = write_row
        self._stored: State | None = None

    def load_checkpoint(self) -> bool:
        """Take up what an interrupted fit left. Returns whether there was something. Raises RunDamaged."""
        if not self._checkpoint.exists():
            return False
        try:
            with open(self._checkpoint, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
                counters = json.loads(str(stored["memory"]))
                weights, optimizer, best = (
                    [stored[f"{group}_{i}"] for i in range(sum(n.startswith(f"{group}_") for n in stored.files))]
                    for group in ("weights", "optimizer", "best")
                )
                self.memory, self._stored = Memory(**counters, best=best), (weights, optimizer)
        except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise RunDamaged("The checkpoint is damaged, so the run cannot go on. Start it anew.") from error
        return True

    def skips(self, number: int) -> bool:
        """Whether a stage is not to be run: the fit was stopped, or the checkpoint is past it."""
        return self.was_stopped or number < self.memory.stage

    def begin(self, number: int) -> State | None:
        """What an interrupted attempt left of this stage. A new stage starts its own search for the best."""
        if number > self.memory.stage or self._stored is None:
            self.memory = Memory(stage=number, rows=self.memory.rows)
            return None
        stored, self._stored = self._stored, None
        return stored

    @contextlib.contextmanager
    def ending_early(self) -> Iterator[None]:
        """Work on a stage. A stop is remembered, and that it diverged where there is a finished epoch to go back to."""
        try:
            yield
        except Stopped:
            self.was_stopped = True
        except Diverged as error:
            if not self.memory.rows:
                raise
            self.was_stopped, self.diverged = True, error

    def is_over(self, epochs: int) -> bool:
        """Whether the running stage has come to its end: all epochs done, or no better for too long."""
        return self.memory.epoch >= epochs or 0 < self.spec.patience <= self.memory.waited

    def report(self, stage: str, epoch: int, epochs: int, share: float = 0.0) -> None:
        """Progress: ``share`` of the ``epoch``-th (from 0) of the stage's epochs is done. Raises Stopped."""
        before = self.spec.epochs if self.memory.stage else 0
        done = (before + epoch + share) / self.spec.total_epochs
        self.progress(done, f"{stage}: epoch {min(epoch + 1, epochs)} of {epochs}")

    def close_epoch(self, row: Row, weights: Callable[[], list[np.ndarray]]) -> None:
        """Note a finished epoch, and keep ``weights()`` if its validation loss is the lowest so far.

        Where the spec keeps the last epoch, every epoch's weights take the place of those before.
        """
        check_loss(float(row["val_loss"]), "validation loss", int(row["epoch"]))
        memory = self.memory
        memory.epoch, memory.rows = int(row["epoch"]), memory.rows + 1
        if row["val_loss"] < memory.best_loss:
            memory.best_loss, memory.waited = float(row["val_loss"]), 0
        else:
            memory.waited += 1
        if memory.waited == 0 or self.spec.keep == "last":
            memory.best_epoch, memory.best = memory.epoch, weights()
        self._write_row(row)

    def save_checkpoint(self, weights: Sequence[np.ndarray], optimizer: Sequence[np.ndarray]) -> None:
        """Publish all that the fit needs to go on after its last finished epoch, as one file."""
        counters = {name: value for name, value in vars(self.memory).items() if name != "best"}
        arrays = {"memory": np.array(json.dumps(counters))}
        for group, values in (("weights", weights), ("optimizer", optimizer), ("best", self.memory.best)):
            arrays |= {f"{group}_{i}": value for i, value in enumerate(values)}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        files.write_bytes(self._checkpoint, buffer.getvalue())


def check_loss(loss: float, what: str, epoch: int, batch: int | None = None) -> None:
    """Raise Diverged when a loss is not a finite number, with the place (epoch and batch from 1)."""
    if not math.isfinite(loss):
        place = f"epoch {epoch}" if batch is None else f"epoch {epoch}, batch {batch}"
        raise Diverged(f"The {what} is not a number at {place}. Try a lower learning rate.")
