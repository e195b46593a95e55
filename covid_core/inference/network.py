"""A model without TensorFlow: networks in LiteRT form (uint8 images to float32 maps) and the head in NumPy.

LiteRT starts in a fraction of TensorFlow's time. The head takes pooled maps to logits; its gradient back to the maps is
a closed formula.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakValueDictionary
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from covid_core import files
from covid_core.errors import RunDamaged
from covid_core.work import blocks, cores

BATCH = 4  # images per call; larger batches leave the processor's cache: MobileNetV2 at 128 px was 10 % slower with 8
LARGE_IMAGE, LARGE_BATCH = 192, 2  # px and images per call; at 224 px it was 40 % slower with 8


class Network(Protocol):
    """What runs a batch of images: in this process, or in one of its own."""

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        """Outputs for a batch, float32, each with the batch first."""


def batch_for(size: int) -> int:
    """How many images of ``size`` pixels one call takes."""
    return LARGE_BATCH if size >= LARGE_IMAGE else BATCH


class LiteNetwork:
    """One exported network in one interpreter, which serves one thread at a time: calls wait for each other.

    ``content`` are the network's bytes where they are not those of the file.
    """

    def __init__(self, path: Path, threads: int | None = None, content: bytes | None = None):
        from ai_edge_litert.interpreter import Interpreter

        try:
            source = {"model_path": str(path)} if content is None else {"model_content": content}
            self._interpreter = Interpreter(**source, num_threads=threads or cores())
            (details,) = self._interpreter.get_input_details()
        except (ValueError, RuntimeError) as error:
            raise _damaged(path) from error
        self._path = path
        self._input = details["index"]
        self._outputs = _output_tensors(self._interpreter)
        self._shape: tuple[int, ...] = ()
        self._is_fresh = True
        self._guard = threading.Lock()

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        """Outputs for a batch, float32, each with the batch first."""
        with self._guard:
            if batch.shape != self._shape:
                self._interpreter.resize_tensor_input(self._input, batch.shape)
                self._interpreter.allocate_tensors()
                self._shape = batch.shape
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            if self._is_fresh:  # by now the weights have been copied into the order in which they are used
                self._is_fresh = False
                files.release_mapped(self._path)
            return [self._interpreter.get_tensor(index) for index in self._outputs]


_together: WeakValueDictionary[tuple[str, int, int], LiteNetwork] = WeakValueDictionary()
_opening = threading.Lock()


def shared_network(path: Path) -> LiteNetwork:
    """The network in a file, opened once for all who ask, on all cores; it goes when the last of them lets go of it.

    Runs on one frozen network then hold its weights once. Raises RunDamaged.
    """
    with _opening:
        try:
            status = path.stat()
        except OSError as error:
            raise _damaged(path) from error
        key = (str(path), status.st_mtime_ns, status.st_size)
        network = _together.get(key) or LiteNetwork(path)
        _together[key] = network
        return network


def one_per_thread(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Runs the network in a file, in a single-threaded interpreter for each thread that calls.

    As many threads as cores lose less that way than one interpreter with many threads.
    """
    local = threading.local()

    def run(batch: np.ndarray) -> list[np.ndarray]:
        if not hasattr(local, "network"):
            local.network = LiteNetwork(path, threads=1)
        return local.network.run(batch)

    return run


def _damaged(path: Path) -> RunDamaged:
    return RunDamaged(f"The exported network {path.name} is missing or damaged.")


def _output_tensors(interpreter: Any) -> list[int]:
    """Indices of the output tensors in the order of the exported model's outputs.

    A file with a signature lists them by name (output_0, output_1, ...), one without in their own order.
    """
    if not interpreter.get_signature_list():
        return [details["index"] for details in interpreter.get_output_details()]
    named = interpreter.get_signature_runner().get_output_details()
    return [named[name]["index"] for name in sorted(named, key=lambda name: int(name.rsplit("_", 1)[1]))]


class LiteTrunk:
    """The part of a model from the image to the maps that the head pools.

    Args:
        path: the exported network that takes images.
        tail: an exported network that takes the last of the chosen outputs, where a part of the trunk was trained.
        outputs: which outputs of the first network are wanted; by default all.
        opened: opens a file as a network: all cores' shared one, where it is to be no other.
    """

    def __init__(
        self,
        path: Path,
        tail: Path | None = None,
        outputs: Sequence[int] | None = None,
        opened: Callable[[Path], Network] = shared_network,
    ):
        self._network = opened(path)
        self._tail = opened(tail) if tail else None
        self._wanted = outputs

    def maps(self, images: np.ndarray) -> list[np.ndarray]:
        """Feature maps of uint8 images (n, size, size): one float32 array (n, height, width, channels) per tap."""
        parts = [self._maps_of_batch(batch) for batch in blocks(images, batch_for(images.shape[1]))]
        return parts[0] if len(parts) == 1 else [np.concatenate(tap) for tap in zip(*parts, strict=True)]

    def _maps_of_batch(self, images: np.ndarray) -> list[np.ndarray]:
        maps = self._network.run(np.ascontiguousarray(images)[..., None])
        chosen = maps if self._wanted is None else [maps[number] for number in self._wanted]
        return self._tail.run(chosen[-1]) if self._tail else chosen


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
    kinds = {"score": softmax(logits.astype(np.float64)), "logit": logits}
    return table.assign(
        **{f"{kind}_{label}": values[:, k] for kind, values in kinds.items() for k, label in enumerate(classes)}
    )
