"""Trained lung segmenters: their files, which one serves for an image, and when one can be trained.

``segmenters/ID/`` is published whole, by the job that trained it, and never changed:

===============  =========================================================================================
lungs.tflite     the network: images, uint8 (n, size, size, 1), to a score per pixel, float32 (n, size, size)
segmenter.json   on which images it was trained and tested, how well it agreed with their masks, what an outline must
                 look like to be given, the network's hash, versions
===============  =========================================================================================
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from covid_core import access, files
from covid_core.data.masks import BUILT_IN, TRAINED, Origin
from covid_core.errors import DataError, RunDamaged
from covid_core.evaluation.metrics import Measure
from covid_core.formatting import plural
from covid_core.runs import store
from covid_core.runs.store import DatasetRecord
from covid_core.workspace import Workspace, folder_of

SCHEMA = 1
NETWORK, RECORD = "lungs.tflite", "segmenter.json"
BUILT_IN_FOLDER = Path(__file__).with_name("built_in_segmenter")  # made by ``benchmarks.models.built_in_segmenter``
LEAST_IMAGES = 20  # with masks; fewer leave three images or less to test on
MOST_IMAGES = 2400  # that are drawn for one segmenter, of all parts; more would take longer and change little
NO_MASKS = "No data set here has lung masks to train another segmenter on."


Figure = Literal["area", "balance", "tilt", "ragged", "unsure", "cut"]  # of an outline, see ``inference.lungs.Shape``


class SegmenterRecord(BaseModel):
    """What every segmenter.json of this version holds, and what else a training noted.

    ``created`` is in seconds since 1970; ``images`` are counts per part; ``size`` is the network's side in pixels;
    ``limits`` are the lowest and highest value of every figure at which an outline is given.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    created: FiniteFloat
    dataset: DatasetRecord
    images: dict[str, int]
    left_out: int
    size: int = Field(ge=16)
    threshold: float = Field(gt=0, lt=1)
    limits: dict[Figure, tuple[FiniteFloat, FiniteFloat]] = Field(min_length=len(get_args(Figure)))
    dice: Measure
    iou: Measure
    worst_dice: FiniteFloat
    same_for_all_dice: FiniteFloat
    refused: Measure
    seconds: FiniteFloat
    milliseconds_per_image: FiniteFloat
    network_sha256: str


@dataclass(frozen=True)
class Segmenter:
    """A trained segmenter as its folder tells it."""

    path: Path
    record: SegmenterRecord = field(repr=False)

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def network_path(self) -> Path:
        return self.path / NETWORK

    @property
    def record_path(self) -> Path:
        return self.path / RECORD

    @property
    def dataset(self) -> DatasetRecord:
        """The data set whose masks it learned."""
        return self.record.dataset

    @property
    def origin(self) -> Origin:
        """What its outlines rest on."""
        is_built_in = self.path == BUILT_IN_FOLDER or self.record == built_in().record  # a run has a copy of its own
        kind = BUILT_IN if is_built_in else TRAINED
        images = self.record.images["train"]
        return Origin(kind, self.dataset.name, self.dataset.synthetic, images, self.record.dice)


def open_segmenter(workspace: Workspace, identifier: str) -> Segmenter:
    """The segmenter of that id. Raises UnknownId or RunDamaged."""
    return in_folder(folder_of(workspace.segmenters, identifier, "segmenter"))


def in_folder(folder: Path) -> Segmenter:
    """The segmenter whose files lie in a folder: its own, or that of a run that is bound to it. Raises RunDamaged."""
    try:
        content = files.read_json(folder / RECORD)
        if isinstance(content, dict) and content.get("schema") != SCHEMA:
            raise RunDamaged(
                f"The segmenter {folder.name} was written by another version (schema {content.get('schema')!r})."
            )
        record = SegmenterRecord.model_validate(content)
    except (OSError, ValueError) as error:
        raise RunDamaged(f"The segmenter {folder.name} is damaged: delete it and train another.") from error
    if not (folder / NETWORK).is_file():
        raise RunDamaged(f"The segmenter {folder.name} lacks its network: delete it and train another.")
    return Segmenter(folder, record)


def list_segmenters(workspace: Workspace) -> tuple[list[Segmenter], list[store.BrokenRun]]:
    """All segmenters, newest first, and the folders that cannot be opened as one."""
    segmenters, broken = store.readable(workspace.segmenters, in_folder, "segmenter")
    return sorted(segmenters, key=lambda one: one.record.created, reverse=True), broken


def delete_segmenter(workspace: Workspace, identifier: str) -> None:
    """Remove a segmenter, damaged or not. Raises UnknownId or NotPermitted."""
    access.check(workspace, access.ADMINISTER, what=identifier)
    files.remove_folder(folder_of(workspace.segmenters, identifier, "segmenter"))
    access.note(workspace, "delete segmenter", identifier)


def built_in() -> Segmenter:
    """The segmenter that comes with this program. Its ``dice`` is of real images, none of which it learned from."""
    return in_folder(BUILT_IN_FOLDER)


def serving(workspace: Workspace, dataset: str = "") -> Segmenter:
    """Which segmenter outlines lungs: the newest that learned from the data set of that id (the run's), else the newest
    that learned from real images, else the built-in one: its synthetic images vary more than those of a data set."""
    listed, _ = list_segmenters(workspace)
    own = [one for one in listed if one.dataset.id == dataset]
    real = [one for one in listed if not one.dataset.synthetic]
    return next(iter([*own, *real]), None) or built_in()


def bind(workspace: Workspace, run: store.Run) -> None:
    """Copy the segmenter that serves the run's data set into the run's folder, which then keeps to it. A run that has
    one keeps it. Raises RunDamaged."""
    if not (run.path / RECORD).exists():
        segmenter = serving(workspace, run.dataset.id)
        for name in (NETWORK, RECORD):
            with files.published(run.path / name) as temporary:
                shutil.copyfile(segmenter.path / name, temporary)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write segmenter.json into a staging folder that has its network."""
    sha256 = files.sha256_of(folder / NETWORK)
    full = {"schema": SCHEMA, "created": time.time(), **record, "network_sha256": sha256}
    SegmenterRecord.model_validate(full)
    files.write_json(folder / RECORD, full)


def check(name: str, count: int) -> None:
    """Raise DataError where a data set has too few masks to learn from and to test on."""
    if not count:
        raise DataError(f"{name} has no lung masks, so no segmenter can be trained on it.")
    if count < LEAST_IMAGES:
        raise DataError(f"{name} has {plural(count, 'lung mask')}; at least {LEAST_IMAGES} are needed.")
