"""A finished run that answers for images, without TensorFlow."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from covid_core import files
from covid_core.errors import RunDamaged
from covid_core.evaluation.calibration import Calibration
from covid_core.evaluation.conformal import Sets
from covid_core.images.codec import GreyImage, to_square
from covid_core.images.regions import Box
from covid_core.inference.apart import network as apart
from covid_core.inference.heatmap import cam, to_unit
from covid_core.inference.network import MEAN, Head, LiteNetwork, LiteTrunk, Network, batch_for, pooled, shared_network
from covid_core.inference.occlusion import occluded
from covid_core.inference.reference import Reference
from covid_core.inference.region.lung_region import LungRegion, Regions
from covid_core.runs import prediction_sets, temperature_scaling
from covid_core.runs.store import Run
from covid_core.work import blocks
from covid_core.workspace import Workspace

HeadChange = Callable[[Head], Head]
Heat = Callable[[str, tuple[int, int]], np.ndarray]
"""Grad-CAM of one image for a class: float32 in [0, 1], of the (height, width) of the picture that it covers."""
Opened = Callable[[Path], Network]
UNCALIBRATED = Calibration(note="No temperature has been fitted.")


@dataclass(eq=False)
class Predictor:
    """The numbers of ``keras.models.load_model`` on the run's model.keras, but for rounding, from trunk and head.

    Scores differ by 1e-7 to 6e-6 in the course's runs, by up to 2e-5 where a head is steep; every run records its own.

    It takes whole images as squares of ``size`` pixels a side; with ``lungs`` it cuts out the box around the lungs
    itself, and ``of_cut`` is the same predictor for what was cut out before.
    """

    classes: tuple[str, ...]
    size: int
    trunk: LiteTrunk
    head: Head
    both_sides: bool = False
    calibration: Calibration = UNCALIBRATED
    reference: Reference | None = None
    sets: Sets | None = None
    share: float = 1.0  # of width and height: the middle of an image that the network is shown
    lungs: LungRegion | None = None
    has_maps: bool = True  # an added backbone may give a vector: heat maps are then occlusion maps

    @classmethod
    def open(
        cls,
        workspace: Workspace,
        run: Run,
        *,
        with_reference: bool = True,
        opened: Opened = shared_network,
    ) -> "Predictor":
        """Load a finished run, by default with its reference where it has one: only an assessment needs it.

        ``opened`` opens its exported networks where they are not to be run as they are (see ``LiteTrunk``). Those of
        an added backbone, and of a run from a bundle, run in a process of their own, whatever ``opened`` is.

        Raises RunDamaged when a file is missing or not the one that the run recorded.
        """
        run.check_network()
        if not run.result:
            raise RunDamaged(f"{run.name} has no result yet.")
        trunk = trunk_path_of(workspace, run)
        tail = run.trunk_path if "tail_sha256" in run.result else None
        reference = run.reference_path if with_reference and run.has_reference else None
        segmenter = run.segmenter_path if run.spec.input.region == "lungs" else None
        parts = {"head": run.head_path, "trunk": trunk, "tail": tail, "reference": reference, "segmenter": segmenter}
        for name, path in parts.items():
            if path and (not path.is_file() or files.sha256_of(path) != run.result.get(f"{name}_sha256")):
                raise RunDamaged(f"{run.name}: {path.name} is missing or was changed after training.")
        file = run.spec.backbone_file
        if file or run.bundle:
            opened = apart.opener(workspace, file) if file else apart.opened
        predictor = cls.of_parts(run, trunk, tail, Head.load(run.head_path), run.result.get("trunk_outputs"), opened)
        if segmenter:
            predictor.lungs, predictor.size = (
                LungRegion.open(run.path, run.spec.image_size, apart.opened if run.bundle else LiteNetwork),
                run.spec.whole,
            )
        predictor.calibration = temperature_scaling.of(run)
        if with_reference:
            predictor.reference = Reference.load(reference) if reference else None
            predictor.sets = _sets_of(run)
        return predictor

    @classmethod
    def of_parts(
        cls,
        run: Run,
        trunk: Path,
        tail: Path | None,
        head: Head,
        outputs: Sequence[int] | None,
        opened: Opened = shared_network,
    ) -> "Predictor":
        """The predictor of a run from its exported networks, as ``LiteTrunk`` takes them, and its head: of what the
        networks themselves take."""
        network = LiteTrunk(trunk, tail, outputs, opened=opened)
        spec = run.spec
        share = spec.image_size / spec.pixels
        return cls(run.classes, spec.pixels, network, head, spec.test_time_flip, share=share, has_maps=spec.has_maps)

    @property
    def of_cut(self) -> "Predictor":
        """The same for squares that hold just what the network is shown."""
        return self if self.lungs is None else replace(self, lungs=None, size=self.lungs.size)

    def held(self, square: np.ndarray) -> "Predictor":
        """The same with the region of one image, uint8 (size, size), whatever changes in it."""
        return self if self.lungs is None else replace(self, lungs=self.lungs.held(square))

    def regions(self, squares: np.ndarray) -> Regions:
        """What the networks take of images, uint8 (n, size, size), and the boxes that they are shown."""
        return Regions.of_whole(squares, Box.centre(self.share)) if self.lungs is None else self.lungs.of(squares)

    def explained(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Heat]]:
        """``outputs`` of a few uint8 images (n, size, size), and what draws the heat maps of each, from one pass."""
        logits, features, heats = [], [], list[Heat]()
        regions = self.regions(squares)
        for batch in blocks(range(len(squares)), batch_for(self.size)):
            sides = self._maps_of_sides(regions.squares[batch.start : batch.stop])
            logits.append(self._mean_logits(sides))
            features.append(pooled(sides[0], MEAN))
            for place, number in enumerate(batch):
                of_one = [[tap[place : place + 1] for tap in maps] for maps in sides]
                by_maps = partial(self._heat, of_one, regions.boxes[number])
                heats.append(by_maps if self.has_maps else partial(self._occlusion, squares[number]))
        return np.concatenate(logits), np.concatenate(features), heats

    def heat_map(self, image: GreyImage, label: str, shape: tuple[int, int]) -> np.ndarray:
        """The ``Heat`` of an image; without a label for the predicted class."""
        logits, _, (heat,) = self.explained(to_square(image.pixels, self.size)[None])
        return heat(label or self.classes[int(logits.argmax())], shape)

    def mean_maps(self, squares: np.ndarray) -> tuple[np.ndarray, ...]:
        """Mean maps of uint8 images (n, size, size), as ``Head.usual`` has them."""
        return _means(self._maps_of_sides(self.regions(squares).squares))

    def evidence(
        self, squares: np.ndarray, classes: Sequence[int], shape: tuple[int, int], changes: Sequence[HeadChange]
    ) -> Iterator[np.ndarray]:
        """Heat maps of uint8 images (n, size, size) against the mean of these images, before the cut at 0, from one
        pass.

        ``classes`` are the positions of the class that each image's map is for, ``shape`` is height and width of the
        maps. Yields, for each change of the head, float32 (n, *shape), above 0 where something speaks for the class.
        """
        regions = self.regions(squares)
        sides = self._maps_of_sides(regions.squares)
        usual = _means(sides)
        images = [[[tap[[number]] for tap in maps] for maps in sides] for number in range(len(squares))]
        for change in changes:  # one head at a time: a flattening one can be 200 MB
            head = replace(change(self.head), usual=usual)
            yield np.stack(
                [
                    self._evidence(head, image, box, index, shape)
                    for image, box, index in zip(images, regions.boxes, classes, strict=True)
                ]
            )

    def logits(self, squares: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of uint8 images (n, size, size); the mean of both sides' where the spec asks for both."""
        return self.outputs(squares)[0]

    def features(self, squares: np.ndarray) -> np.ndarray:
        """Means (n, d) of the maps of uint8 images (n, size, size), not of their mirror images': what the reference
        compares images by."""
        return self.outputs(squares)[1]

    def outputs(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits and features, from one pass."""
        parts = []
        for batch in blocks(squares, batch_for(self.size)):
            sides = self._maps_of_sides(self.regions(batch).squares)
            parts.append((self._mean_logits(sides), pooled(sides[0], MEAN)))
        logits, features = map(np.concatenate, zip(*parts, strict=True))
        return logits, features

    def _maps_of_sides(self, squares: np.ndarray) -> list[list[np.ndarray]]:
        """The maps of what the networks take, and of its mirror images where the spec asks for both."""
        sides = [squares, squares[:, :, ::-1]] if self.both_sides else [squares]
        return [self.trunk.maps(side) for side in sides]

    def _heat(self, sides: list[list[np.ndarray]], box: Box, label: str, shape: tuple[int, int]) -> np.ndarray:
        return to_unit(self._evidence(self.head, sides, box, self.classes.index(label), shape))

    def _occlusion(self, square: np.ndarray, label: str, shape: tuple[int, int]) -> np.ndarray:
        return to_unit(occluded(self, GreyImage(square, "L"), label).map(shape))

    def _evidence(
        self, head: Head, sides: list[list[np.ndarray]], box: Box, index: int, shape: tuple[int, int]
    ) -> np.ndarray:
        """For and against a class, before what speaks against it is cut off: float32 of ``shape``, over the image.
        0 where the network is not shown the image."""
        height, width = (part.stop - part.start for part in box.slices(*shape))
        heat = [
            cam(head, maps, index, width, height, [tap[number] for tap in head.usual])
            for number, maps in enumerate(sides)
        ]
        return box.laid_back(heat[0] if len(heat) == 1 else heat[0] + heat[1][:, ::-1], shape)

    def _mean_logits(self, sides: list[list[np.ndarray]]) -> np.ndarray:
        logits = [self.head.logits(self.head.features(maps)) for maps in sides]
        return logits[0] if len(logits) == 1 else (logits[0] + logits[1]) / 2


def _means(sides: list[list[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Mean maps over images: one array (sides, height, width, channels) per tap."""
    means = [[tap.mean(axis=0, dtype=np.float64).astype(np.float32) for tap in maps] for maps in sides]
    return tuple(np.stack(tap) for tap in zip(*means, strict=True))


def _sets_of(run: Run) -> Sets | None:
    """What the run's prediction sets are made from; None where its predictions have no logits, or are gone."""
    try:
        return prediction_sets.of(run)
    except RunDamaged:  # the run still answers, without a set
        return None


def trunk_path_of(workspace: Workspace, run: Run) -> Path:
    """The run's own exported trunk, or the shared one that it names."""
    shared = run.result.get("trunk")
    return workspace.trunks / f"{shared}.tflite" if shared else run.trunk_path
