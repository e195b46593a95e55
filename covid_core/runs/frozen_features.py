"""What frozen networks answered for the images of a data set, as trainings kept it. Reading it needs no TensorFlow.

The tables are those of ``nets.trunk``: float32, one row per image, first number NaN where an image was not asked. What
network a table is of stands in the runs that name it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from covid_core import cache
from covid_core.data.dataset import Dataset
from covid_core.derived import KEY_LENGTH
from covid_core.errors import CovidCoreError
from covid_core.runs import store
from covid_core.workspace import Workspace

RANDOM = "random"  # origin of weights that have learned nothing


@dataclass(frozen=True, eq=False)
class Frozen:
    """What a frozen network answered for all images of a data set: float32 (images, d), and its ``name`` in words."""

    table: np.ndarray
    name: str


def best(workspace: Workspace, dataset: Dataset) -> Frozen | None:
    """The features of all images in use that tell most: of the largest images, by a network that has learned something.

    None where no run in the workspace names such a network, or its features of some image are not kept.
    """
    for size, label, key in sorted(set(_networks(workspace)), reverse=True):
        table = _stored(workspace, dataset, key)
        if table is not None:
            return Frozen(table, f"{label} at {size} px")
    return None


def _networks(workspace: Workspace) -> Iterator[tuple[int, str, str]]:
    """Side of the images in pixels, name, and key of each frozen network of whole images that a run names."""
    for run in store.list_runs(workspace)[0]:
        try:
            result = run.result
        except CovidCoreError:
            continue  # a damaged run names no network; the others do
        key, weights = result.get("trunk"), result.get("weights") or {}
        if key and weights.get("origin", RANDOM) != RANDOM and not run.spec.input.in_words:
            yield run.spec.image_size, run.spec.network.label, key


def _stored(workspace: Workspace, dataset: Dataset, key: str) -> np.ndarray | None:
    for earlier in (dataset, dataset.imported):  # trainings keep those of all images as they were imported
        path = workspace.features / f"{earlier.pixels_key[:KEY_LENGTH]}-{key}-pooled.f32"
        width, rest = divmod(path.stat().st_size if path.exists() else 0, 4 * len(earlier.images))
        if not width or rest:
            continue
        rows = np.flatnonzero(earlier.images["image_id"].isin(dataset.images["image_id"]))
        table = np.memmap(path, np.float32, "r", shape=(len(earlier.images), width))
        if np.isfinite(table[rows, 0]).all():
            cache.touch(path)
            return table if len(rows) == len(table) else table[rows]  # all of them stay on disk
    return None
