"""What images are like in a few numbers each, and those numbers of a run's own images, which its reference holds.

The numbers are those of MEASURES, read from the square that the network is shown and from the size of the image, and
the image's coordinates in the network's own space (``reference.Space``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from covid_core.data.split import TRAIN, VALIDATION
from covid_core.inference import gate
from covid_core.inference.gate import Gate
from covid_core.work import blocks

NETWORK = "network"
ASPECTS = {
    "brightness": "Brightness",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "size": "Size of the image",
    "framing": "Framing",
    "view": "View",
    NETWORK: "The network's own space",
}
DARK = 0.04  # mean grey, of 1: a row or a column below is border
RING = 8  # the frame is an eighth of the width on each side; the middle begins at twice that
FLAT = 1e-3  # deviation of greys, of 1: below, a picture has no contrast
MOST = 1000  # training images, and as many validation images, that stand for all
AT_ONCE = 64  # images: 13 MB of floats at 224 px
SEED = 20


class MeasureOfImage(NamedTuple):
    """A row of MEASURES. ``least`` is the smallest difference that counts as one deviation: what varies by less among
    the training images does not vary. ``shown`` makes of a value what a figure shows, in ``unit``."""

    aspect: str
    title: str
    unit: str
    least: float
    shown: Callable[[np.ndarray], np.ndarray]


def _percent(values: np.ndarray) -> np.ndarray:
    return 100 * values


MEASURES = {
    "grey": MeasureOfImage("brightness", "Mean grey", "%", 0.02, _percent),
    "deviation": MeasureOfImage("contrast", "Standard deviation of grey", "%", 0.01, _percent),
    "detail": MeasureOfImage("sharpness", "Fine detail, of all contrast", "%", 0.005, _percent),
    "side": MeasureOfImage("size", "Square root of width times height", "px", 0.05, np.exp2),
    "ratio": MeasureOfImage("size", "Width over height", "", 0.03, np.exp2),
    "sides": MeasureOfImage("framing", "Dark border left and right", "%", 0.02, _percent),
    "ends": MeasureOfImage("framing", "Dark border above and below", "%", 0.02, _percent),
    "ring": MeasureOfImage("framing", "Frame less middle, in deviations of grey", "", 0.1, np.array),
    "lead": MeasureOfImage("view", "Evidence for an upright chest image", "", 0.05, np.array),
    "against": MeasureOfImage("view", "Log odds against a frontal view", "", 0.3, np.array),
}


@dataclass(frozen=True, eq=False)
class Traits:
    """What images are like: ``values`` float32 (n, MEASURES) and ``coordinates`` float32 (n, k + 1)."""

    values: np.ndarray
    coordinates: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> "Traits":
        return Traits(self.values[rows], self.coordinates[rows])

    @classmethod
    def joined(cls, parts: "list[Traits]") -> "Traits":
        """Those of several batches in one."""
        return cls(
            *(np.concatenate(arrays) for arrays in zip(*((p.values, p.coordinates) for p in parts), strict=True))
        )

    def of(self, aspect: str, scales: np.ndarray) -> np.ndarray:
        """What an aspect compares, float32 (n, d): values divided by their ``scales`` (MEASURES,), or coordinates."""
        return self.coordinates if aspect == NETWORK else (self.values / scales)[:, columns(aspect)]


def columns(aspect: str) -> list[int]:
    """The places in MEASURES of an aspect's measures."""
    return [place for place, measure in enumerate(MEASURES.values()) if measure.aspect == aspect]


@dataclass(frozen=True, eq=False)
class Profile:
    """A run's own images: ``training`` and ``validation``, drawn by cluster where they are many.

    ``labels`` are class codes (n,) of the training images; ``own`` of each validation image, int (m, 3): its class, the
    predicted class and its cluster. ``shares`` (classes,) are those of all training images.
    """

    training: Traits
    labels: np.ndarray
    validation: Traits
    own: np.ndarray
    shares: np.ndarray

    @property
    def scales(self) -> np.ndarray:
        """What counts as one deviation of each measure (MEASURES,): robust, of the training images."""
        low, high = np.quantile(self.training.values, (0.25, 0.75), axis=0)
        return np.maximum((high - low) / 1.349, [measure.least for measure in MEASURES.values()]).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """What ``of_arrays`` takes, to be kept in a file."""
        of_parts = {f"{part}_{name}": array for part in PARTS for name, array in vars(getattr(self, part)).items()}
        coordinates = {name: array.astype(np.float16) for name, array in of_parts.items() if "coordinates" in name}
        return of_parts | coordinates | {name: getattr(self, name) for name in ("labels", "own", "shares")}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Profile":
        """Raises ValueError where arrays are of different images, and KeyError where one is missing."""
        training, validation = (
            Traits(*(arrays[f"{part}_{name}"].astype(np.float32) for name in ("values", "coordinates")))
            for part in PARTS
        )
        made = cls(training, arrays["labels"], validation, arrays["own"], arrays["shares"])
        pairs = ((training, made.labels), (validation, made.own))
        if any(not len(one.values) == len(one.coordinates) == len(rows) for one, rows in pairs):
            raise ValueError("traits and classes are of different images")
        if training.values.shape[1] != len(MEASURES):
            raise ValueError("other measures")
        return made


