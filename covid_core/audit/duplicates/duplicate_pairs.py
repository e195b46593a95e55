"""Pairs of images that show the same picture, within a data set or between two: names, classes, and the difference.

``data.duplicates`` finds the plain ones, ``alignment`` those that were moved or changed.
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
PARTS = ("first_part", "second_part")
COLUMNS = ("first", "second", "kind", "detail", "mirrored", "first_label", "second_label", "conflict", *PARTS)


@dataclass(frozen=True, eq=False)
class Shared:
    """Images that two data sets share: ``pairs`` as ``between`` returns them."""

    pairs: pd.DataFrame

    @property
    def images(self) -> int:
        """Images of the first data set that the other has as well."""
        return self.pairs["first"].nunique()

    @property
    def others(self) -> int:
        """Images of the other data set that the first has as well."""
        return self.pairs["second"].nunique()

    @property
    def conflicts(self) -> pd.DataFrame:
        """The pairs whose classes differ by name."""
        return self.pairs[self.pairs["conflict"]]


def within(workspace: Workspace, dataset: Dataset, progress: Progress = silent) -> pd.DataFrame:
    """Pairs of images of one data set that show the same picture, also cropped, turned a little or mirrored.

    Returns:
        One row per pair, the most alike first: image ids ``first`` and ``second``; ``kind`` (EXACT: equal bytes, else
        NEAR); ``detail``, the correlation of fine detail; ``mirrored``; the classes; ``conflict``, whether they
        differ by name (in any case of letters); and the parts of a split, all empty (see ``tables.with_parts``).
    """
    pixels = open_pixels(workspace, dataset, SUMMARY_SIZE, part_of(progress, 0, 0.5))
    limit = limits(workspace, dataset).limit
    return _named(pairs(pixels, None, part_of(progress, 0.5, 1), limit), dataset.images, dataset.images)


def between(workspace: Workspace, dataset: Dataset, other: Dataset, progress: Progress = silent) -> pd.DataFrame:
    """Pairs of an image of one data set and one of another that show the same picture; columns as ``within``."""
    pixels = open_pixels(workspace, dataset, SUMMARY_SIZE, part_of(progress, 0, 0.3))
    others = open_pixels(workspace, other, SUMMARY_SIZE, part_of(progress, 0.3, 0.6))
    return _named(pairs(pixels, others, part_of(progress, 0.6, 1)), dataset.images, other.images)


def limits(workspace: Workspace, dataset: Dataset) -> Limits:
    """The limit that ``within`` goes by, and what it rests on."""
    return calibrated(open_pixels(workspace, dataset, SUMMARY_SIZE), None, dataset.images["patient_id"].to_numpy())


def pairs(
    pixels: np.ndarray, others: np.ndarray | None = None, progress: Progress = silent, limit: float | None = None
) -> pd.DataFrame:
    """Pairs of one picture among images, uint8 (n, 128, 128), or between them and others: those whose detail, once
    aligned, correlates from ``limit`` (None: calibrated on these images). Columns first, second (positions), detail,
    mirrored.

    What ``duplicates`` finds is aligned as well: it finds copies however many there are of one picture, and among
    images that look alike some pairs that are none."""
    plain = duplicates.pairs(pixels, others, part_of(progress, 0, 0.2))
    limit = calibrated(pixels, others).limit if limit is None else limit
    aligned = alignment.near(pixels, others, part_of(progress, 0.2, 1))
    i, j = plain["first"].to_numpy(), plain["second"].to_numpy()
    detail = alignment.of_pairs(pixels, pixels if others is None else others, i, j)
    table = pd.concat([aligned, plain.assign(mirrored=False, detail=detail)])
    table = table[table["detail"] >= limit].sort_values("detail", ascending=False, kind="stable")
    return table.drop_duplicates(["first", "second"], ignore_index=True)


def _named(table: pd.DataFrame, images: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The columns of ``within`` for those of ``pairs``."""
    one, two = images.iloc[table["first"]], others.iloc[table["second"]]
    equal = one["sha256"].to_numpy() == two["sha256"].to_numpy()
    table = table.assign(
        first=one["image_id"].to_numpy(),
        second=two["image_id"].to_numpy(),
        kind=np.where(equal, EXACT, NEAR),
        detail=np.where(equal, 1.0, table["detail"]),  # aligning them comes to nearly 1
        **dict.fromkeys(PARTS, ""),
    )
    return with_labels(table, images, others)[list(COLUMNS)]


def with_labels(table: pd.DataFrame, images: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Those pairs whose images are both in these tables (columns image_id, label), with the classes of now."""
    sides = {"first": images, "second": others}
    labels = {f"{side}_label": table[side].map(of.set_index("image_id")["label"]) for side, of in sides.items()}
    table = table.assign(**labels).dropna(subset=list(labels)).reset_index(drop=True)
    first, second = (table[name].astype(str).str.casefold() for name in labels)
    return table.assign(conflict=first != second)


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
