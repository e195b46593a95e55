"""The map of a data set: each image a point, similar images side by side; outliers, suspicious labels and neighbours.

The features are those of a frozen network where the caller hands them in (see ``runs.frozen_features``), else the
pixels of the images at 64 x 64. Either way the first WIDTH principal components count; see
``audit.embedding.projection`` for the two projections, and ``audit.embedding.outlier_detection`` for the rest.
"""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from covid_core import derived, files
from covid_core.audit.embedding import outlier_detection, projection
from covid_core.audit.embedding.outlier_detection import FAR, LEAST_IN_CLASS, Purity
from covid_core.audit.shortcuts import probes
from covid_core.audit.shortcuts.probe_ladder import Reason
from covid_core.data import duplicates, split
from covid_core.data.dataset import Dataset
from covid_core.data.pixels import SUMMARY_SIZE, open_pixels
from covid_core.errors import DataError
from covid_core.formatting import count
from covid_core.runs.frozen_features import Frozen
from covid_core.work import Progress, part_of, silent
from covid_core.workspace import Workspace

FORMAT = 3  # of the kept file; a change of what it holds, or of what images are described by, takes the next number
WIDTH = 50  # principal components that neighbours are searched in; the usual number before t-SNE
WIDE = 100  # that labels are judged by; on synthetic images with clear lesions 50 find as many exchanged labels
LEAST = 10  # images; fewer need no map
MOST_IMAGES = 20_000  # of more, so many are drawn: 100,000 need 4 GB of memory, and a page of them is slow
SEED = 0  # of the folds that labels are cross-validated in
PLACES = ("pca_x", "pca_y", "tsne_x", "tsne_y")
LABELS = ("given", "given_score", "other", "other_score", "is_suspicious")
COLUMNS = ("image_id", *PLACES, "outlier_score", "is_outlier", *LABELS)
SECONDS_PER_IMAGE, START_SECONDS = 0.005, 3.0  # 4,000 images: 13 s on two idle cores, 35 s beside other work


@dataclass(frozen=True)
class Features:
    """What describes the images: so many features of a frozen network, or the pixels themselves (no network)."""

    network: str = ""
    width: int = 0


class _Facts(BaseModel):
    """What a kept map says of itself; a text in place of a record is what an earlier version stored."""

    features: Features | str
    pca_share: float
    accuracy: float | None
    judged: int
    reason: Reason | str
    neighbours: dict[str, tuple[float | None, float | None, float | None, float | None, int]]
    sources: int
    made: float
    seconds: float
    drawn_from: int = 0


@dataclass(frozen=True, eq=False)
class Map:
    """Where each image lies, and what stands out.

    ``images``: one row per image in the data set's order, with COLUMNS, its present ``label``, and ``row``, its
    position in the data set's images. Scores are no probabilities: ``outlier_score`` in robust deviations,
    ``given_score`` and ``other_score`` of a cross-validated classifier (nan, and ``other`` empty, for images that it
    did not score). ``given`` is the label when the map was made; ``is_current`` says whether it is of this
    version. ``facts``: features, pca_share (of all variance, along the two directions shown), accuracy of
    that classifier over ``judged`` images (None: not fitted, for the ``reason``), neighbours, sources
    (images whose source is known), made (seconds since 1970), seconds, drawn_from (all images, where the map holds but
    MOST_IMAGES of them, else 0).
    """

    images: pd.DataFrame
    facts: dict[str, Any]
    is_current: bool = True

    @property
    def features(self) -> Features | str:
        """What describes the images."""
        return _Facts.model_validate(self.facts).features

    @property
    def reason(self) -> Reason | str:
        """Why some or all labels were not checked."""
        return _Facts.model_validate(self.facts).reason

    def purity(self, what: str) -> Purity:
        """Of "class", "source", "class within source" or "source within class"."""
        stored = self.facts["neighbours"].get(what)
        parts = [np.nan if part is None else part for part in stored or ()]
        return Purity(*parts) if parts else outlier_detection.UNDEFINED

    @cached_property
    def outliers(self) -> pd.DataFrame:
        """Images far from all others, the farthest first: row, image_id, label, outlier_score."""
        table = self.images[self.images["is_outlier"]][["row", "image_id", "label", "outlier_score"]]
        return table.sort_values("outlier_score", ascending=False, kind="stable", ignore_index=True)

    @cached_property
    def suspicious(self) -> pd.DataFrame:
        """Images whose label is disputed, the lowest score of the given label first.

        Columns rank (from 1), row, image_id, label, given_score, other, other_score. A label that was changed since the
        map was made is not among them.
        """
        disputed = self.images["is_suspicious"] & (self.images["given"] == self.images["label"])  # not changed since
        table = self.images[disputed].sort_values("given_score", kind="stable", ignore_index=True)
        table["rank"] = np.arange(1, len(table) + 1)
        return table[["rank", "row", "image_id", "label", "given_score", "other", "other_score"]]


