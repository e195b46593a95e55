"""A finished run that answers for images, without TensorFlow."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from covid_core import files
from covid_core.errors import RunDamaged
from covid_core.evaluation.calibration import Calibration
from covid_core.images.codec import GreyImage, to_square
from covid_core.inference import prediction
from covid_core.inference.head import MEAN, Head, pooled, softmax
from covid_core.inference.heatmap import cam, to_unit
from covid_core.inference.lite import LiteNetwork, LiteTrunk, batch_for
from covid_core.inference.prediction import CHEST_IMAGE, LIKE_TRAINING, Look, Prediction
from covid_core.inference.reference import Reference
from covid_core.runs import temperature_scaling
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

HeadChange = Callable[[Head], Head]
UNCALIBRATED = Calibration(note="No temperature has been fitted.")
NO_REFERENCE = "the run keeps no reference of its training images; it can be made from the data set at any time"


@dataclass(frozen=True)
class Seen:
    """One image after its pass through the network: what the run says of it, and what heat maps are made from."""

    look: Look
    _head: Head = field(repr=False)
    _sides: list[list[np.ndarray]] = field(repr=False)

    def heat(self, label: str, shape: tuple[int, int]) -> np.ndarray:
        """Grad-CAM for a class, float32 in [0, 1], of ``shape`` (height, width) of the picture that it covers."""
        index = self.look.prediction.classes.index(label)
        return to_unit(_evidence(self._head, self._sides, index, shape))


class Predictor:
    """The numbers of ``keras.models.load_model`` on the run's model.keras, but for rounding, from trunk and head.

    Scores differ by 1e-7 to 6e-6 in the course's runs, by up to 2e-5 where a head is steep; every run records its own.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        size: int,
        trunk: LiteTrunk,
        head: Head,
        both_sides: bool = False,
        calibration: Calibration = UNCALIBRATED,
        reference: Reference | None = None,
    ):
        self.classes = classes
        self.size = size
        self.calibration = calibration
        self.reference = reference
        self.maps = trunk.maps
        self._head = head
        self._both_sides = both_sides

    @classmethod
    def open(
        cls,
        workspace: Workspace,
        run: Run,
        *,
        with_reference: bool = True,
        opened: Callable[[Path], LiteNetwork] | None = None,
    ) -> "Predictor":
        """Load a finished run, by default with its reference where it has one; only ``look`` needs it.

        ``opened`` opens its exported networks where they are not to be run as they are (see ``LiteTrunk``).

        Raises RunDamaged when a file is missing or not the one that the run recorded.
        """
        if not run.result:
            raise RunDamaged(f"{run.name} has no result yet.")
        trunk = trunk_path_of(workspace, run)
        tail = run.trunk_path if "tail_sha256" in run.result else None
        kept = run.reference_path if with_reference and run.has_reference else None
        for path, name in ((run.head_path, "head"), (trunk, "trunk"), (tail, "tail"), (kept, "reference")):
            if path and (not path.is_file() or files.sha256_of(path) != run.result.get(f"{name}_sha256")):
                raise RunDamaged(f"{run.name}: {path.name} is missing or was changed after training.")
        outputs, calibration = run.result.get("trunk_outputs"), temperature_scaling.of(run)
        reference = Reference.load(kept) if kept else None
        return cls.of_parts(run, trunk, tail, Head.load(run.head_path), outputs, calibration, reference, opened)

    @classmethod
    def of_parts(
        cls,
        run: Run,
        trunk: Path,
        tail: Path | None,
        head: Head,
        outputs: Sequence[int] | None,
        calibration: Calibration = UNCALIBRATED,
        reference: Reference | None = None,
        opened: Callable[[Path], LiteNetwork] | None = None,
    ) -> "Predictor":
        """The predictor of a run from its exported networks, as ``LiteTrunk`` takes them, and its head."""
        network = LiteTrunk(trunk, tail, outputs, opened=opened)
        return cls(run.classes, run.spec.image_size, network, head, run.spec.test_time_flip, calibration, reference)

    def predict(self, images: list[GreyImage]) -> list[Prediction]:
        """Scores of each image, and probabilities where the run is calibrated."""
        squares = np.stack([to_square(image.pixels, self.size) for image in images])
        logits = self.logits(squares)
        return [
            Prediction(self.classes, scores, raw, self._done(image), self.calibration)
            for image, scores, raw in zip(images, softmax(logits), logits, strict=True)
        ]

    def look(self, images: list[GreyImage]) -> list[Look]:
        """What ``predict`` says of each image, the checks of its content in their order, and the training images
        nearest to it, from the same single pass. That an image was read faithfully is known before: else there is
        none."""
        squares = np.stack([to_square(image.pixels, self.size) for image in images])
        return self._looks(images, squares, *self._logits_and_features(squares))

    def seen(self, image: GreyImage) -> "Seen":
        """The same of one image, with all that its heat maps are made from: still one pass."""
        square = to_square(image.pixels, self.size)[None]
        sides = [self.maps(side) for side in self._sides(square)]
        (found,) = self._looks([image], square, self._mean_logits(sides), pooled(sides[0], MEAN))
        return Seen(found, self._head, sides)

    def _looks(
        self, images: list[GreyImage], squares: np.ndarray, logits: np.ndarray, features: np.ndarray
    ) -> list[Look]:
        if self.reference is None:
            checks = [
                (prediction.unasked(CHEST_IMAGE, NO_REFERENCE), prediction.unasked(LIKE_TRAINING, NO_REFERENCE))
            ] * len(images)
            nearest = [()] * len(images)
        else:
            checks, nearest = self.reference.checks(squares, features), self.reference.neighbours(features)
        return [
            Look(
                Prediction(self.classes, scores, raw, self._done(image), self.calibration),
                (prediction.told_by_file(image) or chest, like),
                near,
            )
            for image, scores, raw, (chest, like), near in zip(
                images, softmax(logits), logits, checks, nearest, strict=True
            )
        ]

    def explained(self, image: GreyImage, label: str | None, shape: tuple[int, int]) -> tuple[Prediction, np.ndarray]:
        """Scores and the heat map for ``label`` (by default the predicted class), from one pass."""
        found = self.seen(image)
        return found.look.prediction, found.heat(label or found.look.prediction.predicted, shape)

    def heat_map(self, image: GreyImage, label: str, shape: tuple[int, int]) -> np.ndarray:
        """The heat map alone, as ``Seen.heat`` gives it."""
        return self.seen(image).heat(label, shape)

    @property
    def knows_usual(self) -> bool:
        """Whether heat maps show what differs from the usual training image; those of older runs show all there is."""
        return bool(self._head.usual)

    def mean_maps(self, squares: np.ndarray) -> tuple[np.ndarray, ...]:
        """Mean maps of uint8 images (n, size, size), as ``Head.usual`` has them."""
        return _means([self.maps(side) for side in self._sides(squares)])

    def evidence(
        self, squares: np.ndarray, classes: Sequence[int], shape: tuple[int, int], changes: Sequence[HeadChange]
    ) -> Iterator[np.ndarray]:
        """Heat maps of images against the mean of these images, before the cut at 0, from one pass.

        Args:
            squares: uint8 (n, size, size).
            classes: position of the class that each image's map is for.
            shape: height and width of the maps.
            changes: what to do to the head before maps are made.

        Yields:
            For each change float32 (n, *shape), above 0 where something speaks for the class.
        """
        sides = [self.maps(side) for side in self._sides(squares)]
        usual = _means(sides)
        images = [[[tap[[number]] for tap in maps] for maps in sides] for number in range(len(squares))]
        for change in changes:  # one head at a time: a flattening one can be 200 MB
            head = replace(change(self._head), usual=usual)
            yield np.stack([_evidence(head, image, index, shape) for image, index in zip(images, classes, strict=True)])

    def logits(self, squares: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of uint8 images (n, size, size); the mean of both sides' where the spec asks for both."""
        batch = batch_for(self.size)
        batches = [squares[start : start + batch] for start in range(0, len(squares), batch)]
        return np.concatenate([self._mean_logits([self.maps(side) for side in self._sides(b)]) for b in batches])

    def features(self, squares: np.ndarray) -> np.ndarray:
        """Means (n, d) of the maps of uint8 images (n, size, size), by which the reference knows images."""
        return self._logits_and_features(squares)[1]

    def _logits_and_features(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``logits``, and the means of the images' own maps, not of their mirror images'."""
        batch, found = batch_for(self.size), []
        for start in range(0, len(squares), batch):
            maps = [self.maps(side) for side in self._sides(squares[start : start + batch])]
            found.append((self._mean_logits(maps), pooled(maps[0], MEAN)))
        return tuple(map(np.concatenate, zip(*found, strict=True)))

    def _sides(self, squares: np.ndarray) -> list[np.ndarray]:
        return [squares, squares[:, :, ::-1]] if self._both_sides else [squares]

    def _mean_logits(self, sides: list[list[np.ndarray]]) -> np.ndarray:
        logits = [self._head.logits(self._head.features(maps)) for maps in sides]
        return logits[0] if len(logits) == 1 else (logits[0] + logits[1]) / 2

    def _done(self, image: GreyImage) -> tuple[str, ...]:
        height, width = image.pixels.shape
        resized = f"{width} x {height} pixels squashed to {self.size} x {self.size}"
        return (*image.notes, resized) if (height, width) != (self.size, self.size) else image.notes


def _evidence(head: Head, sides: list[list[np.ndarray]], index: int, shape: tuple[int, int]) -> np.ndarray:
    """For and against a class, before what speaks against it is cut off: float32 of ``shape``, over the image."""
    height, width = shape
    heat = [
        cam(head, maps, index, width, height, [tap[number] for tap in head.usual]) for number, maps in enumerate(sides)
    ]
    return heat[0] if len(heat) == 1 else heat[0] + heat[1][:, ::-1]


def _means(sides: list[list[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Mean maps over images: one array (sides, height, width, channels) per tap."""
    means = [[tap.mean(axis=0, dtype=np.float64).astype(np.float32) for tap in maps] for maps in sides]
    return tuple(np.stack(tap) for tap in zip(*means, strict=True))


def trunk_path_of(workspace: Workspace, run: Run) -> Path:
    """The run's own exported trunk, or the shared one that it names."""
    shared = run.result.get("trunk")
    return workspace.trunks / f"{shared}.tflite" if shared else run.trunk_path
