"""Runs that would come out the same: equal settings, equal images, equal versions. The second need not be trained."""

import time
from importlib import metadata

from covid_core import files
from covid_core.errors import CovidCoreError
from covid_core.runs import segmenters, store
from covid_core.runs.store import Run
from covid_core.workspace import Workspace

NAMES = {"name": "", "note": ""}  # of a spec; they decide nothing


def equal_run(workspace: Workspace, run: Run) -> Run | None:
    """A completed run that this one would repeat number by number, whose files are still the ones that it published.
    What somebody else says that a training came to, in a bundle, stands for none of this workspace."""
    runs, _ = store.list_runs(workspace)
    wanted = run.spec.model_copy(update=NAMES)
    for other in runs:
        alike = other.split_hash == run.split_hash and other.is_halved == run.is_halved
        alike = alike and other.spec.model_copy(update=NAMES) == wanted
        alike = alike and other.dataset.version == run.dataset.version and _has_segmenter(workspace, other)
        if other.id != run.id and alike and not other.bundle and _is_whole(other):
            return other
    return None


def take_over(run: Run, equal: Run) -> None:
    """Make an equal run's outcome the run's own, saying whose it was. Its seconds stay those of the training."""
    run.take_over(equal)
    run.write_result({**equal.result, "finished": time.time(), "taken_over_from": equal.id})


def _has_segmenter(workspace: Workspace, run: Run) -> bool:
    """Whether a run that is shown the box around the lungs has them from the segmenter that would serve now."""
    if run.spec.input.region != "lungs":
        return True
    try:
        serving = segmenters.serving(workspace, run.dataset.id)
        return run.segmenter_path.is_file() and segmenters.in_folder(run.path).record == serving.record
    except CovidCoreError:
        return False


def _is_whole(run: Run) -> bool:
    """Whether a run was completed by these versions and none of its files has changed."""
    try:
        if run.status().state != store.COMPLETED or not run.result.get("versions"):
            return False
        if run.result.get("training") != store.TRAINING:
            return False
        recorded = run.result["versions"]
        if any(recorded.get(name) != metadata.version(name) for name in ("keras", "tensorflow", "numpy")):
            return False
        recorded_files = [
            *([(run.model_path, "model_sha256")] if run.has_model else []),
            (run.head_path, "head_sha256"),
            (run.reference_path, "reference_sha256"),  # a run of an earlier version has none, and is not repeated
        ]
        return all(path.is_file() and files.sha256_of(path) == run.result.get(name) for path, name in recorded_files)
    except CovidCoreError:
        return False
