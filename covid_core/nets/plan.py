"""What the ways of training share: what is seen, what is kept, and how long each stage takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from covid_core.data.dataset import Dataset
from covid_core.nets.devices import Devices
from covid_core.nets.fitting import Fit
from covid_core.runs.store import Run
from covid_core.specs import TrainingSpec
from covid_core.work import Progress
from covid_core.workspace import Workspace


@dataclass
class Clock:
    """Seconds per stage, in the order in which the stages came."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Do ``work`` and add its time to ``name``."""
        start = time.monotonic()
        try:
            return work()
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0) + time.monotonic() - start, 3)


@dataclass(frozen=True)
class Films:
    """What a run sees: decoded films of the data set, and the positions and class indices of its parts."""

    dataset: Dataset
    pixels: np.ndarray
    split: pd.DataFrame
    rows: np.ndarray
    labels: np.ndarray

    def part(self, name: str) -> np.ndarray:
        """Positions within ``rows`` of one part."""
        return np.flatnonzero(self.split["part"].to_numpy() == name)


@dataclass(frozen=True)
class Plan:
    """What the three ways of training share."""

    workspace: Workspace
    run: Run
    films: Films
    fit: Fit
    clock: Clock
    report: Progress
    report_end: Progress
    devices: Devices
    scratch: list[Path] = field(default_factory=list)

    @property
    def spec(self) -> TrainingSpec:
        return self.run.spec

    @property
    def device(self) -> str:
        """What trained, in words: only a training of all layers is spread over several GPUs."""
        return self.devices.label if self.spec.mode == "full" or not self.devices.names else "1 GPU"


@dataclass(frozen=True)
class Trained:
    """What a way of training hands over: the Keras parts, logits of all rows if they are known, and facts."""

    trunk: keras.Model
    head: keras.Model
    shared_trunk: str | None
    logits: np.ndarray | None
    engine: str
    facts: dict[str, Any] = field(default_factory=dict)