# Made and kept


def expected_seconds(images: int) -> float:
    """About how long a map takes."""
    return START_SECONDS + SECONDS_PER_IMAGE * min(images, MOST_IMAGES)


def stored(workspace: Workspace, dataset: Dataset) -> Map | None:
    """The map that was made of this version of the data set; None where there is none, or where it is torn."""
    opened = derived.read(_path(workspace, dataset), _opened)
    if opened is None or not np.array_equal(opened[0]["image_id"], dataset.images["image_id"].iloc[_sample(dataset)]):
        return None
    return Map(_placed(opened[0], dataset), opened[1])


def _opened(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    table = files.read_table(path, COLUMNS)
    facts = _Facts.model_validate(table.attrs).model_dump()
    table.attrs = {}
    return table, facts


def latest(workspace: Workspace, dataset: Dataset) -> Map | None:
    """The map of this version of the data set, or else of its last version that has one, for the images still in
    use."""
    current = stored(workspace, dataset)
    for version in reversed(dataset.versions if current is None else ()):
        earlier = None if version == dataset.version else stored(workspace, dataset.at(version))
        if earlier is not None:
            return Map(_placed(earlier.images[list(COLUMNS)], dataset), earlier.facts, is_current=False)
    return current


def _placed(images: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """The images that are in use, with their present class and their position."""
    present = dataset.images[["image_id", "label"]].reset_index(names="row")
    return images.merge(present, on="image_id", how="inner", validate="one_to_one")


def make(workspace: Workspace, dataset: Dataset, progress: Progress = silent, *, frozen: Frozen | None = None) -> Map:
    """Make the map of a data set and keep it. Raises DataError where images are too few or gone, and NoRoom.

    Of more than MOST_IMAGES images so many are drawn, each class by its share; the others are not on the map.
    ``frozen``: features of a pretrained network; without them the pixels are the features.
    """
    if len(dataset.images) < LEAST:
        raise DataError(f"A map needs {LEAST} images at least; {dataset.name} has {count(len(dataset.images))}.")
    began = time.monotonic()
    rows = _sample(dataset)
    groups = duplicates.with_groups(workspace, dataset, part_of(progress, 0, 0.05))
    features, described = _features(workspace, dataset, rows, frozen, part_of(progress, 0.05, 0.1))
    images, facts = drawn(features, groups.iloc[rows].reset_index(drop=True), part_of(progress, 0.1, 1))
    facts |= {"features": described, "made": time.time(), "seconds": time.monotonic() - began}
    facts["drawn_from"] = len(groups) if len(rows) < len(groups) else 0
    facts = _Facts.model_validate(facts).model_dump()
    images.attrs = facts
    derived.write_table(workspace, _path(workspace, dataset), images, optional=True)
    images.attrs = {}
    progress(1, "The map is made")
    return Map(_placed(images, dataset), facts)


def _sample(dataset: Dataset) -> np.ndarray:
    """Positions of the images that are on the map, ascending."""
    labels = dataset.images["label"].reset_index(drop=True)
    if len(labels) <= MOST_IMAGES:
        return np.arange(len(labels))
    drawn_labels = labels.groupby(labels).sample(frac=MOST_IMAGES / len(labels), random_state=SEED)
    return np.sort(drawn_labels.index.to_numpy())


def _features(
    workspace: Workspace, dataset: Dataset, rows: np.ndarray, frozen: Frozen | None, progress: Progress
) -> tuple[np.ndarray, Features]:
    """Features of shape (rows, d), and a description of them."""
    if frozen is not None:
        return frozen.table[rows], Features(frozen.name, frozen.table.shape[1])
    pixels = open_pixels(workspace, dataset, SUMMARY_SIZE, progress)[rows]
    return probes.shrunk(pixels, probes.SIDE).reshape(len(pixels), -1), Features()


def _path(workspace: Workspace, dataset: Dataset) -> Path:
    return derived.path_of(workspace.tables, dataset.version, f"map-{dataset.facts_key}", FORMAT)


def drawn(
    features: np.ndarray, images: pd.DataFrame, progress: Progress = silent
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Map.images without labels, and what of Map.facts follows from the features.

    Args:
        features: numbers of shape (images, d).
        images: columns image_id, label, source (empty: unknown) and group, in the same order.
    """
    wide, shares, residuals = projection.principal_components(features, WIDE, part_of(progress, 0, 0.2))
    wide = wide if wide.shape[1] > 1 else np.pad(wide, ((0, 0), (0, 1)))
    coordinates = wide[:, :WIDTH]
    places = projection.tsne(coordinates, part_of(progress, 0.2, 0.8))
    codes = pd.factorize(images["label"], sort=True)[0]
    far = outlier_detection.outlier_scores(np.column_stack([coordinates, residuals - residuals.mean()]), codes)
    labels, facts = _judged(wide, images, part_of(progress, 0.8, 0.95))
    table = pd.DataFrame(np.column_stack([wide[:, :2], places]), columns=list(PLACES))
    table = table.assign(image_id=images["image_id"].to_numpy(), outlier_score=far, is_outlier=far > FAR, **labels)
    facts |= {
        "pca_share": float(shares[:2].sum()),
        "neighbours": _neighbours(coordinates, images),
        "sources": int((images["source"] != "").sum()),
    }
    progress(1, "Counted neighbours")
    return table[list(COLUMNS)], facts


def _judged(coordinates: np.ndarray, images: pd.DataFrame, progress: Progress) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The columns LABELS; and the classifier's accuracy over so many images, and why some or all were not judged."""
    columns = {"given": images["label"].to_numpy(), "given_score": np.nan, "other": "", "other_score": np.nan}
    table = pd.DataFrame({**columns, "is_suspicious": False})
    of_label = images.groupby("label")["group"].agg(["size", "nunique"])
    # a class of one group cannot be learned from others, so all of it would look odd
    enough = (of_label["size"] >= LEAST_IN_CLASS) & (of_label["nunique"] > 1)
    judged, small = of_label.index[enough], of_label.index[~enough]
    if len(judged) < 2:
        return table, {"accuracy": None, "judged": 0, "reason": Reason("no two classes", least=LEAST_IN_CLASS)}
    rows = np.flatnonzero(images["label"].isin(judged))
    codes = judged.get_indexer(images["label"].iloc[rows])
    folds = split.folds_of(images.iloc[rows], outlier_detection.FOLDS, SEED)
    scores = outlier_detection.label_scores(coordinates[rows], codes, folds, progress)
    suspicious, other = outlier_detection.suspicious_labels(scores, codes)
    at = np.arange(len(rows))
    columns = {"given_score": scores[at, codes], "other": judged.to_numpy(object)[other]}
    columns |= {"other_score": scores[at, other], "is_suspicious": suspicious}
    table.loc[rows, list(columns)] = pd.DataFrame(columns, index=rows)
    return table, {
        "accuracy": float((scores.argmax(axis=1) == codes).mean()),
        "judged": len(rows),
        "reason": Reason("not checked", tuple(small), least=LEAST_IN_CLASS) if len(small) else "",
    }


def _neighbours(coordinates: np.ndarray, images: pd.DataFrame) -> dict[str, tuple]:
    """Each purity of ``Map.purity`` as plain numbers; undefined ones are None."""
    labels, groups, sources = (pd.factorize(images[column])[0] for column in ("label", "group", "source"))
    everyone, with_source = np.ones(len(images), bool), (images["source"] != "").to_numpy()

    def of(rows: np.ndarray, codes: np.ndarray, within: np.ndarray | None = None) -> tuple:
        fixed = None if within is None else within[rows]
        purity = outlier_detection.purity(coordinates[rows], codes[rows], groups[rows], fixed)
        return tuple(None if value != value else value for value in vars(purity).values())

    return {
        "class": of(everyone, labels),
        "source": of(with_source, sources),
        "class within source": of(with_source, labels, sources),
        "source within class": of(with_source, sources, labels),
    }
