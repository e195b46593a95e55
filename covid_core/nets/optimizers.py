"""Keras's optimizers on one flat NumPy vector, in place: the same formulas and defaults, without a graph.

Each follows ``keras.optimizers`` of Keras 3.15 with default settings; tests take steps beside Keras and compare.
"""

import numpy as np

EPSILON = 1e-7
BETA_1, BETA_2 = 0.9, 0.999  # Adam and AdamW: Kingma and Ba 2015
DECAY = 0.004  # AdamW: Loshchilov and Hutter 2019, Keras's default
RHO = {"rmsprop": 0.9, "adadelta": 0.95}
ADAGRAD_START = 0.1


class Optimizer:
    """Takes steps against a gradient.

    ``slots`` are its running averages, each as long as the parameters; ``steps`` counts the steps taken. Together they
    are all that it remembers.
    """

    def __init__(self, kind: str, learning_rate: float, parameters: int):
        """An optimizer by its name in the spec, for that many parameters. Raises KeyError for an unknown name."""
        self._update, count = {
            "sgd": (self._sgd, 0),
            "adam": (self._adam, 2),
            "adamw": (self._adamw, 2),
            "rmsprop": (self._rmsprop, 1),
            "adagrad": (self._adagrad, 1),
            "adadelta": (self._adadelta, 2),
        }[kind]
        self.learning_rate = learning_rate
        self.slots = [np.full(parameters, ADAGRAD_START if kind == "adagrad" else 0, np.float32) for _ in range(count)]
        self.steps = 0
        self._scratch = np.empty(parameters, np.float32)

    def step(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        """Change ``parameters`` in place; ``gradient`` is used up. Both float32, one flat vector."""
        self.steps += 1
        self._update(parameters, gradient)

    def state(self) -> list[np.ndarray]:
        """All that it remembers, as arrays."""
        return [np.array(self.steps), *self.slots]

    def restore(self, state: list[np.ndarray]) -> None:
        """Go on from what ``state`` gave."""
        self.steps = int(state[0])
        for slot, value in zip(self.slots, state[1:], strict=True):
            slot[:] = value

    def _sgd(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        gradient *= self.learning_rate
        parameters -= gradient

    def _adam(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        mean, square = self.slots
        scratch = self._scratch
        _average(mean, gradient, BETA_1, scratch)
        np.multiply(gradient, gradient, out=gradient)
        _average(square, gradient, BETA_2, scratch)
        rate = self.learning_rate * np.sqrt(1 - BETA_2**self.steps) / (1 - BETA_1**self.steps)
        np.sqrt(square, out=scratch)
        scratch += EPSILON
        np.divide(mean, scratch, out=scratch)
        scratch *= np.float32(rate)
        parameters -= scratch

    def _adamw(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        parameters *= np.float32(1 - DECAY * self.learning_rate)
        self._adam(parameters, gradient)

    def _rmsprop(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        (square,) = self.slots
        scratch = self._scratch
        square *= np.float32(RHO["rmsprop"])
        np.multiply(gradient, gradient, out=scratch)
        scratch *= np.float32(1 - RHO["rmsprop"])
        square += scratch
        _step_by_root(parameters, gradient, square, self.learning_rate, scratch)

    def _adagrad(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        (total,) = self.slots
        scratch = self._scratch
        np.multiply(gradient, gradient, out=scratch)
        total += scratch
        _step_by_root(parameters, gradient, total, self.learning_rate, scratch)

    def _adadelta(self, parameters: np.ndarray, gradient: np.ndarray) -> None:
        squares, moves = self.slots
        scratch = self._scratch
        _average(squares, np.multiply(gradient, gradient), RHO["adadelta"], scratch)
        gradient *= np.sqrt((moves + EPSILON) / (squares + EPSILON))
        _average(moves, np.multiply(gradient, gradient), RHO["adadelta"], scratch)
        gradient *= self.learning_rate
        parameters -= gradient


def _average(average: np.ndarray, value: np.ndarray, momentum: float, scratch: np.ndarray) -> None:
    """``average += (value - average) * (1 - momentum)``."""
    np.subtract(value, average, out=scratch)
    scratch *= np.float32(1 - momentum)
    average += scratch


def _step_by_root(
    parameters: np.ndarray, gradient: np.ndarray, square: np.ndarray, rate: float, scratch: np.ndarray
) -> None:
    """``parameters -= rate * gradient / sqrt(square + EPSILON)``."""
    np.add(square, np.float32(EPSILON), out=scratch)
    np.sqrt(scratch, out=scratch)
    np.divide(gradient, scratch, out=scratch)
    scratch *= np.float32(rate)
    parameters -= scratch
