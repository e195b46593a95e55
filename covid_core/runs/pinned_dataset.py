"""The images that a run was made on: its data set as it was then, whatever people have decided about it since."""

from dataclasses import dataclass
from typing import Literal

from covid_core.data.dataset import Dataset, open_dataset
from covid_core.errors import DataError, UnknownId
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

Missing = Literal["gone", "replaced"]


def dataset_of(workspace: Workspace, run: Run) -> Dataset:
    """The run's data set at the run's own version.

    Raises UnknownId where it is gone, and DataError where it is damaged or was never the one that the run was made on.
    """
    try:
        return at_version_of(run, open_dataset(workspace, run.dataset.id))
    except UnknownId as error:
        raise gone(run) from error


def gone(run: Run) -> UnknownId:
    """Why a run has no images in a workspace without its data set."""
    where = "it came in a bundle without them" if run.bundle else "the data set was deleted"
    return UnknownId(f"The images of {run.name} are not here: {where}.")


def at_version_of(run: Run, dataset: Dataset) -> Dataset:
    """The same for a data set that is open, whichever version it shows. Raises DataError."""
    version = run.dataset.version
    if version != dataset.version and version not in dataset.versions:
        raise DataError(f"The data set {dataset.name} is not the one that {run.name} was trained on.")
    return dataset.at(version)


@dataclass(frozen=True)
class Version:
    """Which version of its data set a run used: the first ``before`` of the ``decided`` decisions on its images were
    made by then. ``before`` is None where the data set is ``missing``: gone, or replaced by another."""

    before: int | None
    decided: int = 0
    missing: Missing = "gone"

    @property
    def is_present(self) -> bool:
        """Whether the images are still the same."""
        return self.before == self.decided


def version_of(run: Run, dataset: Dataset) -> Version:
    """Which version of a data set that is open now the run used."""
    version, decided = run.dataset.version, len(dataset.decisions)
    if version == dataset.version:
        return Version(decided, decided)
    before = dataset.versions.get(version)
    return Version(None, decided, "replaced") if before is None else Version(before, decided)


def used_by(workspace: Workspace, run: Run) -> Version:
    """The same of the data set as it lies in the workspace; one that cannot be opened is missing."""
    try:
        return version_of(run, open_dataset(workspace, run.dataset.id))
    except DataError:
        return Version(None)