PARTS = ("training", "validation")
Described = Callable[[np.ndarray], Traits]
"""Positions of images to what these are like."""


def traits(squares: np.ndarray, sizes: np.ndarray, judge: Gate, coordinates: np.ndarray) -> Traits:
    """Of uint8 images (n, size, size); ``sizes`` (n, 2) are width and height of their files, ``coordinates`` theirs."""
    small = np.concatenate([_of_greys(some) for some in blocks(squares, AT_ONCE)])
    gradients = gate.histograms(squares)
    width, height = sizes.astype(np.float64).T
    of_size = np.stack([np.log2(width * height) / 2, np.log2(width / height)], axis=1)
    of_view = np.stack([judge.leads(gradients), gate.against(gradients)], axis=1)
    values = np.concatenate([small[:, :3], of_size, small[:, 3:], of_view], axis=1)
    return Traits(values.astype(np.float32), coordinates)


def _of_greys(squares: np.ndarray) -> np.ndarray:
    """Float (n, 6): grey, deviation, detail, sides, ends, ring."""
    greys = squares.astype(np.float32) / 255
    deviation = np.maximum(greys.std(axis=(1, 2)), FLAT)
    bends = [np.square(np.diff(greys, 2, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2)]
    borders = [_border(greys.mean(axis=axis)) for axis in (1, 2)]
    side = greys.shape[1]
    edge, near = max(1, side // RING), max(1, 2 * side // RING)
    inner = greys[:, edge:-edge, edge:-edge]
    middle = greys[:, near:-near, near:-near].mean(axis=(1, 2))
    frame = (greys.sum(axis=(1, 2)) - inner.sum(axis=(1, 2))) / (side**2 - inner.shape[1] ** 2)
    ring = (frame - middle) / deviation
    return np.stack([greys.mean(axis=(1, 2)), deviation, np.sqrt(sum(bends)) / deviation, *borders, ring], axis=1)


def _border(means: np.ndarray) -> np.ndarray:
    """Share of lines, of means (n, size), that are dark from either end on."""
    dark = means < DARK
    runs = [np.cumprod(one, axis=1).sum(axis=1) for one in (dark, dark[:, ::-1])]
    return np.minimum(runs[0] + runs[1], means.shape[1]) / means.shape[1]


def fitted(
    split: pd.DataFrame, described: Described, predicted: np.ndarray, classes: tuple[str, ...]
) -> Profile | None:
    """The profile from a split with columns image_id, label, part and group, and the class codes that are predicted of
    its images; None where a part is empty."""
    rng = np.random.default_rng(SEED)
    clusters = pd.factorize(split["group"] if "group" in split else split["image_id"])[0]
    codes = pd.Categorical(split["label"], categories=classes).codes.astype(np.int64)
    training, validation = (
        _drawn(np.flatnonzero(split["part"] == part), clusters, rng) for part in (TRAIN, VALIDATION)
    )
    if not len(training) or not len(validation):
        return None
    trained = codes[(split["part"] == TRAIN).to_numpy()]
    return Profile(
        described(training),
        codes[training],
        described(validation),
        np.stack([codes[validation], predicted[validation], clusters[validation]], axis=1).astype(np.int32),
        np.bincount(trained, minlength=len(classes)) / len(trained),
    )


def _drawn(positions: np.ndarray, clusters: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """About MOST of the positions, in their order: whole clusters, drawn at random."""
    order = rng.permutation(clusters.max() + 1)[clusters[positions]]
    chosen = np.argsort(order, kind="stable")
    last = np.searchsorted(order[chosen], order[chosen[min(MOST, len(chosen)) - 1]], "right") if len(chosen) else 0
    return np.sort(positions[chosen[:last]])
