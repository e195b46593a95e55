"""What the ways of training share: the images, the files that stay, and how long each stage takes."""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from covid_core.data.dataset import Dataset
from covid_core.data.split import SELECTION, validation_for
from covid_core.errors import RunError
from covid_core.formatting import plural
from covid_core.inference.apart.network import NetworkApart, opener
from covid_core.inference.network import Head
from covid_core.inference.region.lung_region import CutImages
from covid_core.nets.devices import Devices
from covid_core.nets.fitting import Fit
from covid_core.nets.trunk import FrozenTrunk
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec
from covid_core.work import Progress
from covid_core.workspace import Workspace

if TYPE_CHECKING:
    import keras


@dataclass
class Clock:
    """Seconds per stage, in the order in which the stages ended. A stage within another does not count in both."""

    seconds: dict[str, float] = field(default_factory=dict)
    _within: float = 0.0

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Do ``work`` and add its time to ``name``."""
        start, before, self._within = time.monotonic(), self._within, 0.0
        try:
            return work()
        finally:
            spent = time.monotonic() - start
            self.seconds[name] = round(self.seconds.get(name, 0) + spent - self._within, 3)
            self._within = before + spent


@dataclass(frozen=True)
class Images:
    """A run's images: decoded images of the data set, and the positions and class indices of its parts.

    Where the network is shown the box around the lungs, ``pixels`` are what was cut out, ``cut`` has the boxes, and
    ``suffix`` names in features what they were cut out by.
    """

    dataset: Dataset
    pixels: np.ndarray
    split: pd.DataFrame
    rows: np.ndarray
    labels: np.ndarray
    cut: CutImages | None = None
    suffix: str = ""

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Pixels of images by their positions within ``rows``: uint8 (n, size, size)."""
        return self.pixels[self.rows[positions]]

    def part(self, name: str) -> np.ndarray:
        """Positions within ``rows`` of one part."""
        return np.flatnonzero(self.split["part"].to_numpy() == name)

    @cached_property
    def learned(self) -> np.ndarray:
        """Positions of the training images that a training learns from: those with a box, where it needs one. Which
        have none may go with their class. Raises RunError where a class has none left."""
        train = self.part("train")
        if self.cut is None:
            return train
        boxed = train[self.cut.outlined[self.rows[train]]]
        if missing := set(self.labels[train]) - set(self.labels[boxed]):
            raise RunError(f"No training image of {plural(len(missing), 'class', 'classes')} has a lung outline.")
        return boxed

    def selection(self) -> np.ndarray:
        """Positions within ``rows`` of the validation images that choose the epoch: half of them where they are
        many."""
        return np.flatnonzero(validation_for(self.split, SELECTION))


@dataclass
class Plan:
    """What the three ways of training share.

    ``start`` is the file that the trunk starts from, or None for a random start. ``reused`` names what earlier runs had
    left, with the seconds that it took them (nan where nobody noted it). ``built`` is the Keras trunk, once something
    needs it: a frozen run whose trunk was exported before never does.
    """

    workspace: Workspace
    run: Run
    images: Images
    start: Path | None
    fit: Fit
    clock: Clock
    report: Progress
    report_end: Progress
    devices: Devices
    scratch: list[Path] = field(default_factory=list)
    reused: dict[str, float] = field(default_factory=dict)
    built: "keras.Model | None" = None

    @property
    def spec(self) -> TrainingSpec:
        return self.run.spec

    @property
    def device(self) -> str:
        """What trained, in words: only a training of all layers is spread over several GPUs."""
        return self.devices.label if self.spec.mode == "full" or not self.devices.names else "1 GPU"

    @cached_property
    def opened_apart(self) -> Callable[[Path], NetworkApart] | None:
        """What opens the exported part of an added backbone, with the file behind it; None of the app's own."""
        file = self.spec.backbone_file
        return opener(self.workspace, file) if file else None

    def reuse(self, name: str, seconds: float) -> None:
        """Note that something was there already, and what it once took."""
        self.reused[name] = self.reused.get(name, 0.0) + seconds

    def trunk(self) -> "keras.Model":
        """The Keras trunk, built at the first call."""
        if self.built is None:
            self.start_tensorflow()
            from covid_core.nets import model

            self.built = self.clock.timed("build", lambda: model.build_trunk(self.spec, self.start))
        return self.built

    def start_tensorflow(self) -> None:
        """Import TensorFlow: a stage of its own, because it takes seconds."""
        self.clock.timed("tensorflow", lambda: importlib.import_module("covid_core.nets.model"))


@dataclass(frozen=True)
class Trained:
    """What a way of training hands over.

    ``frozen`` is the exported part that was not trained, ``tail`` the trained Keras part behind it (or the whole
    trunk where nothing is frozen). ``logits`` are those of all rows of the run, as the app will compute them, and
    ``features`` gives the means (n, d) of the maps that the head pools, for positions among the rows.
    """

    head: Head
    frozen: FrozenTrunk | None
    tail: "keras.Model | None"
    model: "keras.Model | None"
    logits: np.ndarray
    features: Callable[[np.ndarray], np.ndarray]
    engine: str
    facts: dict[str, Any] = field(default_factory=dict)
