"""Pairs of images that show the same picture, as the audit tells them: what each pair means, and how it differs.

``duplicates`` finds the plain ones, ``alignment`` those that were moved or changed. Here they get their images' names
and classes, within a data set or between two, and a picture of their difference.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from covid_core.audit.duplicates import alignment
from covid_core.audit.duplicates.threshold import Limits, calibrated
from covid_core.data import duplicates
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.work import Progress, part_of, silent
from covid_core.workspace import Workspace

EXACT, NEAR = "exact", "near"
COLUMNS = ("first", "second", "kind", "detail", "mirrored", "first_label", "second_label", "conflict")
PARTS = ("first_part", "second_part")


@dataclass(frozen=True)
class Shared:
    """Images that two data sets share.

    ``pairs``: as ``within`` gives them, ``first`` of the data set, ``second`` of the other. ``images`` and ``others``
    count the images of each that the other has as well; ``conflicts`` are the pairs whose classes differ by name.
    """

    pairs: pd.DataFrame
    images: int
    others: int
    conflicts: pd.DataFrame


def within(
    workspace: Workspace,
    dataset: Dataset,
    parts: pd.Series | None = None,
    thorough: bool = False,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Pairs of images of one data set that show the same picture.

    Args:
        workspace: with the data set's pixels.
        dataset: whose images are compared.
        parts: the part of a split that each image id is in; None where there is no split.
        thorough: also those that were cropped, turned a little or mirrored, from the likeness that ``threshold`` tells.
        progress: told the share done.

    Returns:
        One row per pair, the most alike first: image ids ``first`` and ``second``; ``kind`` (EXACT: equal bytes, else
        NEAR); ``detail``, the correlation of fine detail; ``mirrored``; the classes; ``conflict``, whether they
        differ; and the parts, empty where unknown.
    """
    pixels = open_pixels(workspace, dataset, SUMMARY_SIZE, part_of(progress, 0, 0.5))
    limit = calibrated(pixels, None, _patients(dataset)).limit if thorough else None
    found = pairs(pixels, None, thorough, part_of(progress, 0.5, 1), limit)
    return named(found, dataset.images, dataset.images, parts)


def between(
    workspace: Workspace, dataset: Dataset, other: Dataset, thorough: bool = False, progress: Progress = silent
) -> Shared:
    """Images that two data sets share, and where their classes disagree by name (in any case of letters)."""
    pixels = open_pixels(workspace, dataset, SUMMARY_SIZE, part_of(progress, 0, 0.3))
    others = open_pixels(workspace, other, SUMMARY_SIZE, part_of(progress, 0.3, 0.6))
    found = pairs(pixels, others, thorough, part_of(progress, 0.6, 1))
    shared = named(found, dataset.images, other.images)
    return Shared(shared, shared["first"].nunique(), shared["second"].nunique(), shared[shared["conflict"]])


def limits(workspace: Workspace, dataset: Dataset) -> Limits:
    """The limit that a thorough ``within`` goes by, and what it rests on."""
    return calibrated(open_pixels(workspace, dataset, SUMMARY_SIZE), None, _patients(dataset))


def _patients(dataset: Dataset) -> np.ndarray:
    return dataset.images["patient_id"].to_numpy()


def pairs(
    pixels: np.ndarray,
    others: np.ndarray | None = None,
    thorough: bool = False,
    progress: Progress = silent,
    limit: float | None = None,
) -> pd.DataFrame:
    """Pairs of one picture among images, uint8 (n, 128, 128), or between them and others: those of ``duplicates``, or
    with ``thorough`` those whose detail, once aligned, correlates from ``limit`` (None: calibrated on these images).
    Columns first, second (positions), detail, mirrored.

    A thorough search also aligns what ``duplicates`` finds: it finds copies however many there are of one picture, and
    among images that look alike some pairs that are none."""
    plain = duplicates.pairs(pixels, others, part_of(progress, 0, 0.2 if thorough else 1)).assign(mirrored=False)
    if not thorough:
        return plain
    limit = calibrated(pixels, others).limit if limit is None else limit
    aligned = alignment.near(pixels, others, part_of(progress, 0.2, 1))
    i, j = plain["first"].to_numpy(), plain["second"].to_numpy()
    plain = plain.assign(detail=alignment.of_pairs(pixels, pixels if others is None else others, i, j))
    found = pd.concat([aligned, plain]).sort_values("detail", ascending=False, kind="stable")
    found = found[found["detail"] >= limit].drop_duplicates(["first", "second"])
    return found.sort_values("detail", ascending=False, kind="stable", ignore_index=True)


def named(
    found: pd.DataFrame, images: pd.DataFrame, others: pd.DataFrame, parts: pd.Series | None = None
) -> pd.DataFrame:
    """``duplicates.pairs`` with the names, classes and parts of their images; see ``within``."""
    one, two = images.iloc[found["first"]], others.iloc[found["second"]]
    labels = [side["label"].to_numpy() for side in (one, two)]
    equal = one["sha256"].to_numpy() == two["sha256"].to_numpy()
    table = pd.DataFrame(
        {
            "first": one["image_id"].to_numpy(),
            "second": two["image_id"].to_numpy(),
            "kind": np.where(equal, EXACT, NEAR),
            "detail": np.where(equal, 1.0, found["detail"]),  # aligning them comes to nearly 1
            "mirrored": found["mirrored"].to_numpy(),
            "first_label": labels[0],
            "second_label": labels[1],
            "conflict": [a.casefold() != b.casefold() for a, b in zip(*labels, strict=True)],
        }
    )
    known = {} if parts is None else parts.to_dict()
    for side, part in zip(("first", "second"), PARTS, strict=True):
        table[part] = [known.get(name, "") for name in table[side]]
    return table[[*COLUMNS, *PARTS]]


def across_parts(pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs of ``within`` whose images are in two parts of the split: what a model is tested on, it has seen."""
    both = (pairs["first_part"] != "") & (pairs["second_part"] != "")
    return pairs[both & (pairs["first_part"] != pairs["second_part"])]


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How the greys of two images differ, as a picture: uint8, 128 where they do not.

    Both are uint8 (side, side). The second is laid over the first, and given its mean and contrast: another crop, tilt
    or exposure is no difference, nor is what only one of them shows. Lighter is where the first is brighter; a
    difference of 64 levels or more is white or black.
    """
    two, shared = alignment.laid_over(first, second)
    one = first.astype(np.float32)
    spread = two[shared].std()
    two = (two - two[shared].mean()) * (one[shared].std() / spread if spread > 0 else 0.0) + one[shared].mean()
    return np.where(shared, np.clip(np.round(128 + 2 * (one - two)), 0, 255), 128).astype(np.uint8)
