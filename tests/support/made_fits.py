"""Tiny fits on made features, by NumPy and by Keras, that can be stopped, killed and taken up again."""

from pathlib import Path
from typing import Any

import numpy as np

from covid_core.inference.network import softmax
from covid_core.nets import head_fit
from covid_core.nets.fitting import Fit, Stage
from covid_core.specs import TrainingSpec
from covid_core.work import silent

IMAGES, WIDTH = 20, 5


class Kill(BaseException):
    """The process is gone."""


def spec(backbone: str = "mobilenet_v2", **choices: Any) -> TrainingSpec:
    """A spec for made images of 32 pixels and a random start."""
    base = {"dataset": "images", "classes": ("a", "b", "c"), "backbone": backbone, "weights": "random", "taps": "last"}
    return TrainingSpec(**{**base, "image_size": 32, **choices})


def images(count: int, size: int = 32, seed: int = 0) -> np.ndarray:
    """Images of noise, uint8 (count, size, size)."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size)).astype(np.uint8)


def as_arrays(outputs: Any) -> list[np.ndarray]:
    """What a Keras model returned, as a list of arrays."""
    return [np.asarray(output) for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]


class HeadTraining:
    """A fit of four epochs on 20 made images, by NumPy.

    ``rows`` is the history, ``seen`` the epoch of every batch. From the epoch ``poison`` on, features are nan.
    """

    def __init__(self, path: Path, poison: int | None = None, **choices: Any):
        base = {"epochs": 4, "patience": 0, "batch_size": 4, "optimizer": "adam", "head": {"units": ()}}
        self.spec = spec(**{**base, **choices})
        path.mkdir(exist_ok=True)
        self.rows: list[dict] = []
        self.seen: list[int] = []
        self.watch = silent
        self.fit = Fit(self.spec, path / "checkpoint.npz", self.rows.append, lambda *what: self.watch(*what))
        self.poison = poison
        self.labels = np.arange(IMAGES) % 3
        rng = np.random.default_rng(0)
        self.features = (rng.normal(size=(IMAGES, WIDTH)) + self.labels[:, None]).astype(np.float32)
        self.validation = self.features
        self.sample_weights: np.ndarray | None = None
        self.answer: Any = None

    def inputs(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        self.seen.append(epoch)
        return self.features[rows] * np.float32(np.nan if epoch == self.poison else 1)

    def stage_fields(self) -> dict[str, Any]:
        """What stages of both kinds have in common."""
        return {
            "name": "head",
            "inputs": self.inputs,
            "labels": self.labels,
            "order": lambda epoch: np.random.default_rng(epoch).permutation(IMAGES),
            "validation": lambda rows: self.validation[rows],
            "validation_labels": self.labels,
            "learning_rate": self.spec.learning_rate,
            "epochs": self.spec.epochs,
            "sample_weights": self.sample_weights,
        }

    def run_stage(self, number: int) -> None:
        self.answer = head_fit.run(self.fit, number, Stage(**self.stage_fields()), "mean")

    def run(self, stages: int = 1) -> "HeadTraining":
        """Take up what was left and do the stages."""
        self.fit.load_checkpoint()
        for number in range(stages):
            self.run_stage(number)
        return self

    def raising_at(self, error: BaseException, share: float) -> "HeadTraining":
        """Raise from the progress once more than ``share`` is done."""

        def watch(done: float, _message: str) -> None:
            if done > share:
                raise error

        self.watch = watch
        return self

    def weights(self) -> list[np.ndarray]:
        """All arrays of the head that came out."""
        return [*self.answer.weights, *self.answer.biases]

    def val_loss(self) -> float:
        """Mean cross-entropy of the head that came out, counted by hand."""
        scores = softmax(self.answer.logits(self.features))
        return float(-np.log(scores[np.arange(IMAGES), self.labels]).mean())


class KerasTraining(HeadTraining):
    """The same fit by Keras."""

    def __init__(self, path: Path, poison: int | None = None, workers: int = 1, **choices: Any):
        super().__init__(path, poison, **choices)
        from covid_core.nets import model

        self.workers = workers
        self.model = model.build_head(self.spec, [(1, 1, WIDTH)])

    def run_stage(self, number: int) -> None:
        from covid_core.nets import keras_fit, model

        stage = keras_fit.NetworkStage(model=self.model, workers=self.workers, **self.stage_fields())
        keras_fit.run(self.fit, number, stage)
        self.answer = model.head_arrays(self.model, "mean")


def same_weights(a: HeadTraining, b: HeadTraining, tolerance: float = 0.0) -> bool:
    """Whether two fits came to the same head."""
    return all(np.abs(x - y).max() <= tolerance for x, y in zip(a.weights(), b.weights(), strict=True))
