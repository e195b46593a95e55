"""A network in LiteRT form: uint8 films in, float32 feature maps out. Starts in a fraction of TensorFlow's time."""

import threading
from pathlib import Path

import numpy as np

from covid_core.errors import RunDamaged
from covid_core.work import cores

BATCH = 32  # films per call; larger batches were no faster on two cores


class LiteTrunk:
    """The part of a model from the film to the maps that the head pools.

    One interpreter serves one thread at a time, so calls wait for each other.
    """

    def __init__(self, path: Path, threads: int | None = None):
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(str(path), num_threads=threads or cores())
            self._run = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise RunDamaged(f"The exported network {path.name} is missing or damaged.") from error
        (self._input,) = self._run.get_input_details()
        self._outputs = sorted(self._run.get_output_details(), key=lambda name: int(name.rsplit("_", 1)[1]))
        self._guard = threading.Lock()

    def maps(self, films: np.ndarray) -> list[np.ndarray]:
        """Feature maps of uint8 films (n, size, size): one float32 array (n, height, width, channels) per tap."""
        parts = [self._maps_of_batch(films[start : start + BATCH]) for start in range(0, len(films), BATCH)]
        return [np.concatenate(tap) for tap in zip(*parts, strict=True)]

    def _maps_of_batch(self, films: np.ndarray) -> list[np.ndarray]:
        with self._guard:
            answer = self._run(**{self._input: np.ascontiguousarray(films)[..., None]})
            return [answer[name] for name in self._outputs]
