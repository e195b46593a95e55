"""Lung masks: which data sets have them, and images with their masks as squares to learn from.

A mask is a black and white picture of its image, white where the lungs are; where they are plainly black it is read
inverted (``codec.read_mask``), and the audit says so. It may have fewer pixels than the image,
but the image's proportions, and is squashed to a square as the image is.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from covid_core.data import dataset as data
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE
from covid_core.errors import DataError, ImageError
from covid_core.evaluation.metrics import Measure
from covid_core.images.codec import read_mask, resized_map, to_square
from covid_core.work import Progress, silent
from covid_core.workspace import Workspace

NoLungs = Literal["no masks", "no usable mask", "none outlined", "damaged"]
# Kinds of outlines, in the order in which they go first: the data set's masks, those of a segmenter trained here, of
# the built-in segmenter, and one fixed oval for all images.
OWN, TRAINED, BUILT_IN, OVAL = "own", "trained", "built-in", "oval"
SAME_ASPECT = 0.02  # relative difference of a mask's proportions from its image's that rounding to pixels can explain


@dataclass(frozen=True)
class MaskedDataset:
    """A data set that has lung masks: ``masks`` of its ``images`` have one."""

    id: str
    name: str
    images: int
    masks: int
    synthetic: bool


@dataclass(frozen=True)
class Origin:
    """Where outlines of lungs come from: ``kind`` is OWN, TRAINED, BUILT_IN or OVAL. Of a segmenter, the images that it
    learned from (name of the data set, whether they are synthetic, how many) and its mean Dice on test images; of the
    built-in one these are real images."""

    kind: str
    dataset: str = ""
    synthetic: bool = False
    images: int = 0
    dice: Measure | None = None


@dataclass(frozen=True, eq=False)
class LungMasks:
    """Lungs of some images: ``masks`` bool (n, size, size), ``available`` bool (n,), where they come from; ``reason``
    says why none is available, ``error`` what is damaged then."""

    masks: np.ndarray
    available: np.ndarray
    origin: Origin | None = None
    reason: NoLungs | None = None
    error: str = ""


LungSource = Callable[[Workspace, Dataset, Sequence[int], Progress], LungMasks]


def datasets_with_masks(workspace: Workspace) -> list[MaskedDataset]:
    """The readable data sets in which at least one image has a lung mask, newest first."""
    listed = []
    for info in data.list_datasets(workspace):
        with contextlib.suppress(DataError):  # the Data set page shows it as damaged; its masks cannot be read
            dataset = data.open_dataset(workspace, info["id"])
            if masks := int(has_mask(dataset).sum()):
                listed.append(MaskedDataset(dataset.id, dataset.name, len(dataset.images), masks, dataset.is_synthetic))
    return listed


def has_mask(dataset: Dataset) -> np.ndarray:
    """Of shape (images,): whether the image has a lung mask."""
    return (dataset.images["mask_path"] != "").to_numpy()


def mask_of(dataset: Dataset, image_id: str) -> np.ndarray | None:
    """The data set's own mask of an image, bool (height, width) at the image's size; None where it has none.

    Raises DataError when there is no such image, or its mask cannot be used.
    """
    row = dataset.row_of(image_id)
    if not dataset.images["mask_path"].iat[row]:
        return None
    try:
        mask = _mask_in(dataset, row)
    except ImageError as error:
        raise DataError(f"The lung mask of {image_id} cannot be used. {error}") from error
    height, width = int(dataset.images["height"].iat[row]), int(dataset.images["width"].iat[row])
    return mask if mask.shape == (height, width) else resized_map(mask, width, height) > 0.5


def squares(
    dataset: Dataset, rows: Iterable[int], size: int, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray]:
    """Masks of some images as bool (n, size, size), and whether each could be used, bool (n,); one that could not is
    empty."""
    rows = list(rows)
    masks, usable = np.zeros((len(rows), size, size), bool), np.zeros(len(rows), bool)
    for place, row in enumerate(rows):
        try:
            white = _mask_in(dataset, int(row)).astype(np.uint8) * 255
        except ImageError:
            continue  # counted by whoever asked
        masks[place], usable[place] = to_square(white, size) > 127, True
        if place % 50 == 0:
            progress(place / len(rows), f"Reading lung masks: {place:,} of {len(rows):,}")
    return masks, usable


def own_lungs(
    _workspace: Workspace,
    dataset: Dataset,
    rows: Sequence[int],
    progress: Progress = silent,
    size: int = SUMMARY_SIZE,
) -> LungMasks:
    """The data set's own masks of some images; one that cannot be used or is all black is not available."""
    having = has_mask(dataset)[rows]
    lungs, available = np.zeros((len(rows), size, size), bool), np.zeros(len(rows), bool)
    lungs[having], usable = squares(dataset, np.asarray(rows)[having], size, progress)
    available[having] = usable & lungs[having].any(axis=(1, 2))
    return LungMasks(lungs, available, Origin(OWN), None if available.any() else "no masks")


def _mask_in(dataset: Dataset, row: int) -> np.ndarray:
    """The mask as its file has it. Raises ImageError."""
    image = dataset.images.iloc[row]
    mask = read_mask(dataset.root / image["mask_path"])
    height, width = mask.shape
    if abs(width * image["height"] / (height * image["width"]) - 1) > SAME_ASPECT:
        raise ImageError(
            f"It has {width} x {height} pixels and the image {image['width']} x {image['height']}: other proportions."
        )
    return mask
