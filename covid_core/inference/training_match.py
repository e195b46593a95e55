"""Whether an image is one of those that a run was trained on: by its pixels, as the search for duplicates compares.

A resized or newly saved copy counts as the same picture (``data.duplicates``), and so does one that is turned, mirrored
or inverted. A run remembers what it was trained on,
so its answer about such an image does not show what it makes of new ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from covid_core.data import duplicates
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.errors import CovidCoreError
from covid_core.images.codec import GreyImage, to_square
from covid_core.images.image import Turn
from covid_core.runs import pinned_dataset
from covid_core.runs.store import Run, open_run
from covid_core.workspace import Workspace

TURNS = [
    Turn(quarters, mirrored, inverted)
    for inverted in (False, True)
    for mirrored in (False, True)
    for quarters in range(4)
]


@dataclass(frozen=True)
class TrainingMatch:
    """The training image that shows the same picture; without an id there is none, or ``why`` it is not known.

    ``turn`` makes the image of the training image.
    """

    image_id: str = ""
    why: str = ""
    turn: Turn = Turn()

    @property
    def is_in_training(self) -> bool | None:
        """None where it is not known."""
        return None if self.why else bool(self.image_id)


@dataclass(frozen=True, eq=False)
class _TrainingImages:
    """Ids and sketches of a run's training images, and where their pixels are: ``pixels[rows]``."""

    ids: np.ndarray
    rows: np.ndarray
    pixels: np.ndarray
    sketches: np.ndarray

    def match(self, square: np.ndarray) -> TrainingMatch:
        forms = np.stack([_put_back(square, turn) for turn in TURNS])
        same = duplicates.most_alike(forms, self.pixels, self.rows, self.sketches)
        return TrainingMatch(str(self.ids[same[1]]), turn=TURNS[same[0]]) if same else TrainingMatch()


def _put_back(square: np.ndarray, turn: Turn) -> np.ndarray:
    """A square from before it was turned."""
    return turn.undone.of(255 - square if turn.inverted else square)


def of(workspace: Workspace, run: Run, images: Sequence[GreyImage]) -> list[TrainingMatch]:
    """Each image against the run's training images; these are sketched once per process, the last few runs'."""
    try:
        training = prepared(workspace, run)
    except CovidCoreError as error:
        return [TrainingMatch(why=str(error).rstrip("."))] * len(images)
    return [training.match(to_square(image.pixels, SUMMARY_SIZE)) for image in images]


def prepared(workspace: Workspace, run: Run) -> _TrainingImages:
    """The run's training images, ready to be compared with. Raises DataError or RunDamaged."""
    return _prepared(workspace.root, run.id, run.split_hash)


@lru_cache(maxsize=4)
def _prepared(root: Path, run_id: str, _split: str) -> _TrainingImages:
    workspace = Workspace(root)
    run = open_run(workspace, run_id)
    dataset = pinned_dataset.dataset_of(workspace, run)
    split = run.split()
    learned = set(split.loc[split["part"] == "train", "image_id"])
    rows = np.flatnonzero(dataset.images["image_id"].isin(learned))
    pixels = open_pixels(workspace, dataset, SUMMARY_SIZE)
    return _TrainingImages(dataset.images["image_id"].to_numpy()[rows], rows, pixels, duplicates.sketches(pixels[rows]))
