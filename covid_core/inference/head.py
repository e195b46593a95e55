"""The small part of a model in NumPy: pooled maps to logits, and the gradient back to the maps in closed form."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.errors import RunDamaged

MEAN, MEAN_MAX, FLATTEN = "mean", "mean_max", "flatten"


@dataclass(frozen=True)
class Head:
    """Dense layers on pooled maps: relu between them, none after the last.

    ``weights[i]`` has shape (inputs, outputs), ``biases[i]`` (outputs,), both float32. ``pooling`` says how maps
    become features: their mean, mean and maximum side by side, or all cells in a row.

    ``usual`` are the mean maps of some training images, which a heat map compares an image's with: one array (sides,
    height, width, channels) per tap, where the second side is that of mirror images; empty in runs from before there
    were any. Nothing that the head answers depends on them.
    """

    pooling: str
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    usual: tuple[np.ndarray, ...] = ()

    @property
    def centred(self) -> "Head":
        """The same scores from logits that are given as their difference from the mean of all classes' logits."""
        weights, biases = self.weights[-1], self.biases[-1]
        last = weights - weights.mean(axis=1, keepdims=True), biases - biases.mean()
        return replace(self, weights=(*self.weights[:-1], last[0]), biases=(*self.biases[:-1], last[1]))

    def features(self, maps: list[np.ndarray]) -> np.ndarray:
        """Features (n, d) of maps (n, height, width, channels), tap after tap."""
        return pooled(maps, self.pooling)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (n, classes), float32."""
        return self._forward(features)[-1]

    def gradient(self, features: np.ndarray, class_index: int) -> np.ndarray:
        """Derivative of one class's logit with respect to the features, shape (n, d)."""
        of_logits = np.zeros((len(features), len(self.biases[-1])), np.float32)
        of_logits[:, class_index] = 1
        return self._back(self._forward(features), of_logits)

    def log_odds_gradient(self, features: np.ndarray, class_index: int) -> np.ndarray:
        """Derivative of log(p / (1 - p)) with respect to the features, where p is one class's score; shape (n, d).

        It is the gradient of the class's logit less those of its rivals, each weighted by its share of their scores.
        """
        layers = self._forward(features)
        rivals = np.delete(np.arange(layers[-1].shape[1]), class_index)
        of_logits = np.ones_like(layers[-1])
        of_logits[:, rivals] = -softmax(layers[-1][:, rivals])
        return self._back(layers, of_logits)

    def save(self, path: Path) -> None:
        """Publish the arrays as an npz file."""
        arrays = {f"weights_{i}": array for i, array in enumerate(self.weights)}
        arrays |= {f"biases_{i}": array for i, array in enumerate(self.biases)}
        arrays |= {f"usual_{i}": array for i, array in enumerate(self.usual)}
        with files.published(path) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, pooling=np.array(self.pooling), **arrays)

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read what ``save`` wrote. Raises RunDamaged."""
        try:
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
                count = sum(name.startswith("weights_") for name in stored.files)
                taps = sum(name.startswith("usual_") for name in stored.files)
                weights = tuple(stored[f"weights_{i}"] for i in range(count))
                biases = tuple(stored[f"biases_{i}"] for i in range(count))
                usual = tuple(stored[f"usual_{i}"] for i in range(taps))
                return cls(str(stored["pooling"]), weights, biases, usual)
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise RunDamaged(f"{path.parent.name}: {path.name} is missing or damaged.") from error

    def _back(self, layers: list[np.ndarray], of_logits: np.ndarray) -> np.ndarray:
        """Gradient (n, d) of a sum of logits with these weights (n, classes), from the outputs of all layers."""
        flow = of_logits @ self.weights[-1].T
        for weights, activation in zip(self.weights[-2::-1], layers[-2::-1], strict=True):
            flow = (flow * (activation > 0)) @ weights.T
        return flow

    def _forward(self, features: np.ndarray) -> list[np.ndarray]:
        """Output of every dense layer, relu applied to all but the last."""
        outputs: list[np.ndarray] = []
        current = features
        for position, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            current = current @ weights + biases
            if position < len(self.weights) - 1:
                current = np.maximum(current, 0)
            outputs.append(current)
        return outputs


def pooled(maps: list[np.ndarray], pooling: str) -> np.ndarray:
    """Features (n, d) of maps (n, height, width, channels), tap after tap, float32."""
    return np.concatenate([features(tap) for tap in maps for features in _POOLED[pooling]], axis=1)


def _mean(tap: np.ndarray) -> np.ndarray:
    return tap.mean(axis=(1, 2), dtype=np.float32)


_POOLED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], ...]] = {
    MEAN: (_mean,),
    MEAN_MAX: (_mean, lambda tap: tap.max(axis=(1, 2))),
    FLATTEN: (lambda tap: tap.reshape(len(tap), -1),),
}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Scores (n, classes) that add up to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def with_scores(table: pd.DataFrame, classes: Sequence[str], logits: np.ndarray) -> pd.DataFrame:
    """A prediction table: ``table`` with columns score_<class> and logit_<class>, of ``logits`` (rows, classes)."""
    scores = softmax(logits.astype(np.float64))
    columns = {f"score_{label}": scores[:, k] for k, label in enumerate(classes)}
    columns |= {f"logit_{label}": logits[:, k] for k, label in enumerate(classes)}
    return table.assign(**columns)
