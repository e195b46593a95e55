"""A finished run that answers for films, without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_core import files
from covid_core.data.images import Film, to_square
from covid_core.errors import RunDamaged
from covid_core.inference.head import Head, softmax
from covid_core.inference.heatmap import grad_cam
from covid_core.inference.lite import LiteTrunk
from covid_core.runs.store import Run
from covid_core.workspace import Workspace


@dataclass(frozen=True)
class Prediction:
    """What a run says of one film. ``scores`` are softmax outputs, not probabilities: they are not calibrated."""

    classes: tuple[str, ...]
    scores: np.ndarray
    logits: np.ndarray
    done: tuple[str, ...]

    @property
    def predicted(self) -> str:
        """The class with the highest score."""
        return self.classes[int(self.scores.argmax())]

    def as_dict(self) -> dict[str, float]:
        """Score per class."""
        return {label: float(score) for label, score in zip(self.classes, self.scores, strict=True)}


class Predictor:
    """The numbers of ``keras.models.load_model`` on the run's model.keras, but for rounding, from trunk and head.

    Scores differ by 1e-7 to 6e-6 in the course's runs, by up to 2e-5 where a head is steep; every run records its own.
    """

    def __init__(self, classes: tuple[str, ...], size: int, trunk: LiteTrunk, head: Head):
        self.classes = classes
        self.size = size
        self._trunk = trunk
        self._head = head

    @classmethod
    def open(cls, workspace: Workspace, run: Run) -> "Predictor":
        """Load a finished run. Raises RunDamaged when a file is missing or not the one that the run recorded."""
        if not run.result:
            raise RunDamaged(f"{run.name} has no result yet.")
        trunk_path = trunk_path_of(workspace, run)
        for path, recorded in ((run.head_path, "head_sha256"), (trunk_path, "trunk_sha256")):
            if not path.is_file() or files.sha256_of(path) != run.result.get(recorded):
                raise RunDamaged(f"{run.name}: {path.name} is missing or was changed after training.")
        return cls(run.classes, run.spec.image_size, LiteTrunk(trunk_path), Head.load(run.head_path))

    def predict(self, films: list[Film]) -> list[Prediction]:
        """Scores of each film."""
        squares = np.stack([to_square(film.pixels, self.size) for film in films])
        logits = self.logits(squares)
        return [
            Prediction(self.classes, scores, raw, self._done(film))
            for film, scores, raw in zip(films, softmax(logits), logits, strict=True)
        ]

    def logits(self, squares: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of uint8 films (n, size, size)."""
        return self._head.logits(self._head.features(self._trunk.maps(squares)))

    def heat_map(self, film: Film, label: str, shape: tuple[int, int]) -> np.ndarray:
        """Grad-CAM for ``label``, float32 in [0, 1], brought to ``shape`` (height, width) of the picture it covers."""
        maps = self._trunk.maps(to_square(film.pixels, self.size)[None])
        return grad_cam(self._head, maps, self.classes.index(label), width=shape[1], height=shape[0])

    def _done(self, film: Film) -> tuple[str, ...]:
        height, width = film.pixels.shape
        resized = f"{width} x {height} pixels squashed to {self.size} x {self.size}"
        return (*film.notes, resized) if (height, width) != (self.size, self.size) else film.notes


def trunk_path_of(workspace: Workspace, run: Run) -> Path:
    """The run's own exported trunk, or the shared one that it names."""
    shared = run.result.get("trunk")
    return workspace.trunks / f"{shared}.tflite" if shared else run.trunk_path
