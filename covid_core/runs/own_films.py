"""The films that a run was made on: its data set as it was then, whatever was decided since."""

from covid_core.data.dataset import Dataset, open_dataset
from covid_core.errors import DataError
from covid_core.runs.store import Run
from covid_core.workspace import Workspace


def dataset_of(workspace: Workspace, run: Run) -> Dataset:
    """The run's data set at the run's own version. Raises NotFound where it is gone, DataError where it has changed."""
    kept = run.record["dataset"]
    dataset = open_dataset(workspace, kept["id"])
    if dataset.version != kept["version"]:
        raise DataError(f"The data set {dataset.name} is not the one that {run.name} was trained on.")
    return dataset
