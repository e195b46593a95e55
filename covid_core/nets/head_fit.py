"""A stage of a fit in NumPy: dense layers on features that are computed already.

A head is so small that an ordinary fit spends most of its time between the steps, and TensorFlow takes longer to start
than the head to learn. The arithmetic here is that of Keras's Dense, Dropout, SparseCategoricalCrossentropy (from
logits) and optimizers, epoch by epoch; random numbers are NumPy's, so results equal Keras's up to the seed.
"""

import itertools
import math
import time

import numpy as np

from covid_core.inference.network import Head, softmax
from covid_core.nets.fitting import Fit, Row, Stage, check_loss
from covid_core.nets.optimizers import Optimizer
from covid_core.work import blocks

BLOCK = 1024  # validation images at once


class Network:
    """Dense relu layers with dropout, as views into one flat vector of parameters (and one of gradients)."""

    def __init__(self, sizes: tuple[int, ...], dropout: float):
        self._dropout = dropout
        shapes = [shape for pair in itertools.pairwise(sizes) for shape in (pair, pair[1:])]
        total = sum(map(math.prod, shapes))
        self.parameters = np.zeros(total, np.float32)
        self.gradient = np.zeros(total, np.float32)
        self._layers = _views(self.parameters, shapes)
        self._gradients = _views(self.gradient, shapes)

    def start(self, rng: np.random.Generator) -> None:
        """Random weights: Glorot and Bengio 2010, uniform, as Keras's Dense; biases 0."""
        for weights, biases in self._layers:
            limit = np.sqrt(6 / sum(weights.shape))
            weights[:] = rng.uniform(-limit, limit, weights.shape)
            biases[:] = 0

    def head(self, pooling: str) -> Head:
        """The layers as they are now, copied."""
        weights, biases = zip(*self._layers, strict=True)
        return Head(pooling, tuple(w.copy() for w in weights), tuple(b.copy() for b in biases))

    def learn(
        self, x: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[float, int]:
        """Put the gradient of the mean loss of one batch into ``gradient``.

        Returns:
            The mean loss, and how many images were predicted correctly (with dropout, as Keras counts them).
        """
        inputs, masks = [x], []
        for layer, biases in self._layers[:-1]:
            hidden = np.maximum(inputs[-1] @ layer + biases, 0)
            masks.append((rng.random(hidden.shape, np.float32) >= self._dropout) / np.float32(1 - self._dropout))
            inputs.append(hidden * masks[-1])
        layer, biases = self._layers[-1]
        flow, loss, right = _loss(inputs[-1] @ layer + biases, labels, weights)
        for number in range(len(self._layers) - 1, -1, -1):
            np.matmul(inputs[number].T, flow, out=self._gradients[number][0])
            flow.sum(axis=0, out=self._gradients[number][1])
            if number:
                flow = (flow @ self._layers[number][0].T) * masks[number - 1] * (inputs[number] > 0)
        return loss, right


def _views(vector: np.ndarray, shapes: list[tuple[int, ...]]) -> list[tuple[np.ndarray, np.ndarray]]:
    parts = np.split(vector, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
    views = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return list(zip(views[::2], views[1::2], strict=True))


def _loss(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, float, int]:
    """The mean (weighted) cross-entropy's gradient by the logits, that mean, and the count of correct predictions."""
    rows = np.arange(len(labels))
    right = int((logits.argmax(axis=1) == labels).sum())
    scores = softmax(logits)
    losses = -np.log(np.maximum(scores[rows, labels], np.finfo(np.float32).tiny))
    scores[rows, labels] -= 1
    if weights is not None:
        losses = losses * weights
        scores *= weights[:, None]
    scores /= len(labels)
    return scores, float(losses.mean()), right


def run(fit: Fit, number: int, stage: Stage, pooling: str) -> Head:
    """Fit a head, or take up what an interrupted attempt left of it. Returns the head of the best epoch.

    The stage gives float32 features (n, d). A stop, or a loss that is no number after a finished
    epoch, is remembered in ``fit``. Raises Diverged in the first epoch.
    """
    width = stage.inputs(np.arange(1), 0).shape[1]
    network = Network((width, *fit.spec.head.units, len(fit.spec.classes)), fit.spec.head.dropout)
    network.start(np.random.default_rng((fit.spec.seed, number)))
    if fit.skips(number):
        return network.head(pooling)
    optimizer = Optimizer(fit.spec.optimizer, stage.learning_rate, len(network.parameters))
    stored = fit.begin(number)
    if stored is not None:
        weights, state = stored
        network.parameters[:] = weights[0]
        optimizer.restore(state)
    with fit.ending_early():
        _fit(fit, number, stage, network, optimizer)
    if fit.memory.best:
        network.parameters[:] = fit.memory.best[0]
    return network.head(pooling)


def _fit(fit: Fit, number: int, stage: Stage, network: Network, optimizer: Optimizer) -> None:
    """All epochs that are left. Progress and stops are between epochs: each takes a moment."""
    fit.report(stage.name, fit.memory.epoch, stage.epochs)
    while not fit.is_over(stage.epochs):
        epoch, began = fit.memory.epoch, time.monotonic()
        row = _epoch(fit, number, stage, network, optimizer, epoch)
        row["seconds"] = round(time.monotonic() - began, 4)
        fit.close_epoch(row, lambda: [network.parameters.copy()])
        fit.save_checkpoint([network.parameters], optimizer.state())  # 2 to 9 ms for 5 to 100 ms of learning
        fit.report(stage.name, epoch + 1, stage.epochs)


def _epoch(fit: Fit, number: int, stage: Stage, network: Network, optimizer: Optimizer, epoch: int) -> Row:
    rng = np.random.default_rng((fit.spec.seed, number, epoch))  # by epoch, so that a resumed fit draws the same
    total, right, images = 0.0, 0, 0
    for batch, rows in enumerate(blocks(stage.order(epoch), fit.spec.batch_size), start=1):
        weights = None if stage.sample_weights is None else stage.sample_weights[rows]
        loss, good = network.learn(stage.inputs(rows, epoch), stage.labels[rows], weights, rng)
        total, right, images = total + loss * len(rows), right + good, images + len(rows)
        check_loss(total, "loss", epoch + 1, batch)
        optimizer.step(network.parameters, network.gradient)
    val_loss, val_accuracy = _validate(stage, network)
    return {
        "stage": stage.name,
        "epoch": epoch + 1,
        "loss": round(total / images, 6),
        "accuracy": round(right / images, 6),
        "val_loss": round(val_loss, 6),
        "val_accuracy": round(val_accuracy, 6),
        "learning_rate": stage.learning_rate,
    }


def _validate(stage: Stage, network: Network) -> tuple[float, float]:
    """Mean loss and accuracy over the validation part, without dropout and without weights."""
    head, total, right = network.head(""), 0.0, 0
    count = len(stage.validation_labels)
    for rows in blocks(np.arange(count), BLOCK):
        labels = stage.validation_labels[rows]
        _, loss, good = _loss(head.logits(stage.validation(rows)), labels, None)
        total, right = total + loss * len(rows), right + good
    return total / count, right / count
